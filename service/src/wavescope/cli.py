"""The command line: ``wavescope serve``, ``wavescope explain`` and ``wavescope models``."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_type_hints

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from wavescope import __version__
from wavescope.engine.choices import CHOICES
from wavescope.engine.types import Explanation, ExplanationRequest
from wavescope.errors import InvalidRequest, WavescopeError
from wavescope.figures.terminal import report

if TYPE_CHECKING:
    from wavescope.settings import Settings

    _Options = argparse._ActionsContainer
    _Commands = argparse._SubParsersAction["_Parser"]

STDIO = "-"
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

_MAX_LISTED_CHOICES = 8  # more would fill the screen: there are over a hundred wavelets
_OUTPUTS = {"output": "-o/--output", "json": "--json", "npz": "--npz"}
_SETTINGS = ("host", "port", "grpc_port", "no_auth", "log_level")  # of serve

_EXPLAIN_EXAMPLES = """\
examples:
  wavescope explain cat.jpg -o cat.png
      the figure, with the parameters of the paper
  wavescope explain cat.jpg --grid-size 8 --nb-design 4
      a quick look: 264 forwards
  wavescope explain cat.jpg --target tabby --score logit
      another class than the predicted one, another score
  curl -s https://host/cat.jpg | wavescope explain - --partition subbands --json -
      importance per sub-band only, from a pipe to a pipe
"""
_SERVE_EXAMPLES = """\
examples:
  wavescope serve
      the embedded model on http://127.0.0.1:8000
  wavescope serve --models models.yaml --port 8080
      the models of a registry
  wavescope serve --host 0.0.0.0 --no-auth
      on every interface, without keys
