"""The matrices A and B; A is learned from natural images: dictionary.npz, which `python -m data.dictionary` remakes."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.images import TRAINING_IMAGES, load_image
from data.patches import random_patches

DICTIONARY_FILE = Path(__file__).with_name("dictionary.npz")


def load_dictionary(name: str = "shipped") -> Tensor:
    """A, float32, shape (m, n): one atom a column, m = patch².

    Args:
        name: "shipped", or the path of a file like dictionary.npz.

    Raises:
        ValueError: the file is missing, or holds no two-dimensional array "A" of finite numbers with a square number of
            rows and no column of zeros.
    """
    allowed = 'allowed: an .npz file with an array "A" of shape (patch * patch, atoms)'
    A = _load_matrix("dictionary", name, DICTIONARY_FILE if name == "shipped" else name, "A", allowed)
    if int(A.shape[0] ** 0.5) ** 2 != A.shape[0]:
        raise ValueError(f"dictionary {name!r} has shape {A.shape}; {allowed}")
    return torch.from_numpy(A)


def load_constraint(name: str = "identity") -> Tensor | None:
    """B of A Z + B E = X, float32, shape (m, q); None for the identity.

    Args:
        name: "identity", or the path of an .npz file with an array "B".

    Raises:
        ValueError: the file is missing, or holds no two-dimensional array "B" of finite numbers, no column zero.
    """
    allowed = 'allowed: identity, or an .npz file with an array "B" of shape (patch * patch, q)'
    return None if name == "identity" else torch.from_numpy(_load_matrix("constraint", name, name, "B", allowed))


def _load_matrix(what: str, name: str, path: str | Path, array: str, allowed: str) -> np.ndarray:
    """The array of that name in an .npz file; `what`, `name` and `allowed` are for the message if there is none."""
    allowed += " of real numbers, all finite, no column zero"
    try:
        with np.load(path, allow_pickle=False) as file:
            matrix = file[array]
    except (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{what} {name!r} cannot be read ({error}); {allowed}") from None
    if matrix.dtype.kind not in "fiu" or matrix.ndim != 2:
        raise ValueError(f"{what} {name!r} has type {matrix.dtype} and shape {matrix.shape}; {allowed}")
    matrix = matrix.astype(np.float32)
    if not matrix.size or not np.isfinite(matrix).all() or not matrix.any(axis=0).all():
        raise ValueError(f"{what} {name!r} has shape {matrix.shape}, or values that cannot be used; {allowed}")
    return matrix


def learn_dictionary(
    images: tuple[str, ...] = TRAINING_IMAGES,
    patch: int = 16,
    atoms: int = 512,
    patches: int = 120_000,
    penalty: float = 0.05,
    passes: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Learns A from patches of natural images, as many of each image: (patch², atoms), float32.

    The columns but the first are unit vectors, which scikit-learn's MiniBatchDictionaryLearning finds for the patches
    less their means. The first is constant, and as long as the spectral norm of the others. A patch's mean is by far
    its largest coefficient, and ‖A‖₂ sets the step of LADMM: with a constant column of length 1 the mean would be found
    last, and be drawn towards zero by the ℓ1 norm.

    Args:
        penalty: weight of the ℓ1 norm while learning.
        passes: over the training patches.
    """
    from sklearn.decomposition import MiniBatchDictionaryLearning  # slow to import, and needed nowhere else

    generator = torch.Generator().manual_seed(seed)
    cut = [
        random_patches(torch.from_numpy(load_image(name)), patch, patches // len(images), generator) for name in images
    ]
    samples = torch.cat(cut).double().numpy()
    samples = np.random.default_rng(seed).permutation(samples - samples.mean(axis=1, keepdims=True))
    learner = MiniBatchDictionaryLearning(
        atoms - 1, alpha=penalty, max_iter=passes, batch_size=256, fit_algorithm="cd", tol=0, max_no_improvement=None,
        random_state=seed, verbose=True,
    )  # fmt: skip
    learned = learner.fit(samples).components_.T
    learned = learned / np.linalg.norm(learned, axis=0)
    constant = np.full((patch**2, 1), np.linalg.norm(learned, 2) / patch)
    return np.concatenate([constant, learned], axis=1).astype(np.float32)


def main() -> None:
    """Remakes dictionary.npz, with a line on where it came from inside."""
    import sklearn

    A = learn_dictionary()
    origin = (
        f"learned by data/dictionary.py with scikit-learn {sklearn.__version__} from {', '.join(TRAINING_IMAGES)} "
        "of scikit-image's package"
    )
    np.savez(DICTIONARY_FILE, A=A, origin=origin)
    print(f"{DICTIONARY_FILE}: {A.shape}, spectral norm {np.linalg.norm(A, 2):.2f}, {origin}")


if __name__ == "__main__":
    main()
