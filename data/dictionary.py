"""The matrices A and B. `python -m data.dictionary` learns a dictionary A from natural images.

`python -m data.dictionary --output data/dictionary.npz` makes the shipped one again, in some 20 minutes. The shape of A
says what the side of a patch is.
"""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.errors import InvalidInput
from data.images import DICTIONARY_IMAGES, load_training_images
from data.patches import random_patches

DICTIONARY_FILE = Path(__file__).with_name("dictionary.npz")
# Dictionaries that have a name: what each makes of the one in `DICTIONARY_FILE`.
DICTIONARIES: dict[str, Callable[[Tensor], Tensor]] = {
    "shipped": lambda A: A,
    "unit_atoms": lambda A: A / torch.linalg.vector_norm(A, dim=0),  # every atom of length 1, also the constant one
}
PENALTY, PASSES, SEED = 0.05, 5, 0  # of the learning: weight of the ℓ1 norm, passes over the patches, random numbers


def load_dictionary(name: str = "shipped") -> Tensor:
    """A, float32, shape (m, n): one atom a column, m = patch². A name in `DICTIONARIES`, or an array "A" in a file."""
    allowed = f'{", ".join(DICTIONARIES)}, or an .npz file with an array "A" of shape (patch * patch, atoms)'
    A = _load_matrix("dictionary", name, DICTIONARY_FILE if name in DICTIONARIES else name, "A", allowed)
    if math.isqrt(A.shape[0]) ** 2 != A.shape[0]:
        raise InvalidInput(f"dictionary {name!r} has shape {tuple(A.shape)}; allowed: {allowed}")
    return DICTIONARIES[name](A) if name in DICTIONARIES else A


def load_constraint(name: str = "identity") -> Tensor | None:
    """B of A Z + B E = X, float32, shape (m, q): likewise an array "B" in a file; None for the identity."""
    allowed = 'identity, or an .npz file with an array "B" of shape (patch * patch, q)'
    return None if name == "identity" else _load_matrix("constraint", name, name, "B", allowed)


def _load_matrix(role: str, name: str, path: str | Path, array: str, allowed: str) -> Tensor:
    """The array in an .npz file; `role`, `name` and `allowed` are for the message if there is none."""
    allowed = f"allowed: {allowed} of real numbers, all finite, no column zero"
    try:
        with np.load(path, allow_pickle=False) as file:
            matrix = file[array]
    except Exception as error:  # of what holds no numbers NumPy says how it is loaded all the same, which may run code
        reason = error if isinstance(error, (OSError, KeyError)) else "it is no .npz file of numbers"
        raise InvalidInput(f"{role} {name!r} cannot be read ({reason}); {allowed}") from None
    if matrix.dtype.kind not in "fiu" or matrix.ndim != 2:
        raise InvalidInput(f"{role} {name!r} has type {matrix.dtype} and shape {matrix.shape}; {allowed}")
    matrix = matrix.astype(np.float32)
    if not matrix.size or not np.isfinite(matrix).all() or not matrix.any(axis=0).all():
        raise InvalidInput(f"{role} {name!r} has shape {matrix.shape}, or values that cannot be used; {allowed}")
    return torch.from_numpy(matrix)


def learn_dictionary(images: Sequence[np.ndarray], patch: int, atoms: int, patches: int) -> np.ndarray:
    """Learns A from patches of natural images, as many of each image: (patch², atoms), float32.

    The columns but the first are unit vectors, which scikit-learn's MiniBatchDictionaryLearning finds for the patches
    less their means. The first column is constant, and as long as the spectral norm of the others: a patch's mean is by
    far its largest coefficient. With a constant column of length 1, LADMM, whose step ‖A‖₂ sets, would find the mean
    last, and the ℓ1 norm would draw it towards zero.
    """
    from sklearn.decomposition import MiniBatchDictionaryLearning  # slow to import, and needed nowhere else

    generator = torch.Generator().manual_seed(SEED)
    cut = [random_patches(torch.from_numpy(image), patch, patches // len(images), generator) for image in images]
    samples = torch.cat(cut).double().numpy()
    samples = np.random.default_rng(SEED).permutation(samples - samples.mean(axis=1, keepdims=True))
    learner = MiniBatchDictionaryLearning(
        atoms - 1, alpha=PENALTY, max_iter=PASSES, batch_size=256, fit_algorithm="cd", tol=0, max_no_improvement=None,
        random_state=SEED, verbose=True,
    )  # fmt: skip
    learned = learner.fit(samples).components_.T
    learned = learned / np.linalg.norm(learned, axis=0)
    constant = np.full((patch**2, 1), np.linalg.norm(learned, 2) / patch)
    return np.concatenate([constant, learned], axis=1).astype(np.float32)


def main(argv: Sequence[str] | None = None) -> None:
    """Learns a dictionary and writes it, with a line inside that says where it is from. Bad input is said in one."""
    import sklearn

    how = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description="Learns a dictionary from patches of images.", formatter_class=how)
    parser.error = lambda message: parser.exit(2, f"error: {message}\n")
    parser.add_argument("--training-images", default="shipped", help="shipped, or a folder of images")
    parser.add_argument("--patch-side", type=int, default=16, help="pixels, 2 or more")
    parser.add_argument("--atoms", type=int, default=512, help="columns of the dictionary, 2 or more")
    parser.add_argument("--patches", type=int, default=120_000, help="to learn from, one of each image or more")
    parser.add_argument("--output", default="dictionary.npz", help="the file to write")
    options = parser.parse_args(argv)
    if min(options.patch_side, options.atoms) < 2:
        parser.error(f"--patch-side is {options.patch_side}, --atoms is {options.atoms}; allowed: 2 or more of each")
    output = Path(options.output)
    if output.suffix != ".npz" or output.is_dir() or not os.access(output.parent, os.W_OK):
        parser.error(f"--output is {options.output!r}; allowed: a name in .npz, in a folder that may be written to")
    try:
        images = load_training_images(options.training_images, options.patch_side, DICTIONARY_IMAGES)
    except InvalidInput as error:
        parser.error(str(error))
    if options.patches < len(images):
        parser.error(f"--patches is {options.patches}; allowed: {len(images)} or more, one of each image")
    A = learn_dictionary(images, options.patch_side, options.atoms, options.patches)
    shipped = options.training_images == "shipped"
    learned_from = f"{', '.join(DICTIONARY_IMAGES)} of scikit-image's package" if shipped else f"{len(images)} images"
    origin = f"learned by data/dictionary.py with scikit-learn {sklearn.__version__} from {learned_from}"
    unfinished = output.with_suffix(".unfinished.npz")  # renamed at the end: a killed command leaves no half file
    np.savez(unfinished, A=A, origin=origin)
    os.replace(unfinished, output)
    print(f"{output}: {A.shape}, spectral norm {np.linalg.norm(A, 2):.2f}, {origin}")


if __name__ == "__main__":
    main()
