"""Trains every network in the checkpoint folder, apart from those that `python main_lena.py` trains itself.

`python -m utils.studies.networks` writes results/networks.csv after each: what trains it, and how long it took. A
network whose file has these settings already is left alone. A training that was stopped goes on after its last epoch.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

import main_lena
from data.evidence import FIGURES, PLANES
from models import DLADMM
from models.detector import Detector
from models.losses import LOSSES
from models.operators import Convolution
from models.samples import Samples
from models.training import LayerLosses, Training
from utils.evaluation.metrics import Stopwatch
from utils.reporting import pages
from utils.reporting.tables import filled, markdown, read_table
from utils.running.checkpoints import SUFFIX, load_description, save_detector, save_network
from utils.running.devices import PAYS_FROM, pick_compiled, pick_device, pick_precision
from utils.running.errors import script
from utils.running.files import all_or_nothing, check_folder, locked
from utils.running.provenance import Provenance, as_json, provenance
from utils.running.resume import Progress, epoch_bar
from utils.running.settings import Checked, one_of, parse_settings, setting
from utils.sources.pictures import DAMAGED, PICTURES, SpoiltPictures
from utils.studies.rivals import CHECKPOINTS, Recipe, modules
from utils.studies.study import Measured, write

NAME = "networks"


def train(settings: main_lena.Settings, folder: Path) -> float:
    """Trains the network of the only training and depth, and writes it to the folder: see Recipe."""
    experiment = main_lena.Experiment(settings, saved_in=str(folder))
    learned = main_lena.learn(experiment, settings.training[0], settings.depths[0])
    made_by = experiment.progress.made_by
    with all_or_nothing(folder) as (scratch,):
        path = scratch / f"{learned.name}{SUFFIX}"
        save_network(learned.network, path, made_by["settings"] | {"training": settings.training[0]}, as_json(made_by))
    experiment.progress.remove()
    return learned.restoration.row["seconds"]


def dladmm(purpose: str, rates: Sequence[float], epochs: int, **settings: Any) -> Recipe:
    """How a supervised network of 15 layers is trained, with these settings of main_lena.py."""
    settings = {"loss": "central_error", "training_rates": rates, "epochs": epochs} | settings
    settings |= {"training": "supervised", "depths": 15, "patches_per_epoch": 40_000}
    return Recipe(purpose, main_lena.Settings(**settings), train, "dladmm_d15")


@dataclass(frozen=True)
class OfPictures:
    """How a network whose A is a convolution is trained: settings for crops of pictures."""

    source: str  # a name in utils.sources.pictures.PICTURES
    epochs: int
    crop: int = 64  # pixels of a side
    side: int = 4  # of a block
    neighbours: int = 3  # blocks of a side of an atom
    maps: int = 128
    depth: int = 10
    alpha: float = 0.1
    crops_per_epoch: int = 3_200
    batch_size: int = 16
    learning_rate: float = 0.08
    seed: int = 1126
    device: str = "auto"


def train_of_pictures(settings: OfPictures, folder: Path) -> float:
    """Trains a network with one A, a convolution that is learned too, and writes it to the folder: see Recipe."""
    watch, device = Stopwatch(), pick_device(settings.device)
    source = PICTURES[settings.source](settings.crop, settings.side, settings.seed, device)
    compiled, precision = pick_compiled("auto", PAYS_FROM, device), pick_precision("auto", device)
    made_by = provenance("utils.studies.networks", asdict(settings), source.inputs(), device, compiled, precision)
    network = untrained(settings).to(device)
    loss = LOSSES[source.loss]
    network.begin(source.draw(4 * settings.batch_size), loss)
    schedule = settings.epochs, settings.crops_per_epoch, settings.batch_size, settings.learning_rate
    training = Training(network, source, LayerLosses(network, loss, compiled), *schedule, precision=precision)
    return finish(training, save_network, made_by, folder / f"dladmm_d{settings.depth}{SUFFIX}", watch)


def finish(training: Training, save: Callable[..., None], made_by: Provenance, path: Path, watch: Stopwatch) -> float:
    """Trains after the last epoch that was saved, and writes the network to its file; the seconds of all runs."""
    progress = Progress(str(path.parent), made_by)
    _, seconds_before = progress.resume(path.stem, training)
    for epoch in (bar := epoch_bar(training, path.parent.name)):
        progress.save(path.stem, training, [], seconds_before + watch.seconds())
        bar.set_postfix(loss=epoch.loss)
    with all_or_nothing(path.parent) as (scratch,):
        save(training.network, scratch / path.name, made_by["settings"], as_json(made_by))
    progress.remove()
    return seconds_before + watch.seconds()


@dataclass(frozen=True)
class OfDetector:
    """How the detector is trained."""

    epochs: int
    pictures_per_epoch: int = 400
    batch_size: int = 8
    learning_rate: float = 2e-3
    seed: int = 1126
    device: str = "auto"


def detector_losses(detector: Detector, batch: Samples) -> Tensor:
    """The logistic loss of every sample that is sound or damaged beyond doubt, and that of the noise, one value.

    With a share p of damaged samples a picture counts (0.02 + p)^-1/2: sparse defects, and clean pictures, more.
    """
    figures, error, noise = batch.targets
    logits, log_noise = detector(batch.X, figures)
    hit = (error > DAMAGED[1]).float()
    sure = hit + (error < DAMAGED[0])
    each = (binary_cross_entropy_with_logits(logits.float(), hit, reduction="none") * sure).mean(dim=(1, 2, 3))
    counts = (0.02 + hit.mean(dim=(1, 2, 3))) ** -0.5
    return (each * counts + 0.02 * (log_noise.float() - noise.log()).square()).sum()[None]


def train_detector(settings: OfDetector, folder: Path) -> float:
    """Trains the detector of the command for photographs, and writes it to the folder: see Recipe."""
    watch, device = Stopwatch(), pick_device(settings.device)
    source, precision = SpoiltPictures(settings.seed), pick_precision("auto", device)
    made_by = provenance("utils.studies.networks", asdict(settings), {}, device, False, precision)
    torch.manual_seed(settings.seed)
    detector = Detector(PLANES, FIGURES).to(device)
    optimizer = torch.optim.Adam(detector.parameters(), settings.learning_rate, betas=(0.9, 0.99), fused=True)
    schedule = settings.epochs, settings.pictures_per_epoch, settings.batch_size
    losses = partial(detector_losses, detector)
    training = Training(detector, source, losses, *schedule, precision=precision, optimizer=optimizer)
    return finish(training, save_detector, made_by, folder / f"detector{SUFFIX}", watch)


def untrained(settings: OfPictures) -> DLADMM:
    """A network with random atoms of length 1."""
    generator, size = torch.Generator().manual_seed(settings.seed), settings.neighbours
    kernel = torch.randn(settings.side**2, settings.maps, size, size, generator=generator)
    kernel /= torch.linalg.vector_norm(kernel, dim=(0, 2, 3), keepdim=True)
    return DLADMM(Convolution(kernel), settings.depth, settings.alpha, restored="X-BE", learned_A=True)


ALL, SOME = (0.01, 0.5), (0.02, 0.3)
NETWORKS = {
    "supervised": dladmm("10 % salt and pepper", (), 90, loss="auto"),
    "noise_rates": dladmm("1 to 50 % salt and pepper", ALL, 45, loss="auto"),
    "positions": dladmm("the same at known positions", ALL, 45, positions="extremes"),
    "random_valued": dladmm(
        "20 % random-valued impulses", (), 60, corruption="random_valued", noise_rate=0.2, activation="adaptive",
    ),
    "missing_blocks": dladmm("2 to 30 % missing blocks", SOME, 20, corruption="missing_blocks", positions="black"),
    "gaussian_and_impulses": dladmm(
        "2 to 30 % salt and pepper, Gaussian noise", SOME, 20, corruption="gaussian_and_impulses",
    ),
    "specks": dladmm(
        "specks of any kind, also below JPEG", (0.003, 0.4), 60, corruption="specks", activation="adaptive",
        training_images="shipped_and_drawn",
    ),
    "fill": Recipe(
        "pixels, blocks and strokes at known positions", OfPictures("hidden", 110), train_of_pictures, "dladmm_d10",
    ),
    "denoise": Recipe(
        "the same where noise or a JPEG leaves nothing sound", OfPictures("noisy", 80), train_of_pictures, "dladmm_d10",
    ),
    "detect": Recipe("what is damaged in a picture", OfDetector(120), train_detector, "detector"),
} | {name: recipe for rival in modules() for name, recipe in getattr(rival, "NETWORKS", {}).items()}  # fmt: skip
UNUSED = "ladmm_", "safeguard_"  # beginnings of settings that no network depends on
ABOUT = """\
`python -m utils.studies.networks --names NAME` trains one; settings that are not named are the defaults. `python
main_lena.py` trains the others, on the noisy Lena. The training of a residual CNN depends on chance: where it was
repeated, the one that is better on the validation images is kept. Networks of rivals come last.

