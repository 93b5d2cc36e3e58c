"""Speed: a training epoch and a restored Lena, beside the machine's own matrix products and the authors' loop.

`python -m tests.benchmarks.speed` (five minutes, on Linux with a C++ compiler) writes results/speed.md, tables of
seconds, GFLOP/s and memory, and asserts nothing. All that it compares is measured in turns in one process, and every
figure is a median. With `--device cuda` it measures a GPU instead: see tests/benchmarks/gpu.py.
"""

import argparse
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from data.dictionary import load_dictionary
from data.images import load_image
from data.patches import PatchGrid, patch_side
from main_lena import Settings
from models import DLADMM
from models.losses import LOSSES
from models.training import Epoch, LayerLosses, Training, compile_layers
from tests.benchmarks import authors_loop, gpu
from tests.helpers import salt_and_pepper
from utils.evaluation.metrics import psnr
from utils.evaluation.observation import Observation
from utils.evaluation.restoration import restored_image
from utils.evaluation.solvers import BATCH
from utils.reporting.published import PUBLISHED
from utils.running.devices import pick_precision
from utils.running.files import all_or_nothing
from utils.running.provenance import Run
from utils.sources.base import PatchSource
from utils.sources.clean import NoisyAndCleanPatches
from utils.sources.noisy import NoisyPatches

RUNS, AUTHORS_EPOCHS = 3, 2
SLOW_SHARE = 4  # of the authors' epochs, and of those that are not compiled, only one part in so many is timed
SETTINGS = Settings()
CPU = torch.device("cpu")
M, N = load_dictionary().shape
SIDE = patch_side(M)
PRODUCT = 2 * M * N  # FLOP of a product with A or W1 for one patch


ABOUT = """# Speed

A layer's forward and backward pass is five matrix products and dozens of passes over its tensors, most of them for the
activations. A training that is long enough to pay for it (`--compile auto`) compiles each layer with its loss, by
`torch.compile`, which fuses these passes; layers are also compiled to restore a large image. It takes a C++ compiler.

GFLOP/s count the matrix products alone: two for a patch and a layer in restoring, five in training. "Of the products"
is the share of the machine's own products of the same shapes. The authors' loop is a transcription in
`tests/benchmarks/authors_loop.py`: batches of 20, samples in columns, their loss. "Times the authors'" is the ratio of
GFLOP/s; "1 / 4": a quarter of an epoch is timed. All figures are medians, measured in turns in one process.
"""
LINES = []  # of the report


class Work(NamedTuple):
    """Something to measure: a function that takes it one step on, and the FLOP of its matrix products."""

    name: str
    step: Callable[[], object]
    flop: float
    yardstick: str | None = None  # of the machine: another work's name
    authors: str | None = None  # likewise, of the authors' loop


def say(line: str) -> None:
    """Prints a line and keeps it for the report."""
    print(line, flush=True)
    LINES.extend(line.split("\n"))


