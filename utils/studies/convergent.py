"""Convergent weights on trial: what networks have after 15 layers, and where they go when the last one is repeated.

A solver's first row has the penalty with the lowest objective after 15 iterations, its second the one certified first,
both chosen on other samples. Iterations "to it", and seconds, are with the best of all. Certified: the gap, a bound of
the distance of the objective to the optimum, is at most 1 % of the objective.

Convergent weights (models/convergence.py) are bound so that a layer, repeated, converges; free ones are learned one by
one. "Another last layer" was trained alone, for a low gap after it was repeated; relaxed, it goes beyond each step.
"Then to certify": the last layers go on learning to lower the gap and to keep A Z. Safeguarded: models/convergence.py.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, product
from timeit import repeat
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from data.images import VALIDATION_IMAGES
from data.patches import random_patches
from main_lena import Experiment, Settings
from models import DLADMM, Problem, State, ladmm
from models.convergence import safeguarded
from models.layer import exact_admm
from models.losses import LOSSES
from models.samples import Drawn, Samples
from models.training import LayerLosses, Training
from utils.reporting.figures import subplots
from utils.reporting.tables import filled, markdown
from utils.running.devices import pick_compiled
from utils.studies.study import Keep, Measured, Page, Provenance, Row, Tables, command
from utils.studies.synthetic import gaussian_dictionary, sparse_samples

SEED, DEPTH, TOLERANCE = 1126, 15, 0.01  # tolerance: certified gap relative to the objective
FOLLOWED, SOLVED = 1000, 3000  # layers: how many are followed, and iterations of exact ADMM that lead to the solution
BETAS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0)  # of LADMM
RHOS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # of exact ADMM
SOLVERS = {"LADMM": (ladmm, BETAS), "exact ADMM": (exact_admm, RHOS)}
TRAINED_ON = ("objective", "gap", "objective_and_gap")
KINDS = {  # learning rates of networks of each kind of weights, and how they begin
    "convergent weights": (0.05, {"beta": 3.0, "weights": "convergent"}),
    "free weights": (0.08, {"beta": 8.0, "initialization": "pseudo_inverse", "activation": "piecewise_linear"}),
}
EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LAYER_DISCOUNT = 16, 10_000, 250, 0.5
REPEATS, STEPS, FEW, LAST_BETA, LAST_LEARNING_RATE, RELAXATION = 150, 100, 64, 1.5, 0.05, 1.8  # "another last layer"
TAIL, TAIL_STEPS, TAIL_LEARNING_RATE, GAP_WEIGHT = 8, 1000, 0.03, 0.1  # "then to certify": last layers that learn, …
ANOTHER, CERTIFYING = "convergent weights, another last layer", "free weights, then to certify"
REPEATED, SAFEGUARDED = f"{ANOTHER}, relaxed", "free weights, safeguarded"
TIMED, RUNS_TIMED = ("LADMM", "exact ADMM", "free weights", REPEATED), 3
CHOSEN = {"lowest_objective": "with the lowest objective", "first_certified": "that is certified first"}
SIGNS, LINES = {"LADMM": "β", "exact ADMM": "ρ"}, {"LADMM": "--", "exact ADMM": "-."}  # of penalties, and of curves
FORMATS = {"objective": ".2f", "certified gap": ".2f", "PSNR": ".2f", "penalty": "g", "seconds": ".2f"}


class Data(NamedTuple):
    """A problem, its test samples, and others to choose penalties by, both (N, m). Networks draw theirs afresh."""

    problem: Problem
    X: Tensor
    to_choose_by: Tensor
    generator: torch.Generator  # of all draws
    draw: Callable[[int], Tensor]  # number of samples -> (number, m)
    psnr: Callable[[Tensor], float] = lambda samples: np.nan  # in dB, of restored samples that are patches


def lena() -> Data:
    """Patches of the noisy Lena, to learn from and to restore. Others are patches of the noisy validation images."""
    generator, settings = torch.Generator().manual_seed(SEED), {"seed": SEED, "device": "cpu", "compile": "no"}
    lena, *others = (Experiment(Settings(image=name, **settings)) for name in ("lena", *VALIDATION_IMAGES))
    seen, side = lena.seen, lena.seen.grid.patch
    draw = partial(random_patches, seen.pixels, side, generator=generator)
    by = torch.cat([random_patches(other.seen.pixels, side, 200, generator) for other in others])
    return Data(lena.problem, seen.X, by, generator, draw, lambda X: seen.psnr(seen.image_of(X)))


def synthetic() -> Data:
    """Samples with a Gaussian dictionary, as in utils.studies.synthetic."""
    generator = torch.Generator().manual_seed(SEED)
    A = gaussian_dictionary(250, 500, generator)
    X, to_choose_by = (sparse_samples(A, 400, generator)[0] for _ in range(2))
    return Data(Problem(A, 0.8), X, to_choose_by, generator, lambda count: sparse_samples(A, count, generator)[0])


def train(data: Data, network: DLADMM, losses: Callable[[Samples], Tensor], *schedule: float) -> DLADMM:
    """The network, after it learned from samples that are drawn afresh in every epoch; schedule: see Training."""
    list(Training(network, Drawn(data.draw), losses, *schedule, layer_discount=LAYER_DISCOUNT))  # all of its epochs
    return network.free()


def trained(data: Data, weights: str, loss: str) -> DLADMM:
    """A network of `DEPTH` layers that learned with the loss; weights: a name in `KINDS`."""
    learning_rate, begin = KINDS[weights]
    network = DLADMM(data.problem.A, DEPTH, f=data.problem.f, **begin)
    torch.compiler.reset()  # the compiler keeps what it made for eight networks at most
    compiled = pick_compiled("auto", EPOCHS * SAMPLES_PER_EPOCH * DEPTH, data.X.device)
    losses = LayerLosses(network, LOSSES[loss], compiled)
    return train(data, network, losses, EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, learning_rate)


def trained_to_be_repeated(data: Data, network: DLADMM) -> DLADMM:
    """The network with another last layer, whose gap is low after it was repeated many times."""
    last = DLADMM(data.problem.A, 1, f=data.problem.f, beta=LAST_BETA, weights="convergent")
    last.layers[0].relaxation = RELAXATION

    def log_of_gap(batch: Samples) -> Tensor:
        *_, state = last.iterate(batch.X, layers=REPEATS)
        return len(batch.X) * data.problem.gap(state, batch.X).mean().log()[None]

    changed = network.free()
    changed.layers[-1] = train(data, last, log_of_gap, STEPS, FEW, FEW, LAST_LEARNING_RATE).layers[0]
    return changed


def trained_to_certify(data: Data, network: DLADMM) -> DLADMM:
    """The network, after its last layers went on learning to lower ‖A Z − A Z₀‖₁ + `GAP_WEIGHT` · gap, Z₀ as before."""
    learning = network.free()
    learning.layers[:-TAIL].requires_grad_(False)

    def change_and_gap(batch: Samples) -> Tensor:
        (*_, last), (*_, before) = learning.iterate(batch.X), network.iterate(batch.X)
        change = (last.AZ - before.AZ.detach()).abs().sum(dim=1)
        return (change + GAP_WEIGHT * data.problem.gap(last, batch.X)).sum()[None]

    return train(data, learning, change_and_gap, TAIL_STEPS, BATCH_SIZE, BATCH_SIZE, TAIL_LEARNING_RATE)


def learn(name: str, data: Data, keep: Keep) -> dict[tuple[str, str], DLADMM]:
    """All networks, by method and what they were trained on. They draw from one generator, one after the other."""
    learned = {}
    lessons = {what: partial(trained, data, *what) for what in product(KINDS, TRAINED_ON)}
    lessons[ANOTHER, "objective"] = lambda: trained_to_be_repeated(data, learned["convergent weights", "objective"])
    lessons[REPEATED, "objective"] = lambda: learned[ANOTHER, "objective"]
    lessons[CERTIFYING, "objective"] = lambda: trained_to_certify(data, learned["free weights", "objective"])

    def lesson(name: str, *what: str) -> tuple[DLADMM, Tensor]:
        return lessons[what](), data.generator.get_state()

    for what in tqdm(lessons, f"{name}: networks"):
        learned[what], after = keep(lesson)(name, *what)
        data.generator.set_state(after)  # the next network draws on from there, even if this one was kept
    return learned


@torch.no_grad()
def follow(problem: Problem, X: Tensor, states: Iterable[State]) -> Iterator[tuple[Row, State]]:
    """Objective and certified gap after every layer up to 100, then after every tenth, and the state there."""
    for layer, state in enumerate(states, start=1):
        if layer <= 100 or layer % 10 == 0:
            objective, gap = (figure(state, X).mean().item() for figure in (problem.objective, problem.gap))
            yield {"layer": layer, "objective": objective, "gap": gap}, state


def best_penalties(name: str, solver: str) -> Row:
    """The penalties with the lowest objective after `DEPTH` iterations and certified first, of two with a lower gap."""
    data, (solve, penalties) = DATA[name](), SOLVERS[solver]
    problem, X = data.problem, data.to_choose_by
    runs = {penalty: islice(solve(problem, X, penalty), FOLLOWED) for penalty in penalties}
    rows = pd.DataFrame([{"beta": beta} | row for beta, run in runs.items() for row, _ in follow(problem, X, run)])
    lowest = rows.query("layer == @DEPTH").nsmallest(1, "objective")["beta"].item()
    first = rows.query("gap <= @TOLERANCE * objective or layer == @FOLLOWED").nsmallest(1, ["layer", "gap"])
    return {"data": name, "method": solver, "lowest_objective": lowest, "first_certified": first["beta"].item()}


@torch.no_grad()
def race(start: Callable[..., Iterator[State]], rows: pd.DataFrame) -> Iterator[Row]:
    """How long methods take to the objective of free weights after `DEPTH` layers, and to the certificate."""
    own = rows[rows["trained_on"].isin(["", "objective"])].replace(np.inf, np.nan)
    goal = own.query("method == 'free weights' and layer == @DEPTH")["objective"].item()
    goals = {f"the objective {goal:.2f}": own["objective"] <= goal}
    goals[f"a gap of {100 * TOLERANCE:g} %"] = own["gap"] <= TOLERANCE * own["objective"]
    for (words, reached), method in product(goals.items(), TIMED):
        row = {"data": own["data"].iloc[0], "goal": words, "method": method}
        for first in own[reached & (own["method"] == method)].nsmallest(1, "layer").itertuples():
            run = partial(start, method, first.trained_on, first.beta, first.layer)
            seconds = repeat(lambda run=run: sum(1 for _ in run()), number=1, repeat=RUNS_TIMED)
            row |= {"penalty": first.beta, "layers": first.layer, "seconds": np.median(seconds)}
        yield row


def measure_on(name: str, keep: Keep) -> tuple[pd.DataFrame, ...]:
    """The three tables of that data. What takes long is a function of names and numbers, and kept."""
    data, chosen = DATA[name](), {solver: keep(best_penalties)(name, solver) for solver in SOLVERS}

    def solution(name: str, rho: float) -> State:
        return next(islice(exact_admm(data.problem, data.X, rho), SOLVED - 1, None))

    solved, learned = keep(solution)(name, chosen["exact ADMM"]["lowest_objective"]), learn(name, data, keep)
    optimum = data.problem.objective(solved, data.X).mean().item()

    def start(method: str, trained_on: str, penalty: float, layers: int = FOLLOWED) -> Iterable[State]:
        if method in SOLVERS:
            return islice(SOLVERS[method][0](data.problem, data.X, penalty), layers)
        if method == SAFEGUARDED:
            network, beta = learned["free weights", trained_on], chosen["LADMM"]["first_certified"]
            return (step.state for step in safeguarded(network, data.X, layers, beta))
        network = learned[method, trained_on]
        network.layers[-1].relaxation = RELAXATION if method == REPEATED else 1.0
        return network.iterate(data.X, layers=layers)

    def followed(name: str, method: str, trained_on: str, penalty: float) -> list[Row]:
        rows, labels = [], {"data": name, "method": method, "trained_on": trained_on, "beta": penalty}
        for row, state in follow(data.problem, data.X, start(method, trained_on, penalty)):
            distance = torch.linalg.vector_norm(state.AZ - solved.AZ, dim=1).mean().item()
            rows.append(labels | row | {"distance": distance, "psnr": data.psnr(state.AZ)})
        return rows

    methods = [(solver, "", penalty) for solver, (_, penalties) in SOLVERS.items() for penalty in penalties]
    methods += [(*what, np.nan) for what in (*learned, (SAFEGUARDED, "objective"))]
    rows = pd.DataFrame([row for what in tqdm(methods, f"{name}: methods") for row in keep(followed)(name, *what)])
    rows.insert(rows.columns.get_loc("gap"), "above", rows["objective"] - optimum)
    return rows, pd.DataFrame([*chosen.values()]), pd.DataFrame(race(start, rows))


def measure(keep: Keep) -> Measured:
    """Follows all methods on Lena and on synthetic data."""
    tables = zip(*(measure_on(name, keep) for name in DATA), strict=True)
    names = ("convergent", "convergent_penalties", "convergent_seconds")
    return Measured(dict(zip(names, map(pd.concat, tables), strict=True)))


def show(tables: Tables, made_by: Provenance) -> Page:
    """For each data a table of the methods and one of seconds; a figure; for README.md each method once, on Lena."""
    rows, penalties, seconds = (table.replace(np.inf, np.nan) for table in tables.values())
    runs, parts, readme = runs_shown(rows, penalties), ["# Convergent weights\n"], {}
    depth, tolerance = (made_by["settings"][name] for name in ("depth", "tolerance"))
    for data, shown in runs.groupby("data", sort=False):
        table = compared(shown, rows[rows["data"] == data], depth, tolerance)
        timed = seconds[seconds["data"] == data].drop(columns="data")
        timed["layers"] = timed["layers"].map("{:.0f}".format).replace("nan", "never")
        parts += [f"## {data[0].upper()}{data[1:]}\n", markdown(table, FORMATS), markdown(timed, FORMATS)]
        if data == "Lena":
            short = table.iloc[:, :-3].replace(", trained on the objective$", "", regex=True)
            first = ~short.iloc[:, 0].str.split(",").str[0].duplicated()
            readme["convergence"] = markdown(short[first], FORMATS)
    figure = "![objective, gap and distance to the solution per layer](convergent.png)\n"
    return Page("\n".join([*parts, str(__doc__), figure]), {"convergent": draw_figure(rows, runs)}, readme)


def runs_shown(rows: pd.DataFrame, penalties: pd.DataFrame) -> pd.DataFrame:
    """The rows of solvers with the two penalties, then of networks, and their names in tables and in the figure."""
    chosen = penalties.rename(columns=CHOSEN).melt(["data", "method"], var_name="which", value_name="beta")
    solvers = chosen.astype({"beta": float}).sort_values("method", kind="stable").merge(rows)
    signed = solvers["method"] + ", " + solvers["method"].map(SIGNS) + " "
    solvers = solvers.assign(name=signed + solvers["beta"].map("= {:g}".format), legend=signed + solvers["which"])
    networks = rows[rows["beta"].isna()]
    names = networks["method"] + ", trained on the " + networks["trained_on"].str.replace("_", " ")
    return pd.concat([solvers, networks.assign(name=names, legend=names)])


def compared(runs: pd.DataFrame, rows: pd.DataFrame, depth: int, tolerance: float) -> pd.DataFrame:
    """What methods have after `depth` layers, when they are certified, and in the end; rows: with all penalties."""
    lines = []
    for name, run in runs.groupby("name", sort=False):
        at, end = run[run["layer"] == depth].iloc[0], run.iloc[-1]
        line = {f"after {depth} layers": name, "objective": at["objective"]}
        line |= {"certified gap": at["gap"], "PSNR": at["psnr"]}
        for solver in SIGNS:
            tried = rows[(rows["method"] == solver) & (rows["objective"] <= at["objective"])]
            line[f"{solver} iterations to it"] = "" if at["method"] == solver else f"{tried['layer'].min():.0f}"
        certified = run[run["gap"] <= tolerance * run["objective"]]
        line[f"layers until the gap is {100 * tolerance:g} %"] = f"{certified['layer'].min():.0f}"
        for heading, column in {"objective above the optimum": "above", "distance to the solution": "distance"}.items():
            line[f"{heading}, {end['layer']} layers"] = "diverged" if np.isnan(end[column]) else f"{end[column]:.2g}"
        lines.append(line)
    return filled(pd.DataFrame(lines).replace("nan", "never"))


def draw_figure(rows: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """A row of axes for each data. LADMM is dashed, exact ADMM dash-dotted, free weights dotted, and the rest solid."""
    names = {"above": "objective above the optimum", "gap": "certified gap", "distance": "‖A Z − A Z*‖"}
    by_data = runs.groupby("data", sort=False)
    figure, axes = subplots(14, 4.6 * len(by_data) + 1.6, len(by_data), len(names), dpi=110)
    for axis, ((data, own), (name, label)) in zip(axes.flat, product(by_data, names.items()), strict=True):
        for legend, run in own.groupby("legend", sort=False):
            style = LINES.get(run["method"].iloc[0], "-" if legend.startswith("convergent") else ":")
            axis.plot(run["layer"], run[name], style, label=legend)
        values = rows.loc[(rows["data"] == data) & (rows[name] > 0), name]
        limits = values.min() / 2, min(values.max(), 100)  # free weights diverge
        axis.set(xlabel="layer or iteration", ylabel=f"{label}, {data}", xscale="log", yscale="log", ylim=limits)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


DATA = {"Lena": lena, "synthetic": synthetic}
main = command("utils.studies.convergent")

if __name__ == "__main__":
    main()
