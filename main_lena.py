"""D-LADMM (Xie et al., ICML 2019) on the corrupted Lena: K layers of learned linearized ADMM restore a noisy image.

Trains one network per depth and training, by default on the corrupted image alone, and restores the image with each.
Tables and pictures go to the results folder, networks to the checkpoint folder; `python -m utils.restore` uses them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from scipy.ndimage import median_filter

from data.corruption import CORRUPTIONS
from data.dictionary import load_constraint, load_dictionary
from data.images import load_pixels, to_image
from data.masks import POSITIONS, mask_finder
from data.patches import PatchGrid, patch_side
from models import DLADMM, Problem
from models.activations import ACTIVATIONS
from models.dladmm import WEIGHTS
from models.functions import FUNCTIONS, built_from_number
from models.initialization import INITIALIZATIONS
from models.losses import LOSSES, Loss, pick_loss
from utils.evaluation import solvers
from utils.evaluation.observation import REPLACE, Observation
from utils.evaluation.records import Classical, EpochRecord, Learned, SafeguardRecord
from utils.reporting.outputs import output_folders, report
from utils.running.devices import COMPILE, DEVICES, pick_compiled, pick_device
from utils.running.errors import script
from utils.running.provenance import Run
from utils.running.settings import at_least, between, one_of, parse_settings, positive, setting
from utils.training.optimization import Descent, EpochMonitor, layer_losses, layer_weights
from utils.training.progress import Plan, Progress, TrainingProgress, inputs_of
from utils.training.samples import Source
from utils.training.sources import TRAININGS


@dataclass(frozen=True)
class Settings:
    """The hyperparameters. Edit the defaults here, or give any of them on the command line: --noise-rate 0.2"""

    # image and corruption
    image: str = setting("lena", "lena, another name in data/images.py, or the path of an image file")
    corruption: str = setting("salt_and_pepper", "how to corrupt it; none: it is damaged", one_of(CORRUPTIONS))
    noise_rate: float = setting(0.1, "probability that a pixel, or a block of them, is corrupted", between(0, 1))
    seed: int = setting(1126, "seed of the corruption and of the training patches", at_least(0))
    positions: str = setting("unknown", POSITIONS)
    replace: str = setting("all", "pixels to replace by restored ones; corrupted: if known", one_of(REPLACE))
    # problem: min f(Z) + g(E)  s.t.  A Z + B E = X, by default alpha |Z|_1 + |E|_1 and B = I
    dictionary: str = setting("shipped", "dictionary A: shipped, or the path of a file like data/dictionary.npz")
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
    training: tuple[str, ...] = setting(("unsupervised", "self_supervised"), "what to learn from", one_of(TRAININGS))
    training_images: str = setting("shipped", "the clean others: shipped, or a folder of photographs")
    training_rates: tuple[float, ...] = setting((), "lowest and highest rate of their noise", between(1e-4, 1))
    loss: str = setting("auto", "of every layer; auto: the first that fits the training", one_of(["auto", *LOSSES]))
    layer_discount: float = setting(0.5, "weight of a layer's loss relative to the next layer's", between(0, 1))
    epochs: int = setting(30, "epochs of training", at_least(1))
    patches_per_epoch: int = setting(10_000, "patches drawn afresh for every epoch", at_least(1))
    batch_size: int = setting(500, "patches in a training step, of all processes together", at_least(1))
    learning_rate: float = setting(0.08, "peak learning rate, relative to the size of each tensor", positive)
    # evaluation
    stride: int = setting(0, "pixels from one restored patch to the next; 0: a patch's side, no overlap", at_least(0))
    ladmm_beta: float = setting(3.0, "penalty beta of classical LADMM", positive)
    ladmm_tolerance: float = setting(0.01, "relative duality gap at which classical LADMM has converged", positive)
    ladmm_max_iterations: int = setting(2000, "iterations for which classical LADMM is followed", at_least(1))
    # safeguard: the deepest network on out-of-distribution inputs
    safeguard_layers: int = setting(200, "layers to run, the last one repeated", at_least(1))
    safeguard_noise_rate: float = setting(0.8, "noise rate of the image that it is run on", between(0, 1))
    # run
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))
    compile: str = setting("auto", "compile the training; auto: where it is long enough to pay off", one_of(COMPILE))
    results_dir: str = setting("results", "folder of the tables and pictures")
    checkpoint_dir: str = setting("checkpoints", "folder of the trained networks")


def main(argv: Sequence[str] | None = None) -> None:
    """The experiment from top to bottom. PSNR and SSIM compare restored images with the clean one."""
    settings = parse_settings(Settings, __doc__, argv, folders=("results_dir", "checkpoint_dir"))
    with script(), output_folders(settings):
        observation = observe(settings)
        problem = pose(settings, observation)
        plans = [plan_training(training, settings, observation, problem) for training in settings.training]
        run = Run(asdict(settings), inputs_of(observation, problem, plans), observation.X.device, plans[0].compiled)
        progress = Progress(settings.checkpoint_dir, run)
        classical = restore_classically(settings, observation, problem, plans[0])
        learned = [trained for plan in plans for trained in learn(plan, settings, observation, progress)]
        safeguard = run_safeguard(plans[0].networks[-1], settings, observation)  # the deepest
        report(settings, observation, classical, learned, safeguard, progress)  # beside the published figures


def observe(settings: Settings) -> Observation:
    """The corrupted image, cut into patches. No method sees the clean one: it only measures what they return."""
    stored, corrupt = load_pixels(settings.image), CORRUPTIONS[settings.corruption]
    image = to_image(stored)
    noisy, clean = (image, None) if corrupt is None else (corrupt(image, settings.noise_rate, settings.seed), image)
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
    problem.check_mask(observation.X_mask)
    return problem


def plan_training(training: str, settings: Settings, observation: Observation, problem: Problem) -> Plan:
    """Unsupervised: on patches of the noisy image the loss is f(Z) + g(E) at E := X − A Z, as in the paper.

    Self-supervised: these patches are corrupted once more, and the loss is the distance to the noisy image.
    """
    samples = TRAININGS[training](observation, settings)
    loss = pick_loss(settings.loss, training, samples.targets, problem.masked(observation.X_mask))
    choices = {name: getattr(settings, name) for name in ("beta", "initialization", "activation", "weights")}
    choices |= {"B": problem.B, "f": problem.f, "g": problem.g, "restored": samples.restored}
    networks = [DLADMM(problem.A, depth, **choices) for depth in sorted(settings.depths)]
    work = sum(settings.depths) * settings.epochs * settings.patches_per_epoch
    return Plan(training, networks, samples, loss, pick_compiled(settings.compile, work, observation.X.device))


def restore_classically(settings: Settings, observation: Observation, problem: Problem, plan: Plan) -> Classical:
    """What learns nothing: 3 x 3 median; untrained networks; LADMM with as many iterations as layers, to its end."""
    X, mask = observation.X, observation.X_mask
    ladmm = problem.masked(mask), X, settings.ladmm_beta
    methods = [observation.measured("noisy", observation.noisy)]
    methods += [observation.filtered("median", median_filter, size=3, axes=(0, 1))]
    methods += [observation.solved("untrained", solvers.solve_with_last_layer, n, X, mask) for n in plan.networks]
    methods += [observation.solved("ladmm", solvers.solve_with_ladmm, *ladmm, d) for d in sorted(settings.depths)]
    end = settings.ladmm_tolerance, settings.ladmm_max_iterations
    methods += [observation.solved("ladmm", solvers.solve_to_convergence, *ladmm, *end)]
    return Classical(methods, observation.ladmm_records(solvers.follow_ladmm(*ladmm, settings.ladmm_max_iterations)))


def learn(plan: Plan, settings: Settings, observation: Observation, progress: Progress) -> Iterator[Learned]:
    """A network learns, and its last layer restores the image. Seconds count both, and the PSNR of every epoch."""
    X, mask, told = observation.X, observation.X_mask, plan.samples.side_information(settings)
    other = "" if plan.training == settings.training[0] else f"_{plan.training}"
    for network in plan.networks:
        depth = len(network.layers)
        own = progress.training(f"dladmm_d{depth:02d}{other}")
        losses = train(network, plan.samples, plan.loss, settings, plan.compiled, own)
        for loss in own.bar(losses, settings.epochs):
            epoch, image = len(own.history) + 1, observation.image_of(solvers.restore_patches(network, X, mask))
            plan.samples.after_epoch(image, epoch / settings.epochs)
            own.finish_epoch(EpochRecord(plan.training, depth, epoch, loss, observation.psnr(image)))
        solutions = solvers.solve_with_network(network, X, mask)
        image = observation.image_of(solutions[-1].patches)
        columns = {"training": plan.training, "training_loss": own.history[-1].loss}
        restoration = observation.measured("dladmm", image, own.seconds(), solutions[-1], told, **columns)
        yield Learned(own.name, network, restoration, own.history, observation.layer_records(plan.training, solutions))


def train(
    network: DLADMM, samples: Source, loss: Loss, settings: Settings, compiled: bool, progress: TrainingProgress
) -> Iterator[float]:
    """Trains the network in place; after every epoch yields the loss of the last layer, mean over the epoch.

    Patches are drawn afresh for every epoch. In every step the weighted losses of all layers go backward through the
    network, and Adam changes its weights: with a rate relative to the size of each tensor, that rises in a line and
    falls like a cosine. If the same command was interrupted, training goes on after its last finished epoch.
    """
    losses_of, weights = layer_losses(network, loss, compiled), layer_weights(network, settings.layer_discount)
    steps = settings.epochs * math.ceil(settings.patches_per_epoch / settings.batch_size)
    descent = Descent(network, settings.learning_rate, steps)
    samples.restart()  # every depth learns from the same draws
    finished = progress.resume(network=network.layers, descent=descent, samples=samples)
    for epoch in range(finished + 1, settings.epochs + 1):
        monitor = EpochMonitor(network, epoch)
        for batch in samples.draw(settings.patches_per_epoch).batches(settings.batch_size):
            losses = losses_of(batch)  # (K,): the loss after every layer, summed over the batch
            descent.step(weights @ losses / batch.size)
            monitor.after_step(losses)
        yield monitor.mean_loss(settings.patches_per_epoch)


def run_safeguard(network: DLADMM, settings: Settings, observation: Observation) -> list[SafeguardRecord]:
    """The network beyond its depth, with and without the safeguard, on out-of-distribution inputs."""
    corrupt, rate = CORRUPTIONS[settings.corruption], settings.safeguard_noise_rate
    inputs = observation.out_of_distribution(corrupt, rate, settings.seed)
    return solvers.compare_safeguard(network, inputs, settings.safeguard_layers, settings.ladmm_beta)


if __name__ == "__main__":
    main()
