"""Claims about what surrounds the mathematics: training, evaluation, checkpoints, files, tables."""

import csv
import io
import itertools

import numpy as np
import pytest
import torch
from scipy.stats import norm

from data.corruption import salt_and_pepper
from data.dictionary import load_dictionary
from data.images import TRAINING_IMAGES, load_image
from data.patches import PatchGrid
from data.positions import known_positions
from models import DLADMM, Problem, ladmm
from models.losses import LOSSES, SUPERVISED_LOSSES
from utils.checkpoints import load_network, save_network
from utils.device import PAYS_FROM, pick_compiled
from utils.evaluation import follow_ladmm, solve_to_convergence, solve_with_ladmm, solve_with_network
from utils.files import all_or_nothing, check_folder
from utils.observation import Observation, Solution, psnr, ssim
from utils.samples import NoisyAndCleanPatches, NoisyPatches, Samples, half_size
from utils.tables import LADMMRecord, LayerRecord, worth, write_csv
from utils.training import (
    TRAININGS,
    Trainer,
    layer_weights,
    one_cycle,
    pick_loss,
    relative_rates,
)

ALPHA = 0.6


@pytest.fixture(scope="module")
def A():
    return load_dictionary()


@pytest.fixture(scope="module")
def noisy():
    clean = load_image("camera")[100:228, 200:328]
    spots = np.random.default_rng(0).random(clean.shape)
    return torch.from_numpy(np.where(spots < 0.1, np.float32(spots < 0.05), clean))


def observed(noisy, weigh=None, **known):
    grid = PatchGrid(tuple(noisy.shape), 16, 16)
    return Observation(np.asarray(noisy), grid, torch.device("cpu"), weigh, **known)


def salt_at_a_tenth(image, seed):
    return salt_and_pepper(image, 0.1, seed)


def trained(A, noisy, source=None, restored="AZ", **settings):
    network = DLADMM(A, 3, ALPHA, beta=8.0, start="pseudo_inverse", restored=restored)
    settings = {
        "loss": LOSSES["objective"], "epochs": 3, "patches_per_epoch": 300, "batch_size": 50, "learning_rate": 0.03,
        "layer_discount": 0.8,
    } | settings  # fmt: skip
    return network, list(Trainer(network, source or NoisyPatches(observed(noisy), 16, None, None, seed=0), **settings))


@pytest.mark.parametrize("loss", LOSSES)
def test_training_lowers_the_loss_on_patches_it_did_not_draw(A, noisy, loss):
    elsewhere = torch.from_numpy(salt_and_pepper(load_image("camera")[300:396, 100:196], 0.1, seed=5))
    X = PatchGrid(elsewhere.shape, 16, 16).extract(elsewhere)
    fresh = DLADMM(A, 3, ALPHA, beta=8.0, start="pseudo_inverse")
    network, _ = trained(A, noisy, loss=LOSSES[loss])
    before, after = (LOSSES[loss](net.problem, net(X)[-1], X).mean() for net in (fresh, network))
    assert after < before


def test_training_changes_every_weight_but_not_the_problem(A, noisy):
    fresh = DLADMM(A, 3, ALPHA, beta=8.0, start="pseudo_inverse")
    network, losses = trained(A, noisy, loss=LOSSES["gap"])  # the last E and λ do not enter the objective
    for (name, before), after in zip(fresh.named_parameters(), network.parameters(), strict=True):
        if name != "layers.0.e_step.W2":  # multiplies λ, which is zero in the first layer
            assert not torch.equal(before, after), name
    assert torch.equal(network.problem.A, A)
    assert len(losses) == 3 and np.isfinite(losses).all()


