"""Options that commands share, and those that are made of the fields of a request."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from wavescope.engine.choices import CHOICES, DEFAULTS_OF
from wavescope.engine.types import ExplanationRequest

if TYPE_CHECKING:
    from wavescope.settings import Settings

    Options = argparse._ActionsContainer
    Commands = argparse._SubParsersAction[Any]

SETTINGS = ("host", "port", "grpc_port", "no_auth", "log_level")  # of serve
_MAX_LISTED_CHOICES = 8  # more would fill the screen: there are over a hundred wavelets


def add_request_options(group: Options) -> None:
    """One option per field of :class:`ExplanationRequest`, with its type, choices and documentation."""
    hints, documentation = get_type_hints(ExplanationRequest), _field_documentation(ExplanationRequest)
    for field in dataclasses.fields(ExplanationRequest):
        members = set(get_args(hints[field.name]) or [hints[field.name]]) - {NoneType}
        choices = [choice for choice in CHOICES.get(field.name, ()) if choice is not None]
        listed = choices if 0 < len(choices) <= _MAX_LISTED_CHOICES else None
        metavar = None if listed else "N" if members == {int} else field.name.upper()
        text = (documentation.get(field.name, "") + _default_words(field)).replace("%", "%%")
        if members == {bool}:
            group.add_argument(flag(field.name), action="store_true", help=text)
            continue
        group.add_argument(
            flag(field.name),
            action="append" if field.name == "target" else "store",
            type=_number_or_name if members == {int, str} else members.pop(),
            choices=listed,
            metavar=metavar,
            help=text + ("; may be repeated" if field.name == "target" else ""),
        )


def _default_words(field: dataclasses.Field[Any]) -> str:
    """`` (default: 28; sobol: 8; zoom: 32)``; empty for what is off unless it is asked for."""
    if field.default is None or field.default is False:
        return ""
    by_kind = [(kind, given[field.name]) for kind, given in DEFAULTS_OF.items() if field.name in given]
    others = [f"; {kind}: {value}" for kind, value in by_kind if value not in (field.default, kind)]
    return f" (default: {field.default}{''.join(others)})"


def add_models_file(parser: Options) -> None:
    """``--models FILE``."""
    parser.add_argument(
        "--models",
        dest="models_file",
        metavar="FILE",
        type=Path,
        help="a model registry in YAML (default: built in)",
    )


def settings_of(given: dict[str, Any]) -> Settings:
    """The settings: what was given on the command line over what the environment says."""
    from wavescope.settings import load_settings

    return load_settings(**{name: given[name] for name in SETTINGS if name in given})


def request_fields() -> list[str]:
    """The names of the fields of a request, which are those of their options."""
    return [field.name for field in dataclasses.fields(ExplanationRequest)]


def flag(field: str) -> str:
    """A field as it is written on the command line."""
    return "--" + field.replace("_", "-")


def _number_or_name(text: str) -> int | str:
    """A class index where ``text`` is a whole number, a class name otherwise."""
    try:
        return int(text)
    except ValueError:
        return text


def _field_documentation(cls: type) -> dict[str, str]:
    """What a dataclass's docstring says of its attributes; empty under ``python -OO``, which strips it."""
    lines = re.findall(r"^    (\w+): (.+)$", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    plain = ((name, text.replace("``None``", "leaving it out").replace("``", "")) for name, text in lines)
    return {name: text.rstrip(".") for name, text in plain}