All learn from pairs of a noisy and a clean patch of photographs that packages ship, in several sizes, symmetries and
contrasts, corrupted afresh in every epoch. `central_error` is the norm of a patch's error in which the middle of a
patch counts more, as it does where patches overlap.
"""


@dataclass(frozen=True)
class Settings(Checked):
    """Which networks to train."""

    names: tuple[str, ...] = setting(tuple(NETWORKS), "networks to train", one_of(NETWORKS))


def in_words(settings: Any) -> str:
    """The settings that are not the defaults."""
    changed = {f.name: getattr(settings, f.name) for f in fields(settings) if getattr(settings, f.name) != f.default}
    values = {name: value if isinstance(value, tuple) else (value,) for name, value in changed.items()}
    return ", ".join(f"{name.replace('_', ' ')} {' '.join(map(str, value))}" for name, value in values.items())


def trained_by(name: str) -> Provenance | None:
    """What made a network; None unless it is there and has the settings of its recipe, but for those added since."""
    path = CHECKPOINTS / name / f"{NETWORKS[name].file}{SUFFIX}"
    made_by = json.loads(load_description(path).get("made_by") or "{}") if path.exists() else {}
    had, wanted = made_by.get("settings", {}), json.loads(json.dumps(asdict(NETWORKS[name].settings)))
    differs = [key for key, value in wanted.items() if had.get(key, value) != value and not key.startswith(UNUSED)]
    return made_by if had and not differs else None


def table(minutes: Mapping[str, float]) -> pd.DataFrame:
    """All networks that are trained, with these minutes; of others minutes and commit are those in the results folder,
    if its table has them for the same settings."""
    path, rows = pages.RESULTS / f"{NAME}.csv", []
    before = read_table(path).to_dict("records") if path.exists() else []
    for name, recipe in NETWORKS.items():
        if made_by := trained_by(name):
            row = {"name": name, "purpose": recipe.purpose, "settings": in_words(recipe.settings)}
            same = [was for was in before if (was["name"], was["settings"]) == (name, row["settings"])]
            found = {"minutes": minutes.get(name), "commit": made_by.get("commit", "")}
            rows.append(row | (found if name in minutes or not same else {of: same[0][of] for of in found}))
    return pd.DataFrame(rows, columns=["name", "purpose", "settings", "minutes", "commit"])


def retrain(names: Sequence[str]) -> None:
    """Trains the networks that are not trained yet, and writes the table of all after each, and at the end."""
    watch, minutes, made_by = Stopwatch(), {}, provenance("utils.studies.networks", {"names": list(names)})

    def write_table() -> None:
        write(NAME, Measured({NAME: table(minutes)}), pages.RESULTS, made_by, watch.seconds())
        pages.show(NAME)

    for name in names:
        if trained_by(name):
            print(f"{name} is trained with these settings already")
            continue
        with locked(CHECKPOINTS / name):
            minutes[name] = NETWORKS[name].train(NETWORKS[name].settings, CHECKPOINTS / name) / 60
        write_table()
    write_table()


def show(tables: Mapping[str, pd.DataFrame], made_by: Provenance) -> pages.Page:
    """See utils.reporting.pages."""
    shown = tables[NAME].rename(columns={"name": "network", "purpose": "for"})
    shown["commit"] = shown["commit"].fillna("").str[:8]
    return pages.Page(f"# Networks\n\n{markdown(filled(shown), {'minutes': '.1f'})}\n{ABOUT}")


def main(argv: Sequence[str] | None = None) -> None:
    """Trains the networks of the command line, by default all."""
    settings = parse_settings(Settings, __doc__, argv)
    with script():
        check_folder(pages.RESULTS)
        retrain(settings.names)


if __name__ == "__main__":
    main()
