"""D-LADMM (Xie et al., ICML 2019) on the corrupted Lena: K layers of learned linearized ADMM restore a noisy image.

Trains one network per depth and training, by default on the corrupted image alone, and restores the image with each.
Tables and pictures go to the results folder, networks to the checkpoint folder. Photographs: utils.restore.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass

from scipy.ndimage import median_filter
from torch import Tensor

from data.damage import DAMAGES, NONE
from data.dictionary import load_constraint, load_dictionary
from data.images import load_pixels, to_image
from data.masks import POSITIONS, mask_finder
from data.patches import PatchGrid, patch_side
from models import DLADMM, Problem
from models.activations import ACTIVATIONS
from models.dladmm import WEIGHTS
from models.functions import FUNCTIONS
from models.layer import INITIALIZATIONS
from models.losses import LOSSES
from models.samples import Samples
from models.training import LayerLosses, Training
from utils.evaluation import solvers
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import REPLACE, Learned, Observation, Restoration, Row
from utils.reporting.results import Outcome, output_folders, published_settings, report
from utils.running.devices import COMPILE, DEVICES, PRECISION, pick_compiled, pick_device, pick_precision
from utils.running.errors import script
from utils.running.provenance import provenance
from utils.running.resume import Progress, epoch_bar
from utils.running.settings import Checked, at_least, between, one_of, parse_settings, positive, setting
from utils.sources import SOURCES, check_use, pick_lesson


@dataclass(frozen=True)
class Settings(Checked):
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
    f: str = setting("l1", "function of Z", one_of(FUNCTIONS))
    g: str = setting("l1", "function of E, its weight is 1", one_of(FUNCTIONS))
    # network
    depths: tuple[int, ...] = setting((5, 10, 15), "numbers of layers K to compare", at_least(1))
    initialization: str = setting("pseudo_inverse", "weights W1 of the untrained network", one_of(INITIALIZATIONS))
    weights: str = setting("free", "of layers; tied: one for all; scalar: few; convergent: repeatable", one_of(WEIGHTS))
    activation: str = setting("piecewise_linear", "activations eta and zeta of every layer", one_of(ACTIVATIONS))
    beta: float = setting(8.0, "penalty beta of the untrained network; 0: found in the image", between(0, 1e6))
    # training
    training: tuple[str, ...] = setting(("unsupervised", "self_supervised"), "what to learn from", one_of(SOURCES))
    training_images: str = setting("shipped", "clean images to learn from: shipped, shipped_and_drawn, or a folder")
    training_rates: tuple[float, ...] = setting((), "lowest and highest rate of their noise", between(1e-4, 1), True)
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
        """The kind of damage in the image, a name in data.damage.DAMAGES."""
        return self.corruption if self.noise == "same" else self.noise


class Experiment:
    """What all methods of a run share, made once, and with it every check, before any work.

    Trainings are saved in a folder, from which interrupted ones go on; None: in none.
    """

    def __init__(self, settings: Settings, seen: Observation | None = None, saved_in: str | None = None) -> None:
        check_use(settings)
        self.settings, self.depths = settings, sorted(settings.depths)
        A = load_dictionary(settings.dictionary)
        self.seen = observe(settings, patch_side(len(A))) if seen is None else seen
        self.problem = pose(settings, A, self.seen)
        self.lessons = {name: pick_lesson(name, settings, self.seen, self.problem) for name in settings.training}
        self.build(1, "AZ")  # refuses choices that do not fit the problem
        inputs = self.seen.inputs() | {"dictionary": self.problem.A, "constraint": self.problem.B}
        for source, _ in self.lessons.values():
            inputs |= source.inputs()
        work, device = sum(self.depths) * settings.epochs * settings.patches_per_epoch, self.seen.pixels.device
        self.compiled = pick_compiled(settings.compile, work, device)
        self.precision = pick_precision(settings.precision, device)
        made_by = provenance("main_lena", asdict(settings), inputs, device, self.compiled, self.precision)
        self.progress = Progress(saved_in, made_by)

    def build(self, depth: int, restored: str) -> DLADMM:
        """A fresh network of `depth` layers for the problem; `restored`: a name in models.dladmm.RESTORED."""
        choices = self.settings.chosen("initialization", "activation", "weights") | {"beta": self.settings.beta or None}
        problem, some = self.problem, slice(None, None, max(len(self.seen.X) // 500, 1))
        network = DLADMM(problem.A, depth, B=problem.B, f=problem.f, g=problem.g, restored=restored, **choices)
        network.begin(Samples(self.seen.X, self.seen.X_mask).at(some))
        return network


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the settings, runs the experiment, and writes what it found beside the published figures."""
    settings = parse_settings(Settings, __doc__, argv, ("results_dir", "checkpoint_dir"), published_settings())
    with script(), output_folders(settings):
        report(settings, run(settings, settings.checkpoint_dir))


