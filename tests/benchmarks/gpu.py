"""Speed on a GPU: epochs plainly, captured and compiled, restoring large images, and the default run of main_lena.py.

`python -m tests.benchmarks.speed --device cuda` takes four minutes. An epoch draws and learns from 10,000 patches, in
batches of 500: the median of the last 5 of 8. "Captured": a step is replayed as a CUDA graph (models/samples.py).
"Products": the matrix products of an epoch alone. Images are restored by 15 layers with a patch every 4 pixels, not
compiled, for the second time. The default run is `python main_lena.py`, with everything that it writes.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import main_lena
from main_lena import Settings
from tests.benchmarks.speed import BATCH_SIZE, DEEPEST, DEPTHS, PATCHES, products, timed, training
from utils.evaluation.metrics import Stopwatch
from utils.evaluation.observation import Row
from utils.evaluation.restoration import grid_for, restored_image
from utils.reporting import pages
from utils.reporting.tables import in_words, markdown, read_table
from utils.running.provenance import Provenance, provenance
from utils.studies.study import Measured, write

EPOCHS, COUNTED = 8, 5  # of a training, and the last of them that are counted
WAYS = {"plain": (False, False), "captured": (False, True), "compiled and captured": (True, True)}
SIDES, STRIDE = (512, 2048, 4096), 4
ON_GPU = {"device": "cuda"}


def epochs(depth: int) -> Row:
    """Seconds of the products of an epoch of unsupervised training, and of the epoch in each way."""
    step, row = products(BATCH_SIZE, True, PATCHES // BATCH_SIZE * depth, "cuda"), {"depth": depth}
    row["products"] = min(timed(step) for _ in range(3))
    for way, (compiled, captured) in WAYS.items():
        torch.compiler.reset()
        found = islice(training(depth, compiled=compiled, changes=ON_GPU, captured=captured), EPOCHS)
        row[way] = np.median([epoch.seconds for epoch in found][-COUNTED:])
    return row


def restoring(side: int) -> Row:
    """Seconds and GiB of restoring an image of that side."""
    network, image = training(DEEPEST, changes=ON_GPU).network, torch.rand(side, side, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    grid = grid_for(network, (side, side), STRIDE)
    seconds = [timed(lambda: restored_image(network, grid, image)) for _ in range(2)][-1]
    return {"side": side, "seconds": seconds, "GiB": torch.cuda.max_memory_allocated() / 2**30}


def default_run() -> pd.DataFrame:
    """The PSNR of all networks of the default run, and the seconds that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        folders = ["--results-dir", f"{folder}/results", "--checkpoint-dir", f"{folder}/checkpoints"]
        seconds = timed(lambda: main_lena.main(["--device", "cuda", *folders]))
        networks = read_table(Path(folder) / "results" / "results.csv").query("method == 'dladmm'")
    return networks[["training", "depth", "psnr"]].assign(seconds_of_run=seconds)


def show(tables: Mapping[str, pd.DataFrame], made_by: Provenance) -> pages.Page:
    """All tables, and the GPU."""
    of_epochs, of_images, of_run = (tables[name] for name in ("speed_gpu", "speed_gpu_images", "speed_gpu_run"))
    formats = {"depth": ".0f", "seconds": ".2f", "GiB": ".1f", "PSNR (dB)": ".2f", "training": in_words}
    networks = of_run.drop(columns="seconds_of_run").rename(columns={"psnr": "PSNR (dB)"})
    about = f"{made_by['machine']['gpu']}, PyTorch {made_by['versions']['torch']}. Epochs are in seconds. The default "
    about += f"run takes {of_run['seconds_of_run'][0]:.0f} seconds.\n"
    epochs = markdown(of_epochs, formats | dict.fromkeys(["products", *WAYS], ".3f"))
    parts = ["# Speed on a GPU\n", epochs, about, markdown(of_images, formats), markdown(networks, formats), __doc__]
    return pages.Page("\n".join(parts))


def main() -> None:
    """Measures and writes all tables."""
    watch, made_by = Stopwatch(), provenance("tests.benchmarks.gpu", asdict(Settings(**ON_GPU)), **ON_GPU)
    made_by["machine"]["gpu"], made_by["versions"]["torch"] = torch.cuda.get_device_name(), torch.__version__
    tables = {"speed_gpu_run": default_run(), "speed_gpu": pd.DataFrame(map(epochs, DEPTHS))}
    tables["speed_gpu_images"] = pd.DataFrame(map(restoring, SIDES))
    write("speed_gpu", Measured(tables), pages.RESULTS, made_by, watch.seconds())
    print(pages.show("speed_gpu").text)


if __name__ == "__main__":
    main()
