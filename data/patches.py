"""Patches in rows: cut from an image on a grid, put back together, or drawn at random."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from data.errors import InvalidInput

Patches = Tensor  # (N, patch²): a patch a row, its pixels in the order of the image's rows
ImageTensor = Tensor  # an Image of data.images as a tensor


class PatchGrid:
    """The square patches that cover an image: one every `stride` pixels, and a last one flush with each border.

    `assemble(extract(image)) == image`, where `shape` is that of the image and `patch` the side of a patch in pixels.
    Each channel of a colour image has patches of its own. Where patches overlap, a pixel is their mean, weighted by
    `overlap_weights`.
    """

    def __init__(self, shape: tuple[int, ...], patch: int, stride: int) -> None:
        height, width = size = shape[:2]
        if min(size) < patch:
            raise InvalidInput(f"image is {width} x {height} pixels; allowed: at least {patch} x {patch}, one patch")
        if not 1 <= stride <= patch:
            raise InvalidInput(f"stride is {stride}; allowed: 1 to {patch}, the side of a patch")
        self.shape, self.patch = shape, patch
        self.channels = shape[2] if len(shape) == 3 else 1
        self.tops, self.lefts = (torch.tensor([*range(0, n - patch, stride), n - patch]) for n in size)
        self.weights = overlap_weights(patch)
        self.totals = [torch.zeros(length, dtype=torch.float64) for length in size]  # of the weights, in every pixel
        for total, starts in zip(self.totals, (self.tops, self.lefts), strict=True):
            for start in starts.tolist():
                total[start : start + patch] += self.weights

    def __len__(self) -> int:
        """How many patches there are, of all channels together."""
        return self.channels * len(self.tops) * len(self.lefts)

    def extract(self, image: ImageTensor, tops: Tensor | None = None) -> Patches:
        """All patches of the image, or those that start at some of `self.tops`."""
        tops = self.tops if tops is None else tops
        return all_patches(channels_first(image), self.patch)[:, tops[:, None], self.lefts].reshape(-1, self.patch**2)

    def assemble(self, patches: Patches) -> ImageTensor:
        """The image of which these are the patches."""
        return next(self._join([(self.tops, patches)]))

    def process(self, solve: Callable[..., Patches], *images: ImageTensor, batch: int) -> Iterator[ImageTensor]:
        """Yields the image of the solved patches, band after band. So memory does not grow with its height. `solve`
        takes the patches of each of the images, `batch` of them or one row at once, and returns as many."""
        rows = max(1, batch // (len(self.lefts) * self.channels))
        return self._join((tops, solve(*(self.extract(i, tops) for i in images))) for tops in self.tops.split(rows))

    def _join(self, parts: Iterable[tuple[Tensor, Patches]]) -> Iterator[ImageTensor]:
        """Yields the bands of the image as they are completed by rows of patches, their tops first, from top to bottom.
        The sums are in float64: where patches agree, the image has their float32 value bit for bit."""
        height, width = self.shape[:2]
        start, carried = 0, torch.zeros(self.channels, 0, width)
        for tops, patches in parts:
            values = patches.double().reshape(self.channels, len(tops), len(self.lefts), self.patch, self.patch)
            values *= torch.outer(self.weights, self.weights).to(patches.device)
            across = values.new_zeros(self.channels, len(tops), self.patch, width)
            for number, left in enumerate(self.lefts.tolist()):
                across[..., left : left + self.patch] += values[:, :, number]
            total = values.new_zeros(self.channels, int(tops[-1]) + self.patch - start, width)
            total[:, : carried.shape[1]] = carried
            for number, top in enumerate(tops.tolist()):
                total[:, top - start : top - start + self.patch] += across[:, number]
            stop = min([*self.tops[self.tops > tops[-1]].tolist(), height])
            rows, columns = (weights.to(patches.device) for weights in (self.totals[0][start:stop], self.totals[1]))
            band = (total[:, : stop - start] / (rows[:, None] * columns)).to(patches.dtype)
            yield band[0] if len(self.shape) == 2 else band.movedim(0, -1)
            start, carried = stop, total[:, stop - start :]


def overlap_weights(patch: int) -> Tensor:
    """Weights along a side of a patch, mean 1: a Gaussian, whose standard deviation is a quarter of the side. In the
    middle of a patch more of a pixel's surroundings are seen. A pixel's weight is the product for both sides."""
    weights = torch.signal.windows.gaussian(patch, std=patch / 4, dtype=torch.float64)
    return weights / weights.mean()


def patch_side(values: int) -> int:
    """Side in pixels of a square patch of so many values."""
    if math.isqrt(values) ** 2 != values:
        raise InvalidInput(f"patches have {values} values; allowed: a square number, 256 for 16 x 16 pixels")
    return math.isqrt(values)


def channels_first(image: ImageTensor) -> Tensor:
    """A view, (channels, height, width)."""
    return image[None] if image.ndim == 2 else image.movedim(-1, 0)


def random_patches(image: Tensor, patch: int, count: int, generator: torch.Generator, step: int = 1) -> Tensor:
    """Patches at positions drawn uniformly, with replacement, from all, or from every step-th along each side: (…,
    height, width) -> (…, count, patch²).
    Images of one size that are stacked in front give patches at the same positions."""
    patches = all_patches(image, patch, step)
    tops, lefts = (torch.randint(size, (count,), generator=generator).to(image.device) for size in patches.shape[-4:-2])
    return patches[..., tops, lefts, :, :].flatten(-2)


def randomly_turned(patches: Patches, generator: torch.Generator) -> Patches:
    """Each patch in one of the eight symmetries of a square, drawn for it; patches stacked in front turn alike."""
    side = patch_side(patches.shape[-1])
    places = torch.arange(side**2).reshape(side, side)
    turned = [torch.rot90(square, quarter).flatten() for square in (places, places.T) for quarter in range(4)]
    drawn = torch.randint(8, patches.shape[-2:-1], generator=generator)
    order = torch.stack(turned)[drawn].to(patches.device)  # (N, patch²)
    return patches.gather(-1, order.expand(patches.shape))


def all_patches(image: Tensor, patch: int, step: int = 1) -> Tensor:
    """Every patch, a view: (…, height, width) -> (…, height − patch + 1, width − patch + 1, patch, patch), or every
    step-th along each side."""
    return image.unfold(-2, patch, step).unfold(-2, patch, step)
