"""Claims about f and g: values, proximal operators and conjugates against their definitions."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from models.activations import combined_prox, over_rows
from models.functions import FUNCTIONS, L1, L21, Box, NonNegativeL1, SquaredL2, WeightedL1

SIZE = 4
EXAMPLES = {
    "l1": L1(0.7),
    "weighted_l1": WeightedL1(torch.tensor([0.3, 0.0, 1.2, 0.5], dtype=torch.float64)),
    "non_negative_l1": NonNegativeL1(0.4),
    "squared_l2": SquaredL2(1.3),
    "l21": L21(0.6, group=2),
    "box": Box(0.8),
}
VALUES = {  # each written out for one row v
    "l1": lambda v: 0.7 * np.abs(v).sum(),
    "weighted_l1": lambda v: np.array([0.3, 0.0, 1.2, 0.5]) @ np.abs(v),
    "non_negative_l1": lambda v: 0.4 * v.sum(),
    "squared_l2": lambda v: 0.65 * v @ v,
    "l21": lambda v: 0.6 * (np.hypot(v[0], v[1]) + np.hypot(v[2], v[3])),
    "box": lambda v: 0.0,
}
DOMAINS = {"non_negative_l1": (0, np.inf), "box": (-0.8, 0.8)}
EVERY_FUNCTION = pytest.mark.parametrize("name", FUNCTIONS)


def rows(count=6, scale=1.5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, SIZE)) * scale)


def in_domain(name, v):
    return v.clamp(*DOMAINS[name]) if name in DOMAINS else v


@EVERY_FUNCTION
def test_values_are_those_of_the_definition(name):
    assert type(EXAMPLES[name]) is FUNCTIONS[name]
    v = in_domain(name, rows())
    np.testing.assert_allclose(EXAMPLES[name](v), [VALUES[name](row) for row in v.numpy()], rtol=1e-12, atol=1e-12)
    if name in DOMAINS:
        assert torch.isinf(EXAMPLES[name](-torch.ones(1, SIZE).double())).all()


@pytest.mark.parametrize("step", [0.0, 0.3, 2.0])
@EVERY_FUNCTION
def test_prox_minimises_its_problem(name, step):
    low, high = DOMAINS.get(name, (-np.inf, np.inf))
    options = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 20_000, "adaptive": True}
    for row, ours in zip(rows().numpy(), EXAMPLES[name].prox(rows(), step).numpy(), strict=True):

        def cost(u, row=row):
            return step * VALUES[name](u) + (u - row) @ (u - row) / 2

        starts = np.clip((ours, ours + 0.1, 0 * ours), low, high)
        found = [minimize(cost, s, method="Nelder-Mead", bounds=[(low, high)] * SIZE, options=options) for s in starts]
        brute = min(found, key=lambda result: result.fun)
        assert EXAMPLES[name](torch.from_numpy(ours)[None]).isfinite().all()
        assert cost(ours) <= brute.fun + 1e-9
        np.testing.assert_allclose(ours, brute.x, atol=2e-4)


@EVERY_FUNCTION
def test_prox_takes_a_step_for_every_coordinate_with_gradients_and_without(name):
    """In each coordinate that of its step; for groups, whose norm is shrunk, that of the mean step of the group."""
    function, v = EXAMPLES[name], rows(200)
    steps = torch.tensor([0.1, 0.9, 0.3, 0.6], dtype=v.dtype)
    used = steps.reshape(2, 2).mean(dim=1).repeat_interleave(2) if name == "l21" else steps
    expected = torch.stack([function.prox(v, step.item())[:, i] for i, step in enumerate(used)], dim=1)
    for given in (steps, steps.expand(len(v), -1)):
        torch.testing.assert_close(function.prox(v, given), expected)
        with torch.no_grad():
            without = function.prox(v, given)
        assert torch.equal(function.prox(v, given), without)


@EVERY_FUNCTION
def test_conjugate_bounds_and_meets_the_fenchel_young_inequality(name):
    """⟨w, v⟩ <= f(v) + f*(w), with equality where w is a subgradient, as (v − prox(v)) / step is at prox(v)."""
    function, v, step = EXAMPLES[name], rows(), 0.3
    point = function.prox(v, step)
    w = (v - point) / step
    torch.testing.assert_close(function.conjugate_scale(w), torch.ones(len(w)).double())
    torch.testing.assert_close((w * point).sum(dim=1), function(point) + function.conjugate(w))
    for other in in_domain(name, rows(200, seed=1)):
        assert (w @ other <= function(other[None]) + function.conjugate(w) + 1e-9).all()


@pytest.mark.parametrize("name", ["l1", "non_negative_l1", "l21"])
def test_conjugate_scale_is_the_smallest_that_is_feasible(name):
    """Beyond the domain of f* the supremum of ⟨w, v⟩ − f(v) is infinite: some direction has a positive slope."""
    function, w = EXAMPLES[name], rows(scale=3)
    scale = function.conjugate_scale(w)
    assert (scale > 1).any()
    parts = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    steepest = (w[:, None] * parts).reshape(-1, SIZE)  # of each coordinate and of each group
    directions = in_domain(name, torch.cat([rows(1000, seed=2), steepest]))
    directions = directions[directions.norm(dim=1) > 0]
    slopes = (w @ directions.T / scale[:, None] - function(directions)) / directions.norm(dim=1)
    assert slopes.max() <= 1e-12
    assert (slopes[scale > 1].amax(dim=1) >= -1e-12).all()
    no_weight = WeightedL1(torch.tensor([0.0, 1.0])).conjugate_scale(torch.tensor([[0.0, 2], [0.1, 0], [0, 0.5]]))
    torch.testing.assert_close(no_weight, torch.tensor([2.0, torch.inf, 1.0]))


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_outside_what_is_allowed_are_refused(weight):
    for build in (L1, NonNegativeL1, SquaredL2, L21, Box):
        with pytest.raises(ValueError, match="allowed: a finite number > 0"):
            build(weight)
    for weights in (torch.tensor([weight - 1]), torch.ones(1, 2)):
        with pytest.raises(ValueError, match="allowed: .n,., finite and >= 0"):
            WeightedL1(weights)
    with pytest.raises(ValueError, match="allowed: 1 or more"):
        L21(1, group=0)


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 61])
def test_combined_soft_thresholds_have_the_value_and_gradients_of_their_formula(count):
    """The formula of `combined_prox`, differentiated operation by operation; some slopes are below zero."""
    generator = torch.Generator().manual_seed(count)

    def draw(*shape):
        return torch.randn(shape, generator=generator).double().requires_grad_()

    function = WeightedL1(torch.rand(SIZE, generator=generator).double())
    arguments = draw(count, SIZE), draw(SIZE), draw(3, SIZE)
    upstream = torch.randn((count, SIZE), generator=generator).double()

    def formula(function, v, step, slopes, knots):
        p = [*(function.prox(v, knot * step) for knot in knots), torch.zeros_like(v)]
        slopes = slopes + (slopes.clamp(min=0) - slopes).detach()
        return sum(s * (p_j - after) for s, p_j, after in zip(slopes, p, p[1:], strict=False))

    def values(combined):
        v, theta, slopes = arguments
        value = combined(function, v, over_rows(theta.abs(), count), slopes, (0.5, 1.0, 3.0))
        return value, *torch.autograd.grad((value * upstream).sum(), arguments)

    for one, other in zip(values(combined_prox), values(formula), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
