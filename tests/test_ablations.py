"""Claims about the ablations: their networks are those of main_lena.py, and every combination is there once."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import main_lena
from data.dictionary import load_dictionary
from main_lena import Settings
from models import Problem, ladmm
from models.activations import ACTIVATIONS
from models.layer import INITIALIZATIONS
from tests.helpers import rows
from utils.studies import ablations
from utils.studies.ablations import AblationRecord, AtomsRecord, all_choices, report_markdown, trained


@pytest.mark.parametrize("training", ablations.TARGETS)
def test_the_first_loss_of_a_training_trains_the_network_of_main_lena(tmp_path, training):
    choices = next(choices for choices in all_choices() if choices.training == (training,))
    default = {"initialization": "pseudo_inverse", "activation": "piecewise_linear"}
    short = {"depths": (2,), "epochs": 2, "patches_per_epoch": 300, "batch_size": 64, "seed": 3}
    record = trained(replace(choices, **default, **short))
    words = f"--training {training} --depths 2 --epochs 2 --patches-per-epoch 300 --batch-size 64 --seed 3"
    folders = f"--results-dir {tmp_path}/results --checkpoint-dir {tmp_path}/checkpoints"
    main_lena.main([*words.split(), *folders.split(), "--ladmm-max-iterations", "20", "--safeguard-layers", "1"])
    *_, row = rows(tmp_path / "results" / "results.csv")
    assert float(row["psnr"]) == pytest.approx(record.psnr, abs=1e-3)
    assert float(row["objective"]) == pytest.approx(record.objective, rel=1e-5)
    chosen = record.loss, record.initialization, record.activation
    assert (record.training, *chosen, record.atoms) == (training, choices.loss, *default.values(), "shipped")


def test_every_combination_is_there_once_and_every_loss_fits_its_training():
    found = list(all_choices())
    assert len(found) == len(set(found))
    grid = [choices for choices in found if choices.dictionary == "shipped"]
    losses = {choices.loss for choices in grid if choices.training == ("unsupervised",)}
    assert losses >= {"objective", "gap", "relaxed"}
    for choices in grid:
        for other in (*ACTIVATIONS, *INITIALIZATIONS):
            kind = "activation" if other in ACTIVATIONS else "initialization"
            assert replace(choices, **{kind: other}) in grid
    published = [choices for choices in found if choices.dictionary == "unit_atoms"]
    assert [choices.depths for choices in published] == [(5,), (10,), (15,)]
    assert {choices.loss for choices in published} == {"relaxed"}


def test_ladmm_is_followed_with_each_kind_of_atoms(monkeypatch):
    shorter = {"SEEDS": (3,), "ATOMS_ALPHAS": (0.45,), "ATOMS_BETAS": (1.0, 3.0), "ATOMS_ITERATIONS": (1, 3)}
    for name, value in shorter.items():
        monkeypatch.setattr(ablations, name, value)
    found = list(ablations.ladmm_traces())
    assert len({(row.atoms, row.beta, row.iteration) for row in found}) == len(found) == 8
    seen, A = main_lena.observe(Settings(seed=3)), load_dictionary()
    for atoms, dictionary in (("shipped", A), ("length 1", A / torch.linalg.vector_norm(A, dim=0))):
        *_, state = islice(ladmm(Problem(dictionary, 0.45), seen.X, beta=3.0), 3)
        expected = seen.psnr(seen.image_of(state.AZ))
        assert AtomsRecord(atoms, 0.45, 3.0, 3, 3, pytest.approx(expected, abs=1e-6)) in found


def test_the_tables_have_means_and_deviations_over_the_seeds():
    def network(atoms, depth, seed, psnr):
        return AblationRecord("unsupervised", "gap", "ladmm", "adaptive", atoms, depth, seed, psnr, 17.0 + seed, 0.5)

    records = [network("shipped", 5, seed, psnr) for seed, psnr in ((1, 30.0), (2, 31.0), (3, 35.0))]
    records += [network("length 1", 15, seed, 10.0 * seed) for seed in (1, 2, 3)]
    traces = [AtomsRecord("shipped", 0.7, 3.0, 15, seed, 20.0 + seed) for seed in (1, 2, 3)]
    lines = [line for line in report_markdown(records, traces).splitlines() if "±" in line]
    tables = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    spread = np.std([30, 31, 35], ddof=1)
    assert tables[0] == ["gap", "ladmm", "adaptive", f"32.00 ± {spread:.2f}", "19.000 ± 1.000", "0.50"]
    assert tables[1][:2] == ["15", "20.00 ± 10.00"] and tables[2] == ["shipped", "0.7", "3", "22.00 ± 1.00"]
