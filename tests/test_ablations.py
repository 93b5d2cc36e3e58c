"""Claims about the ablations: their networks are those of main_lena.py, and every combination is there once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import main_lena
from models.activations import ACTIVATIONS
from models.initialization import INITIALIZATIONS
from tests.helpers import rows
from utils import ablations
from utils.ablations import Choices, all_choices, dictionary, trained
from utils.evaluation.records import AblationRecord, AtomsRecord
from utils.reporting.ablations import ablations_markdown


@pytest.fixture
def short(monkeypatch):
    """Trainings of a moment."""
    for name, value in {"EPOCHS": 2, "PATCHES_PER_EPOCH": 300, "BATCH_SIZE": 64}.items():
        monkeypatch.setattr(ablations, name, value)


@pytest.mark.parametrize("training", ablations.SHOWN)
def test_the_default_choices_train_the_network_of_main_lena(short, tmp_path, training):
    loss = {"unsupervised": "objective", "self_supervised": "error_where_trusted"}[training]
    record = trained(Choices(training, loss, "pseudo_inverse", "piecewise_linear", depth=2), seed=3)
    words = f"--training {training} --depths 2 --epochs 2 --patches-per-epoch 300 --batch-size 64 --seed 3"
    folders = f"--results-dir {tmp_path}/results --checkpoint-dir {tmp_path}/checkpoints"
    main_lena.main([*words.split(), *folders.split(), "--ladmm-max-iterations", "20", "--safeguard-layers", "1"])
    *_, row = rows(tmp_path / "results" / "results.csv")
    assert float(row["psnr"]) == pytest.approx(record.psnr, abs=1e-3)
    assert float(row["objective"]) == pytest.approx(record.objective, rel=1e-5)


def test_every_combination_is_there_once_and_every_loss_fits_its_training():
    found = list(all_choices())
    assert len(found) == len(set(found))
    grid = [choices for choices in found if choices.atoms == "shipped"]
    losses = {choices.loss for choices in grid if choices.training == "unsupervised"}
    assert losses >= {"objective", "gap", "relaxed"}
    for choices in grid:
        for other in (*ACTIVATIONS, *INITIALIZATIONS):
            kind = "activation" if other in ACTIVATIONS else "initialization"
            assert replace(choices, **{kind: other}) in grid
    published = [choices for choices in found if choices.atoms == "length 1"]
    assert [choices.depth for choices in published] == [5, 10, 15]
    assert {choices.loss for choices in published} == {"relaxed"}


def test_atoms_of_length_1_have_length_1_and_only_the_constant_one_differs():
    shipped, unit = dictionary("shipped"), dictionary("length 1")
    torch.testing.assert_close(torch.linalg.vector_norm(unit, dim=0), torch.ones(512))
    differs = (shipped - unit).abs().amax(dim=0) > 1e-3
    assert differs.sum() == 1 and unit[:, differs].std() < 1e-6


def test_the_tables_have_means_and_deviations_over_the_seeds():
    def network(atoms, depth, seed, psnr):
        return AblationRecord("unsupervised", "gap", "ladmm", "adaptive", atoms, depth, seed, psnr, 17.0 + seed, 0.5)

    records = [network("shipped", 5, seed, psnr) for seed, psnr in ((1, 30.0), (2, 31.0), (3, 35.0))]
    records += [network("length 1", 15, seed, 10.0 * seed) for seed in (1, 2, 3)]
    traces = [AtomsRecord("shipped", 0.7, 3.0, 15, seed, 20.0 + seed) for seed in (1, 2, 3)]
    lines = ablations_markdown(records, traces, 10).splitlines()
    tables = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "±" in line and "|" in line]
    spread = np.std([30, 31, 35], ddof=1)
    assert tables[0] == ["gap", "ladmm", "adaptive", f"32.00 ± {spread:.2f}", "19.000 ± 1.000", "0.50"]
    assert tables[1][:2] == ["15", "20.00 ± 10.00"] and tables[2] == ["shipped", "0.7", "3", "22.00 ± 1.00"]
