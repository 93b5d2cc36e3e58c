"""The authors' training loop as a yardstick: written anew from what is known of their code, faults of speed included.

Nothing here is part of the method; `tests/benchmarks/speed.py` measures it. Xie et al. 2019 and their Lena experiment:
samples are columns, 20 in a batch; β has a column for every position in the batch, so that no other batch size works;
every layer has the relaxed loss; the optimizer is made anew in every epoch. Both thresholds are fixed.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

BATCH = 20
ALPHA, THETA1, THETA2 = 0.45, 0.025, 0.06


def soft(v: Tensor, theta: float) -> Tensor:
    """The soft threshold, as a difference of two rectifiers."""
    return torch.relu(v - theta) - torch.relu(-v - theta)


def outside(v: Tensor, t: float) -> Tensor:
    """mean q(v, t), q(v, t) = softplus(v − t) + softplus(−v − t)."""
    return (softplus(v - t) + softplus(-v - t)).mean()


class AuthorsNetwork(nn.Module):
    """T = A Z + E − X;  Z⁺ = soft(Z − W1ᵀ(λ + β ∘ T), θ1);  E⁺ = soft(X − A Z⁺ − β₂ ∘ λ, θ2);
    λ⁺ = λ + β ∘ (A Z⁺ + E⁺ − X).

    A (m, n) is of norm 1: W1 starts at A itself, which needs a step no longer than 1 / ‖A‖₂².
    """

    def __init__(self, A: Tensor, depth: int) -> None:
        super().__init__()
        m = A.shape[0]
        self.register_buffer("A", A)
        self.W1 = nn.ParameterList(nn.Parameter(A + 1e-3 * torch.randn_like(A)) for _ in range(depth))
        self.beta = nn.ParameterList(nn.Parameter(torch.ones(m, BATCH)) for _ in range(depth))
        self.beta2 = nn.ParameterList(nn.Parameter(torch.ones(m, BATCH)) for _ in range(depth))

    def forward(self, X: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """X (m, 20) -> Z (n, 20), E (m, 20) and λ (m, 20) after every layer."""
        Z = X.new_zeros(self.A.shape[1], X.shape[1])
        E, multiplier = torch.zeros_like(X), torch.zeros_like(X)
        states = []
        for W1, beta, beta2 in zip(self.W1, self.beta, self.beta2, strict=True):
            T = self.A.mm(Z) + E - X
            Z = soft(Z - W1.t().mm(multiplier + beta * T), THETA1)
            E = soft(X - self.A.mm(Z) - beta2 * multiplier, THETA2)
            multiplier = multiplier + beta * (self.A.mm(Z) + E - X)
            states.append((Z, E, multiplier))
        return states

    def loss(self, X: Tensor, Z: Tensor, E: Tensor, multiplier: Tensor) -> Tensor:
        """Their loss of a layer: see models.losses.relaxed, here in columns and with means over all entries."""
        primal = ALPHA * Z.abs().mean() + E.abs().mean()
        dual = outside(self.A.t().mm(multiplier), ALPHA) + outside(multiplier, 1.0) + (multiplier * X).mean()
        return primal + dual

    def train_epoch(self, patches: Tensor, epoch: int) -> None:
        """An epoch over patches (m, N) in random order, by Adam in the first 20; what fills no batch is left out."""
        rate = 2e-4 * 0.5 ** (epoch // 30)
        of_epoch = torch.optim.Adam if epoch < 20 else lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)
        optimizer, order = of_epoch(self.parameters(), lr=rate), torch.randperm(patches.shape[1])
        for start in range(0, patches.shape[1] - BATCH + 1, BATCH):
            X = patches[:, order[start : start + BATCH]]
            optimizer.zero_grad()
            torch.stack([self.loss(X, *state) for state in self(X)]).sum().backward()
            optimizer.step()

    @torch.no_grad()
    def restore(self, patches: Tensor) -> Tensor:
        """A Z after the last layer for patches (m, N): (m, N). The last batch is filled up, so that none is left."""
        filled = torch.cat([patches, patches[:, : -patches.shape[1] % BATCH]], dim=1)
        restored = [self.A.mm(self(X)[-1][0]) for X in filled.split(BATCH, dim=1)]
        return torch.cat(restored, dim=1)[:, : patches.shape[1]]
