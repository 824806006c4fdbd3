"""Parser of the command line; runs a command and prints its errors."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wavescope._version import __version__
from wavescope.cli.explain import add_explain
from wavescope.cli.files import OUTPUTS
from wavescope.cli.keys import add_keys
from wavescope.cli.options import PREDICTOR, SETTINGS, add_models_file, format_option, list_request_fields
from wavescope.cli.serve import add_serve
from wavescope.cli.watch import WATCH_FIELDS, add_watch
from wavescope.errors import WavescopeError

if TYPE_CHECKING:
    from wavescope.cli.options import Commands

EXIT_ERROR = 2
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


class _Parser(argparse.ArgumentParser):
    """Argument parser that prints an error on one line; the usage would hide it.

    It accepts no abbreviations: they would break with new options.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(allow_abbrev=False, **given)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_ERROR, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status, as :func:`wavescope.cli.main`, which reports interrupts.

    Args:
        argv: the arguments; ``None`` for those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A class name must not fail on a terminal that cannot show it.
            stream.reconfigure(errors="replace")
    arguments = build_parser().parse_args(argv)
    try:
        status = arguments.run(arguments) or 0
        sys.stdout.flush()
    except WavescopeError as error:
        sys.stderr.write(f"wavescope: error: {_format_error(error, vars(arguments).get('images', []))}\n")
        return EXIT_ERROR
    except BrokenPipeError:
        # The interpreter flushes once more on its way out, and would complain about the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return status


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands. Each sets ``run`` to the function that carries it out.

    That returns the exit status, or ``None`` for 0.
    """
    parser = _Parser(
        prog="wavescope",
        description="Explains image classifiers: where a model looks, and on which scales.",
    )
    parser.add_argument("--version", action="version", version=f"wavescope {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_explain(commands)
    add_watch(commands)
    _add_models(commands)
    add_serve(commands)
    add_keys(commands)
    return parser


def _add_models(commands: Commands) -> None:
    parser = commands.add_parser(
        "models",
        help="list the models of a registry",
        description="Lists the models that a registry declares, without loading them.",
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(run=_list_models)
    add_models_file(parser)


def _list_models(arguments: argparse.Namespace) -> None:
    from wavescope.settings import load_registry

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("name", "source", "runtime", "precision", "device", "input", "replicas"):
        table.add_column(name, overflow="fold", no_wrap=name in ("name", "replicas"))
    for spec in load_registry(vars(arguments).get("models_file")):
        replicas = spec.min_replicas, spec.max_replicas
        table.add_row(
            Text(spec.name),
            Text(spec.source),
            spec.source_kind.runtime,
            spec.precision,
            spec.device,
            "from its weights"
            if spec.preprocessing is None
            else "×".join(map(str, spec.preprocessing.shape)),
            str(replicas[0]) if replicas[0] == replicas[1] else f"{replicas[0]}-{replicas[1]}",
        )
    console = Console(highlight=False)
    if not console.is_terminal:  # what reads a pipe should not find names folded to 80 characters
        unbounded = console.options.update(max_width=10_000)
        console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table)


def _format_error(error: WavescopeError, images: Sequence[str]) -> str:
    """Format an error as one line that names the option, or the one of several images, as the command line has it."""
    message = " ".join(error.message.split())
    field = error.field
    if field is None:
        return message
    options = {
        name: format_option(name) for name in (*list_request_fields(), *SETTINGS, *PREDICTOR, "model", "dpi")
    }
    options |= {name: format_option(name) for name in WATCH_FIELDS} | {"folder": "FOLDER"}
    options |= {"image": "IMAGE", "other": "--other", "targets": "--target", **OUTPUTS}
    if batched := re.fullmatch(r"images\[(\d+)\]", field):
        path = images[int(batched[1])]
        if message.startswith((f"cannot read {path}: ", f"{path} is a directory")):
            return message
        return f"{path}: {message.removeprefix(f'{field}: ').replace(field, 'the image')}"
    if field not in options and field in message:
        return message  # a field of a file: it says where itself
    return f"{options.get(field, field)}: {message}"
