"""Claims about training: what is learned from, by which steps, in how many processes, and what stops it."""

import io
import itertools
import os
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import main_lena
from data.damage import DAMAGES
from data.dictionary import load_dictionary
from data.formats import save_pixels
from data.images import TRAINING_IMAGES, load_image, load_pixels, to_pixels
from data.masks import mask_finder
from data.patches import PatchGrid
from models import DLADMM
from models.errors import TrainingError
from models.losses import LOSSES, Loss
from models.samples import Captured, Drawn, Rows, Samples
from models.training import advance
from tests.helpers import AS_PUBLISHED, ROOT, fixed, observed, rows, salt_and_pepper, train_now, training_of
from utils.evaluation.metrics import psnr
from utils.running.devices import PAYS_FROM, pick_compiled, pick_precision
from utils.sources import SOURCES
from utils.sources.patches import REDUCTIONS, NoisyAndCleanPatches, NoisyPatches

ALPHA = 0.6


def fresh(A, depth=3, **choices):
    choices = {"initialization": "pseudo_inverse", "activation": "proximal"} | choices
    return DLADMM(A, depth, ALPHA, beta=8.0, **choices)


def unsupervised(noisy, find_mask=None, seed=0):
    seen = observed(noisy, find_mask)
    return NoisyPatches(seen.pixels, 16, seed, seen.mask)


def supervised(find_mask=None, **changes):
    choices = {"noise": "salt_and_pepper", "rate": 0.1, "seed": 1126, "find_mask": find_mask}
    return NoisyAndCleanPatches(16, **(choices | changes))


@pytest.fixture(scope="module")
def elsewhere():
    """A part of the photograph that is not learned from, its noisy patches, and the grid that cuts them."""
    clean = load_image("camera")[300:396, 100:196]
    grid = PatchGrid(clean.shape, 16, 16)
    return clean, grid.extract(torch.from_numpy(salt_and_pepper(clean, 0.1, seed=5))), grid


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if not loss.targets])
def test_training_lowers_the_loss_on_patches_it_did_not_draw(A, noisy, elsewhere, loss):
    network, (_, X, _) = fresh(A), elsewhere
    train_now(network, unsupervised(noisy), loss)
    before, after = (LOSSES[loss].value(net.problem, net(X)[-1], X, None).mean() for net in (fresh(A), network))
    assert after < before


def test_supervised_training_learns_to_restore_an_image_it_never_saw(A, elsewhere):
    (clean, X, grid), networks = elsewhere, [fresh(A, restored="X-BE") for _ in range(2)]
    train_now(networks[1], supervised(), "absolute_error", epochs=12)
    before, after = (psnr(grid.assemble(net.restore(net(X)[-1])).detach().numpy(), clean) for net in networks)
    assert after > before + 1


