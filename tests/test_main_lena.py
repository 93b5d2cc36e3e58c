"""Claims about the job: one command writes everything and says what made it, and the library does the same."""

import json
from dataclasses import asdict, replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import main_lena
from data.dictionary import load_dictionary
from data.formats import save_pixels
from data.images import load_image, load_pixels, to_pixels
from models import DLADMM
from tests.helpers import numpy_ladmm, rows, salt_and_pepper, stored
from utils.evaluation.metrics import psnr
from utils.running.checkpoints import load_network, save_network
from utils.running.devices import pick_device, pick_precision
from utils.running.provenance import as_json, code
from utils.running.settings import parse_settings

NETWORKS = {f"dladmm_d0{depth}{end}" for depth in (1, 3) for end in ("", "_self_supervised")}
PICTURES = NETWORKS | {"clean", "noisy", "ladmm", "comparison", "training", "layers"}
TABLES = {
    "results": "method,training,depth,training_data,clean_targets,known_positions,noise_model,training_loss,objective,"
    "psnr,ssim,seconds,gap,ladmm_same_objective,ladmm_same_psnr",
    "history": "training,depth,epoch,loss,psnr",
    "layers": "training,depth,layer,objective,psnr,gap",
    "ladmm": "iteration,objective,psnr,gap",
    "safeguard": "input,method,layer,objective,gap,replaced",
}


SHORT = {
    "--depths": (1, 3), "--epochs": 2, "--patches-per-epoch": 300, "--batch-size": 64, "--ladmm-tolerance": 0.1,
    "--ladmm-max-iterations": 300, "--safeguard-layers": 20, "--training": "unsupervised",
}  # fmt: skip


def words(image, *arguments, **folders):
    options = SHORT | {"--image": image} | {f"--{name}-dir": folder for name, folder in folders.items()}
    entries = [(option, *(value if isinstance(value, tuple) else (value,))) for option, value in options.items()]
    return [*(str(word) for entry in entries for word in entry), *arguments]


def run(image, folder, *arguments):
    main_lena.main(words(image, *arguments, results=folder / "results", checkpoint=folder / "checkpoints"))


def run_here(image, *arguments):
    return main_lena.run(parse_settings(main_lena.Settings, "", words(image, *arguments)))


@pytest.fixture(scope="module")
def outputs(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(image, folder, "--training", "unsupervised", "self_supervised")
    return folder


def test_run_writes_all_that_the_interface_names_and_nothing_else(outputs):
    names = {f"{name}.png" for name in PICTURES} | {f"{name}.csv" for name in TABLES} | {"results.md", "results.json"}
    assert {path.name for path in (outputs / "results").iterdir()} == names
    assert {path.name for path in (outputs / "checkpoints").iterdir()} == {f"{name}.safetensors" for name in NETWORKS}
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
    layers = {(row["training"], row["depth"]): row for row in rows(outputs / "results" / "layers.csv")}  # last ones
    clean = np.asarray(Image.open(outputs / "results" / "clean.png")) / 255
    for row in rows(outputs / "results" / "results.csv")[6:]:  # from LADMM to convergence on
        name = row["method"]
        if name == "dladmm":
            layer = layers[row["training"], row["depth"]]
            assert (row["psnr"], row["objective"]) == (layer["psnr"], layer["objective"])
            name = f"dladmm_d0{row['depth']}" + "_self_supervised" * (row["training"] == "self_supervised")
        picture = np.asarray(Image.open(outputs / "results" / f"{name}.png")) / 255
        assert psnr(picture, clean) == pytest.approx(float(row["psnr"]), abs=0.02)  # pictures have 8 bits


def test_what_made_the_results_stands_beside_them_and_in_the_networks(outputs):
    made_by = json.loads((outputs / "results" / "results.json").read_text())
    assert made_by.pop("tables") == list(TABLES) and made_by.pop("minutes") > 0
    assert made_by["settings"]["seed"] == 1126 and made_by["settings"]["depths"] == [1, 3]
    assert made_by["versions"]["torch"] == version("torch") and made_by["versions"]["numpy"] == np.__version__
    assert {"module": "main_lena", **code()}.items() <= made_by.items()
    device = pick_device("auto")
    assert made_by["machine"]["device"] == str(device) and made_by["machine"]["compiled"] is False
    assert made_by["machine"]["precision"] == pick_precision("auto", device)
    assert set(made_by["inputs"]) == {"image", "dictionary"}
    for name in NETWORKS:
        said, training = json.loads(stored(outputs / "checkpoints" / f"{name}.safetensors")[0]), name[11:]
        assert (said["made_by"], said["settings"]["training"]) == (as_json(made_by), training or "unsupervised")


def test_a_network_does_not_depend_on_the_other_depths_of_the_run(outputs, image):
    both, alone = rows(outputs / "results" / "history.csv"), run_here(image, "--depths", "3").tables["history"]
    together = [float(row["loss"]) for row in both if (row["training"], row["depth"]) == ("unsupervised", "3")]
    assert list(alone["loss"]) == pytest.approx(together, rel=1e-5)


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
        ["--beta", "0", "--weights", "scalar"],
        ["--beta", "0", "--weights", "tied", "--positions", "extremes"],
        ["--noise-rate", "1"],
        ["--noise-rate", "0", "--learning-rate", "1e-6"],
        ["--positions", "extremes", "--training", "supervised", "--replace", "corrupted"],
    ],
)
def test_other_problems_activations_and_trainings_run_and_are_certified(arguments, image):
    """Objective and dual objective of any layer and of any iteration of LADMM enclose the one optimum."""
    tables = run_here(image, *arguments).tables
    both = pd.concat([tables["ladmm"], tables["layers"]])
    objective, dual = both["objective"], both["objective"] - both["gap"]
    assert dual.max() <= objective.min() * (1 + 1e-4) and objective.max() < np.inf
    assert tables["ladmm"]["objective"].min() < 0.999 * objective.iloc[0] or "--alpha" in arguments


