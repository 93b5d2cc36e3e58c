"""Claims about the job: one command writes everything, which names its run, and bad input changes nothing."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

import main_lena
from data.dictionary import load_dictionary
from data.formats import save_pixels
from data.images import load_image, load_pixels, to_pixels
from tests.helpers import ROOT, numpy_ladmm, refusal, rows, salt_and_pepper, stored
from utils.evaluation.metrics import psnr
from utils.restore import __main__ as restore
from utils.running.checkpoints import load_network
from utils.running.devices import pick_device, pick_precision
from utils.running.provenance import digest_of_code

PICTURES = (
    "clean",
    "noisy",
    "ladmm",
    "dladmm_d01",
    "dladmm_d03",
    "dladmm_d01_self_supervised",
    "dladmm_d03_self_supervised",
    "comparison",
    "training",
    "layers",
    "convergence",
    "safeguard",
)

TABLES = {
    "results": "method,training,depth,training_data,clean_targets,known_positions,noise_model,training_loss,objective,"
    "psnr,ssim,seconds,gap,ladmm_same_objective,ladmm_same_psnr,run",
    "history": "training,depth,epoch,loss,psnr,run",
    "layers": "training,depth,layer,objective,psnr,gap,run",
    "ladmm": "iteration,objective,psnr,gap,run",
    "safeguard": "input,method,layer,objective,gap,replaced,run",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A piece of an image whose sides are no multiples of a patch's."""
    path = tmp_path_factory.mktemp("image") / "piece.png"
    Image.fromarray(np.uint8(load_image("camera")[60:130, 180:233] * 255)).save(path)
    return path


def run(image, folder, *arguments):
    settings = {
        "--image": image, "--epochs": 2, "--patches-per-epoch": 300, "--batch-size": 64,
        "--ladmm-tolerance": 0.1, "--ladmm-max-iterations": 300, "--safeguard-layers": 20,
        "--results-dir": folder / "results", "--checkpoint-dir": folder / "checkpoints",
    }  # fmt: skip
    if "--training" not in arguments:
        arguments = ("--training", "unsupervised", *arguments)
    main_lena.main(["--depths", "1", "3", *(str(word) for pair in settings.items() for word in pair), *arguments])


