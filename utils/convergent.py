"""Convergent weights on trial: what networks have after 15 layers, and where they go when the last one is repeated.

`python -m utils.convergent` (some 25 minutes) writes results/convergent.csv, .md and .png: for Lena and for the
synthetic data of the paper, LADMM, networks of convergent and of free weights trained on the objective, on the
certified gap and on both, last layers that are trained to be repeated or to certify, and the safeguard.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import islice, product, repeat
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from data.corruption import salt_and_pepper
from data.dictionary import load_dictionary
from data.images import VALIDATION_IMAGES, load_image
from data.patches import PatchGrid, patch_side, random_patches
from data.synthetic import gaussian_dictionary, sparse_samples
from models import DLADMM, Problem, State, ladmm
from models.layer import Layer
from models.losses import LOSSES
from models.safeguard import safeguarded
from utils.evaluation.metrics import psnr
from utils.evaluation.records import ConvergenceRecord
from utils.reporting.convergent import convergent_figure, convergent_markdown
from utils.reporting.experiments import Report, run_experiment
from utils.running.devices import pick_compiled
from utils.training.optimization import Descent, fit
from utils.training.samples import Batch, Samples

SEED, NOISE_RATE = 1126, 0.1
DEPTH, FOLLOWED, SOLVED = 15, 1000, 6000  # layers; how many are followed, and how many lead to the solution
BETAS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0)  # of LADMM
TOLERANCE = 0.01  # certified gap relative to the objective
TRAINED_ON = ("objective", "gap", "objective_and_gap")
# How networks of each kind of weights begin and learn.
KINDS = {
    "convergent": {"beta": 3.0, "learning_rate": 0.05},
    "free": {"beta": 8.0, "learning_rate": 0.08, "initialization": "pseudo_inverse", "activation": "piecewise_linear"},
}
EPOCHS, SAMPLES_PER_EPOCH, BATCH_SIZE, LAYER_DISCOUNT = 16, 10_000, 250, 0.5
# The layer that is trained to be repeated: how often, and how. Relaxation is for repeating it.
REPEATS, STEPS, FEW, LAST_BETA, LAST_LEARNING_RATE, RELAXATION = 150, 100, 64, 1.5, 0.05, 1.8
# The free network that learns to certify what it restores: how many last layers learn, how long, weight of the gap.
TAIL, TAIL_STEPS, TAIL_LEARNING_RATE, GAP_WEIGHT = 8, 1000, 0.03, 0.1


class Data(NamedTuple):
    """A problem, test samples X (N, m), others to choose by, and those to learn from."""

    name: str
    problem: Problem
    X: Tensor
    others: Tensor  # (N, m), to choose LADMM's β
    draw: Callable[[int], Tensor]  # number of samples -> (number, m)
    psnr: Callable[[Tensor], float] | None  # of restored samples (N, m), in dB


def lena() -> Data:
    """Patches of the noisy Lena, to learn from and to restore. Others are patches of the noisy validation images."""
    A = load_dictionary()
    side = patch_side(len(A))

    def noisy(name: str) -> Tensor:
        return torch.from_numpy(salt_and_pepper(load_image(name), NOISE_RATE, SEED))

    image, clean, generator = noisy("lena"), load_image("lena"), torch.Generator().manual_seed(SEED)
    grid = PatchGrid(image.shape, side, side)
    others = [random_patches(noisy(name), side, 200, generator) for name in VALIDATION_IMAGES]
    return Data(
        "Lena",
        Problem(A, 0.7),
        grid.extract(image),
        torch.cat(others),
        lambda number: random_patches(image, side, number, generator),
        lambda patches: psnr(grid.assemble(patches).clamp(0, 1).numpy(), clean),
    )


def synthetic() -> Data:
    """Samples with a Gaussian dictionary, as in utils.synthetic."""
    generator = torch.Generator().manual_seed(SEED)
    A = gaussian_dictionary(250, 500, generator)

    def draw(number: int) -> Tensor:
        return sparse_samples(A, number, generator)[0]

    return Data("synthetic", Problem(A, 0.8), draw(400), draw(400), draw, None)


@torch.enable_grad()
def trained(data: Data, weights: str, loss: str) -> DLADMM:
    """A network trained on samples that are drawn afresh in every epoch."""
    begins = dict(KINDS[weights])
    learning_rate = begins.pop("learning_rate")
    network = DLADMM(data.problem.A, DEPTH, f=data.problem.f, weights=weights, **begins)

    def batches() -> Iterator[Batch]:
        for _ in range(EPOCHS):
            yield from Samples(data.draw(SAMPLES_PER_EPOCH)).batches(BATCH_SIZE)

    torch.compiler.reset()  # the compiler keeps what it made for eight networks at most
    compiled = pick_compiled("auto", EPOCHS * SAMPLES_PER_EPOCH * DEPTH, data.X.device)
    steps = EPOCHS * SAMPLES_PER_EPOCH // BATCH_SIZE
    fit(network, LOSSES[loss], batches(), steps, learning_rate, LAYER_DISCOUNT, compiled)
    return network.free()


@torch.enable_grad()
def trained_to_be_repeated(data: Data) -> DLADMM:
    """A single convergent layer whose certified gap is low after it was repeated many times."""
    network = DLADMM(data.problem.A, 1, f=data.problem.f, beta=LAST_BETA, weights="convergent")
    network.layers[0].relaxation = RELAXATION
    descent = Descent(network, LAST_LEARNING_RATE, STEPS)
    for _ in range(STEPS):
        X = data.draw(FEW)
        *_, last = network.iterate(X, layers=REPEATS)
        descent.step(data.problem.gap(last, X).mean().log())
    return network.free()


@torch.enable_grad()
def trained_to_certify(data: Data, network: DLADMM) -> DLADMM:
    """A network of free weights whose last layers went on learning, to certify what it restores already.

    With Z₀ of the network before and Z, λ of the last layer, the loss is ‖A Z − A Z₀‖₁ + `GAP_WEIGHT` · gap(Z, λ).
    """
    learning = deepcopy(network)
    learning.layers[:-TAIL].requires_grad_(False)
    descent = Descent(learning.layers[-TAIL:], TAIL_LEARNING_RATE, TAIL_STEPS)
    for _ in range(TAIL_STEPS):
        X = data.draw(BATCH_SIZE)
        (*_, last), (*_, before) = learning.iterate(X), network.iterate(X)
        change = (last.AZ - before.AZ.detach()).abs().sum(dim=1)
        descent.step((change + GAP_WEIGHT * data.problem.gap(last, X)).mean())
    return learning


def to_tolerance(problem: Problem, X: Tensor, states: Iterable[State]) -> int:
    """The first layer whose certified gap is at most `TOLERANCE` of the objective, to tens; `FOLLOWED` if none is."""
    for layer, state in enumerate(islice(states, FOLLOWED), start=1):
        if layer % 10 == 0 and problem.gap(state, X).mean() <= TOLERANCE * problem.objective(state, X).mean():
            return layer
    return FOLLOWED


def best_betas(data: Data) -> tuple[float, float]:
    """LADMM's β with the lowest objective after as many iterations as there are layers, and that which certifies first,
    on the other samples."""
    problem, X = data.problem, data.others

    def objective(beta: float) -> float:
        return problem.objective(next(islice(ladmm(problem, X, beta), DEPTH - 1, None)), X).mean().item()

    return min(BETAS, key=objective), min(BETAS, key=lambda beta: to_tolerance(problem, X, ladmm(problem, X, beta)))


def repeated(data: Data, layers: Sequence[Layer], last: Layer, relaxation: float) -> Iterator[State]:
    """The states after some layers, and after another one that is repeated behind them."""
    last = deepcopy(last)
    last.relaxation = relaxation
    state = data.problem.zero_state(data.X)
    for layer in (*layers, *repeat(last, FOLLOWED)):
        state = layer(data.problem, data.X, state)
        yield state


def methods(data: Data, certifying: float) -> Iterator[tuple[str, str, float | None, Iterator[State]]]:
    """Name, loss of the training, LADMM's β, and the states of every method; `certifying`: β of the safeguard."""
    problem, X = data.problem, data.X
    for beta in BETAS:
        yield "LADMM", "", beta, ladmm(problem, X, beta)
    networks = {}
    for weights, loss in product(KINDS, TRAINED_ON):
        networks[weights, loss] = network = trained(data, weights, loss)
        yield f"{weights} weights", loss, None, network.iterate(X, layers=FOLLOWED)
    network, last = networks["convergent", "objective"], trained_to_be_repeated(data).layers[0]
    for name, relaxation in (("", 1.0), (", relaxed", RELAXATION)):
        states = repeated(data, network.layers[:-1], last, relaxation)
        yield f"convergent weights, another last layer{name}", "objective", None, states
    network = networks["free", "objective"]
    yield (
        "free weights, then to certify",
        "objective",
        None,
        trained_to_certify(data, network).iterate(X, layers=FOLLOWED),
    )
    states = (step.state for step in safeguarded(network, X, FOLLOWED, certifying))
    yield "free weights, safeguarded", "objective", None, states


