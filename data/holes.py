"""Holes: pixels that are not known, filled from those around by inpainting."""

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.restoration import inpaint_biharmonic

from data.errors import InvalidInput


def inpainted(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """scikit-image's biharmonic inpainting (Damelin & Hoang 2018) of what is not known.

    Args:
        image: values in [0, 1], (height, width) or (height, width, channels).
        known: of its shape, or (height, width) for all channels alike; 0 where a pixel is not known.

    Returns:
        float32, of the image's shape, values in [0, 1].

    Raises:
        InvalidInput: no pixel is known.
    """
    if not known.any():
        raise InvalidInput("the mask marks every pixel as corrupted; allowed: one that leaves some")
    if image.ndim == 3:
        masks = np.broadcast_to(known if known.ndim == 3 else known[..., None], image.shape)
        channels = (np.moveaxis(array, 2, 0) for array in (image, masks))
        return np.stack([inpainted(*channel) for channel in zip(*channels, strict=True)], axis=2)
    filled = inpaint_biharmonic(image, known == 0, split_into_regions=True)
    return filled.clip(0, 1).astype(np.float32)


def extended(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """What is not seen becomes the nearest pixel that is, so that nothing there counts as a photograph.

    Args:
        image: (height, width) or (height, width, channels).
        seen: (height, width), bool.
    """
    if not seen.any():
        return image
    rows, columns = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return image[rows, columns]
