"""Image files with damage of every kind, and a runner that decodes many of them in this process.

    python -m tests.fuzz.images --count 10000 --seed 0

Ends with an error where one raises anything but what a caller is told, takes too long, or needs too much memory.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
from PIL import Image, features
from skimage import data as photographs

from wavescope.engine.types import Preprocessing
from wavescope.errors import ImageTooLarge, InvalidRequest, NotAnImage
from wavescope.imaging.decode import decode
from wavescope.imaging.limits import ImageLimits

MAX_PIXELS = 1_000_000
MAX_GROWTH_MIB = 256
MAX_S = 20.0  # of the processor, for any one file
ORIENTATION = 0x0112
TOLD = (NotAnImage, ImageTooLarge, InvalidRequest)
PREPROCESSING = Preprocessing(size=(32, 32), resize=None)
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def sound_files() -> list[bytes]:
    """Photographs in every format, mode and layout that Pillow writes and we read."""
    colour = Image.fromarray(photographs.chelsea()).resize((60, 40))
    grey = Image.fromarray(photographs.camera()).resize((50, 40))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    palette = colour.quantize(32)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    clear = colour.copy()
    clear.putalpha(grey.resize(colour.size))
    frames = {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)]}
    written = [
        (colour, "PNG", {}),
        (palette, "PNG", {"transparency": 3}),
        (deep, "PNG", {}),
        (clear, "PNG", frames),
        (grey.convert("1"), "PNG", {}),
        (colour, "JPEG", {"exif": exif}),
        (colour, "JPEG", {"progressive": True, "icc_profile": b"\0" * 300}),
        (colour.convert("CMYK"), "JPEG", {}),
        (palette, "GIF", frames),
        (colour, "TIFF", {"exif": exif}),
        (colour, "TIFF", {"compression": "jpeg"}),
        (clear, "TIFF", {"compression": "tiff_lzw", **frames}),
        (deep, "TIFF", {"compression": "tiff_deflate"}),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        (Image.fromarray(np.asarray(grey, np.float32) / 255), "TIFF", {}),
        (colour, "BMP", {}),
        (palette, "BMP", {}),
        (colour, "PPM", {}),
        (colour, "WEBP", {"exif": exif}),
        (clear, "WEBP", {"lossless": True, **frames}),
    ]
    for name, feature in (("JPEG2000", "jpg_2000"), ("AVIF", "avif")):
        if features.check(feature):
            written.append((colour, name, {}))
    plain = b"P3 16 16 255\n" + b"1 2 3 " * 256
    return [_encoded(image, name, options) for image, name, options in written] + [plain]


def _encoded(image: Image.Image, name: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def mutated_files(seed: int) -> Iterator[bytes]:
    """Without end: sound files with one to four damages each."""
    rng = np.random.default_rng(seed)
    files = sound_files()
    while True:
        chosen = bytearray(files[rng.integers(len(files))])
        for _ in range(rng.integers(1, 5)):
            chosen = _damaged(chosen, files, rng)
        yield bytes(chosen)


def _damaged(file: bytearray, files: list[bytes], rng: np.random.Generator) -> bytearray:
    if not file:
        return bytearray(rng.bytes(rng.integers(0, 64)))
    # Headers are short, and most of what can go wrong is in them.
    reach = len(file) if rng.random() < 0.4 else min(len(file), 64)
    at = int(rng.integers(reach))
    match rng.integers(8):
        case 0:
            file[at] ^= 1 << rng.integers(8)
        case 1:
            file[at] = rng.choice(INTERESTING)
        case 2:
            file[at : at + 4] = rng.choice(INTERESTING, 4).astype(np.uint8).tobytes()
        case 3:
            file[at : at + 4] = rng.bytes(4)
        case 4:
            del file[int(rng.integers(len(file))) :]
        case 5:
            del file[at : at + int(rng.integers(1, 64))]
        case 6:
            piece = file[at : at + int(rng.integers(1, 256))]
            file[at:at] = piece * int(rng.integers(1, 50))
        case _:
            other = files[rng.integers(len(files))]
            start = int(rng.integers(len(other)))
            file[at:at] = other[start : start + int(rng.integers(1, 256))]
    return file


def outcome(file: bytes) -> str:
    """``decoded``, or the code of the error that is told; raises whatever else happens."""
    try:
        decode(file, PREPROCESSING, limits=ImageLimits(max_pixels=MAX_PIXELS))
    except TOLD as error:
        return error.code
    return "decoded"


def main() -> int:
    """Decodes ``--count`` files; prints what came of them as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow tells of odd metadata
    for file in sound_files():
        assert outcome(file) == "decoded"
    before_mib = _peak_mib()
    outcomes: Counter[str] = Counter()
    slowest_s, failed = 0.0, False
    for number, file in enumerate(islice(mutated_files(arguments.seed), arguments.count)):
        began = time.process_time()  # other processes may be at work
        try:
            outcomes[outcome(file)] += 1
        except Exception as error:  # noqa: BLE001  # what this looks for
            outcomes[type(error).__name__] += 1
            failed = True
            print(f"file {number} of seed {arguments.seed}: {error!r}", file=sys.stderr)
        slowest_s = max(slowest_s, time.process_time() - began)
    growth_mib = _peak_mib() - before_mib
    print(json.dumps({"outcomes": outcomes, "slowest_s": round(slowest_s, 3), "growth_mib": growth_mib}))
    return int(failed or slowest_s > MAX_S or growth_mib > MAX_GROWTH_MIB)


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    raise SystemExit(main())
