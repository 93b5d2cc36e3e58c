"""Settings as a typed dataclass that is also the command line: defaults, checks and --help from one line a setting."""

import argparse
import dataclasses
import hashlib
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, TypeVar, get_args

from utils.running.errors import fail
from utils.running.processes import number_on_machine

S = TypeVar("S")


class Allowed:
    """The values that a setting may take: a test, and the words for it in --help and in error lines."""

    def __init__(self, words: str, test: Callable[[Any], bool]) -> None:
        self.words = words
        self.test = test


def at_least(low: int) -> Allowed:
    """Allows low, low + 1, …"""
    return Allowed(f"{low} or more", lambda value: low <= value <= sys.maxsize)


def between(low: float, high: float) -> Allowed:
    """Allows numbers from low to high, both included."""
    return Allowed(f"{low} to {high}", lambda value: low <= value <= high)


def one_of(names: Collection[str]) -> Allowed:
    """Allows the names, which may be the keys of a table."""
    return Allowed(", ".join(names), lambda value: value in names)


positive = Allowed("1e-6 to 1e6", lambda value: 1e-6 <= value <= 1e6)
anything = Allowed("", lambda value: True)


def setting(default: Any, help: str, allowed: Allowed = anything) -> Any:
    """A field of a settings class: default, line in --help, and the allowed values, or entries if it has several."""
    return dataclasses.field(default=default, metadata={"help": help, "allowed": allowed})


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """Of a command without options."""


class _OneLineParser(argparse.ArgumentParser):
    """Where argparse prints its usage before an error, this prints one line. The exit code is 2."""

    def error(self, message: str) -> NoReturn:
        fail(message)


def parse_settings(cls: type[S], description: str, argv: Sequence[str] | None = None, folders: Sequence[str] = ()) -> S:
    """Builds `cls`, a dataclass of `setting` fields, from its defaults and the command line.

    A field `noise_rate: float` becomes `--noise-rate`. A field `depths: tuple[int, ...]` takes one value or more. What
    is not allowed ends the program with one line and exit code 2.

    Args:
        cls: the dataclass.
        description: for --help.
        argv: the command line; None stands for that of the process.
        folders: fields with folders of outputs. Where options change another field, a folder that is not given becomes
            one of its own below the default one, so that a quick try does not replace the results of the script's own
            settings.
    """
    parser = _OneLineParser(
        usage="%(prog)s [options]", description=description, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    for field in dataclasses.fields(cls):
        many = get_args(field.type)
        shown = " ".join(map(str, field.default)) if many else str(field.default)
        words = field.metadata["allowed"].words
        help = f"{field.metadata['help']}{f'; allowed: {words}' if words else ''} (default: {shown or 'none'})"
        parser.add_argument(
            _flag(field.name),
            type=many[0] if many else field.type,
            nargs="+" if many else None,
            metavar=field.name.upper(),
            help=help.replace("%", "%%"),
        )
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in vars(parser.parse_args(argv)).items()}
    settings = cls(**given)
    check(settings)
    changed = {k: v for k, v in given.items() if k not in folders and v != getattr(cls(), k)}
    if changed:
        own = {name: f"{getattr(cls(), name)}/{_folder_name(changed)}" for name in folders if name not in given}
        settings = dataclasses.replace(settings, **own)
        if own and number_on_machine() == 0:
            places = " and ".join(f"{place}/" for place in own.values())
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
                fail(f"{flag} is {entry}; allowed: {allowed.words}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _folder_name(changed: dict[str, Any]) -> str:
    """Of the changed fields and their values: depths_5_epochs_3. A digest makes up for what a name cannot hold."""
    words = [f"{k} {' '.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in sorted(changed.items())]
    name = re.sub(r"[^A-Za-z0-9.]+", "_", " ".join(words)).strip("._")
    exact = len(name) <= 60 and re.fullmatch(r"[A-Za-z0-9._ ]+", " ".join(words))
    return name if exact else f"{name[:60]}_{hashlib.sha256(' '.join(words).encode()).hexdigest()[:8]}"
