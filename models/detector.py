"""A network that says of every pixel of a picture whether it is damaged. It is no D-LADMM: it restores nothing."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, max_pool2d, pixel_shuffle, pixel_unshuffle

SLOPE = 0.1  # of the rectifiers, below zero


class Level(nn.Module):
    """Two convolutions of 3 x 3 at one scale. What is told of the whole picture is added to the first, whose maps are
    then normalised, pixel by pixel."""

    def __init__(self, before: int, maps: int, figures: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, maps, 3, padding=1)
        self.second = nn.Conv2d(maps, maps, 3, padding=1)
        self.told = nn.Linear(figures, maps)
        self.norm = nn.LayerNorm(maps)

    def forward(self, maps: Tensor, figures: Tensor) -> Tensor:
        """Maps (N, before, h, w) and figures (N, figures) -> maps (N, maps, h, w)."""
        maps = self.first(maps) + self.told(figures)[..., None, None]
        maps = self.norm(maps.movedim(1, -1)).movedim(-1, 1)
        return leaky_relu(self.second(leaky_relu(maps, SLOPE)), SLOPE)


class Detector(nn.Module):
    """A U-Net (Ronneberger, Fischer & Brox 2015) on blocks of 2 x 2 pixels, at four scales.

    Args:
        planes: of the picture, (N, planes, height, width), multiples of `MULTIPLE`; see data.evidence.
        figures: of the picture as a whole, (N, figures).
        maps: at every scale, from the finest.
    """

    MULTIPLE = 16
    OUT = 4  # three channels, and the noise

    def __init__(self, planes: int, figures: int, maps: tuple[int, ...] = (40, 64, 96, 128)) -> None:
        super().__init__()
        self.choices = {"planes": planes, "figures": figures, "maps": list(maps)}
        self.down = nn.ModuleList(Level(*pair, figures) for pair in zip((4 * planes, *maps), maps, strict=False))
        self.up = nn.ModuleList(Level(a + b, a, figures) for a, b in zip(maps, maps[1:], strict=False))
        self.out = nn.Conv2d(maps[0], 4 * self.OUT, 1)
        for level in self.up:  # it begins with what the finest scale alone sees
            nn.init.zeros_(level.second.weight)
            nn.init.zeros_(level.second.bias)
        nn.init.constant_(self.out.bias, -3.0)  # most pixels are sound
        self.to(memory_format=torch.channels_last)

    def forward(self, planes: Tensor, figures: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of damage of every channel, (N, 3, height, width), and the logarithm of the noise, (N,)."""
        x, seen = pixel_unshuffle(planes, 2), []
        for number, level in enumerate(self.down):
            x = level(max_pool2d(x, 2) if number else x, figures)
            seen.append(x)
        for before, level in reversed(list(zip(seen, self.up, strict=False))):
            x = before + level(torch.cat([interpolate(x, scale_factor=2.0), before], dim=1), figures)
        out = pixel_shuffle(self.out(x), 2)
        return out[:, :3], out[:, 3].mean(dim=(1, 2))
