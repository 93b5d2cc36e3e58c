"""The experiment of main_lena.py with other seeds: how far its figures depend on the noise and on the draws.

`python -m utils.studies.seeds` (some ten minutes) writes results/seeds.csv; results.md says what the figures mean.
"""

import pandas as pd

from main_lena import Settings, run
from utils.reporting.tables import in_words, markdown, title
from utils.studies.study import Keep, Measured, Page, Provenance, Tables, command

SEEDS = (1, 2)  # beside that of main_lena.py
FORMATS = {"objective": ".3f", "PSNR (dB)": ".2f", "SSIM": ".4f", "seconds": ".1f"}


def results_with(seed: int) -> pd.DataFrame:
    """The table of results of the run with a seed."""
    return run(Settings(seed=seed)).tables["results"].assign(seed=seed)


def measure(keep: Keep) -> Measured:
    """Runs the experiment with every seed."""
    rows = pd.concat([keep(results_with)(seed) for seed in SEEDS])
    return Measured({"seeds": rows[["seed", *rows.columns.drop("seed")]]})


def show(tables: Tables, made_by: Provenance) -> Page:
    """All methods of all seeds, and for README.md the PSNR of the deepest network of each training by seed."""
    rows = tables["seeds"].assign(method=[title(row) for _, row in tables["seeds"].iterrows()])
    shown = rows.rename(columns={"psnr": "PSNR (dB)", "ssim": "SSIM"})[["seed", "method", *FORMATS]]
    deepest = tables["seeds"].query("method == 'dladmm'").query("depth == depth.max()")
    psnr = deepest.pivot_table("psnr", "seed", "training", sort=False).rename(index="seed {}".format, columns=in_words)
    readme = psnr.rename_axis(f"PSNR in dB, d = {deepest['depth'].max():.0f}").reset_index()
    readme = markdown(readme, dict.fromkeys(psnr, ".2f"))
    return Page(f"# Other seeds\n\n{markdown(shown, FORMATS)}\n{__doc__}", readme={"seeds": readme})


main = command("utils.studies.seeds", precision=Settings.precision)

if __name__ == "__main__":
    main()
