"""D-LADMM (Xie et al., ICML 2019) on the corrupted Lena: K layers of learned linearized ADMM restore a noisy image.

Trains one network per depth and training, by default on the corrupted image alone, and restores the image with each.
Tables and pictures go to the results folder, networks to the checkpoint folder; `python -m utils.restore` uses them.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from scipy.ndimage import median_filter

from data.damage import DAMAGES, NONE
from data.dictionary import load_constraint, load_dictionary
from data.images import load_pixels, to_image
from data.masks import POSITIONS, mask_finder
from data.patches import PatchGrid, patch_side
from models import DLADMM, Problem
from models.activations import ACTIVATIONS
from models.dladmm import WEIGHTS
from models.functions import FUNCTIONS, built_from_number
from models.layer import INITIALIZATIONS
from models.losses import LOSSES, Loss, pick_loss
from models.training import LayerLosses, Training
from utils.evaluation import solvers
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import REPLACE, Observation
from utils.evaluation.records import Classical, EpochRecord, Learned
from utils.reporting.outputs import Outcome, output_folders, report
from utils.reporting.progress import Progress, with_bar
from utils.running.devices import COMPILE, DEVICES, PRECISION, pick_compiled, pick_device, pick_precision
from utils.running.errors import UserError, script
from utils.running.provenance import Run
from utils.running.settings import at_least, between, one_of, parse_settings, positive, setting
from utils.sources.base import PatchSource
from utils.sources.clean import NoisyAndCleanPatches
from utils.sources.noisy import NoisyPatches
from utils.sources.recorrupted import RecorruptedPatches

# What a training draws its patches from: (settings, observation) -> source. A new training is a line here.
SOURCES: dict[str, Callable[["Settings", Observation], PatchSource]] = {
    "unsupervised": lambda s, seen: NoisyPatches(seen.pixels, seen.grid.patch, s.seed, seen.mask),
    "self_supervised": lambda s, seen: RecorruptedPatches(
        seen.pixels, seen.grid.patch, s.noise_of_image, s.seed, seen.mask,
    ),
    "supervised": lambda s, seen: NoisyAndCleanPatches(
        seen.grid.patch, s.noise_of_image, s.training_rates or s.noise_rate, s.seed, s.training_images,
        seen.find_mask, seen.pixels.device, not_from=s.image,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The hyperparameters. Edit the defaults here, or give any of them on the command line: --noise-rate 0.2"""

    # image and corruption
    image: str = setting("lena", "lena, another name in data/images.py, or the path of an image file")
    corruption: str = setting("salt_and_pepper", "done to it for a test; none: it is damaged", one_of(DAMAGES, NONE))
    noise: str = setting("same", "noise in it to learn from; same: as corruption", one_of(DAMAGES, "same", NONE))
    noise_rate: float = setting(0.1, "probability that a pixel, or a block of them, is corrupted", between(0, 1))
    seed: int = setting(1126, "seed of the corruption and of the training patches", at_least(0))
    positions: str = setting("unknown", POSITIONS)
    replace: str = setting("all", "pixels to replace by restored ones; corrupted: if known", one_of(REPLACE))
    # problem: min f(Z) + g(E)  s.t.  A Z + B E = X, by default alpha |Z|_1 + |E|_1 and B = I
    dictionary: str = setting("shipped", "dictionary A: shipped, unit_atoms (all of length 1), or the path of a file")
    constraint: str = setting("identity", "matrix B: identity, or the path of an .npz file with an array B")
    alpha: float = setting(0.7, "weight of f", positive)
    f: str = setting("l1", "function of Z", one_of(built_from_number()))
    g: str = setting("l1", "function of E, its weight is 1", one_of(built_from_number()))
    # network
    depths: tuple[int, ...] = setting((5, 10, 15), "numbers of layers K to compare", at_least(1))
    initialization: str = setting("pseudo_inverse", "weights W1 of the untrained network", one_of(INITIALIZATIONS))
    weights: str = setting("free", "of a layer: free, or tied such that it converges when repeated", one_of(WEIGHTS))
    activation: str = setting("piecewise_linear", "activations eta and zeta of every layer", one_of(ACTIVATIONS))
    beta: float = setting(8.0, "penalty beta of the untrained network", positive)
    # training
    training: tuple[str, ...] = setting(("unsupervised", "self_supervised"), "what to learn from", one_of(SOURCES))
    training_images: str = setting("shipped", "clean images to learn from: shipped, shipped_and_drawn, or a folder")
    training_rates: tuple[float, ...] = setting((), "lowest and highest rate of their noise", between(1e-4, 1))
    loss: str = setting("auto", "of every layer; auto: the training's default", one_of(LOSSES, "auto"))
    layer_discount: float = setting(0.5, "weight of a layer's loss relative to the next layer's", between(0, 1))
    epochs: int = setting(30, "epochs of training", at_least(1))
    patches_per_epoch: int = setting(10_000, "patches drawn afresh for every epoch", at_least(1))
    batch_size: int = setting(500, "patches in a training step, of all processes together", at_least(1))
    learning_rate: float = setting(0.08, "peak learning rate, relative to the size of each tensor", positive)
    # evaluation
    stride: int = setting(0, "pixels from one restored patch to the next; 0: a patch's side, no overlap", at_least(0))
    ladmm_beta: float = setting(3.0, "penalty beta of classical LADMM", positive)
    ladmm_tolerance: float = setting(0.01, "relative duality gap at which classical LADMM has converged", positive)
    ladmm_max_iterations: int = setting(1000, "iterations for which classical LADMM is followed", at_least(1))
    # safeguard: the deepest network on out-of-distribution inputs
    safeguard_layers: int = setting(200, "layers to run, the last one repeated", at_least(1))
    safeguard_noise_rate: float = setting(0.8, "noise rate of the image that it is run on", between(0, 1))
    # run
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))
    compile: str = setting("auto", "compile the training; auto: if that pays; no: nor capture a step", one_of(COMPILE))
    precision: str = setting("auto", "of the products in training; auto: what is fastest here", one_of(PRECISION))
    results_dir: str = setting("results", "folder of the tables and pictures")
    checkpoint_dir: str = setting("checkpoints", "folder of the trained networks")

    @property
    def noise_of_image(self) -> str:
        """The kind of noise in the image, a name in data.damage.DAMAGES."""
        return self.corruption if self.noise == "same" else self.noise


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the settings, runs the experiment, and writes what it found beside the published figures."""
    settings = parse_settings(Settings, __doc__, argv, folders=("results_dir", "checkpoint_dir"))
    with script(), output_folders(settings):
        report(settings, run(settings, settings.checkpoint_dir))


def run(settings: Settings, saved_in: str | None = None) -> Outcome:
    """The experiment from top to bottom. What cannot be used is an error before any work.

    Trainings are saved in a folder, from which interrupted ones go on; None: in none. PSNR and SSIM compare restored
    images with the clean one.
    """
    if "supervised" not in settings.training and (settings.training_rates or settings.training_images != "shipped"):
        raise UserError("training_rates and training_images are for supervised training; allowed here: the defaults")
    observation = observe(settings)
    problem = pose(settings, observation)
    lessons = [pick_lesson(training, settings, observation, problem) for training in settings.training]
    untrained = [build(settings, problem, depth, lessons[0][0].restored) for depth in sorted(settings.depths)]
    work = sum(settings.depths) * settings.epochs * settings.patches_per_epoch
    device = observation.X.device
    compiled, precision = pick_compiled(settings.compile, work, device), pick_precision(settings.precision, device)
    inputs = observation.inputs() | {"dictionary": problem.A, "constraint": problem.B}
    for source, _ in lessons:
        inputs |= source.inputs()
    progress = Progress(saved_in, Run(asdict(settings), inputs, device, compiled, precision))
    classical = restore_classically(settings, observation, problem, untrained)
    shared = settings, observation, problem, compiled, precision, progress
    learned = [learn(training, depth, *shared) for training in settings.training for depth in sorted(settings.depths)]
    deepest = learned[len(settings.depths) - 1].network  # of the first training
    damage, rate = DAMAGES.get(settings.corruption), settings.safeguard_noise_rate
    unusual = observation.out_of_distribution(damage, rate, settings.seed)
    safeguard = solvers.compare_safeguard(deepest, unusual, settings.safeguard_layers, settings.ladmm_beta)
    return Outcome(observation, classical, learned, safeguard, progress)


def observe(settings: Settings) -> Observation:
    """The corrupted image, cut into patches. No method sees the clean one: it only measures what they return."""
    stored, damage = load_pixels(settings.image), DAMAGES.get(settings.corruption)
    image = to_image(stored)
    clean = None if damage is None else image
    noisy = image if damage is None else damage.corrupt(image, settings.noise_rate, settings.seed)
    side = patch_side(len(load_dictionary(settings.dictionary)))
    grid = PatchGrid(image.shape, side, settings.stride or side)
    find_mask = mask_finder(settings.positions, image.shape)
    return Observation(noisy, grid, pick_device(settings.device), find_mask, settings.replace, clean, stored.dtype)


def pose(settings: Settings, observation: Observation) -> Problem:
    """The problem min f(Z) + g(E) s.t. A Z + B E = X, for every patch X of the noisy image."""
    A, B = load_dictionary(settings.dictionary), load_constraint(settings.constraint)
    f, g = FUNCTIONS[settings.f](settings.alpha), FUNCTIONS[settings.g]()
    problem = Problem(A.to(observation.X.device), B=B, f=f, g=g)
    problem.check_feasible()
    problem.known(observation.X_mask)  # refuses a mask where it has no meaning
    return problem


def build(settings: Settings, problem: Problem, depth: int, restored: str = "AZ") -> DLADMM:
    """A fresh network of `depth` layers for the problem."""
    choices = {name: getattr(settings, name) for name in ("beta", "initialization", "activation", "weights")}
    return DLADMM(problem.A, depth, B=problem.B, f=problem.f, g=problem.g, restored=restored, **choices)


def restore_classically(
    settings: Settings, observation: Observation, problem: Problem, untrained: Sequence[DLADMM]
) -> Classical:
    """What learns nothing: 3 x 3 median; untrained networks; LADMM with as many iterations as layers, to its end."""
    X, mask = observation.X, observation.X_mask
    methods = [observation.measured("noisy", observation.noisy)]
    methods += [observation.filtered("median", median_filter, size=3, axes=(0, 1))]
    methods += [observation.solved("untrained", solvers.solve_with_last_layer, n, X, mask) for n in untrained]
    end = settings.ladmm_tolerance, settings.ladmm_max_iterations
    ladmm, trace = solvers.run_ladmm(problem, observation, settings.ladmm_beta, sorted(settings.depths), *end)
    return Classical([*methods, *ladmm], trace)


def pick_lesson(
    training: str, settings: Settings, observation: Observation, problem: Problem
) -> tuple[PatchSource, Loss]:
    """What a training draws its patches from, see `SOURCES`, and the loss of every layer.

    Unsupervised: on patches of the noisy image the loss is f(Z) + g(E) at E := X − A Z, as in the paper.
    Self-supervised: these patches are corrupted once more, and the loss is the distance to the noisy image.
    """
    source = SOURCES[training](settings, observation)
    name = source.loss if settings.loss == "auto" else settings.loss
    return source, pick_loss(name, training, source.targets, problem, masked=observation.mask is not None)


def learn(
    training: str, depth: int, settings: Settings, observation: Observation, problem: Problem,
    compiled: bool, precision: str, progress: Progress,
) -> Learned:  # fmt: skip
    """A fresh network learns, and its last layer restores the image. Seconds count both, and the PSNR of every epoch.

    The loop over batches is in models/training.py. An interrupted training goes on after its last finished epoch.
    """
    watch, X, mask = Stopwatch(), observation.X, observation.X_mask
    source, loss = pick_lesson(training, settings, observation, problem)
    network = build(settings, problem, depth, source.restored)
    engine = Training(
        network, source, LayerLosses(network, loss, compiled), settings.epochs, settings.patches_per_epoch,
        settings.batch_size, settings.learning_rate, settings.layer_discount, settings.compile != "no", precision,
    )  # fmt: skip
    name = f"dladmm_d{depth:02d}" + ("" if training == settings.training[0] else f"_{training}")
    history, seconds_before = progress.resume(name, engine)
    epoch_seconds = []
    for epoch in with_bar(engine, name, history):
        image = observation.image_of(solvers.restore_patches(network, X, mask))
        source.after_epoch(image, epoch.number / settings.epochs)
        history.append(EpochRecord(training, depth, epoch.number, epoch.loss, observation.psnr(image)))
        epoch_seconds.append(epoch.seconds)
        progress.save(name, engine, history, seconds_before + watch.seconds())
    solutions = solvers.solve_with_network(network, X, mask)
    image, seconds = observation.image_of(solutions[-1].patches), seconds_before + watch.seconds()
    side = source.side_information(settings.noise_of_image, settings.training_images)
    columns = {"training": training, "training_loss": history[-1].loss}
    restoration = observation.measured("dladmm", image, seconds, solutions[-1], side, **columns)
    layers = observation.layer_records(training, solutions)
    return Learned(name, network, restoration, history, layers, epoch_seconds)


if __name__ == "__main__":
    main()