@pytest.mark.parametrize("activation", ["proximal", "fixed_proximal"])
def test_training_changes_every_weight_but_not_fixed_steps_or_the_problem(A, noisy, activation):
    network, before = (fresh(A, activation=activation) for _ in range(2))
    losses = train_now(network, unsupervised(noisy), "gap")  # the last E and λ do not enter the objective
    for (name, old), new in zip(before.named_parameters(), network.parameters(), strict=True):
        if name != "layers.0.e_step.W2":  # multiplies λ, which is zero in the first layer
            assert torch.equal(old, new) == (activation == "fixed_proximal" and "theta" in name), name
    assert torch.equal(network.problem.A, A)
    assert len(losses) == 3 and losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("loss", "discount", "columns"),
    [("absolute_error", 0.8, None), ("absolute_error", 0.0, None), ("objective", 0.8, None), ("gap", 0.8, 40)],
)
def test_a_training_is_that_of_a_plain_loop(A, noisy, loss, discount, columns):
    """Of the network as a whole: its E step reads the E before it if B has 40 columns, not if it is I."""
    X = observed(noisy).X[:60].double()
    B = None if columns is None else torch.randn(256, columns, generator=torch.Generator().manual_seed(0))
    mask, targets = None, ()
    if LOSSES[loss].targets:
        mask, targets = (X < 0.9).double(), (X.roll(1, dims=0), (X > 0.1).double())
    network, reference = (fresh(A.double(), B=B) for _ in range(2))
    samples = Drawn(lambda count: Samples(X, mask, targets))
    short = {"epochs": 2, "samples_per_epoch": 60, "batch_size": 7, "learning_rate": 0.05, "layer_discount": discount}
    losses = train_now(network, samples, loss, **short)
    rates = {p: 0.05 * p.detach().square().mean().sqrt().item() for p in reference.parameters()}
    groups = [{"params": [p], "lr": rate} for p, rate in rates.items()]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-10)
    weights = torch.tensor([discount**2, discount, 1.0]).double()
    expected, step = [], 0
    for _ in range(2):
        total = 0.0
        for places in torch.arange(60).split(7):
            batch, known, *compared = (None if part is None else part[places] for part in (X, mask, *targets))
            states, step = reference(batch, known), step + 1
            done = step / 19
            scale = done / 0.1 if done < 0.1 else (1 + np.cos(np.pi * (done - 0.1) / 0.9)) / 2
            errors = [LOSSES[loss].value(reference.problem, state, batch, known, *compared).mean() for state in states]
            optimizer.zero_grad()
            (weights @ torch.stack(errors) / weights.sum()).backward()
            for group, rate in zip(optimizer.param_groups, rates.values(), strict=True):
                group["lr"] = rate * scale
            optimizer.step()
            total += errors[-1].item() * len(places)
        expected.append(total / 60)
    np.testing.assert_allclose(losses, expected, rtol=1e-8)
    for ours, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_compiled_training_is_compiled_and_the_same_training(compiler):
    if not pick_compiled("auto", PAYS_FROM, torch.device("cpu")):
        pytest.skip("no C++ compiler here")
    compiler.clear()
    rng = torch.Generator().manual_seed(0)
    A, X = (torch.randn(rows, 12, generator=rng, dtype=torch.float64) for rows in (20, 60))
    samples = fixed(X, (X > -1).double())  # known positions: the iteration with all that can be in it
    curves = []
    for compiled in (False, True):
        network = DLADMM(A.T, 2, ALPHA, activation="piecewise_linear")
        curves.append(train_now(network, samples, compiled=compiled, samples_per_epoch=60, batch_size=20))
        assert compiler == ([advance, *(layer._call_impl for layer in network.layers)] if compiled else [])
    np.testing.assert_allclose(*curves, rtol=1e-12)
    assert curves[0][-1] < curves[0][0]


def test_products_alone_are_rounded_and_the_network_learns_as_well(A, noisy):
    network, exact, products = fresh(A), fresh(A), set()
    for layer in network.layers:
        layer.eta.register_forward_hook(lambda eta, given, Z: products.add((given[0] @ A.T).dtype))
    losses = [epoch.loss for epoch in training_of(network, unsupervised(noisy), precision="bfloat16")]
    expected = train_now(exact, unsupervised(noisy))
    assert products == {torch.bfloat16} and {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert losses != expected and losses[-1] == pytest.approx(expected[-1], rel=0.02)


def test_it_is_compiled_and_rounded_where_that_pays_and_works_unless_it_must_be(monkeypatch):
    cpu = torch.device("cpu")
    assert not pick_compiled("auto", PAYS_FROM - 1, cpu) and not pick_compiled("no", PAYS_FROM, cpu)
    monkeypatch.setattr(torch, "compile", Mock(side_effect=RuntimeError("no compiler")))
    assert not pick_compiled("auto", PAYS_FROM, cpu)
    with pytest.raises(ValueError, match="compile is yes, and it fails here"):
        pick_compiled("yes", 1, cpu)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for able in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda able=able: able)
        assert pick_precision("auto", cpu) == ("bfloat16" if able else "float32")
        assert pick_precision("float32", cpu) == pick_precision("auto", torch.device("cuda")) == "float32"
    with pytest.raises(ValueError, match="precision is bfloat16, and this processor has no such products; allowed"):
        pick_precision("bfloat16", cpu)


