"""Files of the command line: images that are read, figures and numbers that are written; ``-`` is a standard stream."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from wavescope.engine.kinds import KINDS, find_kind
from wavescope.engine.types import Explanation
from wavescope.errors import InvalidRequest

STDIO = "-"
OUTPUTS = {
    "output": "-o/--output",
    "sufficient_image": "--sufficient-image",
    "json": "--json",
    "npz": "--npz",
}
_PICTURES = ("output", "sufficient_image")  # a file per explanation; the others hold a whole batch


def find_destinations(given: dict[str, Any], count: int) -> dict[str, list[str]]:
    """Find the files of every output: a picture for each of ``count`` explanations, one file of anything else.

    Raises:
        InvalidRequest: pictures that cannot be made, or would overwrite each other.
    """
    if "sufficient_image" in given and "sufficiency" not in find_kind(given.get("kind")).sections:
        takers = " or ".join(kind.name for kind in KINDS.values() if "sufficiency" in kind.sections)
        raise InvalidRequest(f"goes with --kind {takers}", field="sufficient_image")
    found = {name: [given[name]] for name in OUTPUTS if name in given}
    for name in _PICTURES:
        if name in found and count > 1:
            path = Path(given[name])
            if given[name] == STDIO:
                raise InvalidRequest(f"standard output takes one picture, not {count}", field=name)
            found[name] = [str(path.with_stem(f"{path.stem}-{place + 1}")) for place in range(count)]
    return found


def encode(output: str, explanations: list[Explanation], dpi: int | None) -> list[bytes | None]:
    """Encode the files of an output; ``None`` where there is no sufficient image."""
    if output == "output":
        from wavescope.figures.draw import draw_png

        return [draw_png(each) if dpi is None else draw_png(each, dpi=dpi) for each in explanations]
    from wavescope.ingress import replies

    if output == "sufficient_image":
        found = [each.sufficiency and each.sufficiency.image for each in explanations]
        return [None if image is None else replies.encode_png(image) for image in found]
    one = len(explanations) == 1
    if output == "json":
        encoded = replies.encode_json(explanations[0]) if one else replies.encode_batch_json(explanations)
        return [encoded + b"\n"]
    return [replies.encode_npz(explanations[0]) if one else replies.encode_batch_npz(explanations)]


def read_image(source: str, field: str) -> bytes:
    """Read the bytes of a file, or of standard input.

    Raises:
        InvalidRequest: it cannot be read; names ``field``.
    """
    if source == STDIO:
        if sys.stdin.isatty():
            raise InvalidRequest("- reads standard input, but that is a terminal", field=field)
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except IsADirectoryError as error:
        files = Path(source) / "*.png"
        raise InvalidRequest(
            f"{source} is a directory: give its files, such as {files}", field=field
        ) from error
    except OSError as error:
        raise InvalidRequest(f"cannot read {source}: {error.strerror}", field=field) from error


def check_files(outputs: dict[str, list[str]], images: list[str]) -> None:
    """Check that all results can be written, before the minute that it takes to compute them.

    Raises:
        InvalidRequest: names the option.
    """
    if images.count(STDIO) > 1:
        raise InvalidRequest("only one image can come from standard input", field="image")
    if list(outputs.values()).count([STDIO]) > 1:
        raise InvalidRequest("only one output can go to standard output", field="output")
    seen = {os.path.realpath(image): "the image itself" for image in images if image != STDIO}
    for name, destination in ((name, each) for name, found in outputs.items() for each in found):
        if destination == STDIO:
            continue
        path = Path(destination)
        real = os.path.realpath(path)
        if real in seen:
            raise InvalidRequest(f"{destination} is {seen[real]}", field=name)
        seen[real] = f"the file of {OUTPUTS[name]} too"
        _check_writable(name, path)
        if name in _PICTURES and path.suffix.lower() not in ("", ".png"):
            raise InvalidRequest(f"the picture is a PNG: {destination} must end in .png", field=name)


def _check_writable(name: str, path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise InvalidRequest(f"cannot write {path}: there is no directory {folder}", field=name)
    if path.is_dir():
        raise InvalidRequest(f"cannot write {path}: it is a directory", field=name)
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InvalidRequest(f"cannot write {path}: permission denied", field=name)


def write(name: str, destination: str, content: bytes | None, console: Console) -> None:
    """Write an output, and print its file name."""
    if content is None:
        console.print(Text(f"not written: {destination} (there is no sufficient image)"), soft_wrap=True)
        return
    if destination == STDIO:
        sys.stdout.buffer.write(content)
        return
    try:
        Path(destination).write_bytes(content)
    except OSError as error:
        raise InvalidRequest(f"cannot write {destination}: {error.strerror}", field=name) from error
    console.print(Text(f"wrote {destination}"), soft_wrap=True)