def test_known_positions_help_and_are_said_to_be_known(image):
    known = "--positions", "extremes", "--replace", "corrupted"
    blind, sighted = (run_here(image, *words).tables["results"] for words in ((), known))
    for (_, before), (_, after) in zip(blind.iterrows(), sighted.iterrows(), strict=True):
        if before["method"] in ("untrained", "ladmm", "dladmm"):
            assert after["psnr"] > before["psnr"] + 1
            assert after["known_positions"] == "yes" and before["known_positions"] == "no"
        else:
            assert before["psnr"] == after["psnr"]


def test_a_damaged_colour_image_is_restored_in_its_depth_and_not_measured(tmp_path):
    pixels = np.random.default_rng(0).integers(65536, size=(40, 37, 3), dtype=np.uint16)
    save_pixels(pixels, tmp_path / "damaged.tif")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results.json").write_text('{"settings": {}, "versions": {}}')
    for name in ("clean.png", "dladmm_d09.png"):
        (tmp_path / "results" / name).write_text("of an earlier run")
    (tmp_path / "checkpoints").mkdir()
    save_network(DLADMM(torch.eye(4), 1, 0.5), tmp_path / "checkpoints" / "dladmm_d09.safetensors", {})
    run(tmp_path / "damaged.tif", tmp_path, "--corruption", "none")
    results, earlier = tmp_path / "results", {"clean.png", "dladmm_d09.png", "dladmm_d09.safetensors"}
    assert not earlier & {path.name for path in tmp_path.glob("*/*")}
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
    names = "noisy", "dladmm_d03", "dladmm_d03_self_supervised"
    quality = {name: psnr(load_image(str(tmp_path / "results" / f"{name}.png")), clean) for name in names}
    assert quality["dladmm_d03"] > quality["noisy"] + 10
    assert quality["dladmm_d03_self_supervised"] > quality["dladmm_d03"] + 1


