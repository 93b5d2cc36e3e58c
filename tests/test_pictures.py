"""Claims about the comparison on a folder of pictures: its rows, its tables, and that it goes on where it stopped."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from data.dictionary import load_dictionary
from data.images import load_image, to_grey, to_pixels
from data.patches import PatchGrid
from main_lena import Settings
from models import Problem, ladmm
from tests.helpers import cells, refusal, rows
from utils.evaluation.metrics import psnr
from utils.studies import comparison, methods, pictures
from utils.studies.comparison import EXPERIMENTS, MEDIANS, SALT_AND_PEPPER, Experiment
from utils.studies.methods import LENAS_OWN, SEEDS, Baseline, Case, Network

FADE = Baseline("fade", lambda weight, noisy: weight * noisy, (0.2, 0.9))
SMALL = {
    "grey": Experiment("One rate", (*MEDIANS[:2], FADE)),
    "rates": Experiment("Two rates", MEDIANS[:2], [SALT_AND_PEPPER, Case("salt_and_pepper", 0.3)]),
    "colour": Experiment("In colour", MEDIANS[:2], colour=True),
    "clipped": Experiment("Clipped", MEDIANS[:2], clipped=0.3),
}
NAMES = "black.png", "cat.png", "coins.tif"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three pictures; results go beside them, experiments are small, and so are networks."""
    folder = tmp_path / "set of mine"
    folder.mkdir()
    colourful = load_image("chelsea", colour=True)[100:148, 200:264]
    coins = to_pixels(load_image("coins")[:48, :64], np.uint8)
    black = np.zeros((48, 64, 3), np.uint8)  # grey, and stored in colour
    black[:4] = coins[:4, :, None]
    for name, pixels in zip(NAMES, (black, to_pixels(colourful, np.uint8), coins), strict=True):
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").touch()
    monkeypatch.setattr("utils.studies.study.RESULTS", tmp_path / "results")
    monkeypatch.setattr(comparison, "EXPERIMENTS", SMALL)
    short = {"depths": (1, 2), "epochs": 2, "patches_per_epoch": 60, "batch_size": 30}
    monkeypatch.setattr(pictures, "SETTINGS", replace(pictures.SETTINGS, **short))
    monkeypatch.setattr(pictures, "ITERATIONS", (3, 25))
    monkeypatch.setattr(Case, "best", lambda self, restore, weights: weights[1])
    return folder


def compare(folder):
    """The rows of a run on the folder, without what changes from run to run, and its text."""
    comparison.main(["--images", str(folder)])
    results = folder.parent / "results" / folder.name
    assert not list(results.glob("interrupted-*"))
    found = [
        {name: cell for name, cell in row.items() if name != "seconds"} for row in rows(results / "comparison.csv")
    ]
    return found, (results / "comparison.md").read_text(encoding="utf-8")


def test_every_picture_has_the_rows_of_every_method_and_the_experiment_of_the_paper(folder):
    (folder.parent / "results").mkdir()
    shipped = [folder.parent / "results" / name for name in ("comparison.csv", "comparison.md")]
    for path in shipped:
        path.write_text("as it was")
    found, text = compare(folder)
    listed = [tuple(row[name] for name in ("experiment", "noise_rate", "method", "seed", "image")) for row in found]
    compared = [("grey", "0.1", method, seed) for method in ("noisy", "3 x 3 median", "fade") for seed in SEEDS]
    for name, rate in (("rates", "0.1"), ("rates", "0.3"), ("colour", "0.1"), ("clipped", "0.1")):
        compared += [(name, rate, method, seed) for method in ("noisy", "3 x 3 median") for seed in SEEDS]
    paper = ["noisy", "3 x 3 median", *(f"LADMM, {count} iterations" for count in (3, 25))]
    paper += [f"D-LADMM, d = {depth}, unsupervised" for depth in (1, 2)]
    compared += [("paper", "0.1", method, Settings().seed) for method in paper]
    left_out = {"colour": ("black.png", "coins.tif"), "clipped": ("black.png",)}
    wanted = {(*row[:3], str(row[3]), i) for row in compared for i in NAMES if i not in left_out.get(row[0], ())}
    assert set(listed) == wanted and len(listed) == len(wanted)
    assert all(name in text.split("```json")[1] for name in NAMES)
    assert [path.read_text() for path in shipped] == ["as it was"] * 2
    results = folder.parent / "results" / folder.name
    assert {path.name for path in results.iterdir()} == {"comparison.csv", "comparison.md", "rates.png"}
    assert "![Two rates](rates.png)" in text and text.count("![") == 1


def test_means_are_those_of_the_rows_and_the_first_picture_is_shown_in_full(folder):
    found, text = compare(folder)

    def mean(of, method, experiment, *images):
        chosen = [row for row in found if (row["method"], row["experiment"]) == (method, experiment)]
        return np.mean([float(row[of]) for row in chosen if row["image"] in (images or NAMES)])

    table = cells(text, "picture ") + [row for name in (*NAMES, "mean") for row in cells(text, f"{name} ")]
    heading, *lines = table
    assert [line[0] for line in lines] == [*NAMES, "mean"] and len(heading) == 7
    for name, *shown in lines:
        of = () if name == "mean" else (name,)
        for method, cell in zip(heading[1:], shown, strict=True):
            exact = [mean(column, method, "paper", *of) for column in ("psnr", "ssim")]
            assert [float(part) for part in cell.split(" / ")] == pytest.approx(exact, abs=0.006)
    head = next(line for line in cells(text, "method ") if "PSNR (dB), black.png" in line)
    row = cells(text, "fade ")[0]
    assert float(row[head.index("mean PSNR")]) == pytest.approx(mean("psnr", "fade", "grey"), abs=0.006)
    assert float(row[head.index("cat.png")]) == pytest.approx(mean("psnr", "fade", "grey", "cat.png"), abs=0.006)


