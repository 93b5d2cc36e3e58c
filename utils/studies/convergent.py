"""Convergent weights on trial: what networks have after 15 layers, and where they go when the last one is repeated.

`python -m utils.studies.convergent` (some 30 minutes) writes results/convergent.csv, .md and .png: for Lena and for the
synthetic data of the paper, LADMM, exact ADMM, networks of convergent and of free weights trained on the objective, on
the certified gap and on both, last layers that are trained to be repeated or to certify, and the safeguard, which puts
LADMM's update wherever a layer makes no progress. Beyond the depth of a network its last layer is repeated.

Exact ADMM (utils/studies/exact_admm.py) is the strongest classical solver here: over-relaxed ADMM that minimises over Z
exactly, with a matrix that is factorised once, where LADMM takes a gradient step.

Convergent weights (`--weights convergent`, models/convergence.py): W1 = A D⁻¹ with diagonal D and W2 = 1/β, learned and
tied so that a layer is an iteration of proximal ADMM, which provably converges when it is repeated. Free weights: every
matrix, penalty and activation is learned by itself. "Another last layer": the last one is replaced by a convergent
layer that was trained alone, so that the certified gap is low after it was repeated; relaxed: it goes beyond each step,
which still converges. "Then to certify": the last layers go on learning to lower the certified gap, and to keep A Z
close to what it was before.

Figures are means over the test samples. The gap bounds the distance of the objective to the optimum from above without
knowing it; certified means that it is at most 1 % of the objective. Iterations of a solver to an objective, and its
seconds, are those with the best penalty of all tried. A solver's own rows are the penalty, β or ρ, with the lowest
objective after as many iterations as networks have layers and the one that is certified first, both chosen on other
samples. Seconds are of all test samples, medians of three runs without any evaluation.
"""

import statistics
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import islice, product
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from models import Problem, State, ladmm
from models.convergence import safeguarded
from utils.evaluation.metrics import Stopwatch
from utils.reporting.tables import grouped
from utils.studies import convergent_networks as learners
from utils.studies.convergent_networks import Data
from utils.studies.convergent_tables import (
    REPEATED,
    ConvergenceRecord,
    Timed,
    at_depth,
    draw_figure,
    first,
    is_certified,
    readme_tables,
    section,
)
from utils.studies.exact_admm import exact_admm
from utils.studies.study import Report, constants, run_study

FOLLOWED, SOLVED = 1000, 3000  # layers: how many are followed, and iterations of exact ADMM that lead to the solution
CHECK_EVERY = 10  # iterations from one check of the certificate to the next, where the penalty is chosen
BETAS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0)  # of LADMM
RHOS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # of exact ADMM
TRAINED_ON = ("objective", "gap", "objective_and_gap")
TIMED, RUNS_TIMED = ("LADMM", "exact ADMM", "free weights", REPEATED), 3

Solver = Callable[[Problem, Tensor, float], Iterator[State]]  # with a penalty


class Method(NamedTuple):
    """A method on some data: the first fields are those of ConvergenceRecord."""

    name: str
    trained_on: str
    beta: float | None
    start: Callable[[], Iterator[State]]  # the states from the first on


def solvers() -> dict[str, tuple[Solver, Sequence[float]]]:
    """The classical solvers, each with its penalties."""
    return {"LADMM": (ladmm, BETAS), "exact ADMM": (exact_admm, RHOS)}


def last_of(states: Iterator[State], count: int) -> State:
    """The last of so many states."""
    return deque(islice(states, count), maxlen=1).pop()


@torch.no_grad()
def best_penalties(data: Data, solver: Solver, penalties: Sequence[float]) -> tuple[float, float]:
    """The solver's penalty with the lowest objective after as many iterations as there are layers, and that which
    certifies first, with the smaller gap if there are two, on the other samples."""
    problem, X = data.problem, data.to_choose_by

    def objective(penalty: float) -> float:
        return problem.objective(last_of(solver(problem, X, penalty), learners.DEPTH), X).mean().item()

    def certificate(penalty: float) -> tuple[int, float]:
        for iteration, state in enumerate(islice(solver(problem, X, penalty), FOLLOWED), start=1):
            if iteration % CHECK_EVERY == 0:
                gap, objective = problem.gap(state, X).mean().item(), problem.objective(state, X).mean().item()
                if gap <= learners.TOLERANCE * objective:
                    break
        return iteration, gap

    return min(penalties, key=objective), min(penalties, key=certificate)