@pytest.mark.parametrize("name", SOURCES)
def test_training_that_goes_on_from_a_saved_state_is_the_same_to_the_last_bit(A, noisy, name):

    def start():
        source = SOURCES[name](main_lena.Settings(), observed(noisy))
        network = fresh(A, 2, activation="piecewise_linear")
        return training_of(network, source, source.loss, epochs=4, samples_per_epoch=60, batch_size=25)

    undisturbed, interrupted, resumed = start(), start(), start()
    losses = [epoch.loss for epoch in undisturbed]
    before = [epoch.loss for epoch in itertools.islice(interrupted, 2)]
    buffer = io.BytesIO()
    torch.save(interrupted.state_dict(), buffer)
    buffer.seek(0)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    after = [(epoch.number, epoch.loss) for epoch in resumed]
    assert [number for number, _ in after] == [3, 4]
    assert before + [loss for _, loss in after] == losses
    assert all(map(torch.equal, undisturbed.network.parameters(), resumed.network.parameters()))
    assert not torch.equal(resumed.source.draw(50).X, resumed.source.draw(50).X)  # every epoch has other patches


@pytest.mark.parametrize(
    ("what", "bad", "epoch", "batch"),
    [("loss", np.nan, 2, 4), ("loss", np.inf, 2, 4), ("gradient", None, 2, 4), ("gradient", None, 1, 6)],
)
def test_training_stops_where_a_loss_or_a_gradient_is_first_not_finite(A, noisy, what, bad, epoch, batch):
    """Also in the last step of an epoch, of which no loss shows it, though its weights are used in the next."""
    calls = itertools.count()

    def value(problem, state, X, mask):
        objective = problem.objective(state, X)
        # Three layers a batch, six batches an epoch: the second layer of this batch.
        if next(calls) != 3 * (6 * (epoch - 1) + batch - 1) + 1:
            return objective
        # Not finite itself, or finite with a derivative that is not: that of the square root at zero.
        return objective * bad if what == "loss" else objective + (state.Z * 0).sum(dim=1).sqrt()

    with pytest.raises(TrainingError, match=f"the {what} of layer 2 is .* in batch {batch} of epoch {epoch}, d = 3"):
        train_now(fresh(A), unsupervised(noisy), Loss(value), epochs=epoch)


