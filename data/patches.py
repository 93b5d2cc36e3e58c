"""Patches in rows: cut from an image on a grid, put back together, or drawn at random."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import fold

from data.errors import InvalidInput


class PatchGrid:
    """The square patches that cover an image: one every `stride` pixels, and a last one flush with each border.

    Patches come in rows of patch² values, in the order of the image's rows: `assemble(extract(image)) == image`. Each
    channel of a colour image has patches of its own. Where patches overlap, a pixel is their mean, weighted by
    `overlap_weights`.

    Args:
        shape: (height, width) of the image, or (height, width, channels).
        patch: side of a patch in pixels.
        stride: pixels from one patch to the next, 1 to patch.

    Raises:
        InvalidInput: the image is smaller than a patch, or the stride leaves gaps.
    """

    def __init__(self, shape: tuple[int, ...], patch: int, stride: int) -> None:
        size = shape[:2]
        if min(size) < patch:
            least = f"at least {patch} x {patch}, one patch"
            raise InvalidInput(f"image is {shape[1]} x {shape[0]} pixels; allowed: {least}")
        if not 1 <= stride <= patch:
            raise InvalidInput(f"stride is {stride}; allowed: 1 to {patch}, the side of a patch")
        self.shape = shape
        self.channels = shape[2] if len(shape) == 3 else 1
        self.patch = patch
        self.tops, self.lefts = (
            torch.tensor(sorted({*range(0, length - patch + 1, stride), length - patch})) for length in size
        )
        self.weights = overlap_weights(patch)
        self.totals = [torch.zeros(length, dtype=torch.float64) for length in size]  # of the weights, in every pixel
        for total, starts in zip(self.totals, (self.tops, self.lefts), strict=True):
            for start in starts.tolist():
                total[start : start + patch] += self.weights

    def __len__(self) -> int:
        """How many patches there are, of all channels together."""
        return self.channels * len(self.tops) * len(self.lefts)

    def extract(self, image: Tensor, tops: Tensor | None = None) -> Tensor:
        """The patches of the image: (height, width) or (height, width, channels) -> (N, patch²).

        Args:
            tops: some of `self.tops`, for the patches that start there; None stands for all patches.
        """
        tops = self.tops if tops is None else tops
        return all_patches(channels_first(image), self.patch)[:, tops[:, None], self.lefts].reshape(-1, self.patch**2)

    def assemble(self, patches: Tensor) -> Tensor:
        """The image of which these are the patches: (N, patch²) -> the image's shape."""
        (image,) = self._join([(self.tops, patches)])
        return image

    def process(self, solve: Callable[..., Tensor], *images: Tensor, batch: int) -> Iterator[Tensor]:
        """Yields the image of the solved patches, band after band. So memory does not grow with its height.

        Args:
            solve: takes the patches (N, patch²) of each of the images, and returns as many.
            images: each of the grid's shape.
            batch: patches to solve at once, but never fewer than one row of them.
        """
        rows = max(1, batch // (len(self.lefts) * self.channels))
        return self._join((tops, solve(*(self.extract(i, tops) for i in images))) for tops in self.tops.split(rows))

    def _join(self, parts: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        """Yields the bands of the image as they are completed by rows of patches, from top to bottom.

        The sums are in float64: where patches agree, the image has their float32 value bit for bit.

        Args:
            parts: the tops of some rows of patches, and all patches of these rows.
        """
        height, width = self.shape[:2]
        start, carried = 0, None
        for tops, patches in parts:
            values = patches.double().reshape(self.channels, len(tops), len(self.lefts), self.patch, self.patch)
            values *= torch.outer(self.weights, self.weights).to(patches.device)
            across = self._across(values)
            total = values.new_zeros(self.channels, int(tops[-1]) + self.patch - start, width)
            if carried is not None:
                total[:, : carried.shape[1]] = carried
            for number, top in enumerate(tops.tolist()):
                total[:, top - start : top - start + self.patch] += across[:, number]
            after = self.tops[self.tops > tops[-1]]
            stop = int(after[0]) if len(after) else height
            rows, columns = (weights.to(patches.device) for weights in (self.totals[0][start:stop], self.totals[1]))
            band = (total[:, : stop - start] / (rows[:, None] * columns)).to(patches.dtype)
            yield band[0] if len(self.shape) == 2 else band.movedim(0, -1)
            start, carried = stop, total[:, stop - start :]

    def _across(self, values: Tensor) -> Tensor:
        """Sums patches along their rows: (channels, rows, patches, patch, patch) -> (channels, rows, patch, width).

        All but the last patch of a row are `stride` pixels apart, as torch.nn.functional.fold asks for.
        """
        channels, rows, count = values.shape[:3]
        lefts, width = self.lefts.tolist(), self.shape[1]
        regular = count - 1 if count > 2 and lefts[-1] - lefts[-2] != lefts[1] - lefts[0] else count
        step = lefts[1] - lefts[0] if regular > 1 else 1
        columns = values[:, :, :regular].flatten(3).flatten(0, 1).transpose(1, 2)  # (channels · rows, patch², patches)
        reach = lefts[regular - 1] + self.patch
        across = values.new_zeros(channels, rows, self.patch, width)
        folded = fold(columns, (self.patch, reach), self.patch, stride=(1, step))
        across[..., :reach] = folded.reshape(channels, rows, self.patch, reach)
        for number in range(regular, count):
            across[..., lefts[number] : lefts[number] + self.patch] += values[:, :, number]
        return across


def overlap_weights(patch: int) -> Tensor:
    """Weights of the pixels along a side of a patch: a Gaussian, whose standard deviation is a quarter of the side.

    In the middle of a patch more of a pixel's surroundings are seen. (patch,), float64, mean 1. The weight of a pixel
    is the product of those along both sides.
    """
    weights = torch.signal.windows.gaussian(patch, std=patch / 4, dtype=torch.float64)
    return weights / weights.mean()


def patch_side(values: int) -> int:
    """Side in pixels of a square patch of so many values.

    Raises:
        InvalidInput: it is no square number.
    """
    if math.isqrt(values) ** 2 != values:
        raise InvalidInput(f"patches have {values} values; allowed: a square number, 256 for 16 x 16 pixels")
    return math.isqrt(values)


def channels_first(image: Tensor) -> Tensor:
    """A view: (height, width) or (height, width, channels) -> (channels, height, width)."""
    return image[None] if image.ndim == 2 else image.movedim(-1, 0)


def random_patches(image: Tensor, patch: int, count: int, generator: torch.Generator) -> Tensor:
    """Patches at positions drawn uniformly, with replacement, from all: (…, height, width) -> (…, count, patch²).

    Images of one size that are stacked in front give patches at the same positions.
    """
    patches = all_patches(image, patch)
    tops, lefts = (torch.randint(size, (count,), generator=generator).to(image.device) for size in patches.shape[-4:-2])
    return patches[..., tops, lefts, :, :].flatten(-2)


def randomly_turned(patches: Tensor, generator: torch.Generator) -> Tensor:
    """Each patch in one of the eight symmetries of a square, drawn for it: (…, N, patch²) -> (…, N, patch²).

    Patches that are stacked in front are turned alike.
    """
    side = patch_side(patches.shape[-1])
    places = torch.arange(side**2).reshape(side, side)
    turned = [torch.rot90(square, quarter).flatten() for square in (places, places.T) for quarter in range(4)]
    drawn = torch.randint(8, patches.shape[-2:-1], generator=generator)
    order = torch.stack(turned)[drawn].to(patches.device)  # (N, patch²)
    return patches.gather(-1, order.expand(patches.shape))


def all_patches(image: Tensor, patch: int) -> Tensor:
    """Every patch, a view: (…, height, width) -> (…, height − patch + 1, width − patch + 1, patch, patch)."""
    return image.unfold(-2, patch, 1).unfold(-2, patch, 1)