def test_the_same_seed_trains_the_same_network(A, noisy):
    (one, losses), (other, other_losses) = trained(A, noisy), trained(A, noisy)
    assert losses == other_losses
    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_compiled_training_is_the_same_training():
    if not pick_compiled("auto", PAYS_FROM, torch.device("cpu")):
        pytest.skip("no C++ compiler here")
    rng = torch.Generator().manual_seed(0)
    A, X = (torch.randn(rows, 12, generator=rng, dtype=torch.float64) for rows in (20, 60))
    weights = (X > -1).double()  # known positions: the iteration with all that can be in it
    curves = []
    for compiled in (False, True):
        network = DLADMM(A.T, 3, ALPHA, activation="piecewise_linear")
        settings = {
            "epochs": 3,
            "patches_per_epoch": 60,
            "batch_size": 20,
            "learning_rate": 0.05,
            "layer_discount": 0.5,
        }
        draw = [lambda count: Samples(X, weights), LOSSES["objective"]]
        curves.append(list(Trainer(network, *draw, **settings, compiled=compiled)))
    np.testing.assert_allclose(*curves, rtol=1e-12)
    assert curves[0][-1] < curves[0][0]


def test_without_a_compiler_training_is_not_compiled_unless_it_must_be(monkeypatch):
    def fails(function):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", fails)
    assert not pick_compiled("auto", PAYS_FROM, torch.device("cpu"))
    with pytest.raises(ValueError, match="--compile is yes"):
        pick_compiled("yes", 1, torch.device("cpu"))


def test_short_training_is_not_compiled():
    assert not pick_compiled("auto", PAYS_FROM - 1, torch.device("cpu"))
    assert not pick_compiled("no", PAYS_FROM, torch.device("cpu"))


@pytest.mark.parametrize("source", [NoisyPatches, NoisyAndCleanPatches])
def test_training_that_goes_on_from_a_saved_state_is_the_same_to_the_last_bit(A, noisy, source):
    def start():
        draw = source(observed(noisy), 16, salt_at_a_tenth, None, seed=3)
        network = DLADMM(A, 2, ALPHA, activation="piecewise_linear")
        loss = LOSSES["objective"] if source is NoisyPatches else SUPERVISED_LOSSES["absolute_error"]
        settings = {"batch_size": 40, "learning_rate": 0.05, "layer_discount": 0.5}
        return draw, network, Trainer(network, draw, loss, 4, 100, **settings)

    _, network, trainer = start()
    losses = list(trainer)
    draw, _, trainer = start()
    before = [loss for _, loss in zip(range(2), trainer, strict=False)]
    buffer = io.BytesIO()
    torch.save((draw.state_dict(), trainer.state_dict()), buffer)
    draw, resumed, trainer = start()
    for part, state in zip((draw, trainer), torch.load(io.BytesIO(buffer.getvalue()), weights_only=True), strict=True):
        part.load_state_dict(state)
    assert before + list(trainer) == losses
    assert all(map(torch.equal, network.parameters(), resumed.parameters()))


@pytest.mark.parametrize(("what", "bad"), [("loss", float("nan")), ("loss", float("inf")), ("gradient", None)])
def test_training_stops_where_a_loss_or_a_gradient_is_first_not_finite(A, noisy, what, bad):
    calls = itertools.count()

    def loss(problem, state, X):
        value = LOSSES["objective"](problem, state, X)
        # Three layers a batch, six batches an epoch: the second layer of the fourth batch of the second epoch.
        if next(calls) != 18 + 9 + 1:
            return value
        # Not finite itself, or finite with a derivative that is not: that of the square root at zero.
        return value * bad if what == "loss" else value + (state.Z * 0).sum(dim=1).sqrt()

    with pytest.raises(FloatingPointError, match=f"the {what} of layer 2 is .* in batch 4 of epoch 2, d = 3"):
        trained(A, noisy, loss=loss)


@pytest.mark.parametrize("settings", [{"learning_rate": 0.0}, {"layer_discount": 0.0}, {"batch_size": 1000}], ids=str)
def test_extreme_but_legal_training_works(A, noisy, settings):
    network, losses = trained(A, noisy, **settings)
    assert np.isfinite(losses).all()
    fresh = DLADMM(A, 3, ALPHA, beta=8.0, start="pseudo_inverse")
    same = all(map(torch.equal, fresh.parameters(), network.parameters()))
    assert same == (settings == {"learning_rate": 0.0})