EXTREMES = {  # an image in place of the usual one, the depth, the size of a batch
    "one batch": (None, 3, 1000),
    "black": (torch.zeros(64, 64), 3, 50),
    "noise alone": (torch.rand(64, 64).round(), 3, 50),
    "one layer": (None, 1, 50),
    "a hundred layers": (None, 100, 50),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_but_legal_training_works(noisy, name):
    pixels, depth, batch_size = EXTREMES[name]
    network, before = (fresh(load_dictionary()[:, :40], depth, activation="piecewise_linear") for _ in range(2))
    source = unsupervised(noisy if pixels is None else pixels)
    assert np.isfinite(train_now(network, source, epochs=2, samples_per_epoch=100, batch_size=batch_size)).all()
    same = all(map(torch.equal, before.parameters(), network.parameters()))
    assert same == (name == "black")  # a black image is solved: there is nothing to learn


def test_a_parameter_that_starts_at_zero_learns(A, noisy):
    network = fresh(A, activation="piecewise_linear")
    for layer in network.layers:
        layer.eta.slopes.data.zero_()
    losses = train_now(network, unsupervised(noisy))
    assert all(layer.eta.slopes.abs().mean() > 1e-3 for layer in network.layers) and losses[-1] < losses[0]


def test_supervised_samples_are_pairs_of_a_corrupted_and_its_clean_patch(noisy):
    for find_mask in (None, mask_finder("extremes", noisy.shape)):
        X, mask, (clean, trusted) = supervised(find_mask).draw(3001)
        changed = clean != X
        assert (trusted == 1).all() and X.shape == clean.shape == (3001, 256)
        assert changed.double().mean() == pytest.approx(0.1, abs=0.01)
        assert ((X[changed] == 0) | (X[changed] == 1)).all() and (mask is None) == (find_mask is None)
    # Areas and specks that are black or white in the clean image itself are known.
    assert (clean == 0).any() and (mask[~changed] == 1).all() and (mask[changed] == 0).double().mean() > 0.9


def test_known_positions_come_with_the_samples_but_not_where_a_patch_has_none_as_in_restoring(noisy):
    X, mask, _ = unsupervised(noisy, mask_finder("extremes", noisy.shape)).draw(300)
    between = (X > 0) & (X < 1)
    assert (mask[between] == 1).all() and (mask[~between] == 0).double().mean() > 0.9  # some lie in an area
    assert mask.mean() == pytest.approx(0.9, abs=0.02)
    pixels = noisy.clone()
    pixels[:64, :64] = 1
    seen = observed(pixels, lambda image: np.float32((image > 0) & (image < 1)))
    drawn = NoisyPatches(seen.pixels, 16, 0, seen.mask).draw(400)
    for X, mask in ((drawn.X, drawn.mask), (seen.X, seen.X_mask)):
        saturated = (X == 1).all(dim=1)
        assert saturated.any() and (mask[saturated] == 1).all()
    X, mask, (clean, _) = supervised(np.zeros_like, rate=1.0).draw(400)
    unknown = (clean != X).all(dim=1)
    assert unknown.any() and (mask[unknown] == 1).all()


@pytest.mark.parametrize("name", ["unsupervised", "self_supervised"])
def test_samples_of_a_colour_image_come_from_all_channels(name):
    pixels = np.repeat(np.float32([0.1, 0.5, 0.9])[None, None], 40, axis=0).repeat(40, axis=1)
    pixels[::7, ::7] = 0
    levels = SOURCES[name](main_lena.Settings(), observed(torch.from_numpy(pixels))).draw(299).X.median(dim=1).values
    assert [int((levels == np.float32(value)).sum()) for value in (0.1, 0.5, 0.9)] == [100, 100, 99]


def test_supervised_training_is_not_shown_the_noise_of_the_image_to_restore(noisy, monkeypatch):
    corrupt = Mock(side_effect=lambda image, rate, seed: image)
    monkeypatch.setattr(DAMAGES["salt_and_pepper"], "corrupt", corrupt)
    samples = supervised(seed=7)
    samples.draw(20), samples.draw(20)
    seeds = [call.kwargs["seed"] for call in corrupt.call_args_list]
    assert 7 not in seeds and len(set(seeds)) == len(seeds) == 2 * len(REDUCTIONS) * len(TRAINING_IMAGES)


def test_supervised_training_learns_from_a_folder_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.sources.patches.with_random_contrast", lambda image, generator: image)
    for number, (name, shape) in enumerate({"a.png": (60, 40), "b.JPG": (16, 200, 3), "c.tif": (33, 31)}.items()):
        save_pixels(np.full(shape, 60 + 60 * number, dtype=np.uint8), tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    samples = supervised(images=str(tmp_path))
    clean, _ = samples.draw(500).targets
    assert sorted(set((255 * clean).round().int().flatten().tolist())) == [60, 120, 180]
    assert set(samples.inputs()) == {"training_images"}
    known = samples.knowledge("salt_and_pepper", str(tmp_path))
    assert known["training_data"] == f"images in {tmp_path.name}" and known["clean_targets"] == "yes"


def test_the_image_to_restore_is_not_learned_from(noisy, tmp_path):
    save_pixels(to_pixels(np.asarray(noisy), np.uint8), tmp_path / "mine.png")
    with pytest.raises(ValueError, match="which supervised training learns from; allowed: any other image"):
        supervised(images=str(tmp_path), not_from=str(tmp_path / "mine.png"))


def test_a_step_reads_no_number_on_the_host(A):
    """On PyTorch's device without data every such read fails. So a step can be captured on a GPU, and replayed."""
    network, X = fresh(A, 2, activation="adaptive").to("meta"), torch.empty(60, 256, device="meta")
    optimizer = Mock(param_groups=[{"lr": 0.1}], zero_grad=network.zero_grad)  # Adam needs a device with data
    training = training_of(network, Rows(X), "objective_and_gap", optimizer=optimizer)
    losses, gradients = training.step(Samples(X[:30], X[:30]), 30)
    assert losses.shape == gradients.shape == (2,)


@pytest.mark.parametrize("works", [True, False])
def test_a_replayed_step_is_the_step_and_what_cannot_be_captured_is_plain(A, noisy, capsys, monkeypatch, works):
    """With a stand-in for the CUDA graph, which runs the step on the tensors of the capture, as a replay does."""
    capture = Mock(side_effect=(lambda step: step) if works else RuntimeError("not permitted"))
    monkeypatch.setattr("models.samples.cuda_graph", capture)
    network, other = fresh(A, 2), fresh(A, 2)
    expected = train_now(network, unsupervised(noisy), samples_per_epoch=270)
    training = training_of(other, unsupervised(noisy), samples_per_epoch=270)
    training.take = Captured(training.step)
    assert [epoch.loss for epoch in training] == expected  # of every epoch five batches of 50 and one of 20
    assert all(map(torch.equal, network.parameters(), other.parameters())) and capture.call_count == 1
    assert capsys.readouterr().err == ("" if works else "training is not captured as a CUDA graph (RuntimeError)\n")


@pytest.mark.parametrize("fault", ["crashes", "has other losses", "has no gradients"])
def test_a_compiled_step_that_is_not_the_plain_one_is_not_used(A, noisy, monkeypatch, capsys, fault):
    """As with PyTorch 2.11, whose compiler crashed at a named tuple's _replace, or made all gradients zero."""

    def compiled(function, **options):
        def wrong(*arguments):
            if fault == "crashes":
                raise AssertionError("of the compiler")
            state, loss = function(*arguments)
            return state, 1.2 * loss if fault == "has other losses" else loss.detach() + 0 * loss

        return wrong

    network, other = fresh(A, 2), fresh(A, 2)
    expected = train_now(network, unsupervised(noisy))
    monkeypatch.setattr(torch, "compile", compiled)
    assert train_now(other, unsupervised(noisy), compiled=True) == expected
    said = capsys.readouterr().err
    assert said.startswith("training goes on not compiled: ") and said.count("\n") == 1


def test_a_layer_that_no_gradient_reaches_ends_the_training_with_an_error(A, noisy):
    with pytest.raises(TrainingError, match="no gradient reaches layer 1 of 2"):
        train_now(DLADMM(A, 2, alpha=1e6), unsupervised(noisy))


SMALL = (
    *AS_PUBLISHED, "--depths", "2", "--training", "self_supervised", "--epochs", "2", "--patches-per-epoch", "300",
    "--batch-size", "64", "--learning-rate", "0.01", "--ladmm-max-iterations", "20", "--safeguard-layers", "3",
)  # fmt: skip
SCRIPT = """
import main_lena
from tests.test_training import loss_curve
from models.samples import joined, process_number
with joined():
    losses = loss_curve()
    if process_number() == 0:
        print("losses", *losses)
main_lena.main(["--depths", "0"])
"""


def loss_curve():
    """Losses in float64, where rounding is not in the way, batches that two cannot halve, and one of a single row."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(12, 20, generator=generator, dtype=torch.float64)
    network = DLADMM(A, 3, 0.5, activation="piecewise_linear")
    samples = Drawn(lambda count: Samples(torch.randn(count, 12, generator=generator, dtype=torch.float64)))
    return train_now(network, samples, epochs=5, samples_per_epoch=22, batch_size=7, learning_rate=0.05)


def in_two_processes(script, *arguments):
    torchrun = sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run((*torchrun, script, *arguments), cwd=ROOT, env=environment, capture_output=True, text=True)


def test_two_processes_have_the_loss_curve_of_one_and_say_once_what_is_wrong(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = in_two_processes(script)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("losses"))
    np.testing.assert_allclose(np.double(line.split()[1:]), loss_curve(), rtol=1e-12)
    assert done.returncode != 0 and done.stderr.count("error: --depths is 0; allowed: 1 or more") == 1


def test_an_experiment_in_two_processes_is_that_of_one_and_one_of_them_speaks(tmp_path, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    places = (("--results-dir", f"{at}", "--checkpoint-dir", f"{at}/checkpoints") for at in (one, two))
    in_one, in_two = ((*SMALL, *words) for words in places)
    main_lena.main(in_one)
    said, done = capsys.readouterr(), in_two_processes("main_lena.py", *in_two)
    assert done.returncode == 0, done.stderr
    for out, err in ((said.out, said.err), (done.stdout, done.stderr)):
        assert out.count("D-LADMM, d = 2, self-supervised") == 1 and err.count("0/2 [00:00<?, ?epoch/s]") == 1
    assert {path.relative_to(one) for path in one.rglob("*")} == {path.relative_to(two) for path in two.rglob("*")}
    np.testing.assert_array_equal(*(load_pixels(str(folder / "noisy.png")) for folder in (one, two)))
    histories = [rows(folder / "history.csv") for folder in (one, two)]
    for column in ("loss", "psnr"):
        np.testing.assert_allclose(*(np.double([row[column] for row in history]) for history in histories), rtol=1e-3)
