"""Settings as a typed dataclass that is also the command line: defaults, checks and --help from one line a setting."""

import argparse
import dataclasses
import hashlib
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from models.samples import number_on_machine
from utils.running.errors import fail

S = TypeVar("S")


class Allowed(NamedTuple):
    """The values that a setting may take: a test, and its description in --help and in error lines."""

    description: str
    test: Callable[[Any], bool]


def at_least(low: int) -> Allowed:
    """Allows low, low + 1, …"""
    return Allowed(f"{low} or more", lambda value: low <= value <= sys.maxsize)


def between(low: float, high: float) -> Allowed:
    """Allows numbers from low to high, both included."""
    return Allowed(f"{low} to {high}", lambda value: low <= value <= high)


def one_of(table: Collection[str], *more: str) -> Allowed:
    """Allows the names in a table, also those that come into it later, and more."""
    return Allowed(", ".join([*more, *table]), lambda value: value in table or value in more)


positive = Allowed("1e-6 to 1e6", lambda value: 1e-6 <= value <= 1e6)
anything = Allowed("", lambda value: True)


def setting(default: Any, help: str, allowed: Allowed = anything) -> Any:
    """A field of a settings class: default, line in --help, and the allowed values, or entries if it has several."""
    return dataclasses.field(default=default, metadata={"help": help, "allowed": allowed})


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Of a command without options."""


def parse_settings(cls: type[S], description: str, argv: Sequence[str] | None = None, folders: Sequence[str] = ()) -> S:
    """Builds `cls`, a dataclass of `setting` fields, from its defaults and the command line.

    A field `noise_rate: float` becomes `--noise-rate`. A field `depths: tuple[int, ...]` takes one value or more. A
    value that is not allowed ends the program with one line and exit code 2.

    Args:
        cls: the dataclass.
        description: for --help.
        argv: the command line; None stands for that of the process.
        folders: fields with folders of outputs. If options differ from the defaults, outputs go to a subfolder named
            after them, so that a quick try does not replace the results of the default settings.
    """
    script = Path(sys.argv[0])
    program = f"python -m utils.{script.parent.name}" if script.name == "__main__.py" else "%(prog)s"
    parser = argparse.ArgumentParser(
        usage=f"{program} [options]", description=description, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    parser.error = fail  # one line, without the usage that argparse prints before it
    for field in dataclasses.fields(cls):
        many = get_args(field.type)
        shown = " ".join(map(str, field.default)) if many else str(field.default)
        allowed = field.metadata["allowed"].description
        help = f"{field.metadata['help']}{f'; allowed: {allowed}' if allowed else ''} (default: {shown or 'none'})"
        converted = {"type": many[0], "nargs": "+"} if many else {"type": field.type}
        parser.add_argument(_flag(field.name), metavar=field.name.upper(), help=help.replace("%", "%%"), **converted)
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args(argv)).items()}
    settings = cls(**options)
    check(settings)
    changed = {k: v for k, v in options.items() if k not in folders and v != getattr(cls(), k)}
    if changed:
        below = {name: f"{getattr(cls(), name)}/{_folder_name(changed)}" for name in folders if name not in options}
        settings = dataclasses.replace(settings, **below)
        if below and number_on_machine() == 0:
            places = " and ".join(f"{place}/" for place in below.values())
            print(f"options differ from the settings in the script: outputs go to {places}", file=sys.stderr)
    return settings


def check(settings: Any) -> None:
    """Ends the program with one line and exit code 2 if a field has a value that is not allowed."""
    for field in dataclasses.fields(settings):
        flag = _flag(field.name)
        value, allowed = getattr(settings, field.name), field.metadata["allowed"]
        if isinstance(value, tuple) and len(set(value)) < len(value):
            fail(f"{flag} is {' '.join(map(str, value))}; allowed: each value once")
        for entry in value if isinstance(value, tuple) else (value,):
            if not allowed.test(entry):
                fail(f"{flag} is {entry}; allowed: {allowed.description}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _folder_name(changed: dict[str, Any]) -> str:
    """Of the changed fields and their values: depths_5_epochs_3. A digest makes up for what a name cannot hold."""
    items = sorted(changed.items())
    text = " ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in items)
    name = re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("._")
    exact = len(name) <= 60 and re.fullmatch(r"[A-Za-z0-9._ ]+", text)
    return name if exact else f"{name[:60]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
