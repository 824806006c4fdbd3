"""Files that are recognised and not read are named, with what to do."""

from __future__ import annotations

import base64
import io
import json
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from wavescope.engine.types import Preprocessing
from wavescope.errors import NotAnImage
from wavescope.imaging.decode import decode, estimate_decode_cost
from wavescope.imaging.unread_formats import recognise_unread

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def written(format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format, **options)
    return buffer.getvalue()


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def zipped(name: str) -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, b"content")

    return saved(write)


def tarred() -> bytes:
    def write(buffer: io.BytesIO) -> None:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())

    return saved(write)


def container(brand: bytes) -> bytes:
    """The beginning of a file in the container of MPEG-4."""
    return struct.pack(">I", 24) + b"ftyp" + brand + b"\0\0\0\0" + brand + b"mif1" + bytes(200)


def tiff(bits: int, samples: int, sample_format: int) -> bytes:
    """A TIFF of one strip whose pixels Pillow has no mode for."""
    entries = [
        (256, 4, 1, 16),
        (257, 4, 1, 16),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 200),
        (277, 3, 1, samples),
        (278, 4, 1, 16),
        (279, 4, 1, 16 * 16 * samples * bits // 8),
        (339, 3, 1, sample_format),
    ]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0)
    return head.ljust(200, b"\0") + bytes(16 * 16 * samples * bits // 8)


PNG = written("PNG")
UNREAD = {
    "heic": (container(b"heic"), "a HEIC or HEIF file, as telephones write", "convert it to PNG or JPEG"),
    "heif": (container(b"mif1"), "a HEIC or HEIF file", "convert it"),
    "mp4": (container(b"isom"), "a video", "send one frame of it"),
    "mov": (container(b"qt  "), "a video", "send one frame of it"),
    "webm": (b"\x1a\x45\xdf\xa3" + bytes(50), "a video", "send one frame of it"),
    "avi": (b"RIFF\x10\0\0\0AVI LIST" + bytes(50), "a video", "send one frame of it"),
    "cr3": (container(b"crx "), "a raw file of a camera", "develop it"),
    "cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "a raw file of a camera", "develop it"),
    "raf": (b"FUJIFILMCCD-RAW 0201" + bytes(50), "a raw file of a camera", "develop it"),
    "orf": (b"IIRO\x08\0\0\0" + bytes(50), "a raw file of a camera", "develop it"),
    "rw2": (b"IIU\0\x18\0\0\0" + bytes(50), "a raw file of a camera", "develop it"),
    "jxl": (b"\xff\x0a" + bytes(50), "a JPEG XL file", "convert it"),
    "jxl-container": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "a JPEG XL file", "convert it"),
    "jxr": (b"II\xbc\x01" + bytes(50), "a JPEG XR file", "convert it"),
    "psd": (b"8BPS\0\x01" + bytes(50), r"a Photoshop file \(PSD\)", "export it as PNG or JPEG"),
    "xcf": (b"gimp xcf v011\0" + bytes(50), r"a GIMP file", "export it"),
    "ico": (written("ICO"), r"an icon \(ICO\)", "send one of its images"),
    "icns": (b"icns" + bytes(50), r"an icon \(ICNS\)", "send one of its images"),
    "exr": (b"\x76\x2f\x31\x01" + bytes(50), "an OpenEXR file", "map its tones"),
    "hdr": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n", "a Radiance file", "map its tones"),
    "pfm": (b"PF\n8 8\n-1.0\n" + bytes(768), r"a portable float map \(PFM\) of colours", "map its tones"),
    "dds": (written("DDS"), "a texture", "convert it"),
    "dicom": (bytes(128) + b"DICM" + bytes(50), "a DICOM file", "send one slice of it"),
    "nifti": (struct.pack("<I", 348) + bytes(340) + b"n+1\0" + bytes(50), "a NIfTI volume", "send one slice"),
    "fits": (b"SIMPLE  =                    T" + b" " * 50, "a FITS file", "map its tones"),
    "npy": (saved(lambda to: np.save(to, PIXELS)), r"a NumPy array \(\.npy\)", "give the array itself"),
    "npz": (saved(lambda to: np.savez(to, a=PIXELS)), r"an archive of NumPy arrays", "give the array itself"),
    "npz-small": (
        saved(lambda to: np.savez_compressed(to, PIXELS)),
        r"an archive of NumPy",
        "the array itself",
    ),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file", "give the array itself"),
    "zip": (zipped("cat.png"), "a zip archive", "unpack it"),
    "tar": (tarred(), r"an archive \(tar\)", "unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(50), "compressed by gzip", "unpack it"),
    "pdf": (b"%PDF-1.7\n" + bytes(50), "a PDF document", "send the image within"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n" + b" " * 50, "a PostScript drawing", "draw it"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing", "draw it"),
    "svg-alone": (b"<svg/>", "an SVG drawing", "draw it"),
    "html": (b"\n<!DOCTYPE html><html><head></head></html>", "a web page", "send the file itself"),
    "xml": (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "an XML document", "send the file itself"),
    "json": (json.dumps({"error": "not found"}).encode(), "a JSON document", "send the file itself"),
    "text": (b"404: the image was not found on this server", "a text", "send the file itself"),
    "text-utf8": ("Das Bild \u2013 es fehlt. ".encode() * 300, "a text", "send the file itself"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "a Git LFS pointer",
        "git lfs pull",
    ),
    "base64": (base64.b64encode(PNG), "text in base64", "decode it"),
    "base64-lines": (base64.encodebytes(written("JPEG")), "text in base64", "decode it"),
    "base64-url": (base64.urlsafe_b64encode(written("WEBP")).rstrip(b"="), "text in base64", "decode it"),
    "data-url": (
        b"data:image/png;base64," + base64.b64encode(PNG),
        "a data: URL",
        "decode what follows its comma",
    ),
    "utf8-png": (
        PNG.decode("utf-8", "replace").encode(),
        "were converted as if they were text",
        "in binary mode",
    ),
    "latin1-png": (PNG.decode("latin-1").encode(), "were converted as if they were text", "in binary mode"),
    "newline-png": (PNG.replace(b"\r\n", b"\n"), "were converted as if they were text", "in binary mode"),
    "utf8-jpeg": (
        written("JPEG").decode("utf-8", "replace").encode(),
        "as if they were text",
        "in binary mode",
    ),
    "latin1-jpeg": (written("JPEG").decode("latin-1").encode(), "as if they were text", "in binary mode"),
    "tiff-64": (
        tiff(64, 1, 1),
        r"a TIFF whose samples have no rule here \(1 channel of 64 bits\)",
        "send 8 or 16",
    ),
    "tiff-float": (
        tiff(64, 1, 3),
        r"samples have no rule here \(1 channel of 64 float bits\)",
        "send 8 or 16 bits",
    ),
    "tiff-complex": (
        tiff(64, 1, 6),
        r"samples have no rule here \(1 channel of 64 complex bits\)",
        "send 8 or 16",
    ),
    "tiff-7": (tiff(16, 7, 1), r"samples have no rule here \(7 channels of 16 bits\)", "send 8 or 16 bits"),
    "tiff-cut": (
        tiff(64, 1, 1)[:9],
        r"samples have no rule here \(more than 4 channels, ",
        "send 8 or 16 bits",
    ),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", UNREAD)
def test_a_format_that_is_not_read_is_named_with_what_to_do(name: str) -> None:
    data, called, remedy = UNREAD[name]
    with pytest.raises(NotAnImage, match=rf"the image is .*{called}.*: .*{remedy}") as caught:
        decode(data, Preprocessing())
    assert caught.value.field == "image"
    assert "PNG" in caught.value.limits["formats"]
    with pytest.raises(NotAnImage, match=called):
        estimate_decode_cost(data)


@pytest.mark.parametrize("tags", [{50706: b"\x01\x04\0\0"}, {254: 1, 330: 8}], ids=["dng", "preview"])
def test_a_raw_file_is_refused_rather_than_its_preview_read(tags: dict[int, object]) -> None:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    with pytest.raises(
        NotAnImage, match="a raw file of a camera, whose preview alone could be read: develop it"
    ):
        decode(written("TIFF", tiffinfo=directory), Preprocessing())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        b"hello, world",
        bytes(1000),
        b"\xff\xd8\xff\xe0" + bytes(100),
        container(b"avif"),
        b"\x00\xff" * 99,
    ],
    ids=repr,
)
def test_what_cannot_be_said_is_not_guessed(data: bytes) -> None:
    assert recognise_unread(data) is None


@pytest.mark.parametrize(
    "word",
    [
        *("BZhello", "PFx", "PF is", "P7 is", "MMORPG", "IIRO", "IIRSx", "FOVbar", "icns are", "DDS are", "8BPS is"),
        *("Rar!ely", "7z is", "gimp xcf is", "%!PSst", "#?RADIANCEx", "SIMPLE  =x", "MATLAB 5.0 is", "abcdftypical"),
        *("x" * 8 + "AVI ", "x" * 128 + "DICM", "x" * 257 + "ustar", "x" * 8 + "CR "),
    ],
)  # fmt: skip
def test_a_text_that_begins_as_a_format_does_is_a_text(word: str) -> None:
    found = recognise_unread(f"{word} and other words, of a text".encode())
    assert found is not None
    assert found.name == "a text"


def test_base64_and_blanks_take_time_in_proportion_to_their_length() -> None:
    data = b"A" * 16 + b" " * 4000 + b"\xc3\xa9"
    began = time.process_time()
    for _ in range(100):
        recognise_unread(data)
    assert time.process_time() - began < 2


def test_words_are_not_taken_for_base64() -> None:
    found = recognise_unread(b"thisimagehasbeenremovedbyitsowner")
    assert found is not None
    assert found.name == "a text"
