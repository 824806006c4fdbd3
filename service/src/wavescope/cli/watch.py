"""``wavescope watch``: watch a folder of images for change, in this process."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from wavescope.cli.options import add_models_file, build_settings
from wavescope.engine.monitors.watch_plan import PROFILE_RATE, REFERENCE, REFERENCE_S, WatchPlan
from wavescope.errors import InvalidRequest
from wavescope.imaging.folders import ImageFile, Listing, follow, list_folder, settle

if TYPE_CHECKING:
    from wavescope.cli.options import Commands

EXIT_ALARM = 3
_LEAST = 130  # images of a reference; see least_reference
WATCH_FIELDS = ("reference", "mean_observations", "profile_rate", "reference_s", "max_reference", "seed")
_EXAMPLES = f"""\
examples:
  wavescope watch today --reference clean --once
      has anything changed in the images of the folder today, against those of the folder clean? Ends with
      status 0 where no alarm was raised, {EXIT_ALARM} where one was
  wavescope watch incoming --reference clean
      the same, and goes on with what comes into the folder until it is interrupted
  wavescope watch incoming
      its first {REFERENCE} images are the reference
  wavescope watch today --reference clean --once --json | jq -c '[.event, .image, .verdict]'
      an object a line, for a pipe
  wavescope watch today --reference clean --once --profile-rate 0.2
      which scales the model relies on is watched as well, however long profiles of the reference take
"""


def add_watch(commands: Commands) -> None:
    """Add ``wavescope watch`` to the commands."""
    parser = commands.add_parser(
        "watch",
        help="watch a folder of images for change",
        description="Watches a folder of images for change, in this process: of the images, of the model's confidence, "
        "and of the scales that it relies on. Files are taken in the order of their times. One that cannot be decoded "
        "is an observation too; hidden files and what is not named like an image are passed over. Exit status: 0 for "
        f"no alarm, {EXIT_ALARM} for one (with --once), 2 for an error, 130 when interrupted.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(run=_watch)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the images, in it and in folders within")
    parser.add_argument(
        "--reference",
        metavar="FOLDER",
        type=Path,
        help=f"images on which all was well, at least {_LEAST}; they are read in an order that is drawn from --seed "
        f"(default: the first images of FOLDER, {REFERENCE}, or with --once the first half if that is less)",
    )
    parser.add_argument(
        "--once", action="store_true", help="end with the images that are there, instead of waiting for more"
    )
    parser.add_argument("--json", action="store_true", help="write an object a line to standard output")
    parser.add_argument(
        "--mean-observations",
        metavar="N",
        type=float,
        help="mean number of images to a false alarm, at least this "
        f"(default: {WatchPlan().mean_observations:,.0f})",
    )
    parser.add_argument(
        "--profile-rate",
        metavar="X",
        type=float,
        help="share of the images whose profile is made, 0 to 1, and all of the reference "
        f"(default: {PROFILE_RATE} where that of the reference takes at most --reference-s, otherwise 0)",
    )
    parser.add_argument(
        "--reference-s",
        metavar="X",
        type=float,
        help=f"seconds that profiles of the reference may take (default: {REFERENCE_S:g})",
    )
    parser.add_argument(
        "--max-reference",
        metavar="N",
        type=int,
        help=f"images of the reference that are taken at most (default: {REFERENCE})",
    )
    parser.add_argument("--seed", metavar="N", type=int, help="of all that is drawn (default: 0)")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model of the registry (default: its only one; of several efficientnet-lite0)",
    )
    add_models_file(parser)


def _watch(arguments: argparse.Namespace) -> int:
    given = vars(arguments)
    folder, clean = arguments.folder, given.get("reference")
    once = given.get("once", False)
    _check_folders(folder, clean)
    images, reference, note = _sources(folder, clean, given.get("max_reference", REFERENCE), once=once)
    from wavescope import api
    from wavescope.cli.watch_text import Report, object_of

    report = None if given.get("json", False) else Report(folder, clean, note, Console(highlight=False))
    model = {name: given[name] for name in ("model", "models_file") if name in given}
    plan = {name: given[name] for name in WATCH_FIELDS[1:] if name in given}
    events = api.watch(
        (file.path for file in images),
        reference if isinstance(reference, int) else [file.path for file in reference],
        settings=build_settings(given),
        **model,
        **plan,
    )
    alarm = False
    for event in events:
        alarm = alarm or event.name == "alarm"
        if report is not None:
            report.print(event)
        else:
            sys.stdout.write(object_of(event) + "\n")
            sys.stdout.flush()
        if event.name in ("rejected", "stale"):
            raise InvalidRequest(event.summary.reason, field="reference")
    return EXIT_ALARM if alarm else 0


def _check_folders(folder: Path, clean: Path | None) -> None:
    if clean is not None and clean.is_dir() and folder.is_dir() and clean.samefile(folder):
        raise InvalidRequest(
            "is the folder that is watched: give another one, or leave it out for the first images of FOLDER",
            field="reference",
        )


def _sources(
    folder: Path, clean: Path | None, most: int, *, once: bool
) -> tuple[Iterable[ImageFile], list[ImageFile] | int, str]:
    """The images, the reference or its number, and a sentence on files that were passed over."""
    without = [] if clean is None else [clean]
    listing = settle(folder, without=without) if once else list_folder(folder, without=without)
    others = (
        f"{listing.others:,} files that are not named like images are passed over" if listing.others else ""
    )
    if once and not listing.images:
        raise InvalidRequest(
            f"there are no images in {folder}" + (f"; {others}" if others else ""), field="folder"
        )
    if not listing.images:
        others = f"there are no images in {folder} yet" + (f"; {others}" if others else "")
    images: Iterable[ImageFile] = listing.images if once else follow(folder, without=without)
    if clean is not None:
        return images, _reference(clean, folder), others
    if not once:
        return images, most, others
    return images, _first(listing, most), others


def _reference(clean: Path, folder: Path) -> list[ImageFile]:
    try:
        listing = list_folder(clean, without=[folder])
    except InvalidRequest as unread:
        raise InvalidRequest(unread.message, field="reference") from None
    return list(listing.images)


def _first(listing: Listing, most: int) -> int:
    count = len(listing.images)
    if count < 2 * _LEAST:
        raise InvalidRequest(
            f"FOLDER has {count:,} images; without --reference its first half is the reference, which must have at "
            f"least {_LEAST}: give --reference, or at least {2 * _LEAST} images",
            field="folder",
            minimum=2 * _LEAST,
        )
    return min(most, count // 2)