def run(settings: Settings, saved_in: str | None = None) -> Outcome:
    """The experiment from top to bottom. PSNR and SSIM compare restored images with the clean one."""
    experiment = Experiment(settings, saved_in=saved_in)
    classical, trace = restore_classically(experiment)
    learned = [learn(experiment, training, depth) for training in experiment.lessons for depth in experiment.depths]
    deepest = learned[len(experiment.depths) - 1].network  # of the first training
    unlike = experiment.seen.out_of_distribution(**settings.chosen("corruption", "safeguard_noise_rate", "seed"))
    guarded = solvers.compare_safeguard(deepest, unlike, settings.safeguard_layers, settings.ladmm_beta)
    return Outcome(experiment.seen, classical, learned, trace, guarded, experiment.progress)


def observe(settings: Settings, side: int) -> Observation:
    """The corrupted image, cut into patches. No method sees the clean one: it only measures what they return."""
    stored, damage = load_pixels(settings.image), DAMAGES.get(settings.corruption)
    image = to_image(stored)
    clean = None if damage is None else image
    noisy = image if damage is None else damage.corrupt(image, settings.noise_rate, settings.seed)
    grid = PatchGrid(image.shape, side, settings.stride or side)
    find_mask = mask_finder(settings.positions, image.shape)
    return Observation(noisy, grid, pick_device(settings.device), find_mask, settings.replace, clean, stored.dtype)


def pose(settings: Settings, A: Tensor, seen: Observation) -> Problem:
    """The problem min f(Z) + g(E) s.t. A Z + B E = X, for every patch X of the noisy image."""
    f, g = FUNCTIONS[settings.f](settings.alpha), FUNCTIONS[settings.g]()
    problem = Problem(A.to(seen.pixels), B=load_constraint(settings.constraint), f=f, g=g)
    problem.check_feasible()
    problem.known(seen.X_mask)  # refuses a mask where it has no meaning
    return problem


def restore_classically(experiment: Experiment) -> tuple[list[Restoration], list[Row]]:
    """What learns nothing: 3 x 3 median; untrained networks; LADMM with as many iterations as layers, and to its end,
    with the rows of all its iterations."""
    seen, restored = experiment.seen, next(iter(experiment.lessons.values()))[0].restored
    methods = [seen.measured("noisy", seen.noisy), seen.filtered("median", median_filter, size=3, axes=(0, 1))]
    for depth in experiment.depths:
        network = experiment.build(depth, restored)
        methods.append(seen.solved("untrained", solvers.solve_with_network, network, seen.X, seen.X_mask))
    how = experiment.settings.chosen("ladmm_beta", "ladmm_tolerance", "ladmm_max_iterations").values()
    ladmm, trace = solvers.run_ladmm(experiment.problem, seen, experiment.depths, *how)
    return [*methods, *ladmm], trace


def learn(experiment: Experiment, training: str, depth: int) -> Learned:
    """A fresh network learns, and its last layer restores the image. Seconds count both, and the PSNR of every epoch.

    The loop over batches is in models/training.py. An interrupted training goes on after its last finished epoch.
    """
    watch, seen, settings, progress = Stopwatch(), experiment.seen, experiment.settings, experiment.progress
    source, loss = deepcopy(experiment.lessons[training])  # every network begins with the same draws
    network = experiment.build(depth, source.restored)
    engine = Training(
        network, source, LayerLosses(network, loss, experiment.compiled), settings.epochs, settings.patches_per_epoch,
        captured=settings.compile != "no", precision=experiment.precision,
        **settings.chosen("batch_size", "learning_rate", "layer_discount"),
    )  # fmt: skip
    name = f"dladmm_d{depth:02d}" + ("" if training == settings.training[0] else f"_{training}")
    history, seconds_before = progress.resume(name, engine)
    epoch_seconds = []
    for epoch in (bar := epoch_bar(engine, name)):
        image = seen.image_of(solvers.restore_patches(network, seen.X, seen.X_mask))
        source.after_epoch(image, epoch.number / engine.epochs)
        row = {"training": training, "depth": depth, "epoch": epoch.number, "loss": epoch.loss}
        history.append(row | {"psnr": seen.psnr(image)})
        epoch_seconds.append(epoch.seconds)
        progress.save(name, engine, history, seconds_before + watch.seconds())
        bar.set_postfix(loss=epoch.loss, psnr=history[-1]["psnr"])
    solutions = solvers.solve_with_network(network, seen.X, seen.X_mask)
    image, seconds = seen.image_of(solutions[-1].patches), seconds_before + watch.seconds()
    columns = source.knowledge(settings.noise_of_image, settings.training_images)
    columns |= {"training": training, "training_loss": history[-1]["loss"]}
    restoration = seen.measured("dladmm", image, seconds, solutions[-1], **columns)
    return Learned(name, network, restoration, history, seen.layer_rows(training, solutions), epoch_seconds)


if __name__ == "__main__":
    main()