def timed(step: Callable[[], object]) -> float:
    """Seconds of one step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def median_after_the_first(step: Callable[[], object]) -> float:
    """Seconds of one of the steps after the first."""
    step()
    return statistics.median(timed(step) for _ in range(RUNS))


def observed(copies: int = 1) -> Observation:
    """The noisy Lena, so many times in a square."""
    clean = np.tile(load_image("lena"), (copies, copies))
    noisy = salt_and_pepper(clean, SETTINGS.noise_rate, SETTINGS.seed)
    return Observation(noisy, PatchGrid(noisy.shape, SIDE, SIDE), CPU, clean=clean)


def network(depth: int, activation: str = SETTINGS.activation, compiled: bool = False) -> DLADMM:
    """The default network, not trained; its layers are compiled as for a large image, if so."""
    names = ("alpha", "beta", "initialization")
    settings = {name: getattr(SETTINGS, name) for name in names}
    built = DLADMM(load_dictionary(), depth, activation=activation, **settings)
    if compiled:
        compile_layers(built)
    return built


def noisy_patches(observation: Observation) -> NoisyPatches:
    """What the default training draws from."""
    return NoisyPatches(observation.pixels, SIDE, SETTINGS.seed)


def epochs(
    trained: DLADMM,
    source: PatchSource,
    patches: int = SETTINGS.patches_per_epoch,
    compiled: bool = True,
    precision: str = "float32",
) -> Iterator[Epoch]:
    """A training with the default settings, an epoch with every step."""
    losses = LayerLosses(trained, LOSSES[source.loss], compiled)
    rates = SETTINGS.learning_rate, SETTINGS.layer_discount
    return iter(
        Training(trained, source, losses, SETTINGS.epochs, patches, SETTINGS.batch_size, *rates, precision=precision)
    )


def restore(trained: DLADMM, observation: Observation) -> torch.Tensor:
    """The restored image."""
    return restored_image(trained, observation.grid, observation.pixels)


def authors_patches(observation: Observation) -> torch.Tensor:
    """The training patches of an epoch as columns, drawn in a random order."""
    return noisy_patches(observation).draw(SETTINGS.patches_per_epoch).X.T.contiguous()


def authors_training(depth: int, columns: torch.Tensor) -> tuple[authors_loop.AuthorsNetwork, Callable[[], None]]:
    """Their network, with the dictionary scaled to the norm 1 that their start needs, and its next epoch."""
    A, count = load_dictionary(), itertools.count()
    trained = authors_loop.AuthorsNetwork(A / torch.linalg.matrix_norm(A, 2), depth)
    return trained, lambda: authors_loop.train_epoch(trained, columns, next(count))


def products(batch: int, training: bool, times: int) -> Callable[[], None]:
    """The matrix products of a layer: v W1 and A Z, and in training the gradients of v, of W1 and of Z as well."""
    v, Z, W1 = torch.randn(batch, M), torch.randn(batch, N), torch.randn(M, N)

    def step() -> None:
        for _ in range(times):
            v @ W1
            Z @ W1.T
            if training:
                Z @ W1.T
                v.T @ Z
                v @ W1

    return step


def works(observation: Observation) -> list[Work]:
    """All that is measured in turns."""
    batch, side = SETTINGS.batch_size, 2048
    square = torch.randn(side, side)
    found = [
        Work(f"products, {side} x {side}", lambda: square @ square, 2 * side**3),
        Work("products of training", products(batch, True, 300), 300 * 5 * PRODUCT * batch),
        Work("products of restoring", products(BATCH["cpu"], False, 120), 120 * 2 * PRODUCT * BATCH["cpu"]),
    ]
    return found + works_of_training(observation) + works_of_restoring(observation)


def works_of_training(observation: Observation) -> list[Work]:
    """Epochs of the authors' loop and of ours."""
    found, deepest, patches = [], SETTINGS.depths[-1], SETTINGS.patches_per_epoch
    few, theirs = patches // SLOW_SHARE, f"authors' epoch, 1 / {SLOW_SHARE}"
    columns = authors_patches(observation)[:, :few].contiguous()

    def add(name: str, depth: int, step: Callable[[], object], patches: int) -> None:
        authors = None if name == theirs else f"{theirs}, d = {depth}"
        found.append(Work(f"{name}, d = {depth}", step, 5 * PRODUCT * patches * depth, "products of training", authors))

    for depth in SETTINGS.depths:
        add(theirs, depth, authors_training(depth, columns)[1], few)
    for depth in SETTINGS.depths:
        add("epoch", depth, epochs(network(depth), noisy_patches(observation)).__next__, patches)
    if pick_precision("auto", CPU) == "bfloat16":
        rounded = epochs(network(deepest), noisy_patches(observation), precision="bfloat16")
        add("products in bfloat16", deepest, rounded.__next__, patches)
    eager = epochs(network(deepest), noisy_patches(observation), few, compiled=False)
    add(f"not compiled, 1 / {SLOW_SHARE}", deepest, eager.__next__, few)
    add("soft thresholds", deepest, epochs(network(deepest, "proximal"), noisy_patches(observation)).__next__, patches)
    pairs = NoisyAndCleanPatches(SIDE, SETTINGS.corruption, SETTINGS.noise_rate, SETTINGS.seed)
    add("adaptive, supervised", deepest, epochs(network(deepest, "adaptive"), pairs).__next__, patches)
    return found


