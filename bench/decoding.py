"""Time of decoding by format, mode, layout and content: measured, and as ``wavescope.imaging.decode_cost`` expects it.

    python -m bench.decoding [--side 2000] [--out bench/results/decoding.md]

Every file is decoded in a fork of its own: seconds of a processor (user and system, all threads).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data as photographs
from tests.imaging import expensive

from wavescope.engine.types import Preprocessing
from wavescope.imaging.decode import decode, estimate_decode_cost

SIDE = 2000
# Format, mode and options of Pillow's: those that are common, and those that are dear.
LAYOUTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JPEG", "RGB", {"quality": 90}),
    ("JPEG", "RGB", {"quality": 100, "subsampling": 0}),
    ("JPEG", "RGB", {"quality": 90, "progressive": True}),
    ("JPEG", "CMYK", {"quality": 100}),
    ("PNG", "RGB", {"compress_level": 1}),
    ("PNG", "RGBA", {"compress_level": 1}),
    ("PNG", "P", {"compress_level": 1}),
    ("PNG", "I;16", {"compress_level": 1}),
    ("WEBP", "RGB", {"quality": 100, "method": 0}),
    ("WEBP", "RGBA", {"lossless": True, "quality": 0, "method": 0}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "RGB", {"compression": "jpeg", "quality": 100}),
    ("TIFF", "RGBA", {"compression": "lzma"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "LAB", {}),
    ("GIF", "P", {}),
    ("BMP", "RGB", {}),
    ("PPM", "RGB", {}),
    ("JPEG2000", "L", {}),
    ("JPEG2000", "RGB", {}),
    ("JPEG2000", "RGB", {"codeblock_size": (4, 4)}),
    ("JPEG2000", "RGB", {"tile_size": (32, 32)}),
    ("JPEG2000", "RGBA", {}),
    ("AVIF", "RGB", {"speed": 9, "quality": 90}),
    ("AVIF", "RGBA", {"speed": 9, "quality": 100}),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One decoding.

    Attributes:
        seconds: of a processor.
        expected_s: from the header.
    """

    seconds: float
    expected_s: float


def contents(side: int) -> dict[str, np.ndarray]:
    """Pictures (side, side, 3) that cost an entropy decoder little, something and most."""
    photograph = photographs.astronaut()
    tiles = -(-side // len(photograph))
    return {
        "one colour": np.full((side, side, 3), 77, np.uint8),
        "photograph": np.tile(photograph, (tiles, tiles, 1))[:side, :side],
        "noise": np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8),
    }


def measure(data: bytes) -> Measured:
    """Decodes a file in a fork of this process."""
    expected_s = estimate_decode_cost(data).seconds
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        before = resource.getrusage(resource.RUSAGE_SELF)
        decode(data, Preprocessing())
        after = resource.getrusage(resource.RUSAGE_SELF)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        os.write(writing, json.dumps(seconds).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        seconds = json.loads(told.read())
    os.waitpid(child, 0)
    return Measured(seconds, expected_s)


def files(side: int) -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """(layout, content, what makes the file)."""
    for content, pixels in contents(side).items():
        image = Image.fromarray(pixels)
        for name, mode, options in LAYOUTS:
            told = ", ".join(f"{key} {value}" for key, value in options.items() if key != "method")
            layout = f"{name} {mode}" + (f", {told}" if told else "")
            yield layout, content, lambda n=name, m=mode, i=image, o=options: _encoded(i, n, m, o)
    yield "PNG RGBA, 16 bits", "one colour", lambda: expensive.png(side, side, depth=16)
    for scans in (10, 30, 100):
        yield (
            f"JPEG RGB, progressive, {scans} scans",
            "one colour",
            lambda scans=scans: _scans(side, scans),
        )


def _encoded(image: Image.Image, name: str, mode: str, options: dict[str, Any]) -> bytes:
    if mode == "I;16":
        return expensive.encoded(
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), name, **options
        )
    return expensive.encoded(image.convert(mode), name, **options)


def _scans(side: int, scans: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (77, 77, 77)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last, own = data.rindex(b"\xff\xda"), data.count(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - own + 1) + data[-2:]


def main() -> None:
    """Measures, and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=SIDE, help="of the images, px (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="also write the table here")
    arguments = parser.parse_args()
    megapixels = arguments.side**2 / 1e6
    lines = [
        f"What decoding costs: images of {arguments.side} x {arguments.side} px on {platform.processor() or 'x86_64'}, "
        f"{os.cpu_count()} cores, Pillow {Image.__version__}.",
        "",
        f"    python -m bench.decoding --side {arguments.side}",
        "",
        "On a busy machine. `expected`: estimate of `wavescope.imaging.decode_cost` from the header, ms per megapixel.",
        "",
        "| layout | content | bytes per pixel | ms per megapixel | expected |",
        "|---|---|---|---|---|",
    ]
    for layout, content, make in sorted(files(arguments.side), key=lambda one: one[0]):
        try:
            data = make()
        except (OSError, KeyError) as unable:  # a Pillow without this encoder
            print(f"{layout}: {unable}")
            continue
        found = measure(data)
        lines.append(
            f"| {layout} | {content} | {len(data) / megapixels / 1e6:.2f} | {found.seconds / megapixels * 1e3:.0f} "
            f"| {found.expected_s / megapixels * 1e3:.0f} |"
        )
        print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