def test_the_experiment_writes_nothing_and_has_the_networks_by_training_then_by_depth(image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learned = run_here(image, "--depths", "3", "1", "--training", "unsupervised", "self_supervised").learned
    assert [each.name for each in learned] == sorted(NETWORKS, key=lambda name: (len(name), name))
    assert [len(each.epoch_seconds) for each in learned] == 4 * [2] and list(tmp_path.iterdir()) == []


def of_one_patch(folder, **changes):
    """Settings for an image of one patch, on which the experiment takes a moment."""
    save_pixels(to_pixels(load_image("camera")[100:116, 200:216], np.uint8), folder / "patch.png")
    return main_lena.Settings(
        image=str(folder / "patch.png"), epochs=1, patches_per_epoch=20, beta=8.0, ladmm_beta=2.0, alpha=0.6,
        ladmm_max_iterations=5, safeguard_layers=4, **changes,
    )  # fmt: skip


def test_the_safeguard_is_shown_on_the_deepest_network_of_the_first_training(tmp_path):
    settings = of_one_patch(tmp_path, depths=(3, 1), training=("self_supervised", "unsupervised"))
    outcome = main_lena.run(settings)
    seen, network = outcome.observation, next(of.network for of in outcome.learned if of.name == "dladmm_d03")
    X = torch.from_numpy(np.random.default_rng(settings.seed).random((16, 16), dtype=np.float32)).reshape(1, 256)
    Zs = [state.Z for state in network.iterate(X, layers=4)]
    expected = [(0.6 * Z.abs().sum() + (X - Z @ network.problem.A.T).abs().sum()).item() for Z in Zs]
    table = outcome.tables["safeguard"].set_index(["input", "method"])
    assert list(table.loc[("random image", "unguarded"), "objective"]) == pytest.approx(expected, rel=1e-5)
    untrained = main_lena.Experiment(settings).build(3, "X-BE")(seen.X)[-1]  # and restores as the first training does
    np.testing.assert_allclose(outcome.classical[3].image, seen.image_of((seen.X - untrained.E).detach()), atol=1e-6)


def test_with_beta_0_the_network_begins_with_the_beta_whose_untrained_objective_is_lowest(tmp_path):
    settings = replace(of_one_patch(tmp_path, depths=(3,), training=("unsupervised",)), beta=0.0)
    experiment = main_lena.Experiment(settings)
    found, problem, X = experiment.build(3, "AZ"), experiment.problem, experiment.seen.X
    others = [replace(settings, beta=found.beta * 2.0**k) for k in (-3, -1, 0, 1, 3)]
    networks = [main_lena.Experiment(other).build(3, "AZ") for other in others]
    objectives = [problem.objective(network(X)[-1], X).item() for network in networks]
    assert min(objectives) == objectives[2] == problem.objective(found(X)[-1], X).item() and found.beta != 8.0


def test_ladmm_is_that_of_numpy_with_its_own_beta_whatever_the_network_s_is(tmp_path):
    settings = of_one_patch(tmp_path, depths=(3,), training=("unsupervised",))
    outcome, A = main_lena.run(settings), load_dictionary().double().numpy()

    def objectives(image, iterations):
        x = np.double(image).ravel()
        trace = numpy_ladmm(A, np.eye(256), x, 0.6, 2.0, iterations)
        return [0.6 * np.abs(Z).sum() + np.abs(x - A @ Z).sum() for Z, _, _ in trace]

    expected, results = objectives(outcome.observation.noisy, 5), outcome.tables["results"]
    assert list(outcome.tables["ladmm"]["objective"]) == pytest.approx(expected, rel=1e-4)
    solved = results[results["method"] == "ladmm"].set_index("depth")["objective"].to_dict()
    assert solved == pytest.approx({3: expected[2], 5: expected[4]}, rel=1e-4)
    unlike = outcome.observation.out_of_distribution("salt_and_pepper", settings.safeguard_noise_rate, settings.seed)
    table = outcome.tables["safeguard"].set_index(["input", "method"])["objective"]
    for name, seen in unlike.items():
        assert list(table.loc[(name, "ladmm")]) == pytest.approx(objectives(seen.noisy, 4), rel=1e-4)


def test_help_lists_every_setting_with_its_default(capsys):
    with pytest.raises(SystemExit):
        main_lena.main(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    for name, value in asdict(main_lena.Settings()).items():
        flag, default = f"--{name.replace('_', '-')} ", " ".join(map(str, value)) if isinstance(value, tuple) else value
        said = words[words.index(flag, words.index("options:")) :].split(" --")[0]
        assert f"(default: {'none' if value == () else default})" in said, flag


def test_patches_of_another_side_and_another_constraint_need_a_file_and_nothing_else(image, tmp_path):
    A, B = np.split(np.float32(np.random.default_rng(0).normal(size=(49, 120))), [80], axis=1)
    np.savez(tmp_path / "matrices.npz", A=A / np.linalg.norm(A, axis=0), B=B)
    matrices, checkpoint = str(tmp_path / "matrices.npz"), tmp_path / "checkpoints" / "dladmm_d03.safetensors"
    run(image, tmp_path, "--dictionary", matrices, "--constraint", matrices)
    learned = [row for row in rows(tmp_path / "results" / "results.csv") if row["method"] == "dladmm"]
    assert len(learned) == 2 and all(0 <= float(row["gap"]) < np.inf for row in learned)
    np.testing.assert_array_equal(load_network(checkpoint).problem.B, B)
    assert load_image(str(tmp_path / "results" / "dladmm_d03.png")).shape == (70, 53)