def works_of_restoring(observation: Observation) -> list[Work]:
    """Lena restored by the authors' network and by ours."""
    found, columns = [], observation.X.T.contiguous()
    for depth in SETTINGS.depths:
        theirs, flop = f"authors' Lena, d = {depth}", 2 * PRODUCT * len(observation.X) * depth
        step = partial(authors_loop.restore, authors_training(depth, columns)[0], columns)
        found.append(Work(theirs, step, flop, "products of restoring"))
        for name, compiled in (("Lena", True), ("Lena, not compiled", False)):
            step = partial(restore, network(depth, compiled=compiled), observation)
            found.append(Work(f"{name}, d = {depth}", step, flop, "products of restoring", theirs))
    return found


def measure(found: list[Work]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of every work: of its first step, and the median of those after it, in turns."""
    first = {work.name: timed(work.step) for work in found}
    seconds = {work.name: [] for work in found}
    for _ in range(RUNS):
        for work in found:
            seconds[work.name].append(timed(work.step))
    return first, {name: statistics.median(values) for name, values in seconds.items()}


def show(found: list[Work], first: dict[str, float], seconds: dict[str, float]) -> None:
    """The table of speed, and what compiling costs where nothing is compiled yet: the first epoch less another one."""
    rates = {work.name: work.flop / seconds[work.name] / 1e9 for work in found}
    say("\n| | seconds | GFLOP/s | of the products | times the authors' |\n| --- | --- | --- | --- | --- |")
    for work in found:
        part = f"{rates[work.name] / rates[work.yardstick]:.0%}" if work.yardstick else ""
        ratio = f"{rates[work.name] / rates[work.authors]:.1f}" if work.authors else ""
        say(f"| {work.name} | {seconds[work.name]:.3f} | {rates[work.name]:.1f} | {part} | {ratio} |")
    epoch = f"epoch, d = {SETTINGS.depths[0]}"
    more = first[epoch] - seconds[epoch]
    say(f"\nThe first epoch on a machine, d = {SETTINGS.depths[0]}, takes {more:.1f} seconds more.")


def slope(sizes: list[int], seconds: list[float]) -> float:
    """The exponent p of seconds ∝ size^p, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def show_slopes(seconds: dict[str, float], observation: Observation) -> None:
    """How time grows: 1 is linear."""
    depths, counts, copies = list(SETTINGS.depths), [5_000, 10_000, 20_000], [1, 2, 4]
    of_counts = [
        median_after_the_first(epochs(network(depths[0]), noisy_patches(observation), count).__next__)
        for count in counts
    ]
    of_areas = [
        median_after_the_first(partial(restore, network(depths[-1], compiled=True), observed(copy))) for copy in copies
    ]
    say("\n| time grows with | as the power |\n| --- | --- |")
    for what, name in (("training", "epoch"), ("restoring", "Lena")):
        say(f"| depth, {what} | {slope(depths, [seconds[f'{name}, d = {depth}'] for depth in depths]):.2f} |")
    say(f"| patches, training | {slope(counts, of_counts):.2f} |")
    say(f"| area, restoring | {slope([copy**2 for copy in copies], of_areas):.2f} |")


def memory_of_training(depth: int) -> float:
    """MB that five compiled steps take, beyond those of two layers; to be called in a process of its own."""
    for layers in (2, depth):
        steps = epochs(network(layers), noisy_patches(observed()), patches=5 * SETTINGS.batch_size)
        added = _added(steps.__next__)
    return added


def memory_of_restoring(copies: int) -> float:
    """MB that restoring adds likewise, for so many Lenas in a square."""
    return _added(partial(restore, network(SETTINGS.depths[-1]), observed(copies)))


def _added(step: Callable[[], object]) -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the most from here on
    before = _most_memory()
    step()
    return _most_memory() - before


def _most_memory() -> float:
    """The most MB that this process has had, as Linux knows it; a child's `ru_maxrss` would begin at its parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def show_memory() -> None:
    """Peak memory, each in a process of its own."""
    say("\n| peak memory above what was there before | MB |\n| --- | --- |")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for depth in (SETTINGS.depths[0], SETTINGS.depths[-1]):
            added = pool.apply(memory_of_training, (depth,))
            say(f"| training, d = {depth}, batch {SETTINGS.batch_size}, less that of d = 2 | {added:.0f} |")
        for copies in (1, 4):
            side = 512 * copies
            say(f"| restoring {side} x {side} | {pool.apply(memory_of_restoring, (copies,)):.0f} |")


def show_time_to_psnr(observation: Observation) -> None:
    """Seconds of training until the last layer restores Lena as well as published."""
    say("\n| seconds until the published PSNR | compiled before | not compiled | authors' loop |")
    say("| --- | --- | --- | --- |")
    columns, X = authors_patches(observation), observation.X.T.contiguous()

    def restored_by_theirs(trained: authors_loop.AuthorsNetwork) -> torch.Tensor:
        return observation.grid.assemble(authors_loop.restore(trained, X).T).clamp(0, 1)

    for depth in SETTINGS.depths:
        goal, times = PUBLISHED["dladmm", depth].psnr, []
        for compiled in (True, False):
            ours = network(depth)
            step = epochs(ours, noisy_patches(observation), compiled=compiled).__next__
            times.append(until(goal, step, partial(restore, ours, observation), observation, SETTINGS.epochs))
        theirs, step = authors_training(depth, columns)
        times.append(until(goal, step, partial(restored_by_theirs, theirs), observation, AUTHORS_EPOCHS))
        say(f"| {goal:.2f} dB, d = {depth} | {' | '.join(times)} |")


def until(
    goal: float,
    step: Callable[[], object],
    restored: Callable[[], torch.Tensor],
    observation: Observation,
    most: int,
) -> str:
    """Seconds of the steps until the image has that PSNR; the best that it had if it never does."""
    seconds, best = 0.0, -np.inf
    for _ in range(most):
        seconds += timed(step)
        best = max(best, psnr(restored().numpy(), observation.clean))
        if best >= goal:
            return f"{seconds:.1f}"
    return f"never in {seconds:.0f} seconds: {best:.2f} dB at best"


def main() -> None:
    """Measures and writes all tables, with a cache of compiled code that is empty at the start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what to measure (default: cpu)")
    if parser.parse_args().device == "cuda":
        return gpu.main()
    settings = {"runs": RUNS, "authors' epochs": AUTHORS_EPOCHS} | asdict(SETTINGS)
    made_by = Run(settings, command="tests.benchmarks.speed")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        measure_and_show()
    with all_or_nothing(Path(SETTINGS.results_dir)) as (results,):
        tables = "\n".join(LINES)
        (results / "speed.md").write_text(f"{ABOUT}\n{tables}\n\n{made_by.as_markdown()}", encoding="utf-8")


def measure_and_show() -> None:
    """Measures and prints all tables."""
    torch.manual_seed(SETTINGS.seed)
    observation = observed()
    found = works(observation)
    first, seconds = measure(found)
    say(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    show(found, first, seconds)
    show_slopes(seconds, observation)
    show_memory()
    show_time_to_psnr(observation)


if __name__ == "__main__":
    main()
