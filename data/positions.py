"""Corrupted positions, where they are known: functions noisy image -> weights, 0 where corrupted and 1 elsewhere."""

from collections.abc import Callable

import numpy as np

from data.images import load_image

Weigh = Callable[[np.ndarray], np.ndarray]  # image, values in [0, 1] -> weights of its shape, float32, 0 or 1


def extremes(noisy: np.ndarray) -> np.ndarray:
    """Black and white are taken for corrupted, which reads salt and pepper off the values."""
    return np.float32((noisy > 0) & (noisy < 1))


POSITIONS: dict[str, Weigh | None] = {"unknown": None, "extremes": extremes}


def known_positions(name: str, shape: tuple[int, ...]) -> Weigh | None:
    """What tells the corrupted positions of an image of that shape; None if nothing does.

    Args:
        name: a name in `POSITIONS`, or the path of a grey image of the same size that is not black where the image is
            corrupted.

    Raises:
        ValueError: there is no such name or file, or the file is not grey or has another size.
    """
    if name in POSITIONS:
        return POSITIONS[name]
    try:
        mask = load_image(name)
    except ValueError as error:
        raise ValueError(f"positions are {name!r}; allowed: {', '.join(POSITIONS)}, or a mask ({error})") from None
    if mask.shape != shape[:2]:
        allowed = f"allowed for this image: a grey one of {shape[1]} x {shape[0]} pixels"
        raise ValueError(f"mask {name!r} has {' x '.join(map(str, mask.shape[1::-1] + mask.shape[2:]))}; {allowed}")
    weights = np.float32(mask == 0)
    return lambda noisy: weights if noisy.ndim == 2 else np.repeat(weights[..., None], noisy.shape[2], axis=2)