@pytest.mark.parametrize("pixels", [torch.zeros(64, 64), torch.ones(64, 64), torch.rand(64, 64).round()])
def test_a_constant_image_and_one_of_noise_alone_are_trained_on(A, pixels):
    _, losses = trained(A, pixels)
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("depth", [1, 100])
def test_one_layer_and_a_hundred_are_trained(noisy, depth):
    A = load_dictionary()[:, :40]
    network = DLADMM(A, depth, ALPHA, beta=8.0, start="pseudo_inverse", activation="piecewise_linear")
    draw = NoisyPatches(observed(noisy), 16, None, None, seed=0)
    settings = {"batch_size": 50, "learning_rate": 0.03, "layer_discount": 0.5}
    losses = list(Trainer(network, draw, LOSSES["objective"], 3, 200, **settings))
    assert np.isfinite(losses).all() and min(losses) > 0


def test_every_epoch_draws_other_patches(noisy):
    for source in (NoisyPatches, NoisyAndCleanPatches):
        draw = source(observed(noisy), 16, salt_at_a_tenth, None, seed=0)
        assert not torch.equal(draw(50).X, draw(50).X)


def test_supervised_samples_are_pairs_of_a_corrupted_and_its_clean_patch(noisy):
    X, weights, (clean,) = NoisyAndCleanPatches(observed(noisy), 16, salt_at_a_tenth, None, seed=0)(1003)
    assert weights is None
    assert X.shape == clean.shape == (1003, 256)
    changed = clean != X
    assert changed.double().mean() == pytest.approx(0.1, abs=0.01)
    assert ((X[changed] == 0) | (X[changed] == 1)).all()


def test_known_positions_come_with_the_samples(noisy):
    weigh = known_positions("extremes", noisy.shape)
    for source in (NoisyPatches, NoisyAndCleanPatches):
        X, weights, _ = source(observed(noisy, weigh), 16, salt_at_a_tenth, weigh, seed=0)(300)
        np.testing.assert_array_equal(weights, weigh(X.numpy()))
        assert weights.mean() == pytest.approx(0.9, abs=0.02)


def test_samples_of_a_colour_image_come_from_all_channels():
    pixels = np.repeat(np.float32([0.1, 0.5, 0.9])[None, None], 40, axis=0).repeat(40, axis=1)
    X, weights, targets = NoisyPatches(observed(pixels), 16, None, None, seed=0)(100)
    assert X.shape == (100, 256) and weights is None and targets == ()
    assert [int((X[:, 0] == np.float32(value)).sum()) for value in (0.1, 0.5, 0.9)] == [34, 33, 33]


def test_only_corrupted_pixels_are_replaced_if_they_are_known(noisy):
    weigh = known_positions("extremes", noisy.shape)
    observation = observed(noisy, weigh, replace="corrupted")
    image = observation.image_of(Solution(1, torch.full_like(observation.X, 2.0), 0, 0))
    np.testing.assert_array_equal(image, np.where(weigh(noisy.numpy()) == 0, 1, noisy))


def test_half_the_size_has_the_means_of_four_pixels():
    image = np.random.default_rng(0).random((7, 10), dtype=np.float32)
    expected = [[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(5)] for i in range(3)]
    np.testing.assert_allclose(half_size(image), expected, rtol=1e-6)


def test_central_error_counts_the_middle_of_a_patch_more(A, noisy):
    problem, X = Problem(A, ALPHA), torch.zeros(256, 256)
    state = problem.zero_state(X)
    errors = TRAININGS["supervised"].losses["central_error"](problem, state, X, torch.eye(256)).reshape(16, 16)
    expected = np.outer(norm.pdf(np.arange(16), 7.5, 4), norm.pdf(np.arange(16), 7.5, 4))
    np.testing.assert_allclose(errors, np.sqrt(expected / expected.mean() + 1e-4), rtol=1e-5)


