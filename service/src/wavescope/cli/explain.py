"""``wavescope explain``: explain images in this process."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from wavescope.cli.files import STDIO, check_files, encode, find_destinations, read_image, write
from wavescope.cli.options import add_models_file, add_request_options, build_settings, list_request_fields
from wavescope.engine.types import Explanation
from wavescope.errors import InvalidRequest
from wavescope.figures.terminal import report

if TYPE_CHECKING:
    from wavescope.cli.options import Commands

_EXAMPLES = """\
examples:
  wavescope explain cat.jpg -o cat.png
      where and on which scales the model looks; the parameters are the paper's but for the plan: adaptive,
      a tenth of the forwards; what was not perturbed by itself is predicted, and hatched in the picture
  wavescope explain cat.jpg --grid-size 8 --nb-design 4 --target tabby --score logit
      a quick look, 264 forwards: another class than the predicted one, another score
  curl -s https://host/cat.jpg | wavescope explain - --kind profile --json -
      importance per sub-band only, for 96 forwards, from a pipe to a pipe
  wavescope explain cat.jpg --max-forwards 2000 --deadline-s 60 -o cat.png
      smaller errors, from three times the forwards, or from as many as a minute allows
  wavescope explain cat.jpg --plan full
      the paper's own design of 6,288 forwards
  wavescope explain cat.jpg --kind sufficient-image --sufficient-image least.png
      the least of the image that keeps its label; --kind robustness sets it beside 19 corruptions
  wavescope explain cat.jpg --kind compare --other noisy.jpg -o moved.png
      which scales and places gained and lost importance
  wavescope explain cat.jpg --kind fam --partition square
      the frequencies that count; --kind sobol: the pixels; --kind zoom: what enlarging shows
  wavescope explain cat.jpg --kind wam --score logit --method integrated_gradients
      by gradients instead of masks, for the price of 75 forwards; needs a model that has gradients
  wavescope explain a.jpg b.jpg --target tabby --target lynx -o map.png --json all.json
      every image for every class: map-1.png to map-4.png, one JSON document
  wavescope explain photographs/*.png -o map.png
      a folder: map-1.png, map-2.png ... in the order of the files
"""


def add_explain(commands: Commands) -> None:
    """Add ``wavescope explain`` to the commands."""
    parser = commands.add_parser(
        "explain",
        help="explain images, in this process",
        description="Explains images in this process: prints what the model looks at, and writes figures and numbers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # what is not given is left to the engine's defaults
    )
    parser.set_defaults(run=_explain)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image file, or - for standard input")
    parser.add_argument("--other", metavar="IMAGE", help="image that --kind compare compares IMAGE with")
    outputs = parser.add_argument_group(
        "outputs", "each is a file, or - for standard output; pictures of several explanations are numbered"
    )
    outputs.add_argument("-o", "--output", metavar="PNG", help="write the figure")
    outputs.add_argument(
        "--sufficient-image",
        metavar="PNG",
        help="write the sufficient image (kinds sufficient-image, robustness)",
    )
    outputs.add_argument(
        "--dpi", type=int, help="resolution of the figure, which is 12 inches wide (default: 100)"
    )
    outputs.add_argument("--json", metavar="FILE", help="write what the service would reply")
    outputs.add_argument("--npz", metavar="FILE", help="write the arrays as a NumPy archive")
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        metavar="NAME",
        help="a model of the registry (default: its only one; of several efficientnet-lite0)",
    )
    add_models_file(model)
    request = parser.add_argument_group(
        "request",
        "the parameters of the explanation; a default may depend on the kind, on --plan and on --compat",
    )
    add_request_options(request)


def _explain(arguments: argparse.Namespace) -> None:
    given = vars(arguments)
    images, targets = given["images"], given.get("target", [None])
    others = [given["other"]] if "other" in given else []
    count = len(images) * len(targets)
    if others and count > 1:
        raise InvalidRequest("goes with one IMAGE and at most one --target", field="other")
    outputs = find_destinations(given, count)
    check_files(outputs, [*images, *others])
    if "dpi" in given:
        from wavescope.figures.draw import check_dpi

        check_dpi(arguments.dpi)
    read = [
        read_image(source, "image" if len(images) == 1 else f"images[{place}]")
        for place, source in enumerate(images)
    ]
    explanations = _ask(given, read + [read_image(source, "other") for source in others], targets)
    console = Console(stderr=[STDIO] in outputs.values(), highlight=False)
    for place, explanation in enumerate(explanations):
        if len(images) > 1:
            console.print(Text(f"{images[place // len(targets)]}:", style="bold"), soft_wrap=True)
        console.print(report(explanation, width=console.width, ascii_only=console.options.ascii_only))
    for name, destinations in outputs.items():
        contents = encode(name, explanations, given.get("dpi"))
        for destination, content in zip(destinations, contents, strict=True):
            write(name, destination, content, console)


def _ask(given: dict[str, Any], images: list[bytes], targets: list[str | None]) -> list[Explanation]:
    """Compute the explanations, image by image and target by target.

    Args:
        given: the options; what is not among them is left to the engine's defaults.
        images: those to be explained, last the one to compare with where there is one.
        targets: classes that every image is explained for.
    """
    names = set(list_request_fields()) - {"target"} | {"model", "models_file"}
    request = {name: value for name, value in given.items() if name in names}
    with _show_progress() as progress:
        from wavescope import api  # here, so that the spinner shows while the model loads

        request |= {"settings": build_settings(given), "progress": progress}
        if len(given["images"]) * len(targets) > 1:
            return api.explain_batch(images, [targets] * len(images), **request)
        other = images[1] if "other" in given else None
        return [api.explain(images[0], other=other, target=targets[0], **request)]


@contextmanager
def _show_progress() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error where that is a terminal; yields ``progress(done, total)``."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, description="forwards", completed=done, total=total)

        yield report