def test_ladmm_is_that_of_the_models_after_as_many_iterations(folder):
    found, _ = compare(folder)
    problem = Problem(load_dictionary(), 0.7)
    for name in NAMES:
        clean = to_grey(load_image(str(folder / name)))
        noisy, grid = SALT_AND_PEPPER.corrupt(clean, 1126), PatchGrid(clean.shape, 16, 16)
        states = list(islice(ladmm(problem, grid.extract(torch.from_numpy(noisy)), Settings().ladmm_beta), 25))
        for count in (3, 25):
            restored = grid.assemble(states[count - 1].AZ).clamp(0, 1).numpy()
            (row,) = (r for r in found if (r["image"], r["method"]) == (name, f"LADMM, {count} iterations"))
            assert float(row["psnr"]) == pytest.approx(psnr(restored, clean), abs=1e-3)


def stopped(monkeypatch, of, name, call, folder):
    """Runs until Ctrl-C in that call of a function; the list of its calls, which goes on growing."""
    work, calls = getattr(of, name), []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(of, name, stopping)
    with pytest.raises(SystemExit) as ended:
        compare(folder)
    assert ended.value.code == 130
    return calls


def test_the_same_command_goes_on_after_the_last_row_and_finds_the_same(folder, monkeypatch, capsys):
    uninterrupted, _ = compare(folder)
    learned, learn, chosen = [], pictures.learn, []
    monkeypatch.setattr(pictures, "learn", lambda *given: learned.append(given) or learn(*given))
    monkeypatch.setattr(Case, "best", lambda self, restore, weights: chosen.append(self) or weights[1])
    measured = stopped(monkeypatch, Experiment, "measured", 21, folder)
    assert len(learned) == 6 and "the same command goes on" in capsys.readouterr().err
    (values,) = (folder.parent / "results" / folder.name).glob("interrupted-*/values.jsonl")
    values.write_text(values.read_text()[:-3])  # killed while it wrote the twentieth row
    resumed, _ = compare(folder)
    assert len(measured) == 21 + len(uninterrupted) - len(NAMES) * 6 - 19
    assert (len(learned), len(chosen)) == (6, 1) and resumed == uninterrupted


def test_an_interrupted_training_goes_on_and_pictures_that_are_done_are_left_alone(folder, monkeypatch, capsys):
    uninterrupted, _ = compare(folder)
    learned = stopped(monkeypatch, pictures, "learn", 4, folder)  # the second picture's second depth
    resumed, _ = compare(folder)
    said = capsys.readouterr().err
    assert "2 epochs of dladmm_d01" in said and "starting afresh" not in said
    images = [given[3].clean_pixels.sum().item() for given in learned]
    assert len(learned) == 4 + 4 and len(set(images)) == 3 and images.count(images[0]) == 2
    assert resumed == uninterrupted


def test_a_run_with_other_settings_starts_afresh_and_says_what_differs(folder, monkeypatch, capsys):
    learned = stopped(monkeypatch, pictures, "learn", 6, folder)
    monkeypatch.setattr(pictures, "SETTINGS", replace(pictures.SETTINGS, epochs=1))
    comparison.main(["--images", str(folder)])
    assert len(learned) == 6 + 6 and "starting afresh" in capsys.readouterr().err


def test_networks_of_lena_are_neither_run_nor_asked_for(folder):
    """A clone of the repository does not have them."""
    chosen = EXPERIMENTS["salt_and_pepper"].on([str(folder / name) for name in NAMES])
    networks = [of for of in chosen.compared if isinstance(of, Network)]
    assert len(networks) >= 6 and not {of.file for of in networks} & set(LENAS_OWN)
    assert all(chosen.images(method) == list(chosen.test_images) for method in chosen.methods(SALT_AND_PEPPER))


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("", None, "which has no picture; allowed: a folder with pictures (.png "),
        ("missing", None, "which is no folder"),
        ("results/of mine", None, "results would go to"),
        ("", (15, 40), "15 x 40 pixels of one value; allowed: at least 16 x 16"),
        ("", (40, 40), "40 x 40 pixels of one value"),
        ("", (0, 0), "a.png' cannot be read"),
    ],
)
def test_what_is_no_test_set_is_named_before_any_work(name, size, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("utils.studies.study.RESULTS", tmp_path / "results")
    folder = tmp_path / name
    if "results" in name:
        folder.mkdir(parents=True)
        Image.fromarray(np.uint8(np.arange(400).reshape(20, 20) % 255)).save(folder / "a.png")
    elif size == (0, 0):
        (folder / "a.png").write_bytes(b"no picture")
    elif size:
        Image.new("RGB", size).save(folder / "a.png")
    before = sorted(tmp_path.rglob("*"))
    said = refusal(capsys, comparison.main, ["--images", str(folder)])
    assert expected in said and sorted(tmp_path.rglob("*")) == before


def test_a_network_that_is_missing_is_named_before_any_work(folder, monkeypatch, capsys):
    monkeypatch.setattr(methods, "CHECKPOINTS", folder)
    assert "python -m utils.studies.networks" in refusal(capsys, comparison.main, ["--images", str(folder)])
    assert not (folder.parent / "results").exists()