def test_supervised_training_is_not_shown_the_mask_of_the_image_to_restore(noisy):
    seeds = []

    def corrupt(image, seed):
        seeds.append(seed)
        return image

    draw = NoisyAndCleanPatches(observed(noisy), 16, corrupt, None, seed=7)
    draw(20), draw(20)
    assert 7 not in seeds and len(set(seeds)) == len(seeds) == 2 * 2 * len(TRAINING_IMAGES)


def test_supervised_training_learns_to_restore_an_image_it_never_saw(A, noisy):
    clean = load_image("camera")[300:396, 100:196]
    grid = PatchGrid(clean.shape, 16, 16)
    X = grid.extract(torch.from_numpy(salt_and_pepper(clean, 0.1, seed=5)))
    fresh = DLADMM(A, 3, ALPHA, beta=8.0, start="pseudo_inverse", restored="X-BE")
    source = NoisyAndCleanPatches(observed(noisy), 16, salt_at_a_tenth, None, seed=0)
    network, _ = trained(A, noisy, source=source, loss=SUPERVISED_LOSSES["absolute_error"], restored="X-BE", epochs=6)
    before, after = (psnr(grid.assemble(net.restore(net(X)[-1])).detach().numpy(), clean) for net in (fresh, network))
    assert after > before + 1


@pytest.mark.parametrize(("name", "training"), [("objective", "supervised"), ("absolute_error", "unsupervised")])
def test_a_loss_that_does_not_fit_its_training_is_refused(A, name, training):
    with pytest.raises(ValueError, match=f"loss is {name}; allowed for this training: "):
        pick_loss(name, TRAININGS[training], Problem(A, ALPHA))


def test_layer_weights_sum_to_one_and_end_with_the_last_layer_alone():
    assert layer_weights(3, 0) == [0, 0, 1]
    assert layer_weights(4, 1) == [0.25] * 4
    weights = layer_weights(5, 0.8)
    assert sum(weights) == pytest.approx(1) and weights[2] == pytest.approx(0.8 * weights[3])


def test_each_tensor_has_the_rate_of_its_size(A):
    network = DLADMM(A, 2, ALPHA, beta=8.0, start="pseudo_inverse")
    groups = relative_rates(network, 0.5)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    for parameter in network.parameters():
        assert rates[id(parameter)] == pytest.approx(0.5 * np.sqrt(np.mean(parameter.detach().numpy() ** 2)), rel=1e-5)


