"""Files made to break the decoder, or to keep it busy."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import GifImagePlugin, Image
from tests.fuzz.images import mutated_files, outcome, sound_files

from wavescope.errors import ImageTooLarge, NotAnImage
from wavescope.imaging.decode import open_image
from wavescope.imaging.file_structure import (
    MAX_EXIF_BYTES,
    MAX_JPEG_SCANS,
    MAX_PLAIN_BYTES,
    MAX_PNG_CHUNKS,
    MAX_TAG_VALUES,
    MAX_TAGS,
)
from wavescope.imaging.frame_count import MAX_GIF_BLOCKS
from wavescope.imaging.limits import DEFAULT_LIMITS, ImageLimits

ROOT = Path(__file__).parents[2]
SMALL = Image.new("L", (16, 16), 128)


def encoded(name: str, image: Image.Image = SMALL, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_are_decoded_or_told_as_damaged(seed):
    (file,) = islice(mutated_files(seed), 1)
    assert outcome(file) in ("decoded", "not_an_image", "image_too_large", "invalid_request")


def test_damaged_files_need_little_memory():
    command = [sys.executable, "-m", "tests.fuzz.images", "--count", "300"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert sum(json.loads(found.stdout)["outcomes"].values()) == 300


@pytest.mark.parametrize("file", sound_files(), ids=lambda file: repr(file[:4]))
def test_sound_files_are_decoded(file):
    assert outcome(file) == "decoded"


def progressive(repeats: int) -> bytes:
    """A progressive JPEG whose last scan comes as often again."""
    file = encoded("JPEG", progressive=True)
    scan = file[file.rindex(b"\xff\xc4") : -2]
    return file[:-2] + scan * repeats + file[-2:]


def test_jpeg_of_many_scans_is_refused_before_it_is_decoded():
    scans = encoded("JPEG", progressive=True).count(b"\xff\xda")
    assert open_image(progressive(MAX_JPEG_SCANS - scans)).image.size == (16, 16)
    with pytest.raises(NotAnImage, match="more than 100 scans"):
        open_image(progressive(MAX_JPEG_SCANS - scans + 1))


def test_scans_are_counted_in_the_picture_alone():
    preview = b"\xff\xe1" + struct.pack(">H", 2 + 60_000) + b"\xff\xda" * 30_000
    film = b"\xff\xda" * 1000
    file = encoded("JPEG")
    assert open_image(file[:2] + preview + file[2:] + film).image.size == (16, 16)


def test_png_of_many_chunks_is_refused():
    file = encoded("PNG")
    with pytest.raises(NotAnImage, match=f"more than {MAX_PNG_CHUNKS} chunks"):
        open_image(file[:33] + chunk(b"teXt", b"") * MAX_PNG_CHUNKS + file[33:])


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 2**20)) * 100,
        chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"x" * 2**20)) * 100,
        chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 2**26)),
        chunk(b"iCCP", b"k\0\0" + zlib.compress(b"x" * 2**21)) * 2,  # one is read
    ],
)
def test_compressed_metadata_is_not_blown_up(bomb):
    file = encoded("PNG")
    with pytest.raises(NotAnImage, match="damaged or truncated"):
        open_image(file[:33] + bomb + file[33:])


def test_plain_text_is_read_up_to_a_size():
    head = b"P2 1000 600 9\n"
    assert open_image(b"P2 100 60 9\n" + b"0 " * 6000).image.size == (100, 60)
    with pytest.raises(NotAnImage, match=f"more than {MAX_PLAIN_BYTES} bytes of plain text"):
        open_image(head + b"0 " * 600_000)


def tiff(tag: int, values: int, *, big: bool = False, tags: int = 1) -> bytes:
    """A header and one directory: ``tags`` times the same tag with values of two bytes."""
    offset = 16 if big else 8
    blob = b"\1\0" * values
    if big:
        entry = struct.pack("<HHQQ", tag, 3, values, offset)
        directory = struct.pack("<Q", tags) + entry * tags + bytes(8)
        return struct.pack("<2sHHHQ", b"II", 43, 8, 0, offset + len(blob)) + blob + directory
    entry = struct.pack("<HHII", tag, 3, values, offset)
    directory = struct.pack("<H", tags) + entry * tags + bytes(4)
    return struct.pack("<2sHI", b"II", 42, offset + len(blob)) + blob + directory


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tag", [256, 258, 273, 274])
def test_tiff_of_many_values_is_refused(tag, big):
    with pytest.raises(NotAnImage, match=f"more than {MAX_TAG_VALUES} values in a tag"):
        open_image(tiff(tag, MAX_TAG_VALUES + 1, big=big))


def test_tiff_of_many_tags_is_refused():
    with pytest.raises(NotAnImage, match=f"more than {MAX_TAGS} tags"):
        open_image(tiff(256, 1, big=True, tags=MAX_TAGS + 1))


def test_large_exif_data_does_not_turn_the_image():
    exif = tiff(274, MAX_EXIF_BYTES)
    file = encoded("PNG")
    assert open_image(file[:33] + chunk(b"eXIf", exif) + file[33:]).image.size == (16, 16)


def pages(name: str, count: int, **options) -> bytes:
    """A file of so many different frames."""
    others = [Image.new("RGB", (16, 16), (0, 0, 30 * number)) for number in range(1, count)]
    return encoded(name, Image.new("RGB", (16, 16), "red"), save_all=True, append_images=others, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("GIF", {}), ("PNG", {}), ("WEBP", {}), ("TIFF", {}), ("TIFF", {"big_tiff": True}), ("AVIF", {})],
)
def test_frames_are_counted_as_pillow_counts_them(name, options):
    file = pages(name, 7, **options)
    assert Image.open(io.BytesIO(file)).n_frames == 7
    assert open_image(file, limits=ImageLimits(max_frames=7)).image.size == (16, 16)
    with pytest.raises(ImageTooLarge, match="more than 6 frames") as caught:
        open_image(file, limits=ImageLimits(max_frames=6))
    assert (caught.value.field, caught.value.limits) == ("image", {"max_frames": 6})


@pytest.mark.parametrize("name", ["GIF", "PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF"])
def test_a_picture_is_one_frame(name):
    assert open_image(encoded(name, SMALL.convert("RGB")), limits=ImageLimits(max_frames=1)).image.size == (
        16,
        16,
    )


def test_frames_after_the_first_are_not_decoded(monkeypatch):
    file = encoded("GIF")
    frame = file[file.index(b",") : -1]
    film = file[:-1] + frame * DEFAULT_LIMITS.max_frames + b";"
    sought: list[int] = []
    seek = GifImagePlugin.GifImageFile._seek
    monkeypatch.setattr(
        GifImagePlugin.GifImageFile,
        "_seek",
        lambda self, n, *rest: (sought.append(n), seek(self, n, *rest))[1],
    )
    with pytest.raises(ImageTooLarge, match="more than 1000 frames"):
        open_image(film)
    assert open_image(film, limits=ImageLimits(max_frames=DEFAULT_LIMITS.max_frames + 1)).image.size == (
        16,
        16,
    )
    assert set(sought) == {0}


def test_pages_that_lead_back_to_the_first_are_more_than_any_limit():
    file = bytearray(pages("TIFF", 1))
    (first,) = struct.unpack_from("<I", file, 4)
    (entries,) = struct.unpack_from("<H", file, first)
    struct.pack_into("<I", file, first + 2 + 12 * entries, first)
    with pytest.raises(ImageTooLarge, match="more than 1000 frames"):
        open_image(bytes(file))


def test_gif_of_many_blocks_is_refused():
    file = encoded("GIF")
    comment = b"!\xfe" + b"\1x" * (MAX_GIF_BLOCKS + 1) + b"\0"
    with pytest.raises(NotAnImage, match=f"more than {MAX_GIF_BLOCKS} blocks"):
        open_image(file[:-1] + comment + b";")


def test_canvas_of_an_animated_webp_counts():
    file = bytearray(
        encoded(
            "WEBP",
            Image.new("RGBA", (16, 16)),
            save_all=True,
            append_images=[Image.new("RGBA", (16, 16), "red")],
        )
    )
    at = file.index(b"VP8X") + 12
    file[at : at + 6] = struct.pack("<I", 16_382)[:3] * 2
    with pytest.raises(ImageTooLarge, match=r"16383x16383|too many pixels"):
        open_image(bytes(file))
