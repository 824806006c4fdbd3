"""Options that several commands share, and options made from the fields of a request."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from wavescope.engine.choices import CHOICES
from wavescope.engine.docstrings import attribute_texts
from wavescope.engine.kinds import KINDS
from wavescope.engine.requests import make_request
from wavescope.engine.types import ExplanationRequest

if TYPE_CHECKING:
    from wavescope.settings import Settings

    Options = argparse._ActionsContainer
    Commands = argparse._SubParsersAction[Any]

# Settings that the commands have options for.
SETTINGS = (
    "host", "port", "root_path", "grpc_port", "no_auth", "api_keys_file", "store_url", "remote_hosts", "log_level",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class PredictorProtocol:
    """Protocol of a KServe predictor, and the address that it has there.

    Attributes:
        source: the kind of source of the registry.
        url: made of ``s`` (with TLS), ``host`` and ``name``.
        default_port: of a host that names none; ``None`` for that of the URL's scheme.
    """

    source: str
    url: str
    default_port: int | None = None


PREDICTOR_PROTOCOLS = {
    "v1": PredictorProtocol("kserve-v1", "http{s}://{host}/v1/models/{name}:predict"),
    "v2": PredictorProtocol("oip", "http{s}://{host}/v2/models/{name}"),
    "grpc-v2": PredictorProtocol("oip", "grpc{s}://{host}/{name}", default_port=9000),
}
PREDICTOR = ("model_name", "predictor_host", "predictor_protocol", "predictor_use_ssl")
# Options that are not written as the setting.
RENAMED = {"api_keys_file": "--api-keys", "store_url": "--store"}
_METAVARS = {frozenset({int}): "N", frozenset({float}): "X"}
_MAX_LISTED_CHOICES = 9  # more would fill the screen: there are over a hundred wavelets


def add_request_options(group: Options) -> None:
    """Add one option per field of :class:`ExplanationRequest`, with its type, choices and documentation."""
    hints, documentation = get_type_hints(ExplanationRequest), attribute_texts(ExplanationRequest)
    for field in dataclasses.fields(ExplanationRequest):
        members = set(get_args(hints[field.name]) or [hints[field.name]]) - {NoneType}
        choices = [choice for choice in CHOICES.get(field.name, ()) if choice is not None]
        listed = choices if 0 < len(choices) <= _MAX_LISTED_CHOICES else None
        metavar = None if listed else _METAVARS.get(frozenset(members), field.name.upper())
        text = _format_help(documentation.get(field.name, "")) + _describe_default(field.name)
        text = text.replace("%", "%%")
        if members == {bool}:
            group.add_argument(format_option(field.name), action="store_true", help=text)
            continue
        group.add_argument(
            format_option(field.name),
            action="append" if field.name == "target" else "store",
            type=str if members == {int, str} else members.pop(),  # text of digits is the model's to read
            choices=listed,
            metavar=metavar,
            help=text + ("; may be repeated" if field.name == "target" else ""),
        )


def _describe_default(name: str) -> str:
    """Describe the defaults of a field: `` (default: 28; sobol: 8; zoom: 32)``, empty for an option that is off."""
    plan = {} if name == "plan" else {"plan": "full"}
    usual = getattr(make_request(**plan), name)
    defaults = [] if usual is None or usual is False else [f"default: {usual}"]
    if name != "kind":
        by_kind = {kind: getattr(make_request(kind=kind, **plan), name) for kind in KINDS}
        defaults += [f"{kind}: {value}" for kind, value in by_kind.items() if value != usual]
    if name != "plan":
        full, adaptive = (getattr(make_request(plan=plan), name) for plan in ("full", "adaptive"))
        defaults += [f"plan adaptive: {adaptive}"] if adaptive != full else []
    return f" ({'; '.join(defaults)})" if defaults else ""


def add_models_file(parser: Options) -> None:
    """Add ``--models FILE``."""
    parser.add_argument(
        "--models",
        dest="models_file",
        metavar="FILE",
        type=Path,
        help="a model registry in YAML (default: built in)",
    )


def add_api_keys(parser: Options) -> None:
    """Add ``--api-keys FILE``."""
    parser.add_argument(
        format_option("api_keys_file"),
        dest="api_keys_file",
        metavar="FILE",
        type=Path,
        help="names, hashes and quotas of API keys in YAML; 'wavescope keys new NAME' makes entries",
    )


def build_settings(given: dict[str, Any]) -> Settings:
    """Build the settings: options of the command line take precedence over the environment."""
    from wavescope.settings import load_settings

    return load_settings(**{name: given[name] for name in SETTINGS if name in given})


def list_request_fields() -> list[str]:
    """List the fields of a request, which have an option each."""
    return [field.name for field in dataclasses.fields(ExplanationRequest)]


def format_option(field: str) -> str:
    """Format a field as the option of the command line."""
    return RENAMED.get(field) or "--" + field.replace("_", "-")


def _format_help(text: str) -> str:
    """Format the first sentence of a field's documentation as help of its option."""
    sentence = re.split(r"\.(?:\s|$)", text)[0]
    sentence = sentence.replace("``None`` for", "leave it out for").replace("``None``", "leaving it out")
    return sentence.replace("``", "")
