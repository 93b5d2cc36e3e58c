"""Outputs: everything that a run writes, all of it or nothing, and everything says of which run it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from data.images import save_pixels, to_pixels
from models import DLADMM
from utils.checkpoints import save_network
from utils.files import all_or_nothing
from utils.provenance import Run
from utils.tables import write_csv


def write_outputs(
    results_dir: Path,
    checkpoint_dir: Path,
    run: Run,
    tables: Mapping[str, Sequence[Any]],
    pictures: Mapping[str, np.ndarray],
    curves: Mapping[str, Figure],
    networks: Mapping[str, DLADMM],
    markdown: str,
    dtype: np.dtype,
) -> None:
    """Writes what is named to files of these names, and run.json; what an earlier run has left of others goes.

    Args:
        results_dir: folder of all but the networks.
        checkpoint_dir: folder of the networks.
        run: the run, which every file names.
        tables: rows of one dataclass each.
        pictures: values in [0, 1].
        curves: figures.
        networks: trained.
        markdown: the table of results for people.
        dtype: of the pictures' pixels, uint8 or uint16.
    """
    with (
        all_or_nothing(checkpoint_dir) as checkpoints,
        all_or_nothing(results_dir, obsolete=("dladmm_d*.png", "clean.png")) as results,
    ):
        for name, network in networks.items():
            save_network(network, checkpoints / f"{name}.pt", run.settings, run.as_json())
        for name, picture in pictures.items():
            save_pixels(to_pixels(picture, dtype), results / f"{name}.png", run.title)
        for name, figure in curves.items():
            figure.savefig(results / f"{name}.png", metadata={"Description": run.title})
        for name, rows in tables.items():
            write_csv(rows, results / f"{name}.csv", run.name)
        (results / "results.md").write_text(f"{markdown}\n{run.as_markdown()}", encoding="utf-8")
        (results / "run.json").write_text(run.as_json(), encoding="utf-8")
