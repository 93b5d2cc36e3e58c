"""What `DLADMM.fit` does around a training: data in any form, β from the data, and what was won."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.errors import InvalidArgument
from models.layer import exact_admm, ladmm
from models.losses import IMAGE, Loss, pick_loss
from models.operators import Matrix, as_tensor
from models.problem import Problem, State
from models.samples import Drawn, Rows, Samples, Source

SAMPLE, SET_ASIDE = 500, 1000  # samples that β is chosen on; samples that are set aside, at most
POWERS = range(-7, 8)  # penalties that are tried are the unit of β times two to these powers
BY_HEART = 0.01  # with 50, 200, 1,000 and 5,000 rows for a Gaussian A, 20 × 40, the last alone are below it

Given = Any  # data, see the arguments of DLADMM.fit


class Fit(NamedTuple):
    """What a fit has won: mean losses of the last layer, by default the objective, on samples that were set aside.

    Solvers have as many iterations as the network has layers, and the penalty that is best on these samples.
    """

    depth: int
    beta: float | None  # penalty that the network began with; None: with weights that were set
    epochs: list[dict[str, float]]  # epoch, training (while it goes on), set_aside; epoch 0: before the training
    solvers: dict[str, tuple[float, float]]  # of `solvers_for`: loss and penalty
    by_heart: float  # see `learned_by_heart`

    def __str__(self) -> str:
        before, after = (self.epochs[number]["set_aside"] for number in (0, -1))
        solvers = ", ".join(f"{name} {loss:.5g} (penalty {p:.3g})" for name, (loss, p) in self.solvers.items())
        return f"loss set aside: {after:.5g} after {self.depth} layers, {before:.5g} before training, {solvers}"

    @property
    def warning(self) -> str:
        """What is wrong with a network that is no better than LADMM or than before, or learned samples by heart."""
        before, after = (self.epochs[number]["set_aside"] for number in (0, -1))
        faults = {
            "no better than before": after >= before,
            "no better than LADMM": after >= self.solvers["LADMM"][0],
            f"learned by heart (at least {self.by_heart:.0%})": self.by_heart > BY_HEART,
        }
        few = "more samples, or weights='scalar', which has the fewest numbers to learn"
        advice = few if self.by_heart > BY_HEART else "another learning_rate, or more epochs"
        found = ", ".join(fault for fault, there in faults.items() if there)
        return f"{found}; {self}; what may help: {advice}" if found else ""


def source_of(problem: Problem, X: Given, seed: int, validation: Given | None) -> tuple[Source, Samples]:
    """The source of the samples to learn from, and the samples that are set aside."""
    set_aside = None if validation is None else checked(problem, validation)
    if isinstance(X, Tensor | tuple) or hasattr(X, "__array__"):
        samples = checked(problem, X)
        if set_aside is None:
            order = torch.randperm(len(samples.X), generator=torch.Generator().manual_seed(seed)).to(samples.X.device)
            count = min(max(len(order) // 10, 1), SET_ASIDE)
            set_aside, samples = samples.at(order[:count]), samples.at(order[count % len(order) :])
        return Rows(samples, seed), set_aside
    if not callable(X) and not isinstance(X, Iterable):
        raise InvalidArgument(f"X is a {type(X).__name__}; allowed: rows, a tuple (rows, targets), a function, batches")
    draw = X if callable(X) else from_batches(X, problem)
    source = Drawn(lambda count: checked(problem, draw(count)))
    return source, source.draw(SAMPLE) if set_aside is None else set_aside


def from_batches(batches: Iterable, problem: Problem) -> Callable[[int], Samples]:
    """A function that draws from batches, such as a DataLoader's, from the first again when they end."""

    def rows() -> Iterator[Samples]:
        while True:
            batch = None
            for batch in batches:
                samples = checked(problem, batch)
                yield from (samples.at(slice(row, row + 1)) for row in range(len(samples.X)))
            if batch is None:
                raise InvalidArgument("the batches have ended; allowed: an iterable that can begin again")

    endless = rows()
    return lambda count: Samples.of([*islice(endless, count)])


def checked(problem: Problem, given: Given) -> Samples:
    """Rows, or rows and targets, as samples of the problem's type. InvalidArgument says what cannot be learned from."""
    given = given if isinstance(given, tuple | list) else (given,)
    X, mask, targets = given if isinstance(given, Samples) else (given[0], None, given[1:])
    X, mask = problem.data(X), None if mask is None else problem.known(mask)
    if mask is not None and mask.shape != X.shape:
        raise InvalidArgument(f"the mask has shape {tuple(mask.shape)}; allowed: {tuple(X.shape)}, that of X")
    targets = tuple(as_tensor(target, "a target").to(X) for target in targets)
    for name, part in (("X", X), *(("a target", target) for target in targets)):
        if part.shape[:1] != X.shape[:1]:
            raise InvalidArgument(f"{name} has shape {tuple(part.shape)}; allowed: {len(X)} rows, as many as X")
        wrong = torch.nonzero(~torch.isfinite(part).reshape(len(X), -1).all(dim=1)).flatten().tolist()
        if wrong:
            raise InvalidArgument(f"{name} holds NaN or infinite values, first in row {wrong[0]}; allowed: finite ones")
    return Samples(X, mask, targets)