@pytest.fixture(scope="module")
def outputs(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(image, folder, "--training", "unsupervised", "self_supervised")
    return folder


def test_run_writes_all_that_the_interface_names_and_nothing_else(outputs):
    names = {f"{name}.png" for name in PICTURES} | {f"{name}.csv" for name in TABLES} | {"results.md", "run.json"}
    assert {path.name for path in (outputs / "results").iterdir()} == names
    assert {path.name for path in (outputs / "checkpoints").iterdir()} == {
        "dladmm_d01.safetensors",
        "dladmm_d03.safetensors",
        "dladmm_d01_self_supervised.safetensors",
        "dladmm_d03_self_supervised.safetensors",
    }
    for name, header in TABLES.items():
        assert (outputs / "results" / f"{name}.csv").read_text().splitlines()[0] == header


def test_tables_have_a_row_for_every_method_epoch_and_layer(outputs):
    results = rows(outputs / "results" / "results.csv")
    methods = [(row["method"], row["depth"]) for row in results]
    both = [(method, depth) for method in ("untrained", "ladmm") for depth in ("1", "3")]
    assert methods[:6] == [("noisy", ""), ("median", ""), *both]
    assert methods[6][0] == "ladmm" and int(methods[6][1]) > 3
    assert methods[7:] == 2 * [("dladmm", "1"), ("dladmm", "3")]
    trainings = ("unsupervised", "self_supervised")
    assert [row["training"] for row in results] == 7 * [""] + [name for name in trainings for _ in range(2)]
    epochs = [(row["training"], row["depth"], row["epoch"]) for row in rows(outputs / "results" / "history.csv")]
    assert epochs == [(name, *row) for name in trainings for row in (("1", "1"), ("1", "2"), ("3", "1"), ("3", "2"))]
    layers = [(row["training"], row["depth"], row["layer"]) for row in rows(outputs / "results" / "layers.csv")]
    assert layers == [(name, *row) for name in trainings for row in (("1", "1"), ("3", "1"), ("3", "2"), ("3", "3"))]
    assert [row["noise_model"] for row in results[7:]] == ["none", "none", "salt_and_pepper", "salt_and_pepper"]


def test_reported_figures_are_those_of_the_last_layer_and_of_the_pictures(outputs):
    every_layer = rows(outputs / "results" / "layers.csv")
    layers = {(row["training"], row["depth"]): row for row in every_layer}  # the last one of each network
    clean = np.asarray(Image.open(outputs / "results" / "clean.png")) / 255
    for row in rows(outputs / "results" / "results.csv"):
        if row["method"] == "dladmm":
            layer = layers[row["training"], row["depth"]]
            assert (row["psnr"], row["objective"]) == (layer["psnr"], layer["objective"])
            name = f"dladmm_d0{row['depth']}" + "_self_supervised" * (row["training"] == "self_supervised")
            picture = np.asarray(Image.open(outputs / "results" / f"{name}.png")) / 255
            assert psnr(picture, clean) == pytest.approx(float(row["psnr"]), abs=0.02)  # pictures have 8 bits


def test_every_pixel_of_an_odd_sized_image_is_restored(outputs, image):
    noisy, restored = (
        np.asarray(Image.open(outputs / "results" / f"{name}.png")).astype(int) for name in ("noisy", "dladmm_d03")
    )
    assert restored.shape == (70, 53)
    corrupted = (noisy == 0) | (noisy == 255)
    assert (np.abs(restored - noisy)[corrupted] > 20).mean() > 0.6
    for border in (np.s_[-6:, :], np.s_[:, -5:]):  # beyond the last whole patch
        assert (restored != noisy)[border].mean() > 0.5


def test_every_file_names_the_run_that_made_it(outputs):
    text = (outputs / "results" / "run.json").read_text()
    made_by = json.loads(text)
    assert made_by["settings"]["seed"] == 1126 and made_by["settings"]["depths"] == [1, 3]
    assert made_by["versions"]["torch"] == version("torch") and made_by["versions"]["numpy"] == np.__version__
    assert made_by["code"] == {"command": "main_lena", "digest": digest_of_code("main_lena")}
    device = pick_device("auto")
    assert made_by["machine"]["device"] == str(device) and made_by["machine"]["compiled"] is False
    assert made_by["machine"]["precision"] == pick_precision("auto", device)
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    for table in TABLES:
        assert {row["run"] for row in rows(outputs / "results" / f"{table}.csv")} == {name}
    for picture in PICTURES:
        with Image.open(outputs / "results" / f"{picture}.png") as opened:
            assert opened.info["Description"] == f"run {name}, see run.json"
    assert text in (outputs / "results" / "results.md").read_text()
    for depth in (1, 3):
        description, _ = stored(outputs / "checkpoints" / f"dladmm_d0{depth}.safetensors")
        assert json.loads(description)["made_by"] == text


def test_a_network_does_not_depend_on_the_other_depths_of_the_run(outputs, image, tmp_path):
    run(image, tmp_path, "--depths", "3")
    alone, together = (
        [row | {"run": "", "seconds": ""} for row in rows(folder / "results" / "results.csv")]
        for folder in (tmp_path, outputs)
    )
    assert [row for row in together if row["training"] == "unsupervised"][1:] == alone[-1:]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--f", "box", "--activation", "proximal"],
        ["--f", "non_negative_l1", "--g", "squared_l2"],
        ["--activation", "shared_proximal", "--loss", "objective_and_gap"],
        ["--weights", "convergent", "--activation", "proximal", "--loss", "gap"],
        ["--training", "supervised", "self_supervised", "--corruption", "random_valued", "--noise-rate", "0.2"],
        ["--training", "supervised", "--training-rates", "0.01", "0.5"],
        ["--activation", "adaptive", "--f", "l21", "--epochs", "1"],
        ["--positions", "extremes", "--loss", "gap"],
        ["--positions", "black", "--training", "self_supervised", "--corruption", "missing_blocks"],
        ["--training", "self_supervised", "--corruption", "gaussian_and_impulses"],
        ["--alpha", "1e-6"],
        ["--noise-rate", "1"],
        ["--noise-rate", "0", "--learning-rate", "1e-6"],
        ["--positions", "extremes", "--training", "supervised", "--replace", "corrupted"],
    ],
)
def test_other_problems_activations_and_trainings_run_and_are_certified(arguments, image, tmp_path):
    """Objective and dual objective of any layer and of any iteration of LADMM enclose the one optimum."""
    run(image, tmp_path, *arguments)
    ladmm, layers = (rows(tmp_path / "results" / f"{name}.csv") for name in ("ladmm", "layers"))
    objective = np.double([row["objective"] for row in ladmm + layers])
    dual = objective - np.double([row["gap"] for row in ladmm + layers])
    assert dual.max() <= objective.min() * (1 + 1e-4) and objective.max() < np.inf
    assert objective[: len(ladmm)].min() < 0.999 * objective[0] or "--alpha" in arguments


