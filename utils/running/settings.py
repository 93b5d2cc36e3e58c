"""Settings as a typed dataclass that is also the command line: defaults, checks and --help from one line a setting."""

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, get_args

from models.samples import number_on_machine
from utils.running.errors import UserError, fail
from utils.running.provenance import digest

S = TypeVar("S", bound="Checked")
TYPES = {int: "whole numbers", float: "numbers", str: "names", bool: "True, False"}


class Allowed(NamedTuple):
    """The values that a setting may take: a test, and its description in --help and in error lines."""

    description: str
    test: Callable[[Any], bool]


def at_least(low: int) -> Allowed:
    """Allows low, low + 1, …"""
    return Allowed(f"{low} or more", lambda value: low <= value <= sys.maxsize)


def between(low: float, high: float) -> Allowed:
    """Allows numbers from low to high, both included."""
    return Allowed(f"{low:g} to {high:g}", lambda value: low <= value <= high)


def one_of(table: Collection[str], *more: str) -> Allowed:
    """Allows the names in a table, also those that come into it later, and more."""
    return Allowed(", ".join([*more, *table]), lambda value: value in table or value in more)


positive = Allowed("1e-6 to 1e6", lambda value: 1e-6 <= value <= 1e6)
anything = Allowed("", lambda value: True)


def setting(default: Any, help: str, allowed: Allowed = anything, optional: bool = False) -> Any:
    """A field of a settings class: default, line in --help, and the allowed values, or entries if it has several; then
    there has to be one unless it is optional."""
    default = tuple(default) if isinstance(default, list) else default  # dataclasses refuse a list
    return dataclasses.field(default=default, metadata={"help": help, "allowed": allowed, "optional": optional})


@dataclasses.dataclass(frozen=True)
class Checked:
    """Settings whose values have been checked. Of a field for several values one alone, or a list, will do. Refused is
    a value that has another type than its field, is not allowed, or comes twice."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, flag, many = getattr(self, field.name), _flag(field.name), get_args(field.type)
            entries = tuple(value) if many and isinstance(value, list | tuple) else (value,)
            kind, allowed = many[0] if many else field.type, field.metadata["allowed"]
            for entry in entries:
                right_type = type(entry) is kind or (kind is float and type(entry) is int)
                if not right_type or not allowed.test(entry):
                    shown = entry if right_type or not isinstance(entry, str) else repr(entry)
                    raise UserError(f"{flag} is {shown}; allowed: {right_type * allowed.description or TYPES[kind]}")
            if not entries and not field.metadata["optional"]:
                raise UserError(f"{flag} is empty; allowed: {allowed.description}")
            if len(set(entries)) < len(entries):
                raise UserError(f"{flag} is {' '.join(map(str, entries))}; allowed: each value once")
            entries = tuple(map(kind, entries))
            object.__setattr__(self, field.name, entries if many else entries[0])

    def chosen(self, *names: str) -> dict[str, Any]:
        """These settings by their names."""
        return {name: getattr(self, name) for name in names}


def parse_settings(
    cls: type[S],
    description: str,
    argv: Sequence[str] | None = None,
    folders: Sequence[str] = (),  # fields with folders of outputs
    published: Mapping[str, Any] | None = None,  # settings, as JSON has them, that are not the defaults of the class
) -> S:
    """Builds `cls`, a dataclass of `setting` fields, from its defaults and the command line.

    A field `noise_rate: float` becomes `--noise-rate`, a field `depths: tuple[int, ...]` takes one value or more, and a
    bool is a flag. What is not allowed ends the program with one line and exit code 2. If settings differ from the
    published ones, on the command line or in the class, outputs go to a subfolder named after them: none is replaced.
    """
    try:
        defaults = cls()
        options = _options(defaults, description, argv)
        settings = dataclasses.replace(defaults, **options)
    except UserError as error:
        fail(str(error))
    own, usual = (json.loads(json.dumps(dataclasses.asdict(each))) for each in (settings, defaults))
    usual |= published or {}
    changed = {name: value for name, value in own.items() if name not in folders and value != usual[name]}
    moved = [name for name in folders if changed and name not in options]
    below = {name: f"{getattr(defaults, name)}/{_folder_name(changed)}" for name in moved}
    if below and number_on_machine() == 0:
        places = " and ".join(f"{place}/" for place in below.values())
        print(f"settings differ from the published ones: outputs go to {places}", file=sys.stderr)
    return dataclasses.replace(settings, **below)


def _options(defaults: Checked, description: str, argv: Sequence[str] | None) -> dict[str, Any]:
    """The values on the command line, by the names of their fields."""
    module = sys.modules["__main__"].__spec__
    program = f"python -m {module.name.removesuffix('.__main__')}" if module else "python %(prog)s"
    how = {"usage": f"{program} [options]", "allow_abbrev": False, "argument_default": argparse.SUPPRESS}
    parser = argparse.ArgumentParser(description=description, **how)
    parser.error = fail  # one line, without the usage that argparse prints before it
    for field in dataclasses.fields(defaults):
        default, many = getattr(defaults, field.name), get_args(field.type)
        allowed = field.metadata["allowed"].description
        help = field.metadata["help"] + (f"; allowed: {allowed}" if allowed else "")
        how = {"action": "store_true"}
        if field.type is not bool:
            shown = " ".join(map(str, default if many else [default]))
            help += f" (default: {shown or 'none'})"
            how = {"metavar": field.name.upper()}
            how |= {"type": many[0], "nargs": "+"} if many else {"type": field.type}
        parser.add_argument(_flag(field.name), help=help.replace("%", "%%"), **how)
    return vars(parser.parse_args(argv))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _folder_name(changed: dict[str, Any]) -> str:
    """Of the changed fields and their values: depths_5_epochs_3. A digest makes up for what a name cannot hold."""
    text = " ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in sorted(changed.items()))
    name = re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("._")
    exact = len(name) <= 60 and re.fullmatch(r"[A-Za-z0-9._ ]+", text)
    return name if exact else f"{name[:60]}_{digest(text.encode())}"
