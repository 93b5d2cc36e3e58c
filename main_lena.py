"""D-LADMM (Xie et al., ICML 2019) on the corrupted Lena: K layers of learned linearized ADMM restore a noisy image.

Trains one network per depth, by default on patches of the corrupted image alone, restores the image with each, and
writes the table of results, the restored images and the curves to the results folder, and the networks to the
checkpoint folder. With a network that is trained already, `python -m utils.restore` restores any image.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import median_filter
from tqdm import tqdm

from data.corruption import CORRUPTIONS
from data.dictionary import load_constraint, load_dictionary
from data.images import load_pixels, to_image
from data.patches import PatchGrid
from data.positions import known_positions
from models import DLADMM, Problem
from models.activations import ACTIVATIONS
from models.functions import FINITE_FUNCTIONS, FUNCTIONS
from models.starts import STARTS
from utils import figures
from utils.command_line import at_least, bad_input_ends_here, between, one_of, parse_settings, positive, setting
from utils.device import COMPILE, DEVICES, pick_compiled, pick_device
from utils.evaluation import (
    compare_safeguard,
    follow_ladmm,
    solve_to_convergence,
    solve_with_ladmm,
    solve_with_network,
)
from utils.files import FolderLock, check_folder, check_input
from utils.observation import REPLACE, Observation, Stopwatch
from utils.outputs import write_outputs
from utils.processes import process_number
from utils.progress import Progress
from utils.provenance import Run
from utils.script import script
from utils.tables import EpochRecord, LADMMRecord, LayerRecord, results_markdown, worth
from utils.training import LOSS_NAMES, TRAININGS, Trainer, check_training, pick_loss, training_corruption


@dataclass(frozen=True)
class Settings:
    """The hyperparameters. Edit the defaults here, or give any of them on the command line: --noise-rate 0.2"""

    # image and corruption
    image: str = setting("lena", "lena, another name in data/images.py, or the path of an image file")
    corruption: str = setting(
        "salt_and_pepper", "how the image is corrupted; none: it is damaged already", one_of(CORRUPTIONS)
    )
    noise_rate: float = setting(0.1, "probability that a pixel, or a block of them, is hit", between(0, 1))
    seed: int = setting(1126, "seed of the corruption and of the training patches", at_least(0))
    positions: str = setting(
        "unknown", "corrupted pixels: unknown, extremes (the black and white ones), or a mask image, not black there"
    )
    replace: str = setting("all", "pixels that are replaced by restored ones; corrupted: if known", one_of(REPLACE))
    # problem: min f(Z) + g(E)  s.t.  A Z + B E = X, by default alpha |Z|_1 + |E|_1 and B = I
    dictionary: str = setting("shipped", "dictionary A: shipped, or the path of a file like data/dictionary.npz")
    constraint: str = setting("identity", "matrix B: identity, or the path of an .npz file with an array B")
    alpha: float = setting(0.7, "weight of f", positive)
    f: str = setting("l1", "function of Z", one_of([name for name in FUNCTIONS if name != "weighted_l1"]))
    g: str = setting("l1", "function of E, its weight is 1", one_of(FINITE_FUNCTIONS))
    # network
    depths: tuple[int, ...] = setting((5, 10, 15), "numbers of layers K to compare", at_least(1))
    start: str = setting("pseudo_inverse", "weights of the untrained network", one_of(STARTS))
    activation: str = setting("piecewise_linear", "of every layer; the default is not for f = box", one_of(ACTIVATIONS))
    beta: float = setting(8.0, "penalty beta of the untrained network", positive)
    # training
    training: str = setting(
        "unsupervised", "unsupervised on the noisy image, supervised on clean others", one_of(TRAININGS)
    )
    loss: str = setting("auto", "training loss of a layer; auto: the first that fits the training", one_of(LOSS_NAMES))
    training_rates: tuple[float, ...] = setting(
        (), "lowest and highest noise rate of supervised training; none: the noise rate", between(1e-4, 1)
    )
    layer_discount: float = setting(0.5, "weight of a layer's loss relative to the next layer's", between(0, 1))
    epochs: int = setting(30, "epochs of training", at_least(1))
    patches_per_epoch: int = setting(10_000, "patches drawn afresh for every epoch", at_least(1))
    batch_size: int = setting(500, "patches in a training step, of all processes together", at_least(1))
    learning_rate: float = setting(0.08, "peak learning rate, relative to the size of each tensor", positive)
    # evaluation
    stride: int = setting(
        16, "pixels from one restored patch to the next; smaller ones overlap and are averaged", at_least(1)
    )
    ladmm_beta: float = setting(3.0, "penalty beta of classical LADMM", positive)
    ladmm_tolerance: float = setting(0.01, "relative duality gap at which classical LADMM has converged", positive)
    ladmm_max_iterations: int = setting(2000, "iterations for which classical LADMM is followed", at_least(1))
    # safeguard: the deepest network on inputs far from its training
    safeguard_layers: int = setting(200, "layers to run it for, the last one repeated", at_least(1))
    safeguard_noise_rate: float = setting(0.8, "noise rate of the image that it is run on", between(0, 1))
    # run
    device: str = setting("auto", "where to compute; auto takes CUDA if it is there", one_of(DEVICES))
    compile: str = setting("auto", "compile the training; auto: where it is long enough to pay", one_of(COMPILE))
    results_dir: str = setting("results", "folder of the tables and pictures")
    checkpoint_dir: str = setting("checkpoints", "folder of the trained networks")


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the settings, and runs the experiment in folders that are its own until it ends."""
    settings = parse_settings(Settings, __doc__, argv)
    with bad_input_ends_here():
        results_dir, checkpoint_dir = check_folder(settings.results_dir), check_folder(settings.checkpoint_dir)
        check_input(settings.image, results_dir)
        lock = FolderLock(*((results_dir, checkpoint_dir) if process_number() == 0 else ()))
    with lock:
        experiment(settings, results_dir, checkpoint_dir)