@torch.no_grad()
def follow(data: Data, certifying: float) -> Iterator[ConvergenceRecord]:
    """The rows of all methods: every layer up to 100, then every tenth.

    Args:
        data: what they solve.
        certifying: LADMM's β that certifies first, for the solution and the safeguard.
    """
    problem, X = data.problem, data.X
    solution = next(islice(ladmm(problem, X, certifying), SOLVED - 1, None))
    lowest = problem.objective(solution, X).mean().item()
    tqdm.write(f"{data.name}: the solution has the objective {lowest:.4f}")
    for method, loss, beta, states in methods(data, certifying):
        for layer, state in enumerate(islice(states, FOLLOWED), start=1):
            if layer > 100 and layer % 10:
                continue
            objective, gap = problem.objective(state, X).mean().item(), problem.gap(state, X).mean().item()
            distance = torch.linalg.vector_norm(state.AZ - solution.AZ, dim=1).mean().item()
            quality = None if data.psnr is None else data.psnr(state.AZ)
            yield ConvergenceRecord(
                data.name, method, loss, beta, layer, objective, objective - lowest, gap, distance, quality
            )


def compare() -> Report:
    """Follows all methods on Lena and on synthetic data."""
    records, chosen = [], {}
    for make in (lena, synthetic):
        data = make()
        chosen[data.name] = best_betas(data)
        records += follow(data, chosen[data.name][1])
    text = convergent_markdown(records, chosen, DEPTH, TOLERANCE)
    return Report(text, {"convergent": records}, {"convergent": convergent_figure(records, chosen)})


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the experiment and writes its table and figure."""
    settings = {"seed": SEED, "noise_rate": NOISE_RATE, "depth": DEPTH, "betas": BETAS, "networks": KINDS}
    settings |= {"epochs": EPOCHS, "samples_per_epoch": SAMPLES_PER_EPOCH, "batch_size": BATCH_SIZE}
    settings |= {"layer_discount": LAYER_DISCOUNT, "repeats": REPEATS, "steps": STEPS, "repeated_samples": FEW}
    settings |= {"tail": TAIL, "tail_steps": TAIL_STEPS, "tail_learning_rate": TAIL_LEARNING_RATE}
    settings |= {"gap_weight": GAP_WEIGHT, "last_beta": LAST_BETA, "last_learning_rate": LAST_LEARNING_RATE}
    settings |= {"relaxation": RELAXATION}
    run_experiment("utils.convergent", __doc__, settings, compare, argv, compiled=True)


if __name__ == "__main__":
    main()