def test_known_positions_help_and_are_said_to_be_known(outputs, image, tmp_path):
    run(image, tmp_path, "--positions", "extremes", "--replace", "corrupted")
    blind, sighted = (
        [row for row in rows(folder / "results" / "results.csv") if row["training"] != "self_supervised"]
        for folder in (outputs, tmp_path)
    )
    for before, after in zip(blind, sighted, strict=True):
        if before["method"] in ("untrained", "ladmm", "dladmm"):
            assert float(after["psnr"]) > float(before["psnr"]) + 1
            assert after["known_positions"] == "yes" and before["known_positions"] == "no"
        else:
            assert before["psnr"] == after["psnr"]


def test_a_damaged_colour_image_is_restored_in_its_depth_and_not_measured(tmp_path):
    pixels = np.random.default_rng(0).integers(65536, size=(40, 37, 3), dtype=np.uint16)
    save_pixels(pixels, tmp_path / "damaged.tif")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text('{"settings": {}, "versions": {}}')
    (tmp_path / "results" / "clean.png").write_text("of an earlier run")
    run(tmp_path / "damaged.tif", tmp_path, "--corruption", "none")
    results = tmp_path / "results"
    assert not (results / "clean.png").exists()
    np.testing.assert_array_equal(load_pixels(str(results / "noisy.png")), pixels)
    restored = load_pixels(str(results / "dladmm_d03.png"))
    assert restored.shape == pixels.shape and restored.dtype == np.uint16 and (restored != pixels).mean() > 0.9
    assert all(row["psnr"] == row["ssim"] == "" for row in rows(results / "results.csv"))
    markdown = (results / "results.md").read_text()
    assert "There is no clean image to compare with, so no PSNR" in markdown and "PSNR (dB)" not in markdown


def test_a_photograph_that_is_damaged_already_is_trained_on_both_ways(tmp_path):
    clean = load_image("camera")[60:130, 180:253]
    save_pixels(to_pixels(salt_and_pepper(clean, 0.1, seed=3), np.uint8), tmp_path / "damaged.png")
    both = ("--training", "unsupervised", "self_supervised", "--epochs", "4", "--learning-rate", "0.05")
    run(tmp_path / "damaged.png", tmp_path, "--corruption", "none", "--noise", "salt_and_pepper", *both)
    learned = [row for row in rows(tmp_path / "results" / "results.csv") if row["method"] == "dladmm"]
    assert [row["noise_model"] for row in learned] == ["none", "none", "salt_and_pepper", "salt_and_pepper"]
    assert all(row["psnr"] == "" for row in learned)
    quality = {
        name: psnr(load_image(str(tmp_path / "results" / f"{name}.png")), clean)
        for name in ("noisy", "dladmm_d03", "dladmm_d03_self_supervised")
    }
    assert quality["dladmm_d03"] > quality["noisy"] + 10
    assert quality["dladmm_d03_self_supervised"] > quality["dladmm_d03"] + 1


