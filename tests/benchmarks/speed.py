"""Speed: a training epoch and a restored Lena, beside the machine's own matrix products and the authors' loop.

`python -m tests.benchmarks.speed` takes five minutes, on Linux with a C++ compiler. With `--device cuda` it measures a
GPU instead: see tests/benchmarks/gpu.py. All figures are medians, measured in turns in one process.

A layer's forward and backward pass is five matrix products and dozens of passes over its tensors, most of them for the
activations. A training that is long enough to pay for it (`--compile auto`) compiles each layer with its loss, by
`torch.compile`, which fuses these passes; layers are also compiled to restore a large image.

GFLOP/s count the matrix products alone: two for a patch and a layer in restoring, five in training. "Of products" is
the share of the machine's own products of the same shapes. The authors' loop is a transcription in
`tests/benchmarks/authors_loop.py`: batches of 20, samples in columns, their loss. "Times authors" is the ratio of
GFLOP/s; "1 / 4": a quarter of an epoch is timed. Time grows with a size as a power of it. Memory is the peak above what
was there before. A training that never has the published PSNR stands with its best.
"""

import argparse
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data.dictionary import load_dictionary
from data.patches import PatchGrid
from main_lena import Experiment, Settings
from models.training import LayerLosses, Training, compile_layers
from tests.benchmarks.authors_loop import AuthorsNetwork
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import Row
from utils.evaluation.restoration import restored_image
from utils.evaluation.solvers import BATCH, restore_patches
from utils.reporting import pages
from utils.reporting.results import PUBLISHED
from utils.reporting.tables import markdown
from utils.running.devices import pick_precision
from utils.running.provenance import Provenance
from utils.studies.study import Keep, Measured, run_study

RUNS, AUTHORS_EPOCHS = 3, 2
SLOW_SHARE = 4  # of the authors' epochs, and of those that are not compiled, only one part in so many is timed
COUNTS, COPIES = (5_000, 10_000, 20_000), (1, 2, 4)  # patches in an epoch; Lenas beside and below each other
SETTINGS = Settings(training=("unsupervised",), device="cpu", compile="no")  # `training` says what is compiled
DEPTHS, PATCHES, BATCH_SIZE = SETTINGS.depths, SETTINGS.patches_per_epoch, SETTINGS.batch_size
DEEPEST, LENA = DEPTHS[-1], Experiment(SETTINGS).seen
M, N = load_dictionary().shape
PRODUCT = 2 * M * N  # FLOP of a product with A or W1 for one patch
FORMATS = {
    "depth": ".0f", "seconds": ".3f", "GFLOP/s": ".1f", "of products": ".0%", "times authors": ".1f", "power": ".2f",
    "MB": ".0f", "goal": ".2f", "best PSNR": ".2f", "seconds to goal": lambda s: f"{s:.{int(s < 10)}f}",
}  # fmt: skip
HIDDEN = ["kind", "more at first"]  # columns
Step = Callable[[], object]


def timed(step: Step) -> float:
    """Seconds of one step, that of a GPU included."""
    settle = torch.cuda.synchronize if torch.cuda.is_available() else int
    settle()
    watch = Stopwatch()
    step()
    settle()
    return watch.seconds()


def training(depth: int, patches: int = PATCHES, compiled: bool = True, changes: Mapping = {}, **how: Any) -> Training:
    """A training of a fresh network with the settings of main_lena.py, but for these changes."""
    experiment = Experiment(replace(SETTINGS, **changes))
    ((source, loss),) = experiment.lessons.values()
    network = experiment.build(depth, source.restored)
    return Training(network, source, LayerLosses(network, loss, compiled), samples_per_epoch=patches, **how)


def epochs(*choices: Any, **how: Any) -> Step:
    """A function that takes such a training on by an epoch."""
    return iter(training(*choices, **how)).__next__


def restoring(depth: int, copies: int = 1, compiled: bool = True) -> Step:
    """A function that restores so many Lenas in a square by a fresh network; its layers are compiled, if so."""
    network, image, side = training(depth).network, LENA.pixels.tile(copies, copies), LENA.grid.patch
    if compiled:
        compile_layers(network)
    return partial(restored_image, network, PatchGrid(tuple(image.shape), side, side), image)


