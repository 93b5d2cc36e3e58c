"""Claims about learning from the noisy image corrupted once more: what is seen, what is told, and what it earns."""

import numpy as np
import pytest
import torch

from data.damage import DAMAGES, GaussianAndImpulses, as_jpeg, gaussian_deviation, impulse_rate, noise_rate, second_rate
from data.images import VALIDATION_IMAGES, load_image
from data.masks import extremes
from data.patches import PatchGrid, randomly_turned
from main_lena import Settings
from models import DLADMM
from tests.helpers import gaussian_and_impulses, observed, random_valued, salt_and_pepper, train_now
from utils.evaluation.metrics import psnr
from utils.restore.learning import Learning
from utils.sources import SOURCES
from utils.sources.patches import RecorruptedPatches


def self_supervised(noisy, find_mask=None, noise="salt_and_pepper"):
    seen = observed(noisy, find_mask)
    return RecorruptedPatches(seen.pixels, 16, noise, seed=1126, mask=seen.mask)


def assert_same(ours, theirs):
    assert all(map(torch.equal, (ours.X, *ours.targets), (theirs.X, *theirs.targets)))


def test_targets_are_patches_of_the_noisy_image_and_inputs_are_those_corrupted_again(noisy, monkeypatch):
    monkeypatch.setattr("utils.sources.patches.randomly_turned", lambda patches, generator: patches)
    X, mask, (target, trusted) = self_supervised(noisy).draw(2000)
    assert mask is None and X.shape == target.shape == trusted.shape == (2000, 256)
    there = {patch.tobytes() for patch in PatchGrid(noisy.shape, 16, 1).extract(noisy).numpy()}
    assert all(patch.tobytes() in there for patch in target.numpy())
    changed = target != X
    assert ((X[changed] == 0) | (X[changed] == 1)).all()
    # As much noise again as there is, a tenth; a hit on a pixel that is hit already may leave it as it is.
    assert changed.double().mean() == pytest.approx(0.1 * (1 - 0.1 / 2), abs=0.005)
    assert torch.equal(trusted, ((target > 0) & (target < 1)).float())


def test_the_clean_image_is_not_seen(noisy):
    beside = SOURCES["self_supervised"](Settings(), observed(noisy, clean=np.zeros(noisy.shape, dtype=np.float32)))
    assert_same(self_supervised(noisy).draw(100), beside.draw(100))
    for source in SOURCES.values():  # every training draws by the seed
        assert not torch.equal(*(source(Settings(seed=seed), observed(noisy)).draw(99).X for seed in (1, 2)))


def test_known_positions_are_taken_as_they_are_and_pixels_hit_twice_over_are_known_to_be_hit(noisy):
    first, other = (self_supervised(noisy, extremes) for _ in range(2))
    other.after_epoch(np.full(noisy.shape, 0.5, dtype=np.float32), 1.0)
    X, mask, (target, trusted) = drawn = first.draw(500)
    assert_same(drawn, other.draw(500))
    assert torch.equal(mask, trusted * (target == X))
    assert mask.mean() == pytest.approx(0.9 * 0.9, abs=0.01)


def test_patches_come_in_all_symmetries_of_a_square_each_as_often():
    square = torch.arange(9.0)
    turned = randomly_turned(torch.stack([square, square + 100])[:, None].repeat(1, 4000, 1), torch.Generator())
    assert torch.equal(turned[1], turned[0] + 100)
    found, counts = np.unique(turned[0].numpy(), axis=0, return_counts=True)
    ways = [np.rot90(way, turn) for way in (square.reshape(3, 3), square.reshape(3, 3).T) for turn in range(4)]
    np.testing.assert_array_equal(found, np.unique([way.flatten() for way in ways], axis=0))
    assert counts.min() > 400 and counts.max() < 600


@pytest.mark.parametrize("name", VALIDATION_IMAGES)
@pytest.mark.parametrize("rate", [0, 0.05, 0.2, 0.4])
def test_the_rate_of_impulses_of_any_value_is_read_off_the_noisy_image(name, rate):
    assert impulse_rate(random_valued(load_image(name), rate, seed=3)) == pytest.approx(rate, abs=0.015)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.35])
def test_most_pixels_that_are_hit_again_have_an_uncorrupted_target(rate):
    """More than half, where nothing tells the corrupted targets: so the median is uncorrupted."""
    clean = load_image("camera")
    once = random_valued(clean, rate, seed=1)
    twice = random_valued(once, second_rate(noise_rate(once, None), trust=False), seed=2)
    hit = twice != clean
    assert 0.52 < (once == clean)[hit].mean() < 0.75


def test_the_second_rate_is_that_of_the_noise_where_its_values_tell():
    for kind, rate in (("salt_and_pepper", 0.3), ("missing_blocks", 0.1), ("gaussian_and_impulses", 0.2)):
        noisy = DAMAGES[kind].corrupt(load_image("camera"), rate, seed=1)
        found = noise_rate(noisy, DAMAGES[kind].untouched(noisy))
        assert second_rate(found, trust=True) == found == pytest.approx(rate, abs=0.02)