def test_the_experiment_is_a_function_of_its_settings_and_writes_nothing(image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = main_lena.Settings(
        image=str(image), depths=(3, 1), epochs=2, patches_per_epoch=300, batch_size=64, ladmm_max_iterations=20,
        safeguard_layers=2,
    )  # fmt: skip
    one, other = main_lena.run(settings), main_lena.run(settings)
    rows_of = lambda outcome: [replace(r.result, seconds=None) for r in outcome.classical.restorations]  # noqa: E731
    assert rows_of(one) == rows_of(other)
    names = [learned.name for learned in one.learned]
    assert names == [f"dladmm_d0{depth}{end}" for end in ("", "_self_supervised") for depth in (1, 3)]
    for learned, again in zip(one.learned, other.learned, strict=True):
        assert learned.history == again.history and len(learned.epoch_seconds) == 2
        assert all(map(torch.equal, learned.network.parameters(), again.network.parameters()))
    assert list(tmp_path.iterdir()) == []


def of_one_patch(folder, **changes):
    """Settings for an image of one patch, on which the experiment takes a moment."""
    save_pixels(to_pixels(load_image("camera")[100:116, 200:216], np.uint8), folder / "patch.png")
    return main_lena.Settings(
        image=str(folder / "patch.png"), epochs=1, patches_per_epoch=20, beta=8.0, ladmm_beta=2.0, alpha=0.6,
        ladmm_max_iterations=5, safeguard_layers=4, **changes,
    )  # fmt: skip


def test_the_safeguard_is_shown_on_the_deepest_network_of_the_first_training(tmp_path):
    """In whatever order they are named: without the safeguard, the layers are that network's."""
    settings = of_one_patch(tmp_path, depths=(3, 1), training=("self_supervised", "unsupervised"))
    outcome = main_lena.run(settings)
    network = next(learned.network for learned in outcome.learned if learned.name == "dladmm_d03")
    X = torch.from_numpy(np.random.default_rng(settings.seed).random((16, 16), dtype=np.float32)).reshape(1, 256)
    Zs = [state.Z for state in network.iterate(X, layers=4)]
    expected = [(0.6 * Z.abs().sum() + (X - Z @ network.problem.A.T).abs().sum()).item() for Z in Zs]
    found = [r.objective for r in outcome.safeguard if (r.input, r.method) == ("random image", "unguarded")]
    assert found == pytest.approx(expected, rel=1e-5)


def test_ladmm_is_that_of_numpy_with_its_own_beta_whatever_the_network_s_is(tmp_path):
    """In its table, in its rows of results, and beside the safeguard."""
    settings = of_one_patch(tmp_path, depths=(3,), training=("unsupervised",))
    outcome, A = main_lena.run(settings), load_dictionary().double().numpy()

    def objectives(image, iterations):
        x = np.double(image).ravel()
        trace = numpy_ladmm(A, np.eye(256), x, 0.6, 2.0, iterations)
        return [0.6 * np.abs(Z).sum() + np.abs(x - A @ Z).sum() for Z, _, _ in trace]

    expected = objectives(outcome.observation.noisy, 5)
    assert [row.objective for row in outcome.classical.trace] == pytest.approx(expected, rel=1e-4)
    solved = {row.depth: row.objective for row in outcome.results if row.method == "ladmm"}
    assert solved == pytest.approx({3: expected[2], 5: expected[4]}, rel=1e-4)
    unlike = outcome.observation.out_of_distribution(salt_and_pepper, settings.safeguard_noise_rate, settings.seed)
    for name, seen in unlike.items():
        followed = [row.objective for row in outcome.safeguard if (row.input, row.method) == (name, "ladmm")]
        assert followed == pytest.approx(objectives(seen.noisy, 4), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--depths", "5", "-3"], "--depths is -3; allowed: 1 or more"),
        (["--depths", "5", "5"], "--depths is 5 5; allowed: each value once"),
        (["--depths", "x"], "invalid int value: 'x'"),
        (["--epochs", "0"], "--epochs is 0; allowed: 1 or more"),
        (["--noise-rate", "nan"], "--noise-rate is nan; allowed: 0 to 1"),
        (["--alpha", "0"], "--alpha is 0.0; allowed: 1e-6 to 1e6"),
        (["--beta", "inf"], "--beta is inf; allowed: 1e-6 to 1e6"),
        (["--seed", str(2**70)], "allowed: 0 or more"),
        (["--results-dir", "x" * 300], "cannot be used"),
        (["--loss", "mse"], "--loss is mse; allowed: auto, objective, gap, objective_and_gap, relaxed, absolute_err"),
        (["--noise", "rain"], "--noise is rain; allowed: same, none, salt_and_pepper"),
        (["--training", "magic"], "--training is magic; allowed: unsupervised"),
        (["--image", "missing.png"], "image 'missing.png' cannot be read"),
        (["--image", ""], "image '' cannot be read"),
        (["--image", "SMALL"], "image is 40 x 15 pixels; allowed: at least 16 x 16, one patch"),
        (["--stride", "17"], "stride is 17; allowed: 1 to 16, the side of a patch"),
        (["--dictionary", "missing.npz"], "dictionary 'missing.npz' cannot be read"),
        (["--results-dir", "FILE"], "no folder that may be written to"),
        (["--f", "weighted_l1"], "--f is weighted_l1; allowed: l1, non_negative_l1, squared_l2, l21, box"),
        (["--g", "box", "--f", "non_negative_l1"], "f and g are both infinite somewhere; certificates need one that"),
        (["--f", "non_negative_l1", "--constraint", "NARROW"], "B has rank 9; certificates need 256, its"),
        (["--g", "squared_l2", "--loss", "relaxed"], "loss is relaxed, which does not fit this problem; allowed"),
        (["--weights", "convergent"], "activation is PiecewiseLinear, with convergent weights; allowed: proximal"),
        (["--f", "box"], "activation is piecewise linear, for a Box; allowed: a function with a step"),
        (["--training", "supervised", "--loss", "gap"], "loss is gap; allowed for supervised training: auto, absolute"),
        (["--constraint", "missing.npz"], "constraint 'missing.npz' cannot be read"),
        (["--constraint", "LOW"], "B has 5 rows; allowed: 256, as many as A"),
        (["--corruption", "none", "--training", "self_supervised"], "noise is none, for self_supervised training"),
        (["--training", "self_supervised", "--training-images", "x"], "training_rates and training_images are for sup"),
        (["--training", "self_supervised", "--noise-rate", "0"], "the noise rate is 0, estimated from the image"),
        (["--corruption", "random_valued", "--noise-rate", "0.5", "--training", "self_supervised"], "noise: below 0.4"),
        (["--training-rates", "0.1", "0.2"], "training_rates and training_images are for supervised training"),
        (["--training", "supervised", "--training-images", "nowhere"], "training images are 'nowhere'; allowed: ship"),
        (["--training", "supervised", "--training-images", "INPUTS"], "small.png' has 40 x 15 pixels; allowed: at l"),
        (["--training", "supervised", "--training-rates", "0.2", "0.1"], "training_rates are 0.2 0.1; allowed: the l"),
        (["--training", "supervised", "--training-rates", "0.1"], "training_rates are 0.1; allowed: the lowest and"),
        (["--training-rates", "0"], "--training-rates is 0.0; allowed: 0.0001 to 1"),
        (["--positions", "there"], "positions are 'there'; allowed: unknown, extremes, black, or a mask"),
        (["--positions", "SMALL"], "has 40 x 15 pixels; allowed: 53 x 70"),
        (["--positions", "extremes", "--g", "squared_l2"], "positions are known, which is for g = l1 and B = I"),
        (["--positions", "extremes", "--loss", "relaxed"], "loss is relaxed, which does not fit this problem"),
        (["--positions", "HERE", "--training", "supervised", "--image", "HERE"], "positions are a mask, for superv"),
        (["--training", "supervised", "--image", "astronaut"], "image is astronaut, which supervised training learns"),
        (["--image", "HERE", "--results-dir", "INPUTS"], "where a run replaces files; allowed: elsewhere"),
        (["--replace", "corrupted"], "replace is corrupted, and positions are unknown; allowed here: all"),
        (["--unknown", "1"], "unrecognized arguments: --unknown 1"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_no_file(arguments, expected, image, tmp_path, capsys):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    Image.fromarray(np.zeros((15, 40), dtype=np.uint8)).save(inputs / "small.png")
    (inputs / "file").write_text("")
    np.savez(inputs / "low.npz", B=np.ones((5, 5)))
    np.savez(inputs / "narrow.npz", B=np.random.default_rng(0).normal(size=(256, 9)))
    Image.fromarray(np.eye(20, 40, dtype=np.uint8) * 255).save(inputs / "here.png")
    places = {path.stem.upper(): str(path) for path in (inputs, *inputs.iterdir())}
    words = (places.get(word, word) for word in arguments)
    assert expected in refusal(capsys, run, image, tmp_path, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]


def test_help_lists_every_setting_with_its_default():
    shown = subprocess.run(
        [sys.executable, "main_lena.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    words = " ".join(shown.split())
    for flag, default in {
        "--depths": "5 10 15", "--epochs": "30", "--seed": "1126", "--image": "lena", "--noise-rate": "0.1",
        "--corruption": "salt_and_pepper", "--stride": "0", "--training": "unsupervised self_supervised",
        "--device": "auto", "--results-dir": "results", "--checkpoint-dir": "checkpoints", "--loss": "auto",
    }.items():  # fmt: skip
        said = words[words.index(flag + " ", words.index("options:")) :].split(" --")[0]
        assert f"(default: {default})" in said, flag


def test_patches_of_another_side_and_another_constraint_need_a_file_and_nothing_else(image, tmp_path):
    A, B = np.split(np.float32(np.random.default_rng(0).normal(size=(49, 120))), [80], axis=1)
    np.savez(tmp_path / "matrices.npz", A=A / np.linalg.norm(A, axis=0), B=B)
    matrices, checkpoint = str(tmp_path / "matrices.npz"), tmp_path / "checkpoints" / "dladmm_d03.safetensors"
    run(image, tmp_path, "--dictionary", matrices, "--constraint", matrices)
    learned = [row for row in rows(tmp_path / "results" / "results.csv") if row["method"] == "dladmm"]
    assert len(learned) == 2 and all(0 <= float(row["gap"]) < np.inf for row in learned)
    np.testing.assert_array_equal(load_network(checkpoint).problem.B, B)
    restore.main(["--image", str(image), "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out.png")])
    for restored in (tmp_path / "results" / "dladmm_d03.png", tmp_path / "out.png"):
        assert load_image(str(restored)).shape == (70, 53)