def authors_training(depth: int, patches: int = PATCHES) -> tuple[AuthorsNetwork, Step]:
    """Their network, with the dictionary scaled to the norm 1 that their start needs, and its next epoch."""
    A, epoch, columns = load_dictionary(), count(), training(1).source.draw(PATCHES).X[:patches].T.contiguous()
    network = AuthorsNetwork(A / torch.linalg.matrix_norm(A, 2), depth)
    return network, lambda: network.train_epoch(columns, next(epoch))


def products(batch: int, training: bool, times: int, device: str = "cpu") -> Step:
    """The matrix products of a layer: v W1 and A Z, and in training the gradients of v, of W1 and of Z as well."""
    v, Z, W1 = (torch.randn(shape, device=device) for shape in ((batch, M), (batch, N), (M, N)))

    def step() -> None:
        for _ in range(times):
            v @ W1, Z @ W1.T
            if training:
                Z @ W1.T, v.T @ Z, v @ W1

    return step


def works() -> pd.DataFrame:
    """All that is measured in turns. Of what kind it is says what it is compared with; a step takes it on."""
    square, most, few, part = torch.randn(2048, 2048), BATCH["cpu"], PATCHES // SLOW_SHARE, f"1 / {SLOW_SHARE}"
    supervised = {"activation": "adaptive", "training": ("supervised",)}
    trainings = [(f"authors' epoch, {part}", few, depth, authors_training(depth, few)[1]) for depth in DEPTHS]
    trainings += [("epoch", PATCHES, depth, epochs(depth)) for depth in DEPTHS]
    if pick_precision("auto", "cpu") == "bfloat16":
        trainings.append(("products in bfloat16", PATCHES, DEEPEST, epochs(DEEPEST, precision="bfloat16")))
    trainings += [
        (f"not compiled, {part}", few, DEEPEST, epochs(DEEPEST, few, compiled=False)),
        ("soft thresholds", PATCHES, DEEPEST, epochs(DEEPEST, changes={"activation": "proximal"})),
        ("adaptive, supervised", PATCHES, DEEPEST, epochs(DEEPEST, changes=supervised)),
    ]
    rows = [
        ("", "products, 2048 x 2048", None, 2 * 2048**3, lambda: square @ square),
        ("training", "products of training", None, 1500 * PRODUCT * BATCH_SIZE, products(BATCH_SIZE, True, 300)),
        ("restoring", "products of restoring", None, 240 * PRODUCT * most, products(most, False, 120)),
    ]
    rows += [("training", work, d, 5 * PRODUCT * patches * d, step) for work, patches, d, step in trainings]
    for d in DEPTHS:
        theirs = partial(authors_training(d)[0].restore, LENA.X.T.contiguous())
        steps = {"authors' Lena": theirs, "Lena": restoring(d), "Lena, not compiled": restoring(d, compiled=False)}
        rows += [("restoring", work, d, 2 * PRODUCT * len(LENA.X) * d, step) for work, step in steps.items()]
    return pd.DataFrame(rows, columns=["kind", "work", "depth", "flop", "step"])


def speeds(works: pd.DataFrame) -> pd.DataFrame:
    """Seconds of every work, how many more its first step takes, which compiles, and GFLOP/s beside the machine's and
    the authors'."""
    steps, of_machine, theirs = works["step"], works["depth"].isna(), works["work"].str.startswith("authors'")
    first = steps.map(timed)
    seconds = np.median([steps.map(timed) for _ in range(RUNS)], axis=0)
    table = works[["kind", "work", "depth"]].assign(seconds=seconds, more_at_first=first - seconds)
    rates = table["gflops"] = works["flop"] / seconds / 1e9
    table["of_products"] = (rates / table["kind"].map(table[of_machine].set_index("kind")["gflops"])).mask(of_machine)
    authors = table[theirs].set_index(["kind", "depth"])["gflops"].rename("authors")
    table["times_authors"] = (rates / table.join(authors, on=["kind", "depth"])["authors"]).mask(theirs)
    return table


def growth(speed: pd.DataFrame) -> pd.DataFrame:
    """How time grows: the exponent p of seconds ∝ size^p, by least squares. 1 is linear."""
    sizes = {"depth, training": DEPTHS, "depth, restoring": DEPTHS, "patches, training": COUNTS}
    sizes["area, restoring"] = [copies**2 for copies in COPIES]
    seconds = [speed["seconds"][speed["work"] == work] for work in ("epoch", "Lena")]
    for steps in ([epochs(DEPTHS[0], size) for size in COUNTS], [restoring(DEEPEST, copies) for copies in COPIES]):
        seconds.append([np.median([timed(step) for _ in range(RUNS + 1)][1:]) for step in steps])
    powers = [np.polyfit(np.log(x), np.log(y), 1)[0] for x, y in zip(sizes.values(), seconds, strict=True)]
    return pd.DataFrame({"time_grows_with": sizes.keys(), "power": powers})