"""


class _Parser(argparse.ArgumentParser):
    """Tells an error on one line, as the usage would hide it.

    Knows no abbreviations: they would break with new options.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(allow_abbrev=False, **given)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_ERROR, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments; ``None`` for those of the process.

    Returns:
        The exit status: 0, 2 for an error that the caller can mend, 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a class name must not fail on a terminal that cannot show it
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except WavescopeError as error:
        sys.stderr.write(f"wavescope: error: {_error_line(error)}\n")
        return EXIT_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("wavescope: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more on its way out, and would complain about the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Each sets ``run`` to the function that carries it out."""
    parser = _Parser(
        prog="wavescope",
        description="Explains image classifiers: where a model looks, and on which scales.",
    )
    parser.add_argument("--version", action="version", version=f"wavescope {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_explain(commands)
    _add_models(commands)
    _add_serve(commands)
    return parser


def _add_explain(commands: _Commands) -> None:
    parser = commands.add_parser(
        "explain",
        help="explain one image, in this process",
        description="Explains one image in this process and prints the importance of each scale.",
        epilog=_EXPLAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # what is not given is left to the engine's defaults
    )
    parser.set_defaults(run=_explain)
    parser.add_argument("image", metavar="IMAGE", help="an image file, or - for standard input")
    outputs = parser.add_argument_group("outputs", "each is a file, or - for standard output")
    outputs.add_argument("-o", "--output", metavar="PNG", help="write the figure")
    outputs.add_argument(
        "--dpi", type=int, help="resolution of the figure, which is 12 inches wide (default: 100)"
    )
    outputs.add_argument("--json", metavar="FILE", help="write what the service would reply")
    outputs.add_argument("--npz", metavar="FILE", help="write the arrays as a NumPy archive")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", metavar="NAME", help="a model of the registry (default: efficientnet-lite0)"
    )
    _add_models_file(model)
    request = parser.add_argument_group(
        "request", "the parameters of the explanation; defaults are the paper's"
    )
    _add_request_options(request)


def _add_request_options(group: _Options) -> None:
    """One option per field of :class:`ExplanationRequest`, with its type, choices and documentation."""
    hints, documentation = get_type_hints(ExplanationRequest), _field_documentation(ExplanationRequest)
    for field in dataclasses.fields(ExplanationRequest):
        members = list(get_args(hints[field.name]) or [hints[field.name]])
        choices = CHOICES.get(field.name, ())
        listed = choices if 0 < len(choices) <= _MAX_LISTED_CHOICES else None
        text = documentation.get(field.name, "")
        if field.default is not None:
            text += f" (default: {field.default})"
        group.add_argument(
            _flag(field.name),
            dest=field.name,
            type=_number_or_name if {int, str} <= set(members) else members[0],
            choices=listed,
            metavar=None if listed else "N" if members == [int] else field.name.upper(),
            help=text.replace("%", "%%"),
        )


def _add_models(commands: _Commands) -> None:
    parser = commands.add_parser(
        "models",
        help="list the models of a registry",
        description="Lists the models that a registry declares, without loading them.",
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(run=_models)
    _add_models_file(parser)


def _add_serve(commands: _Commands) -> None:
    parser = commands.add_parser(
        "serve",
        help="run the service until SIGINT or SIGTERM",
        description="Runs the service (HTTP and gRPC, on Ray Serve) until SIGINT or SIGTERM.",
        epilog=_SERVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(run=_serve)
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="of HTTP (default: 8000)")
    parser.add_argument("--grpc-port", type=int, metavar="PORT", help="of gRPC, 0 for none (default: 9000)")
    parser.add_argument("--no-auth", action="store_true", help="serve other hosts without keys")
    levels = ("debug", "info", "warning", "error", "critical")
    parser.add_argument("--log-level", choices=levels, help="least severe message to log (default: info)")
    _add_models_file(parser)


def _add_models_file(parser: _Options) -> None:
    parser.add_argument(
        "--models",
        dest="models_file",
        metavar="FILE",
        type=Path,
        help="a model registry in YAML (default: built in)",
    )


def _explain(arguments: argparse.Namespace) -> None:
    given = vars(arguments)
    request = {name: given[name] for name in (*_request_fields(), "model", "models_file") if name in given}
    outputs = {name: given[name] for name in _OUTPUTS if name in given}
    _check_outputs(outputs, arguments.image)
    if "dpi" in given:
        from wavescope.figures.draw import check_dpi

        check_dpi(arguments.dpi)
    image = _read_image(arguments.image)
    with _progress() as progress:
        from wavescope import api  # here, so that the spinner shows while the model loads

        explanation = api.explain(image, settings=_settings(given), progress=progress, **request)
    console = Console(stderr=STDIO in outputs.values(), highlight=False)
    ascii_only = console.options.ascii_only
    console.print(report(explanation, width=console.width, ascii_only=ascii_only))
    for name, destination in outputs.items():
        _write(name, destination, _encode(name, explanation, given.get("dpi")))
        if destination != STDIO:
            console.print(Text(f"wrote {destination}"), soft_wrap=True)


def _encode(output: str, explanation: Explanation, dpi: int | None) -> bytes:
    if output == "output":
        from wavescope.figures.draw import draw_png

        return draw_png(explanation) if dpi is None else draw_png(explanation, dpi=dpi)
    from wavescope.ingress.replies import encode_json, encode_npz

    return encode_json(explanation) + b"\n" if output == "json" else encode_npz(explanation)


def _models(arguments: argparse.Namespace) -> None:
    from wavescope.settings import load_registry

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("name", "source", "runtime", "precision", "device", "input", "replicas"):
        table.add_column(name, overflow="fold", no_wrap=name in ("name", "replicas"))
    for spec in load_registry(vars(arguments).get("models_file")):
        replicas = spec.min_replicas, spec.max_replicas
        table.add_row(
            Text(spec.name),
            Text(spec.source),
            "ONNX Runtime" if spec.kind in ("embedded", "onnx") else "torch",
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


def _serve(arguments: argparse.Namespace) -> None:
    from wavescope.serving.run import serve  # here only: nothing else of the command line needs Ray
    from wavescope.settings import load_registry

    given = vars(arguments)
    serve(_settings(given), load_registry(given.get("models_file")))


def _settings(given: dict[str, Any]) -> Settings:
    """The settings: what was given on the command line over what the environment says."""
    from wavescope.settings import load_settings

    return load_settings(**{name: given[name] for name in _SETTINGS if name in given})


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error where that is a terminal; yields ``progress(done, total)``."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, description="forwards", completed=done, total=total)

        yield report


def _read_image(source: str) -> bytes:
    """The bytes of a file, or of standard input.

    Raises:
        InvalidRequest: it cannot be read.
    """
    if source == STDIO:
        if sys.stdin.isatty():
            raise InvalidRequest("- reads standard input, but that is a terminal", field="image")
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {source}: {error.strerror}", field="image") from error


def _check_outputs(outputs: dict[str, str], image: str) -> None:
    """Finds what would keep the results from being written before the minute that it takes to compute them.

    Raises:
        InvalidRequest: names the option.
    """
    if list(outputs.values()).count(STDIO) > 1:
        raise InvalidRequest("only one output can go to standard output", field="output")
    seen = {os.path.realpath(image): "the image itself"} if image != STDIO else {}
    for name, destination in outputs.items():
        if destination == STDIO:
            continue
        path = Path(destination)
        real = os.path.realpath(path)
        if real in seen:
            raise InvalidRequest(f"{destination} is {seen[real]}", field=name)
        seen[real] = f"the file of {_OUTPUTS[name]} too"
        _check_writable(name, path)
        if name == "output" and path.suffix.lower() not in ("", ".png"):
            raise InvalidRequest(f"the figure is a PNG: {destination} must end in .png", field=name)


def _check_writable(name: str, path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise InvalidRequest(f"cannot write {path}: there is no directory {folder}", field=name)
    if path.is_dir():
        raise InvalidRequest(f"cannot write {path}: it is a directory", field=name)
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InvalidRequest(f"cannot write {path}: permission denied", field=name)


def _write(name: str, destination: str, content: bytes) -> None:
    if destination == STDIO:
        sys.stdout.buffer.write(content)
        return
    try:
        Path(destination).write_bytes(content)
    except OSError as error:
        raise InvalidRequest(f"cannot write {destination}: {error.strerror}", field=name) from error


def _error_line(error: WavescopeError) -> str:
    """One line that names the option at fault as it is written on the command line."""
    message = " ".join(error.message.split())
    field = error.field
    if field is None:
        return message
    options = {name: _flag(name) for name in (*_request_fields(), *_SETTINGS, "model", "dpi")}
    options |= {"image": "IMAGE", **_OUTPUTS}
    if field not in options and field in message:
        return message  # a field of a file: it says where itself
    return f"{options.get(field, field)}: {message}"


def _request_fields() -> list[str]:
    return [field.name for field in dataclasses.fields(ExplanationRequest)]


def _flag(field: str) -> str:
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


if __name__ == "__main__":
    sys.exit(main())
