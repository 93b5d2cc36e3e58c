"""Claims about the study of seeds: its rows are those of the experiment with each seed, and README.md shows them."""

from dataclasses import replace

import main_lena
from tests.helpers import ROOT, cells
from utils.evaluation.records import Result
from utils.reporting.readme import with_tables
from utils.reporting.tables import read_csv
from utils.studies import seeds
from utils.studies.seeds import SeedRecord, readme_tables


def test_rows_are_those_of_the_experiment_with_each_seed(monkeypatch):
    short = {"depths": (1,), "epochs": 1, "patches_per_epoch": 100, "ladmm_max_iterations": 1, "safeguard_layers": 1}

    def run(settings):
        return main_lena.run(replace(settings, **short, training=("unsupervised",)))

    monkeypatch.setattr(seeds, "run", run)
    text, tables, _, readme = seeds.compare()
    found = {seed: [row.result for row in tables["seeds"] if row.seed == seed] for seed in (1, 2)}
    for seed, results in found.items():
        assert [result.method for result in results] == ["noisy", "median", "untrained", "ladmm", "ladmm", "dladmm"]
        assert results[0].psnr == run(main_lena.Settings(seed=seed)).results[0].psnr
        assert f"| {results[-1].psnr:.2f} " in text and f"{results[-1].psnr:.2f}" in readme["seeds"]
    assert found[1][0].psnr != found[2][0].psnr


def test_the_readme_shows_the_deepest_network_of_each_training_by_seed():
    def network(seed, training, depth, psnr):
        return SeedRecord(seed, Result(method="dladmm", training=training, depth=depth, psnr=psnr))

    records = [SeedRecord(3, Result(method="ladmm", depth=99, psnr=1.0))]
    for seed in (3, 4):
        for depth in (5, 15):
            records += [network(seed, name, depth, seed + depth + len(name)) for name in ("one", "self_made")]
    heading, *lines = cells(readme_tables(records)["seeds"])
    assert heading == ["PSNR in dB, d = 15", "one", "self-made"]
    assert lines == [["seed 3", "21.00", "27.00"], ["seed 4", "22.00", "28.00"]]


def test_the_table_of_the_readme_is_that_of_the_results():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    records = read_csv(ROOT / "results" / "seeds.csv", SeedRecord)
    assert "<!-- seeds: from results/ -->" in readme and with_tables(readme, readme_tables(records)) == readme