def memory_of(what: str, size: int) -> float:
    """Peak MB of five compiled training steps of `size` layers, beyond those of two, or of restoring `size` x `size`
    Lenas; in a process of its own."""
    for layers in (2, size) if what == "training" else (DEEPEST,):
        step = epochs(layers, 5 * BATCH_SIZE) if what == "training" else restoring(layers, size, compiled=False)
        Path("/proc/self/clear_refs").write_text("5")  # the most from here on
        before = most_memory()
        step()
        added = most_memory() - before
    return added


def most_memory() -> float:
    """The most MB that this process has had, as Linux knows it; a child's `ru_maxrss` would begin at its parent's."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def memory() -> pd.DataFrame:
    """Peak memory of training and restoring."""
    cases = {
        f"training, d = {d}, batch {BATCH_SIZE}, less that of d = 2": ("training", d) for d in (DEPTHS[0], DEEPEST)
    }
    cases |= {f"restoring {512 * n} x {512 * n}": ("restoring", n) for n in (COPIES[0], COPIES[-1])}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pd.DataFrame({"memory_of": cases.keys(), "mb": pool.starmap(memory_of, cases.values(), chunksize=1)})


def times_to_psnr() -> pd.DataFrame:
    """Seconds of training until the last layer restores Lena as well as published."""
    rows, X = [], LENA.X.T.contiguous()
    for depth in DEPTHS:
        ways, (theirs, epoch) = {}, authors_training(depth)
        for way, compiled in (("compiled before", True), ("not compiled", False)):
            ours = training(depth, compiled=compiled)
            ways[way] = iter(ours).__next__, partial(restore_patches, ours.network, LENA.X), SETTINGS.epochs
        ways["authors' loop"] = epoch, lambda theirs=theirs: theirs.restore(X).T, AUTHORS_EPOCHS
        goal = PUBLISHED["dladmm", depth][1]
        rows += [{"goal": goal, "depth": depth, "training": way} | until(goal, *how) for way, how in ways.items()]
    return pd.DataFrame(rows)


def until(goal: float, step: Step, restored: Callable[[], Tensor], most: int) -> Row:
    """Seconds of so many steps at most until the image has that PSNR; its best if it never does."""
    seconds, best = 0.0, -np.inf
    while best < goal and (most := most - 1) >= 0:
        seconds += timed(step)
        best = max(best, LENA.psnr(LENA.image_of(restored())))
    return {"seconds_to_goal": seconds, "best_psnr": best if best < goal else None}


def measure(keep: Keep) -> Measured:
    """All tables, with a cache of compiled code that is empty at the start."""
    torch.manual_seed(SETTINGS.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        speed = speeds(works())
        more = {"speed_growth": growth(speed), "speed_memory": memory(), "speed_to_psnr": times_to_psnr()}
    return Measured({"speed": speed} | more)


def show(tables: Mapping[str, pd.DataFrame], made_by: Provenance) -> pages.Page:
    """All tables, and what compiling costs where nothing is compiled yet."""
    epoch = tables["speed"].query("work == 'epoch'").iloc[0]
    about = f"{made_by['machine']['threads']} threads, PyTorch {made_by['versions']['torch']}. The first epoch on a "
    about += f"machine, d = {epoch['depth']:.0f}, takes {epoch['more_at_first']:.1f} seconds more.\n"
    names = {"gflops": "GFLOP/s", "mb": "MB", "best_psnr": "best PSNR"}
    shown = [table.rename(columns=lambda name: names.get(name, name.replace("_", " "))) for table in tables.values()]
    speed, *others = (markdown(table.drop(columns=HIDDEN, errors="ignore"), FORMATS) for table in shown)
    return pages.Page("\n".join(["# Speed\n", speed, about, *others, __doc__]))


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and writes all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what to measure (default: cpu)")
    if parser.parse_args(argv).device == "cuda":
        return import_module("tests.benchmarks.gpu").main()
    run_study("tests.benchmarks.speed", settings=asdict(SETTINGS))
    print(pages.show("speed").text)


if __name__ == "__main__":
    main()