def loss_for(problem: Problem, loss: str | Callable[..., Tensor], samples: Samples) -> Loss:
    """The loss of that name in `LOSSES`, or a function as one, if it fits the problem and the samples."""
    X, mask, targets = samples

    def fits(entry: Loss) -> bool:
        return len(entry.targets) == len(targets) or (entry.targets == IMAGE and len(targets) == 1)

    known = problem, mask is not None
    chosen = Loss(loss) if callable(loss) else pick_loss(loss, fits, f"{len(targets)} targets", *known)
    try:
        shape = tuple(chosen.value(problem, problem.zero_state(X, mask), X, mask, *targets).shape)
    except RuntimeError as error:
        shapes = [tuple(target.shape) for target in targets]
        raise InvalidArgument(f"loss {loss} cannot compare {tuple(X.shape)} with targets {shapes}") from error
    if shape != (len(X),):
        raise InvalidArgument(f"loss returns a tensor of shape {shape}; allowed: {(len(X),)}, a value a sample")
    return chosen


def unit_of_beta(problem: Problem, X: Tensor) -> float:
    """What β has the unit of: objective / X². For g = ‖·‖₁ and B = I that is 1 / |X|, in means."""
    size = X.abs().mean().item()
    if size == 0:
        raise InvalidArgument("X holds only zeros, from which no beta follows; allowed: other data, or a beta")
    try:
        objective = problem.objective(problem.zero_state(X), X).mean().item() / X[0].numel()
    except InvalidArgument:  # there is no feasible point
        objective = math.inf
    return objective / size**2 if 0 < objective < math.inf else 1 / size


def best_penalty(loss_with: Callable[[float], float], unit: float) -> tuple[float, float]:
    """The lowest loss and its penalty, of unit · 2^k, then of half a step beside the best of these."""

    def best(penalties: Iterable[float]) -> tuple[float, float]:
        return min((min(math.inf, loss_with(penalty)), penalty) for penalty in penalties)  # also if a loss is NaN

    coarse = best(unit * 2.0**power for power in POWERS)
    return min(coarse, best(coarse[1] * 2.0**step for step in (-0.5, 0.5)))


@torch.no_grad()
def losses_after(problem: Problem, loss: Loss, states: Iterator[State], iterations: int, samples: Samples) -> Tensor:
    """The losses of the samples after so many iterations, (N,)."""
    state = next(islice(states, iterations - 1, None))
    return loss.value(problem, state, samples.X, samples.mask, *samples.targets)


def learned_by_heart(aside: tuple[Tensor, Tensor], sample: tuple[Tensor, Tensor]) -> float:
    """By what share the loss fell less on samples set aside than on others, both before and after: at the least, which
    is two standard errors below what was measured. It is NaN if one sample was set aside, or losses are not > 0."""
    (before, after), means = aside, [losses.mean() for losses in (*aside, *sample)]
    share, of_sample = means[1] / means[0], means[3] / means[2]
    error = (after - share * before).std() / means[0] / len(before) ** 0.5
    return ((share - 2 * error) / of_sample - 1).item() if min(means) > 0 else math.nan


def solvers_for(problem: Problem, masked: bool = False) -> dict[str, Callable[..., Iterator[State]]]:
    """The solvers that a network is compared with, (problem, X, penalty) -> states: LADMM, and for a matrix, B = I and
    no mask exact ADMM, so scaled that it does not depend on the unit of A either."""
    if problem.operator is not Matrix or problem.B is not None or masked:
        return {"LADMM": ladmm}
    scale = (problem.A.square().sum() / problem.A.shape[1]).sqrt().item()
    return {"LADMM": ladmm, "exact ADMM": partial(exact_admm, scale=scale)}


def solved(problem: Problem, loss: Loss, iterations: int, samples: Samples) -> dict[str, tuple[float, float]]:
    """What solvers reach on the samples: see `Fit.solvers`."""
    X, mask, _ = samples
    known = () if mask is None else (mask,)

    def loss_with(penalty: float, solve: Callable[..., Iterator[State]]) -> float:
        return losses_after(problem, loss, solve(problem, X, penalty, *known), iterations, samples).mean().item()

    unit, solvers = unit_of_beta(problem, X), solvers_for(problem, mask is not None)
    return {name: best_penalty(partial(loss_with, solve=solve), unit) for name, solve in solvers.items()}
