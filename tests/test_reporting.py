"""Claims about tables: a fact a column for programs, and a table that fits into a terminal for people."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from main_lena import Settings, run
from tests.helpers import cells, rows
from utils.evaluation.records import (
    Classical,
    LADMMRecord,
    LayerRecord,
    Restoration,
    Result,
    SafeguardRecord,
    SideInformation,
)
from utils.reporting import outputs
from utils.reporting.figures import comparison
from utils.reporting.markdown import depths_table, results_markdown, results_text
from utils.reporting.tables import write_csv

RESULTS = [
    Result(method="noisy", psnr=15.457, ssim=0.18),
    Result(method="ladmm", depth=5, objective=19.0, psnr=32.2, ssim=0.88, seconds=0.1),
    Result(method="ladmm", depth=12860, objective=16.8, psnr=36.7, ssim=0.95, seconds=1234.5),
    Result(
        method="dladmm",
        training="unsupervised",
        depth=15,
        side_information=SideInformation(training_data="the noisy image", noise_model="salt_and_pepper"),
        training_loss=17.069,
        psnr=37.43,
        ssim=0.958,
        seconds=161.44,
    ),
]


def test_csv_has_the_fields_as_columns(tmp_path):
    write_csv([LayerRecord("unsupervised", 5, 1, 1 / 3, 30.0, 0.5)], tmp_path / "layers.csv", "abc")
    assert (tmp_path / "layers.csv").read_text().splitlines() == ["training,depth,layer,objective,psnr,gap,run", "unsupervised,5,1,0.333333,30,0.5,abc"]  # fmt: skip  # noqa: E501


def test_csv_has_every_piece_of_side_information_in_a_column_of_its_own(tmp_path):
    write_csv(RESULTS, tmp_path / "results.csv", "abc")
    row = rows(tmp_path / "results.csv")[-1]
    told = {name: row[name] for name in asdict(SideInformation())}
    assert told == {
        "training_data": "the noisy image",
        "clean_targets": "no",
        "known_positions": "no",
        "noise_model": "salt_and_pepper",
    }
    assert row["psnr"] == "37.43" and row["gap"] == ""


def test_the_table_in_the_terminal_is_aligned_and_narrow():
    lines = results_text(RESULTS, asdict(Settings())).splitlines()
    assert max(map(len, lines)) < 100
    heading, _, *table = lines
    end = heading.index("PSNR (dB)") + len("PSNR (dB)")
    assert [line[:end].split()[-1] for line in table] == ["15.46", "32.20", "36.70", "37.43"]
    assert table[-1].split()[-1] == "35.61" and table[-2].split()[-1] == "31.30" and table[1].split()[-1] == "0.1"


@pytest.mark.parametrize("change", [{"noise_rate": 0.2}, {"corruption": "random_valued"}, {"positions": "extremes"}])
def test_published_figures_stand_beside_the_published_experiment_alone(change):
    assert "paper" not in results_text(RESULTS, asdict(Settings()) | change)


@pytest.mark.parametrize(
    "other", [{"training": "supervised"}, {"training": "self_supervised"}, {"method": "untrained"}]
)
def test_no_published_figure_stands_beside_a_network_that_was_trained_in_another_way_or_not_at_all(other):
    lines = results_text([*RESULTS, replace(RESULTS[-1], **other)], asdict(Settings())).splitlines()
    assert lines[-2].split()[-1] == "35.61" and lines[-1].split()[-1] == "161.4"


def test_the_table_of_the_readme_has_every_method_by_depth_beside_what_is_published():
    heading, *lines = cells(depths_table(RESULTS))
    found = {name: rest for name, *rest in lines}
    assert heading == ["PSNR in dB", "d = 15"]
    assert found["LADMM to convergence"] == ["36.70"] and found["LADMM, published"] == ["31.30"]
    assert found["**D-LADMM, unsupervised**"] == ["37.43"] and found["D-LADMM, published"] == ["35.61"]
    assert found["**D-LADMM, self-supervised**"] == [""]


def test_distances_to_the_optimum_and_what_is_certified_of_it_are_parts_of_it():
    """In units of the objective of LADMM's last iteration: 16, which its own gap of 0.4 certifies to 2.5 %."""
    trace = [LADMMRecord(1, 40.0, 20.0, 9.0), LADMMRecord(2, 16.0, 30.0, 0.4)]
    guarded = [SafeguardRecord("random", method, 1, 20.0, 1.0, 0.5) for method in ("safeguarded", "unguarded", "ladmm")]
    results = [replace(RESULTS[1], objective=20.0), replace(RESULTS[3], objective=16.8)]
    text = results_markdown(results, Classical([], trace), guarded, asdict(Settings()))
    assert "LADMM after 2 iterations, 16.000, certified to 2.50% by its own gap" in " ".join(text.split())
    assert [row[2] for row in cells(text.split("## Certificates")[1])[1:3]] == ["25.00%", "5.00%"]


def test_a_run_of_the_published_experiment_alone_is_shown_in_the_readme(tmp_path, monkeypatch):
    updates = []
    monkeypatch.setattr(outputs, "update", lambda tables, results: updates.append((tables, results)))
    folders = {"results_dir": str(tmp_path / "results"), "checkpoint_dir": str(tmp_path / "checkpoints")}
    short = {"epochs": 1, "patches_per_epoch": 100, "ladmm_max_iterations": 3, "safeguard_layers": 1}
    settings = Settings(depths=(1,), training=("unsupervised",), **short, **folders)
    for folder in folders.values():
        Path(folder).mkdir()
    outcome = run(settings, settings.checkpoint_dir)
    outputs.report(settings, outcome)
    assert updates == [({"depths": depths_table(outcome.results)}, tmp_path / "results")]
    outcome.progress.run.settings["noise_rate"] = 0.2
    outputs.report(settings, outcome)
    assert len(updates) == 1


def test_frames_in_the_comparison_are_where_its_details_are_from():
    image = np.random.default_rng(0).random((40, 90))
    figure = comparison(1 - image, [Restoration(image, Result(method="noisy", psnr=15.0))])
    whole, *details = figure.axes[1::2]  # of the second column, which shows the image
    assert len(whole.patches) == len(details) == 2
    for frame, detail in zip(whole.patches, details, strict=True):
        (left, top), size = frame.get_xy(), frame.get_width()
        np.testing.assert_array_equal(detail.images[0].get_array(), image[top : top + size, left : left + size])
        assert frame.get_edgecolor() == detail.spines["left"].get_edgecolor()
