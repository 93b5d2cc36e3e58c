"""How a network learns: the losses of all layers, and `Training`, the loop that everything uses."""

import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam, Optimizer

from models.errors import InvalidArgument, TrainingError, check_count, check_positive
from models.layer import Layer
from models.losses import Loss
from models.problem import Problem, State
from models.samples import Captured, Samples, Source, process_count

# The compiler computes a cheap value again wherever it is read, rather than write it to memory and read it there.
FEW_PASSES = {"realize_opcount_threshold": 1000, "realize_reads_threshold": 100}
TOLERANCE = 0.05  # relative difference of compiled losses and gradients; rounding explains less, a fault makes more
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # of the factors of matrix products
SAVED = "network", "optimizer", "source"  # parts of a training with a state of their own


def advance(
    layer: Layer, loss: Loss, problem: Problem, X: Tensor, state: State, mask: Tensor | None,
    targets: tuple[Tensor, ...],
) -> tuple[State, Tensor]:  # fmt: skip
    """The state after a layer, and the sum of its loss over the rows of X: the part of a step that is compiled.

    What the next layer does not read, AZ and for B = I also E, has no gradients: PyTorch would add up zeros for it.
    """
    state = layer(problem, X, state, mask)
    E = state.E.detach() if problem.B is None else state.E
    read = State(state.Z, E, state.multiplier, state.AZ.detach(), state.residual)
    return read, loss.value(problem, state, X, mask, *targets).sum()


class LayerLosses(nn.Module):
    """A models.DLADMM with its training loss: a batch -> the loss after every layer, summed over the rows, (K,).

    If `compiled`, `advance` is compiled, for free weights, if it then agrees with what it is not compiled. Training is
    then about twice as fast from its second step on. The layers are compiled as well, as the network restores an image
    again and again while it learns.
    """

    def __init__(self, network: nn.Module, loss: Loss, compiled: bool = False) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.advance = advance
        # The compiler would begin anew for every layer with derived weights.
        self.to_compile = compiled and all(isinstance(layer, Layer) for layer in network.layers)

    def forward(self, batch: Samples) -> Tensor:
        """The losses of a batch; the first compiles."""
        if self.to_compile:
            self.to_compile = False
            self._compile(batch)
        return self._losses(batch, self.advance)

    def _losses(self, batch: Samples, advance: Callable[..., tuple[State, Tensor]]) -> Tensor:
        problem, losses = self.network.problem, []
        mask = problem.known(batch.mask)
        state = problem.zero_state(batch.X, mask)
        for layer in self.network.layers:
            state, value = advance(layer, self.loss, problem, batch.X, state, mask, batch.targets)
            losses.append(value)
        return torch.stack(losses)

    def _compile(self, batch: Samples) -> None:
        """Compiles, unless on this batch the compiled losses or gradients are others, or there are none."""
        compiled = torch.compile(advance, options=FEW_PASSES)
        learned = [parameter for parameter in self.network.parameters() if parameter.requires_grad]

        def found(step: Callable[..., tuple[State, Tensor]]) -> tuple[Tensor, ...]:
            losses = self._losses(batch, step)
            return losses, *torch.autograd.grad(losses.sum(), learned, materialize_grads=True)

        try:
            pairs = zip(found(advance), found(compiled), strict=True)
            differs = any((ours - plain).norm() > TOLERANCE * plain.norm() for plain, ours in pairs)
            reason = "its losses or gradients are others" if differs else ""
        except Exception as error:  # the compiler's errors have no common name
            reason = f"it fails with {type(error).__name__}"
        if reason:
            print(f"training goes on not compiled: {reason} (PyTorch {torch.__version__})", file=sys.stderr)
            torch.compiler.reset()
            return
        self.advance = compiled
        compile_layers(self.network)


def compile_layers(network: nn.Module) -> None:
    """Compiles the layers: from its second batch on, the network then restores about twice as fast."""
    for layer in network.layers:
        layer.compile(dynamic=True, options=FEW_PASSES)  # dynamic: one compilation for batches of all sizes


class Epoch(NamedTuple):
    """An epoch of a training that is over."""

    number: int  # from 1
    loss: float  # of the last layer, mean over the samples of the epoch
    seconds: float  # of drawing samples and of all steps