def experiment(settings: Settings, results_dir: Path, checkpoint_dir: Path) -> None:
    """The experiment, from the image to the outputs."""
    with bad_input_ends_here():
        device = pick_device(settings.device)

        # The image is corrupted. The clean one is shown to no method; it only measures what they return.
        stored = load_pixels(settings.image)
        image = to_image(stored)
        corrupt = CORRUPTIONS[settings.corruption]
        clean = None if settings.corruption == "none" else image
        A = load_dictionary(settings.dictionary).to(device)
        grid = PatchGrid(image.shape, patch=math.isqrt(A.shape[0]), stride=settings.stride)
        weigh = known_positions(settings.positions, image.shape)
        noisy = corrupt(image, rate=settings.noise_rate, seed=settings.seed)
        observation = Observation(noisy, grid, device, weigh, settings.replace, clean)
        X, X_weights = observation.X, observation.X_weights

        # The problem, and the networks that are to solve it.
        B = load_constraint(settings.constraint)
        problem = Problem(A, B=B, f=FUNCTIONS[settings.f](settings.alpha), g=FUNCTIONS[settings.g]())
        problem.check_feasible()
        training = TRAININGS[settings.training]
        check_training(training, settings.image, settings.positions)
        start = {"beta": settings.beta, "start": settings.start, "activation": settings.activation}
        start |= {"B": B, "f": problem.f, "g": problem.g, "restored": training.restored}
        networks = {depth: DLADMM(A, depth, **start) for depth in sorted(settings.depths)}
        problem = problem.weighted(X_weights)
        loss = pick_loss(settings.loss, training, problem)
        corrupt_others = training_corruption(training, corrupt, settings.noise_rate, settings.training_rates)
        work = sum(networks) * settings.epochs * settings.patches_per_epoch
        compiled = pick_compiled(settings.compile, work, device)

        # What the results depend on; where the same run was interrupted, its training goes on.
        inputs = {"image": torch.from_numpy(image), "dictionary": A, "constraint": B, "positions": observation.weights}
        run = Run(asdict(settings), **inputs)
        progress = Progress(checkpoint_dir, run)

    # Methods that learn nothing: the 3 x 3 median; LADMM, with as many iterations as layers, and to convergence.
    uncorrected = observation.measured("noisy", noisy)
    watch = Stopwatch()
    filtered = median_filter(noisy, size=3, axes=(0, 1))
    median = observation.measured("median", filtered, watch.seconds())
    beta, most = settings.ladmm_beta, settings.ladmm_max_iterations
    ladmm = [observation.solved("ladmm", solve_with_ladmm, problem, X, beta, depth) for depth in networks]
    converged = observation.solved("ladmm", solve_to_convergence, problem, X, beta, settings.ladmm_tolerance, most)
    trace = [
        LADMMRecord(each.iteration, each.objective, observation.psnr(each), each.gap)
        for each in follow_ladmm(problem, X, beta, most)
    ]

    # D-LADMM: a network of each depth learns, by default from the noisy image alone, and its last layer restores it.
    knows = replace(training.knows, corrupted_positions=observation.knows.corrupted_positions)
    dladmm, history, layers = {}, [], []
    for depth, network in networks.items():
        watch, name = Stopwatch(), f"dladmm_d{depth:02d}"
        source = training.source(observation, grid.patch, corrupt_others, weigh, settings.seed)
        trainer = Trainer(
            network, source, loss, epochs=settings.epochs, patches_per_epoch=settings.patches_per_epoch,
            batch_size=settings.batch_size, learning_rate=settings.learning_rate,
            layer_discount=settings.layer_discount, compiled=compiled,
        )  # fmt: skip
        epochs, before = progress.resume(name, trainer=trainer, source=source)
        quiet = process_number() > 0
        bar = tqdm(trainer, f"d = {depth}", settings.epochs, unit="epoch", initial=len(epochs), disable=quiet)
        for epoch_loss in bar:
            answer = solve_with_network(network, X, X_weights)[-1]
            epochs.append(EpochRecord(depth, len(epochs) + 1, epoch_loss, observation.psnr(answer)))
            progress.save(name, epochs, before + watch.seconds(), trainer=trainer, source=source)
            bar.set_postfix(loss=f"{epoch_loss:.3f}", psnr="unknown" if clean is None else f"{epochs[-1].psnr:.2f}")
        history += epochs
        solutions = solve_with_network(network, X, X_weights)
        restored, seconds = observation.image_of(solutions[-1]), before + watch.seconds()
        layers += [LayerRecord(depth, s.iteration, s.objective, observation.psnr(s), s.gap) for s in solutions]
        same_objective, same_psnr = worth(trace, layers[-1].objective, layers[-1].psnr)
        dladmm[name] = observation.measured(
            "dladmm", restored, seconds, solutions[-1], knows=knows, training_loss=epochs[-1].loss,
            ladmm_same_objective=same_objective, ladmm_same_psnr=same_psnr,
        )  # fmt: skip

    # The safeguard: the deepest network, with more layers than it has, on an image far noisier and on no image at all.
    far = {"random image": np.random.default_rng(settings.seed).random(image.shape, dtype=np.float32)}
    if clean is not None:
        noisier = corrupt(clean, rate=settings.safeguard_noise_rate, seed=settings.seed)
        far = {f"noise rate {settings.safeguard_noise_rate:g}": noisier} | far
    safeguard = []
    for name, pixels in far.items():
        there = Observation(pixels, grid, device, weigh)
        safeguard += compare_safeguard(network, name, there.X, settings.safeguard_layers, beta, there.X_weights)

    # Outputs: all of them, or none if anything fails; where several processes trained together, of the first alone.
    if process_number() > 0:
        return
    table = [restoration.result for restoration in (uncorrected, median, *ladmm, converged, *dladmm.values())]
    markdown = results_markdown(table, longest=trace[-1].iteration, settings=asdict(settings))
    pictures = {} if clean is None else {"clean": clean}
    pictures |= {"noisy": noisy, "ladmm": converged.image}
    pictures |= {name: restoration.image for name, restoration in dladmm.items()}
    shown = [uncorrected, ladmm[-1], converged, *dladmm.values()]
    curves = figures.of_run(clean, shown, history, layers, trace, converged.result, safeguard)
    tables = {"results": table, "history": history, "layers": layers, "ladmm": trace, "safeguard": safeguard}
    trained = dict(zip(dladmm, networks.values(), strict=True))
    write_outputs(results_dir, checkpoint_dir, run, tables, pictures, curves, trained, markdown, stored.dtype)
    progress.remove()
    print(markdown, f"Tables and pictures are in {results_dir}/, networks in {checkpoint_dir}/.", sep="\n")


if __name__ == "__main__":
    with script():
        main()
