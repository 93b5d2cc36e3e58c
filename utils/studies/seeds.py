"""The experiment of main_lena.py with other seeds: how far its figures depend on the noise and on the draws.

`python -m utils.studies.seeds` runs it with each (some ten minutes) and writes results/seeds.csv and seeds.md.
The settings are its own but for the seed of the noise and of the training; results.md says what the figures mean.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from main_lena import Settings, run
from utils.evaluation.records import Result, in_words
from utils.reporting.tables import Columns, markdown_table, number
from utils.studies.study import Report, run_study

SEEDS = (1, 2)  # beside that of main_lena.py


@dataclass(frozen=True)
class SeedRecord:
    """A method in the table of results of the run with a seed."""

    seed: int
    result: Result


def report_markdown(records: Sequence[SeedRecord]) -> str:
    """All methods of all seeds."""
    columns: Columns = {
        "seed": lambda row: str(row.seed),
        "method": lambda row: row.result.title,
        "objective": lambda row: number(row.result.objective, 3),
        "PSNR (dB)": lambda row: number(row.result.psnr, 2),
        "SSIM": lambda row: number(row.result.ssim, 4),
        "seconds": lambda row: number(row.result.seconds, 1),
    }
    return f"# Other seeds\n\n{markdown_table(records, columns)}\n{__doc__}"


def readme_tables(records: Sequence[SeedRecord]) -> dict[str, str]:
    """The table of README.md: the PSNR of the deepest network of each training, a row for each seed."""
    networks = [record for record in records if record.result.method == "dladmm"]
    depth = max(record.result.depth for record in networks)
    psnr = {(r.seed, r.result.training): r.result.psnr for r in networks if r.result.depth == depth}
    columns: Columns = {f"PSNR in dB, d = {depth}": lambda seed: f"seed {seed}"}
    for training in dict.fromkeys(training for _, training in psnr):
        columns[in_words(training)] = lambda seed, training=training: number(psnr[seed, training], 2)
    return {"seeds": markdown_table(list(dict.fromkeys(seed for seed, _ in psnr)), columns)}


def compare() -> Report:
    """Runs the experiment with every seed."""
    records = [SeedRecord(seed, result) for seed in SEEDS for result in run(Settings(seed=seed)).results]
    return Report(report_markdown(records), {"seeds": records}, readme=readme_tables(records))


main = partial(
    run_study, "utils.studies.seeds", sys.modules[__name__], lambda keep: compare(), precision=Settings.precision
)

if __name__ == "__main__":
    main()