@dataclass(eq=False, repr=False)
class Training:
    """Trains a network in place, an epoch for every round of `for epoch in training`.

    In every step the losses of all layers go backward through the network, and Adam changes its weights. With the same
    seed and the same source the same network comes out; a training that was saved with `state_dict` goes on from
    `load_state_dict` as if nothing had happened.
    """

    network: nn.Module  # trained in place; its parts, which messages name, are its `layers`, if it has any
    source: Source  # samples are drawn from it afresh for every epoch
    losses: Callable[[Samples], Tensor]  # a batch -> losses (K,), each summed over its rows, such as `LayerLosses`
    epochs: int = 30
    samples_per_epoch: int = 10_000
    batch_size: int = 500  # samples in a step, of all processes together
    learning_rate: float = 0.08  # at its peak, see `rate_at`, relative to the size of each tensor, see `adam`
    layer_discount: float = 0.5  # weight of a layer's loss relative to that of the next layer, 0 to 1
    captured: bool = True  # whether on CUDA a step is captured as a graph and replayed, see `Captured`
    precision: str = "float32"  # of matrix products, a name in `PRECISIONS`; all else has that of the network
    optimizer: Optimizer | None = None  # in place of `adam` with the learning rate, which then counts for nothing

    def __post_init__(self) -> None:
        check_schedule(self.epochs, self.samples_per_epoch, self.batch_size, self.learning_rate, self.layer_discount)
        if process_count() > 1:  # gradients are means over the processes; some losses do not depend on the last E
            self.losses = DistributedDataParallel(self.losses, find_unused_parameters=True)
        self.optimizer = adam(self.network, self.learning_rate) if self.optimizer is None else self.optimizer
        self.parts = getattr(self.network, "layers", [self.network])
        self.finished = 0  # epochs
        device = next(self.network.parameters()).device
        self.on_gpu = device.type == "cuda"
        peaks = [group["lr"] for group in self.optimizer.param_groups]
        exact = torch.float32 if self.on_gpu else torch.float64  # as Adam reads it there
        self.peaks = torch.tensor(peaks, dtype=exact, device=device)
        self.rates = torch.zeros_like(self.peaks)
        self.weights = None  # of the layers' losses, (K,), sum 1, see `layer_discount`
        # A cache of rounded weights would outlive the step in which a graph is captured.
        rounding = partial(torch.autocast, device.type, PRECISIONS[self.precision], cache_enabled=not self.on_gpu)
        self.products = nullcontext if self.precision == "float32" else rounding
        self._tie_rates()
        self.take = Captured(self.step) if self.captured and self.on_gpu and process_count() == 1 else self.step

    def __iter__(self) -> Iterator[Epoch]:
        """Yields every epoch when it is over. Nothing is read from the device before that.

        Raises what `_check` raises; if a number is not finite, the network is spoiled.
        """
        steps = math.ceil(self.samples_per_epoch / self.batch_size)  # of an epoch
        while self.finished < self.epochs:
            started, taken = time.perf_counter(), []
            batches = self.source.draw(self.samples_per_epoch).batches(self.batch_size)
            for number, batch in enumerate(batches, start=self.finished * steps + 1):
                torch.mul(self.peaks, rate_at(number / (self.epochs * steps + 1)), out=self.rates)
                taken.append(self.take(*batch))
            losses, gradients = (torch.stack(values) for values in zip(*taken, strict=True))
            if process_count() > 1:
                dist.all_reduce(losses)
            losses, gradients = losses.cpu(), gradients.cpu()
            self._check(losses, gradients)
            self.finished += 1
            mean = losses[:, -1].sum().item() / self.samples_per_epoch
            yield Epoch(self.finished, mean, time.perf_counter() - started)

    def step(self, batch: Samples, size: float) -> tuple[Tensor, Tensor]:
        """One step of Adam on a batch and its size, see Samples.batches; the losses (K,), and the norm of the gradient
        of every part of the network."""
        with self.products():
            losses = self.losses(batch)
        if self.weights is None:
            weights = [self.layer_discount**after for after in reversed(range(len(losses)))]
            self.weights = losses.new_tensor([weight / sum(weights) for weight in weights])
        self.optimizer.zero_grad()
        (self.weights @ losses / size).backward()
        self.optimizer.step()
        by_part = [[p.grad for p in part.parameters() if p.grad is not None] for part in self.parts]
        zero = losses.new_zeros(())
        return losses.detach(), torch.stack([nn.utils.get_total_norm(g).to(zero) if g else zero for g in by_part])

    def _tie_rates(self) -> None:
        """Adam reads its learning rates from one tensor on the device, which is written before every step."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict:
        """What the next epochs depend on."""
        return {name: getattr(self, name).state_dict() for name in SAVED} | {"finished": self.finished}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from there."""
        for name in SAVED:
            getattr(self, name).load_state_dict(state[name])
        self.finished = state["finished"]
        self._tie_rates()

    def _check(self, losses: Tensor, gradients: Tensor) -> None:
        """Losses (batches, K) and norms of gradients (batches, parts) of an epoch are finite, and there are gradients.

        TrainingError says in which epoch, batch and layer one first is not, in the order of computation: losses first
        to last, then gradients last to first; or which layer could learn, and no gradient reaches it.
        """
        for number, (of_loss, of_gradient) in enumerate(zip(losses, gradients, strict=True), start=1):
            for what, values, order in (("loss", of_loss, 1), ("gradient", of_gradient, -1)):
                for layer in torch.nonzero(~torch.isfinite(values)).flatten().tolist()[::order][:1]:
                    where = f"layer {layer + 1} is {values[layer]:g} in batch {number} of epoch {self.finished + 1}"
                    raise TrainingError(f"the {what} of {where}, d = {len(self.parts)}; the epochs before it are kept")
        learns = torch.tensor([any(p.requires_grad for p in part.parameters()) for part in self.parts])
        unreached = torch.nonzero(learns & (gradients == 0).all(dim=0)).flatten().tolist()
        if unreached and (losses != 0).any():
            raise TrainingError(
                f"no gradient reaches layer {unreached[0] + 1} of {len(self.parts)}: nothing in it would be learned; "
                "allowed: another alpha or beta, or --compile no if this version of PyTorch is not one of README's"
            )


