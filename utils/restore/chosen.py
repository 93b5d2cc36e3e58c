"""What the user has chosen: a network, the positions of the damage, and learning on the picture itself."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.damage import DAMAGES, Damage
from data.masks import MASKS, FindMask, inpainted, mask_finder
from models import DLADMM
from utils.evaluation.detection import Detection
from utils.evaluation.observation import Observation
from utils.evaluation.restoration import grid_for
from utils.restore.choice import compared
from utils.restore.damage import AUTO, DAMAGE, Restored, levels_of
from utils.restore.learning import Learning, untrained_network
from utils.restore.networks import Networks, restored_by, shipped
from utils.restore.preparation import DETECTED, UNTRAINED, Settings, Task
from utils.running.checkpoints import load_network, load_settings
from utils.running.errors import UserError


def as_chosen(settings: Settings, task: Task, networks: Networks) -> tuple[Restored, DLADMM | None]:
    """The picture, restored as the options say, and the network that has learned on it.

    The network is None if nothing is learned, or if what was learned is not used.

    Raises:
        UserError, InvalidInput, InvalidArgument: something cannot be used.
    """
    learns, (checkpoint, positions) = settings.learn in DAMAGES, network_and_positions(settings)
    if checkpoint == UNTRAINED and not learns:
        raise UserError("checkpoint is untrained, and nothing is learned; allowed: with --learn")
    network = untrained_network() if checkpoint == UNTRAINED else load_trained(checkpoint, positions)
    network.to(networks.device)
    image, find_mask, finish = task.image, None, None
    if positions == DETECTED:
        image = levels_of(task.image, DAMAGE["specks"]).canonical(task.image)
        detection = networks.detection(image)
        find_mask, finish = detection.find_mask, partial(at_own_levels, task.image, image, detection, settings.replace)
    elif positions != "unknown":
        find_mask = mask_finder(positions, image.shape)
        if positions not in MASKS:  # a file: no network sees across a hole that is wider than its patches
            image = inpainted(image, find_mask(image) == 1)
    grid = grid_for(network, image.shape, settings.stride)
    seen = Observation(image, grid, networks.device, find_mask, settings.replace)
    network.problem.known(seen.mask)  # refuses a mask where it has no meaning
    found, figures, learned = f"restored by the network {checkpoint}", {}, None
    if learns:
        finders = {DETECTED: lambda piece: networks.detection(piece).mask} | MASKS
        trained = checkpoint != UNTRAINED
        # With a mask in a file nothing can be compared: it does not say where specks are that are put elsewhere.
        compare = partial(_restored, finders[positions], settings.stride) if trained and positions in finders else None
        learned, found, figures = learn(settings, seen, network, trained, compare)
    mask = None if seen.mask is None else seen.mask.cpu().numpy()
    stride = settings.stride or min(networks.usual_stride(image), (grid.patch + 1) // 2)  # patches may be small
    used = network if learned is None else learned
    restored = restored_by(used, image, mask, stride, settings.replace, "restoring")
    return Restored(restored if finish is None else finish(restored), found, figures), learned


def at_own_levels(
    picture: np.ndarray, canonical: np.ndarray, detection: Detection, replace: str, restored: np.ndarray
) -> np.ndarray:
    """What was restored with black and white specks, for a picture whose specks have other levels, such as 16 and 235.

    Args:
        picture: values in [0, 1], (height, width) or (height, width, channels).
        canonical: the same with black and white specks, see Levels.canonical.
        detection: of the damaged pixels among the black and white ones.
        replace: which pixels were to be replaced, one of `REPLACE` in utils.evaluation.observation.
        restored: the canonical picture as a network for known positions restores it.

    Returns:
        float32 array of the same shape, in the picture's range. What is not damaged is as in the picture, if only
        damaged pixels were to be replaced, or if it was black or white or changed in the canonical picture.
    """
    kept = detection.mask == 1
    if replace == "all":
        kept &= (canonical != picture) | (canonical == 0) | (canonical == 1)
    return np.where(kept, picture, detection.mixed(restored).clip(picture.min(), picture.max()))


def network_and_positions(settings: Settings) -> tuple[str, str]:
    """Those of the options, or what suits the rest of them."""
    if settings.checkpoint != AUTO:
        return settings.checkpoint, settings.positions
    if settings.positions != "unknown":
        return "positions", settings.positions
    damage = DAMAGES.get(settings.learn, Damage)
    return damage.network, damage.positions


def learn(
    settings: Settings, seen: Observation, network: DLADMM, trained: bool, restore: Callable[..., np.ndarray] | None
) -> tuple[DLADMM | None, str, dict[str, float]]:
    """The network after it has learned on the picture; None if the picture itself says that it was better before.

    Args:
        settings: of the command.
        seen: the picture.
        network: the network before.
        trained: whether it is trained already.
        restore: a network and a piece of the picture -> the restored piece; None if the two cannot be compared.
    """
    learning = Learning(network, seen, settings.learn, settings.seed, settings.epochs, trained)
    print(f"estimated noise rate: {learning.samples.noise_rate:.1%}", file=sys.stderr)
    with tqdm(learning, "learning", learning.training.epochs, unit="epoch") as bar:
        for epoch in bar:
            bar.set_postfix(loss=f"{epoch.loss:.3f}")
    learned, rate = learning.network, f"the noise rate is {learning.samples.noise_rate:.1%}"
    if restore is None:
        return learned, f"{rate}: learned on the picture", {}
    candidates = {"before": partial(restore, network), "after": partial(restore, learned)}
    # Outside the specks a noisy picture tells nothing of who removes its grain.
    products = compared(seen.noisy, candidates, lambda again: again, hidden_alone=DAMAGES[settings.learn].gaussian)
    figures = dict(zip(candidates, np.sqrt(np.diag(products)).tolist(), strict=True))
    if figures["after"] <= figures["before"]:
        return learned, f"{rate}: learned on the picture", figures
    unused = "neither used nor saved" if settings.save else "not used"
    return None, f"{rate}: learning on the picture did not help, and is {unused}", figures


def _restored(find_mask: FindMask | None, stride: int, network: DLADMM, image: np.ndarray) -> np.ndarray:
    return restored_by(network, image, None if find_mask is None else find_mask(image), stride)


def checkpoint_file(checkpoint: str) -> Path:
    """The file of a name in the folder of checkpoints, or the file of that name."""
    return shipped(checkpoint) if shipped(checkpoint).exists() else Path(checkpoint)


def settings_of_training(settings: Settings) -> dict[str, Any]:
    """Those of the network that was chosen, which it keeps when it has learned on a picture; none if untrained."""
    checkpoint, _ = network_and_positions(settings)
    return {} if checkpoint == UNTRAINED else load_settings(checkpoint_file(checkpoint))


def load_trained(checkpoint: str, positions: str) -> DLADMM:
    """The network of a checkpoint, which must have learned with known positions if they are known here, else without.

    Args:
        checkpoint: a name in the folder of checkpoints, or a file. If its training had no setting for the positions,
            any are allowed.
        positions: the setting here.

    Raises:
        UserError: the network cannot be read, or has learned otherwise.
    """
    path = checkpoint_file(checkpoint)
    trained = load_settings(path).get("positions", positions)
    if (trained == "unknown") != (positions == "unknown"):
        allowed = "unknown positions" if trained == "unknown" else "known positions"
        fitting = "noise_rates or specks" if positions == "unknown" else "positions or missing_blocks"
        raise UserError(
            f"positions are {positions!r}, but in training they were {trained!r}; allowed: {allowed}, or --checkpoint "
            f"{fitting}"
        )
    return load_network(path)
