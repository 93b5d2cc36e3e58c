"""Sources of crops of pictures, for networks whose A is a convolution: a whole picture is one sample for them."""

import numpy as np
import torch
from torch import Tensor

from data.defects import hidden
from data.images import Image, load_training_images, reduced, with_random_contrast
from data.patches import random_patches, randomly_turned
from models.operators import Convolution
from models.samples import Samples
from utils.sources.patches import REDUCTIONS, Corrupting

GREY = 0.5  # what a zero state stands for: values less this are the data


def in_blocks(rows: Tensor, side: int) -> Tensor:
    """Square crops (N, pixels) as blocks, see Convolution.blocks."""
    length = round(rows.shape[-1] ** 0.5)
    return Convolution.blocks(rows.view(-1, length, length), side)


class HiddenPixels(Corrupting):
    """Crops of clean pictures, of which pixels are hidden in every shape of data.defects: a network learns to fill."""

    loss = "central_error"

    def __init__(self, crop: int, side: int, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(seed)
        shipped = load_training_images("shipped_and_drawn", crop)
        sizes = [reduced(image, factor) for image in shipped for factor in REDUCTIONS]
        self.images = [image for image in sizes if min(image.shape) >= crop]
        self.crop, self.side, self.device = crop, side, device

    def planes(self, clean: Image, draw: np.random.Generator) -> list[Image]:
        """What the network sees of a picture, which pixels it may believe, the clean picture, and which count."""
        known = np.float32(~hidden(clean, draw))
        return [clean, known, clean, 1 - known]

    def draw(self, count: int) -> Samples:
        """See Source."""
        parts = []
        for number, image in enumerate(self.images):
            clean = with_random_contrast(image, self.generator)
            self.noise_seed += 1
            planes = torch.from_numpy(np.stack(self.planes(clean, np.random.default_rng(self.noise_seed))))
            parts.append(random_patches(planes, self.crop, (count + number) // len(self.images), self.generator))
        mixed = torch.cat(parts, dim=1)[:, torch.randperm(count, generator=self.generator)]
        planes = randomly_turned(mixed, self.generator).to(self.device)
        X, known, clean, counted = (in_blocks(plane, self.side) for plane in planes)
        return Samples((X - GREY) * known, known, targets=(clean - GREY, counted))

    def inputs(self) -> dict[str, Tensor]:
        """What was read from files, by name: see utils.running.provenance."""
        return {"training_images": torch.cat([torch.from_numpy(image).flatten() for image in self.images])}


PICTURES = {"hidden": HiddenPixels}
