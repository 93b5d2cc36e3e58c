"""Sources of crops of pictures, for networks whose A is a convolution: a whole picture is one sample for them."""

import numpy as np
import torch
from torch import Tensor

from data.defects import damaged, hidden, spoilt
from data.evidence import Evidence
from data.images import Image, load_training_images, reduced, with_random_contrast
from data.patches import random_patches, randomly_turned
from data.variety import as_jpeg, clean_picture
from models.operators import Convolution
from models.samples import Samples
from utils.sources.patches import REDUCTIONS, Corrupting

GREY = 0.5  # what a zero state stands for: values less this are the data
LEAST_NOISE = 0.002  # is added, so that it has a logarithm
DAMAGED = (0.015, 0.045)  # of the range: what a defect changes by less is sound, by more it is damaged


def in_blocks(rows: Tensor, side: int) -> Tensor:
    """Square crops (N, pixels) as blocks, see Convolution.blocks."""
    length = round(rows.shape[-1] ** 0.5)
    return Convolution.blocks(rows.view(-1, length, length), side)


class HiddenPixels(Corrupting):
    """Crops of clean pictures, of which pixels are hidden in every shape of data.defects: a network learns to fill."""

    loss = "central_error"
    STEP = 1  # pixels from a place of a crop to the next

    def __init__(self, crop: int, side: int, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(seed)
        shipped = load_training_images("shipped_and_drawn", crop)
        sizes = [reduced(image, factor) for image in shipped for factor in REDUCTIONS]
        self.images = [image for image in sizes if min(image.shape) >= crop]
        self.crop, self.side, self.device = crop, side, device

    def with_contrast(self, image: Image) -> Image:
        """The clean picture, with any contrast."""
        return with_random_contrast(image, self.generator)

    def planes(self, clean: Image, draw: np.random.Generator) -> list[Image]:
        """What the network sees of a picture, which pixels it may believe, the clean picture, and which count."""
        known = np.float32(~hidden(clean, draw))
        return [clean, known, clean, 1 - known]

    def draw(self, count: int) -> Samples:
        """See Source."""
        parts = []
        for number, image in enumerate(self.images):
            clean = self.with_contrast(image)
            self.noise_seed += 1
            planes = torch.from_numpy(np.stack(self.planes(clean, np.random.default_rng(self.noise_seed))))
            share = (count + number) // len(self.images)
            parts.append(random_patches(planes, self.crop, share, self.generator, self.STEP))
        mixed = torch.cat(parts, dim=1)[:, torch.randperm(count, generator=self.generator)]
        planes = randomly_turned(mixed, self.generator).to(self.device)
        X, known, clean, counted = (in_blocks(plane, self.side) for plane in planes)
        return Samples((X - GREY) * known, known, targets=(clean - GREY, counted))

    def inputs(self) -> dict[str, Tensor]:
        """What was read from files, by name: see utils.running.provenance."""
        return {"training_images": torch.cat([torch.from_numpy(image).flatten() for image in self.images])}


class NoisyPixels(HiddenPixels):
    """Crops of pictures of which no pixel is sound: noise or a JPEG, with defects, which are marked, below it.

    Some defects are not marked, and some sound pixels are, as a detector errs. Crops lie on the squares of a JPEG.
    """

    STEP = 8

    def planes(self, clean: Image, draw: np.random.Generator) -> list[Image]:
        """See HiddenPixels."""
        noise = draw.normal(0, draw.uniform(0.01, 0.08), clean.shape) * draw.integers(2)
        base = np.rint(255 * np.clip(clean + noise, 0, 1)).astype(np.uint8)
        pictures = [base, np.rint(spoilt(base, draw)).astype(np.uint8) if draw.random() < 0.85 else base]
        if not noise.any() or draw.random() < 0.2:
            quality = int(draw.integers(40, 97))
            pictures = [as_jpeg(picture, quality) for picture in pictures]
        sound, seen = (np.float32(picture) / 255 for picture in pictures)
        marked = (np.abs(seen - sound) > DAMAGED[1]) & (draw.random(seen.shape) > draw.choice([0, 0.1]))
        marked |= draw.random(seen.shape) < draw.choice([0, 0.01])
        return [seen, np.float32(~marked), clean, np.ones_like(clean)]


class OnePicture(HiddenPixels):
    """Crops of one damaged picture, of which more is hidden, in the way in which what is marked lies.

    A network learns to fill what was hidden. If every pixel has Gaussian noise, it is drawn once more, n with its
    deviation, and enters what the network sees and the target with opposite signs, y + n and y − n: their noises are
    independent then (Recorrupted-to-Recorrupted, Pang et al. 2021, section 3), and the network learns to restore all.
    """

    def __init__(
        self, image: Image, sound: np.ndarray, deviation: float, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        Corrupting.__init__(self, seed)
        self.crop, self.side, self.device, self.deviation = 64, 4, device, deviation
        layers = (np.moveaxis(np.atleast_3d(array), 2, 0) for array in (image, sound))
        self.images = [np.stack(pair).astype(np.float32) for pair in zip(*layers, strict=True)]

    def with_contrast(self, image: Image) -> Image:
        """The picture as it is."""
        return image

    def planes(self, clean: Image, draw: np.random.Generator) -> list[Image]:
        """See HiddenPixels."""
        y, sound = clean
        moved = np.roll(sound, tuple(draw.integers(length) for length in y.shape), (0, 1)) == 0
        h = moved & (sound == 1)
        n = draw.normal(0, self.deviation, y.shape).astype(np.float32) if self.deviation else np.float32(0)
        return [y + n, sound * ~h, y - n, sound if self.deviation else np.float32(h)]


class SpoiltPictures(Corrupting):
    """Crops of pictures of any kind with any damage or none, as a detector sees them, see data.evidence.

    The targets are the figures of the whole picture, by how much a defect changed every sample, (N, 3, height, width),
    and by how much all else changed the picture, (N,), in the mean over the samples without defects.
    """

    CROP = 128  # pixels: what is said of the whole picture is said of all of it

    def draw(self, count: int) -> Samples:
        """See Source."""
        drawn = []
        for _ in range(count):
            self.noise_seed += 1
            draw = np.random.default_rng(self.noise_seed)
            clean = clean_picture(draw)
            picture = damaged(clean.pixels, clean.without_grain, draw)
            evidence = Evidence.of(picture.pixels)
            error = np.moveaxis(np.broadcast_to(np.atleast_3d(picture.error), (*picture.error.shape[:2], 3)), 2, 0)
            noise = np.float32(picture.noise[picture.error < DAMAGED[0]].mean() + LEAST_NOISE)
            top, left = draw.integers(np.array(picture.pixels.shape[:2]) - self.CROP + 1)
            crop = np.s_[top : top + self.CROP, left : left + self.CROP]
            drawn.append((evidence.planes(picture.pixels[crop]), evidence.figures, error[:, *crop], noise))
        X, *targets = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*drawn, strict=True))
        return Samples(X, targets=tuple(targets))


PICTURES = {"hidden": HiddenPixels, "noisy": NoisyPixels}