def methods(data: Data, certifying: float) -> Iterator[Method]:
    """Every method; `certifying`: LADMM's β in the safeguard."""
    for name, (solver, penalties) in solvers().items():
        for penalty in penalties:
            yield Method(name, "", penalty, partial(solver, data.problem, data.X, penalty))
    learned = {}
    for weights, loss in product(learners.KINDS, TRAINED_ON):
        learned[f"{weights} weights", loss] = learners.trained(data, weights, loss)
    convergent, free = (learned[f"{weights} weights", "objective"] for weights in learners.KINDS)
    last = learners.trained_to_be_repeated(data).layers[0]
    for name, relaxation in (("convergent weights, another last layer", 1.0), (REPEATED, learners.RELAXATION)):
        network = deepcopy(convergent)
        network.layers[-1] = deepcopy(last)
        network.layers[-1].relaxation = relaxation
        learned[name, "objective"] = network
    learned["free weights, then to certify", "objective"] = learners.trained_to_certify(data, free)
    for (name, loss), network in learned.items():
        yield Method(name, loss, None, partial(network.iterate, data.X, layers=FOLLOWED))

    def safe() -> Iterator[State]:
        return (step.state for step in safeguarded(free, data.X, FOLLOWED, certifying))

    yield Method("free weights, safeguarded", "objective", None, safe)


@torch.no_grad()
def follow(data: Data, tried: Iterable[Method], rho: float) -> Iterator[ConvergenceRecord]:
    """The rows of the methods: every layer up to 100, then every tenth.

    Args:
        data: what they solve.
        tried: the methods.
        rho: exact ADMM's ρ with the lowest objective, for the solution, which no other should undercut.
    """
    problem, X = data.problem, data.X
    solution = last_of(exact_admm(problem, X, rho), SOLVED)
    optimum = problem.objective(solution, X).mean().item()
    tqdm.write(f"{data.name}: the solution has the objective {optimum:.4f}")
    for method in tried:
        for layer, state in enumerate(islice(method.start(), FOLLOWED), start=1):
            if layer > 100 and layer % 10:
                continue
            objective, gap = problem.objective(state, X).mean().item(), problem.gap(state, X).mean().item()
            distance = torch.linalg.vector_norm(state.AZ - solution.AZ, dim=1).mean().item()
            means = layer, objective, objective - optimum, gap, distance, data.psnr(state.AZ)
            yield ConvergenceRecord(data.name, *method[:3], *means)


@torch.no_grad()
def seconds(method: Method, layers: int) -> float:
    """Seconds of so many layers without any evaluation, median of `RUNS_TIMED`."""

    def once() -> float:
        watch = Stopwatch()
        last_of(method.start(), layers)
        return watch.seconds()

    return statistics.median(once() for _ in range(RUNS_TIMED))


def race(tried: Iterable[Method], rows: Sequence[ConvergenceRecord]) -> Iterator[Timed]:
    """How long methods take to the objective of free weights after `DEPTH` layers, and to the certificate.

    Args:
        tried: the methods on some data.
        rows: theirs.
    """
    own = grouped((row for row in rows if row.trained_on in ("", "objective")), "method")
    by_name = {method[:3]: method for method in tried}
    objective = at_depth(own["free weights",]).objective
    goals = {
        f"the objective {objective:.2f}": lambda row: row.objective <= objective,
        f"a gap of {100 * learners.TOLERANCE:.0f} %": is_certified,
    }
    for (goal, reached), name in product(goals.items(), TIMED):
        if row := first(own[name,], reached):
            method = by_name[row.method, row.trained_on, row.beta]
            yield Timed(goal, name, row.beta, row.layer, seconds(method, row.layer))
        else:
            yield Timed(goal, name, None, None, None)


def compare() -> Report:
    """Follows all methods on Lena and on synthetic data."""
    records, chosen, parts = [], {}, ["# Convergent weights\n", __doc__]
    for data in (learners.lena(), learners.synthetic()):
        penalties = {name: best_penalties(data, *solver) for name, solver in solvers().items()}
        tried = list(methods(data, penalties["LADMM"][1]))
        rows = list(follow(data, tried, penalties["exact ADMM"][0]))
        parts.append(section(rows, penalties, list(race(tried, rows))))
        records += rows
        chosen[data.name] = penalties
    text = "\n".join([*parts, "![objective, gap and distance to the solution per layer](convergent.png)\n"])
    return Report(text, {"convergent": records}, {"convergent": draw_figure(records, chosen)}, readme_tables(records))


main = partial(
    run_study, "utils.studies.convergent", sys.modules[__name__], lambda keep: compare(), more=constants(learners)
)

if __name__ == "__main__":
    main()
