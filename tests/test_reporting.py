"""Claims about what is shown: it is made from the tables in results/, and a figure stands where its heading says."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.helpers import PUBLISHED, ROOT, cells
from utils.reporting import __main__ as reporting
from utils.reporting import pages
from utils.reporting.pages import show, with_tables, write_tables
from utils.reporting.results import certificates, text_table
from utils.reporting.tables import read_table
from utils.running.provenance import read_provenance

README = (ROOT / "README.md").read_text(encoding="utf-8")
MEASURED = sorted(path.stem for path in (ROOT / "results").glob("*.json"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A folder with the committed tables, in which all pages were made again, and these pages."""
    folder = tmp_path_factory.mktemp("results")
    for path in (ROOT / "results").glob("*.[cj]s*"):
        shutil.copy(path, folder)
    return folder, {name: show(name, folder) for name in MEASURED}


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_committed_is_what_reporting_makes_of_the_tables(name, shown):
    folder, made = shown
    assert (folder / f"{name}.md").read_text(encoding="utf-8") == (ROOT / "results" / f"{name}.md").read_text("utf-8")
    for figure in made[name].figures:
        committed = ROOT / "results" / f"{figure}.png"
        if committed.exists():
            np.testing.assert_array_equal(Image.open(committed), Image.open(folder / f"{figure}.png"))


def test_every_table_and_every_page_belongs_to_a_description():
    results = ROOT / "results"
    described = {table for name in MEASURED for table in read_provenance(results / f"{name}.json")["tables"]}
    assert {path.stem for path in results.glob("*.csv")} == described
    assert {path.stem for path in results.glob("*.md")} == set(MEASURED)


def test_the_tables_of_the_readme_are_those_of_the_pages_and_a_changed_figure_is_noticed(shown):
    tables = {name: table for page in shown[1].values() for name, table in page.readme.items()}
    marks = re.findall(r"<!-- (\w+): from results/ -->\n", README)
    assert sorted(marks) == sorted(tables) and with_tables(README, tables) == README
    for name in marks:
        place = README.index(f"<!-- {name}: ") + 80
        changed = f"{README[:place]}x{README[place + 1 :]}and more"
        assert with_tables(changed, {}) == changed and with_tables(changed, tables) == f"{README}and more"


def test_a_result_that_cannot_be_read_is_named_and_stops_no_other_page(shown, tmp_path, capsys):
    for path in shown[0].glob("s*.[cj]s*"):
        shutil.copy(path, tmp_path)
    for name in (broken := ("seeds.csv", "speed.csv", "strange.json")):
        (tmp_path / name).write_text("")
    with pytest.raises(SystemExit):
        reporting.main(["--results-dir", str(tmp_path)])
    said = capsys.readouterr().err
    assert all(name in said for name in (*broken, "3 of ")) and (tmp_path / "speed_gpu.md").exists()


def test_the_readme_follows_its_own_folder_of_results_alone(shown, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "README", tmp_path / "README.md")
    changed = README.replace("| LADMM, published | 31.30", "| LADMM, published | 99.99")
    for folder, expected in (("elsewhere", changed), ("results", README)):
        (tmp_path / "README.md").write_text(changed, encoding="utf-8")
        shutil.copytree(shown[0], tmp_path / folder)
        reporting.main(["--results-dir", str(tmp_path / folder)])
        assert (tmp_path / "README.md").read_text(encoding="utf-8") == expected


def test_a_table_comes_back_with_six_digits_and_what_is_missing_is_empty(tmp_path):
    table = pd.DataFrame({"method": ["a", None], "depth": [5, np.nan], "gap": [1 / 3, np.inf], "n": [1, 2]})
    write_tables("a", {"a": table}, {}, 90, tmp_path)
    assert (tmp_path / "a.csv").read_text() == "method,depth,gap,n\na,5,0.333333,1\n,,inf,2\n"
    again = read_table(tmp_path / "a.csv")
    assert list(again["method"]) == ["a", ""] and again["depth"].isna().tolist() == [False, True]
    assert again["gap"].tolist() == [0.333333, np.inf] and '"minutes": 1.5' in (tmp_path / "a.json").read_text()


RESULTS = pd.DataFrame(
    [
        {"method": "noisy", "psnr": 15.457, "ssim": 0.18},
        {"method": "ladmm", "depth": 5, "objective": 20.0, "psnr": 32.2, "ssim": 0.88, "seconds": 0.1, "gap": 9.0},
        {"method": "ladmm", "depth": 12860, "objective": 16.8, "psnr": 36.7, "ssim": 0.95, "seconds": 1234.5},
        {
            "method": "dladmm", "training": "unsupervised", "depth": 15, "training_data": "the noisy image",
            "training_loss": 17.069, "psnr": 37.43, "ssim": 0.958, "seconds": 161.44, "objective": 16.8, "gap": 1.0,
            "ladmm_same_objective": 140, "ladmm_same_psnr": 35,
        },
    ]
).fillna({"training": "", "training_data": "none"}).assign(noise_model="none")  # fmt: skip


def test_the_table_in_the_terminal_is_narrow_and_shows_what_is_published_beside_the_published_experiment_alone():
    text = text_table(RESULTS, PUBLISHED)
    assert max(map(len, text.splitlines())) < 100
    heading, *table = cells(text)
    assert heading == ["method", "loss", "PSNR (dB)", "SSIM", "sec", "paper"]
    figures = [["15.46", "15.40"], ["32.20", ""], ["36.70", "31.30"], ["37.43", "35.61"]]
    assert [[line[2], line[5]] for line in table] == figures
    for change in ({"noise_rate": 0.2}, {"corruption": "random_valued"}, {"positions": "extremes"}):
        assert "paper" not in text_table(RESULTS, PUBLISHED | change)
    for change in ({"training": "supervised"}, {"method": "untrained"}):
        more = pd.concat([RESULTS, RESULTS[-1:].assign(**change)], ignore_index=True)
        assert cells(text_table(more, PUBLISHED))[-1][-1] == ""


def test_distances_to_the_optimum_are_parts_of_it_and_iterations_those_to_the_objective_then_to_the_psnr():
    """In units of the objective of LADMM's last iteration: 16, which its own gap of 0.4 certifies to 2.5 %."""
    trace = pd.DataFrame({"iteration": [1, 2], "objective": [40.0, 16.0], "psnr": [20.0, 30.0], "gap": [9.0, 0.4]})
    text = certificates(RESULTS, trace)
    assert "LADMM after 2 iterations, 16.000, certified to 2.50% by its own gap" in " ".join(text.split())
    assert cells(text)[1][1:] == ["20.000", "25.00%", "9.000", "", ""]
    assert cells(text)[3][1:] == ["16.800", "5.00%", "1.000", "140", "35"]
    never = RESULTS.assign(ladmm_same_objective=np.nan, psnr=np.nan)
    assert cells(certificates(never, trace))[3][4:] == ["> 2"]  # without a clean image there is no column of PSNR
