"""The table of utils.networks: how every network in the checkpoint folder was trained, and for how long."""

from collections.abc import Sequence

from utils.evaluation.records import NetworkRecord
from utils.reporting.tables import markdown_table, number

ABOUT = """\
Networks in the checkpoint folder, each trained by its command, which `python -m utils.networks` runs. `python
main_lena.py` trains the others, on the noisy Lena. Minutes are those of the whole command, start and end included.

All learn from pairs of a noisy and a clean patch of photographs that packages ship, in several sizes, symmetries and
contrasts, corrupted afresh in every epoch. `central_error` is the norm of a patch's error in which the middle of a
patch counts more, as it does where patches overlap. The last ones are plain residual convolutional networks to compare
with (utils/rivals/cnn.py).
"""


def networks_markdown(records: Sequence[NetworkRecord]) -> str:
    """The table, and the command of every network below it."""
    columns = {
        "network": lambda row: row.name,
        "for": lambda row: row.purpose,
        "minutes": lambda row: number(row.minutes, 1),
        "digest of the code": lambda row: row.code,
    }
    commands = "\n".join(f"    {record.command}" for record in records)
    return f"# Networks\n\n{markdown_table(records, columns)}\n{ABOUT}\n{commands}\n"