def test_from_a_restored_image_it_takes_what_changed_and_trusts_what_did_not():
    """Noise of any value: nothing is known of it before. A training that goes on has what was learned."""
    clean = load_image("camera")[100:228, 200:328]
    noisy = random_valued(clean, 0.2, seed=4)
    samples = self_supervised(noisy, noise="random_valued")
    assert (samples.draw(100).targets[1] == 1).all() and samples.rate > samples.noise_rate
    samples.after_epoch(clean, 0.49)
    assert (samples.draw(100).targets[1] == 1).all()
    samples.after_epoch(clean, 0.5)
    X, mask, (target, trusted) = samples.draw(1000)
    assert mask is None and samples.rate == samples.noise_rate == pytest.approx(0.2, abs=0.02)
    assert trusted.mean() == pytest.approx((np.abs(noisy - clean) < 0.08).mean(), abs=0.02)
    corrected = (trusted == 0) & (target != X)
    assert corrected.double().mean() == pytest.approx(1 - trusted.mean().item(), abs=0.02)
    hit_again = (trusted == 1) & (target != X)
    assert hit_again.sum() / trusted.sum() == pytest.approx(samples.rate, abs=0.01)
    resumed = self_supervised(noisy, noise="random_valued")
    resumed.load_state_dict(samples.state_dict())
    assert_same(resumed.draw(100), samples.draw(100))


def test_white_that_a_restoration_leaves_white_is_trusted(noisy):
    pixels = noisy.clone()
    pixels[20:23, 5:60] = 1  # a line of three pixels: specks by the rule of areas
    samples, restored = self_supervised(pixels), torch.where((noisy == 0) | (noisy == 1), 0.5, pixels)
    before = samples.draw(3000).targets[1].mean()
    restored[20:23, 5:60] = 0.99
    samples.learn_from(restored)
    assert samples.draw(3000).targets[1].mean() > before + 0.005


@pytest.mark.parametrize("deviation", [0.02, 0.04, 0.1])
def test_the_deviation_of_gaussian_noise_is_read_off_the_trusted_pixels(deviation, monkeypatch):
    monkeypatch.setattr(GaussianAndImpulses, "DEVIATION", deviation)
    for clean, more in ((np.full((200, 150), 0.5, dtype=np.float32), 0.001), (load_image("chelsea"), 0.005)):
        noisy = gaussian_and_impulses(clean, 0.2, seed=1)
        found = gaussian_deviation(noisy, DAMAGES["gaussian_and_impulses"].untouched(noisy))
        assert 0.97 * deviation < found < deviation + more


def test_gaussian_noise_of_inputs_and_targets_is_independent():
    """Otherwise a network would learn to keep it."""
    noisy = gaussian_and_impulses(np.full((200, 150), 0.5, dtype=np.float32), 0.1, seed=1)
    X, _, (target, trusted) = self_supervised(noisy, noise="gaussian_and_impulses").draw(2000)
    kept = (trusted == 1) & (X > 0) & (X < 1)
    variances = torch.cov(torch.stack([X[kept], target[kept]])).flatten().tolist()
    assert variances[::3] == pytest.approx([2 * 0.04**2] * 2, rel=0.06) and abs(variances[1]) < 0.05 * 0.04**2


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_patches_of_other_images_that_are_mixed_in_have_as_much_noise_as_the_image(rate, A, monkeypatch):
    monkeypatch.setattr("utils.sources.patches.load_training_images", lambda name, patch: [load_image("brick")])
    seen = observed(salt_and_pepper(load_image("camera")[100:228, 200:328], rate, seed=3))
    X, mask, (target, trusted) = Learning(DLADMM(A, 1, 0.7), seen, "salt_and_pepper").training.source.draw(1000)
    assert mask is None and (trusted[1::2] == 1).all() and (trusted[::2] == 0).any()
    assert (target != X)[1::2].double().mean() == pytest.approx(rate, rel=0.1)


def test_specks_of_any_kind_are_put_on_as_many_patches_as_an_epoch_has():
    """A third of the draws is a JPEG, which holds fewer rows than an epoch's patches below each other."""
    strip = np.full((70_000, 16), 0.5, dtype=np.float32)
    whole, part = (as_jpeg(rows, quality=60) for rows in (strip, strip[:64]))
    assert whole.shape == strip.shape and np.array_equal(whole[-64:], part)


@pytest.mark.parametrize("damage", ["salt_and_pepper", "missing_blocks"])
def test_it_restores_better_than_the_objective_from_the_same_noisy_image(A, damage):
    clean, build = load_image("camera")[150:278, 200:328], {"beta": 8.0, "initialization": "pseudo_inverse"}
    seen, quality = observed(DAMAGES[damage].corrupt(clean, 0.1, seed=4)), {}
    for training in ("unsupervised", "self_supervised"):
        samples = SOURCES[training](Settings(corruption=damage), seen)
        network = DLADMM(A, 3, 0.7, **build, activation="piecewise_linear", restored=samples.restored)
        train_now(network, samples, samples.loss, epochs=5, samples_per_epoch=1200, learning_rate=0.08)
        restored = seen.grid.assemble(network.restore(network(seen.X)[-1]).detach())
        quality[training] = psnr(restored.numpy(), clean)
    assert quality["self_supervised"] > quality["unsupervised"] + 2