def test_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rates = [one_cycle(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and rates[10] == 1 and rates[100] == pytest.approx(0)
    assert (np.diff(rates[:11]) > 0).all() and (np.diff(rates[10:]) < 0).all()


def test_solutions_of_batches_are_those_of_all_patches_at_once(A, noisy, monkeypatch):
    network = DLADMM(A, 3, ALPHA)
    X = PatchGrid(noisy.shape, 16, 16).extract(noisy)
    whole = solve_with_network(network, X)
    monkeypatch.setattr("utils.evaluation.BATCH", 5)
    for layer, (parts, solution) in enumerate(zip(solve_with_network(network, X), whole, strict=True), start=1):
        assert parts.iteration == solution.iteration == layer
        torch.testing.assert_close(parts.patches, solution.patches)
        assert parts.objective == pytest.approx(solution.objective, rel=1e-6)


def test_fresh_network_and_ladmm_have_the_same_solutions(A, noisy):
    X = PatchGrid(noisy.shape, 16, 16).extract(noisy)
    network = DLADMM(A, 3, ALPHA, beta=2.0)
    followed = follow_ladmm(network.problem, X, 2.0, 3)
    for layer, ours, theirs in zip((1, 2, 3), solve_with_network(network, X), followed, strict=True):
        alone = solve_with_ladmm(network.problem, X, 2.0, layer)
        for solution in (theirs, alone):
            assert solution.iteration == layer
            assert ours.objective == pytest.approx(solution.objective, rel=1e-6)
            assert ours.gap == pytest.approx(solution.gap, rel=1e-4)


def test_ladmm_is_followed_step_by_step_first_and_then_in_tens(A, noisy):
    X = PatchGrid(noisy.shape, 16, 16).extract(noisy)[:2]
    followed = [solution.iteration for solution in follow_ladmm(Problem(A, ALPHA), X, 2.0, 125)]
    assert followed == [*range(1, 101), 110, 120]


def test_worth_is_the_first_iteration_that_gets_there():
    trace = [LADMMRecord(k, objective, psnr, 0.0) for k, objective, psnr in ((1, 9, 20), (2, 7, 25), (3, 6, 24))]
    assert worth(trace, objective=7, psnr=24) == (2, 2)
    assert worth(trace, objective=6.5, psnr=25) == (3, 2)
    assert worth(trace, objective=5.9, psnr=25.1) == (None, None)


def test_converged_means_certified_by_the_gap(A, noisy):
    problem, tolerance = Problem(A, ALPHA), 0.05
    X = PatchGrid(noisy.shape, 16, 16).extract(noisy)
    solution = solve_to_convergence(problem, X, 3.0, tolerance, max_iterations=3000)
    state = next(itertools.islice(ladmm(problem, X, 3.0), solution.iteration - 1, None))
    gap = problem.gap(state, X).mean()
    assert 0 <= gap <= tolerance * problem.objective(state, X).mean()
    assert solution.iteration < 3000
    assert solve_to_convergence(problem, X, 3.0, tolerance, max_iterations=7).iteration == 7


def test_psnr_is_that_of_the_definition():
    clean, restored = np.random.default_rng(0).random((2, 20, 30))
    assert psnr(restored, clean) == pytest.approx(10 * np.log10(1 / np.mean((restored - clean) ** 2)))
    assert psnr(clean, clean) == np.inf


def test_ssim_of_a_colour_image_is_the_mean_of_its_channels():
    clean, restored = np.random.default_rng(0).random((2, 20, 30, 3))
    channels = [ssim(restored[..., channel], clean[..., channel]) for channel in range(3)]
    assert ssim(restored, clean) == pytest.approx(np.mean(channels))


@pytest.mark.parametrize("B", [None, torch.ones(256, 3)])
def test_checkpoints_bring_the_network_back(A, B, noisy, tmp_path):
    network = DLADMM(A, 2, ALPHA, B=B, activation="shared_proximal", restored="X-BE")
    for parameter in network.parameters():
        parameter.data *= 1.1
    save_network(network, tmp_path / "network.pt", {"depths": (2,)})
    X = PatchGrid(noisy.shape, 16, 16).extract(noisy)
    assert load_network(tmp_path / "network.pt").restored == "X-BE"
    for saved, loaded in zip(network(X)[-1], load_network(tmp_path / "network.pt")(X)[-1], strict=True):
        torch.testing.assert_close(saved, loaded, rtol=0, atol=0.01 * saved.detach().abs().max().item())


def test_files_of_a_run_appear_together(tmp_path):
    for name in ("kept.txt", "old_1.png", "old_2.png"):
        (tmp_path / name).write_text("before")
    with all_or_nothing(tmp_path, obsolete=("old_*.png",)) as folder:
        (folder / "new.txt").write_text("after")
        (folder / "old_1.png").write_text("after")
        assert not (tmp_path / "new.txt").exists()
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"kept.txt": "before", "new.txt": "after", "old_1.png": "after"}


def test_files_of_a_run_that_fails_never_appear(tmp_path):
    (tmp_path / "table.txt").write_text("before")
    with pytest.raises(RuntimeError), all_or_nothing(tmp_path, obsolete=("*",)) as folder:
        (folder / "table.txt").write_text("half")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.txt", "before")]


def test_a_folder_behind_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        with pytest.raises(ValueError, match="cannot be used"):
            check_folder(str(tmp_path / name))
    assert check_folder(str(tmp_path / "new" / "folder")) == tmp_path / "new" / "folder"


def test_csv_has_the_fields_as_columns(tmp_path):
    write_csv([LayerRecord(5, 1, 1 / 3, 30.0, 0.5)], tmp_path / "layers.csv", "abc")
    with (tmp_path / "layers.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["depth", "layer", "objective", "psnr", "gap", "run"],
            ["5", "1", "0.333333", "30", "0.5", "abc"],
        ]
