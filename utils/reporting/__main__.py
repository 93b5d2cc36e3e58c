"""Makes every page again from the tables in the results folder: Markdown, figures, and the tables of README.md.

`python -m utils.reporting` takes seconds, and measures nothing. Images that were restored are not drawn again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.reporting.pages import RESULTS, show
from utils.running.errors import UserError, complain, script
from utils.running.settings import Checked, parse_settings, setting


@dataclass(frozen=True)
class Settings(Checked):
    """What to show."""

    results_dir: str = setting(str(RESULTS), "folder of the tables")


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the pages of all results in the folder."""
    folder = Path(parse_settings(Settings, __doc__, argv).results_dir)
    with script("pages that were made are whole"):
        names, failed = sorted(path.stem for path in folder.glob("*.json")), 0
        if not names:
            raise UserError(f"results_dir is {str(folder)!r}, where no result is; allowed: a folder of results")
        for name in names:
            try:
                show(name, folder)
                print(folder / f"{name}.md")
            except UserError as error:
                complain(str(error))
                failed += 1
        if failed:
            raise UserError(f"{failed} of {len(names)} pages were not made, see above; the others were")


if __name__ == "__main__":
    main()
