"""Speed on a GPU: epochs plainly, captured and compiled, restoring large images, and the default run of main_lena.py.

`python -m tests.benchmarks.speed --device cuda` writes results/speed_gpu.md, within four minutes.
"""

import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch

import main_lena
from main_lena import Settings, build, observe, pick_lesson, pose
from models.training import LayerLosses, Training
from utils.evaluation.restoration import grid_for, restored_image
from utils.reporting.tables import markdown_table
from utils.running.files import all_or_nothing
from utils.running.provenance import Run

SETTINGS = Settings(device="cuda")
EPOCHS, COUNTED = 8, 5  # of a training, and the last of them that are counted
WAYS = {"plain": (False, False), "captured": (False, True), "compiled and captured": (True, True)}
SIDES, STRIDE = (512, 2048, 4096), 4

ABOUT = """# Speed on a GPU

Seconds. An epoch draws and learns from 10,000 patches, in batches of 500: the median of the last {counted} of {epochs}.
"Captured": a step is replayed as a CUDA graph (models/samples.py). "Products": the matrix products of an epoch alone.
Images are restored by 15 layers with a patch every {stride} pixels, not compiled, for the second time. The default run
is `python main_lena.py`, with everything that it writes; its PSNR stands beside that in results/results.csv.
"""


def timed(work: Callable[[], object]) -> float:
    """Seconds of the work, that of the GPU included."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def epoch(depth: int, way: str) -> str:
    """Seconds of an epoch of unsupervised training."""
    compiled, captured = WAYS[way]
    torch.compiler.reset()
    observation = observe(SETTINGS)
    problem = pose(SETTINGS, observation)
    source, loss = pick_lesson("unsupervised", SETTINGS, observation, problem)
    network = build(SETTINGS, problem, depth)
    training = Training(network, source, LayerLosses(network, loss, compiled), captured=captured)
    return f"{statistics.median([e.seconds for e in islice(training, EPOCHS)][-COUNTED:]):.3f}"


def products(depth: int) -> str:
    """Seconds of the five products of each layer, for all batches of an epoch."""
    v, Z, W1 = (torch.randn(shape, device="cuda") for shape in ((500, 256), (500, 512), (256, 512)))

    def work() -> None:
        for _ in range(20 * depth):
            v @ W1, Z @ W1.T, Z @ W1.T, v.T @ Z, v @ W1

    return f"{min(timed(work) for _ in range(3)):.3f}"


def restoring(side: int) -> tuple[str, str]:
    """Seconds and GiB of restoring an image of that side."""
    observation = observe(SETTINGS)
    network = build(SETTINGS, pose(SETTINGS, observation), SETTINGS.depths[-1])
    image, grid = torch.rand(side, side, device="cuda"), grid_for(network, (side, side), STRIDE)
    torch.cuda.reset_peak_memory_stats()
    seconds = [timed(lambda: restored_image(network, grid, image)) for _ in range(2)][-1]
    return f"{seconds:.2f}", f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"


def default_run() -> tuple[float, list[dict[str, str]]]:
    """Seconds of the default run, and its table of results."""
    with tempfile.TemporaryDirectory() as folder:
        folders = ["--results-dir", f"{folder}/results", "--checkpoint-dir", f"{folder}/checkpoints"]
        seconds = timed(lambda: main_lena.main(["--device", "cuda", *folders]))
        return seconds, rows(Path(folder) / "results" / "results.csv")


def rows(path: Path) -> list[dict[str, str]]:
    """The networks in a table of results."""
    with path.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["method"] == "dladmm"]


def main() -> None:
    """Measures, prints and writes all tables."""
    made_by = Run(asdict(SETTINGS), device="cuda", command="tests.benchmarks.speed")
    seconds, ours = default_run()
    theirs = rows(Path(SETTINGS.results_dir) / "results.csv") if Path(SETTINGS.results_dir).exists() else ours
    depths = list(SETTINGS.depths)
    epochs = {"epoch": lambda depth: f"d = {depth}", "products": products}
    epochs |= {way: lambda depth, way=way: epoch(depth, way) for way in WAYS}
    images = {side: restoring(side) for side in SIDES}
    of_run = {
        "network": lambda pair: f"d = {pair[0]['depth']}, {pair[0]['training']}",
        "PSNR here": lambda pair: f"{float(pair[0]['psnr']):.2f}",
        "in results.csv": lambda pair: f"{float(pair[1]['psnr']):.2f}",
    }
    size = {"image": lambda side: f"{side} x {side}", "seconds": lambda side: images[side][0]}
    size |= {"GiB": lambda side: images[side][1]}
    device = f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"
    parts = [ABOUT.format(counted=COUNTED, epochs=EPOCHS, stride=STRIDE), device, markdown_table(depths, epochs)]
    parts += [markdown_table(list(SIDES), size), f"The default run takes {seconds:.0f} seconds.\n"]
    text = "\n".join([*parts, markdown_table(list(zip(ours, theirs, strict=True)), of_run), made_by.as_markdown()])
    print(text)
    with all_or_nothing(Path(SETTINGS.results_dir)) as (results,):
        (results / "speed_gpu.md").write_text(text, encoding="utf-8")