def check_schedule(
    epochs: int, samples_per_epoch: int, batch_size: int, learning_rate: float, layer_discount: float
) -> None:
    """Refuses what makes no training."""
    for name, count in {"epochs": epochs, "samples_per_epoch": samples_per_epoch, "batch_size": batch_size}.items():
        check_count(name, count)
    check_positive("learning_rate", learning_rate)
    if not isinstance(layer_discount, Real) or not 0 <= layer_discount <= 1:
        raise InvalidArgument(f"layer_discount is {layer_discount!r}; allowed: 0 to 1")


def adam(network: nn.Module, learning_rate: float, unit: float | None = None) -> Adam:
    """Adam, whose rate for a tensor is `learning_rate` times the tensor's size: its root mean square at the start.

    W1, β, W2 and the thresholds differ in size by four orders of magnitude, and a step of Adam changes every entry by
    about the rate. One rate for all would destroy the small tensors or not change the large ones. A tensor that starts
    at zero has no size of its own, and gets the median one. `unit` is the size of the loss: if it is given, nothing
    depends on units, as what Adam adds to a gradient's size then has the gradient's.
    """
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    sizes = {parameter: parameter.detach().square().mean().sqrt().item() for parameter in learned}
    median = statistics.median([size for size in sizes.values() if size > 0] or [1.0])
    groups = defaultdict(list)
    for parameter, size in sizes.items():
        groups[size or median].append(parameter)
    rates = [
        {"params": parameters, "lr": learning_rate * size, "eps": 1e-10 * (1 if unit is None else unit / size)}
        for size, parameters in groups.items()
    ]
    return Adam(rates, betas=(0.9, 0.99), fused=True, capturable=learned[0].is_cuda)


def rate_at(done: float, warm_up: float = 0.1) -> float:
    """Learning rate relative to its peak when the share `done` of a training is over: a line up, a cosine down."""
    return done / warm_up if done < warm_up else 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))
