"""Formats that are recognised and not read, or that Pillow would misread: what to do with a file of one."""

from __future__ import annotations

import binascii
import re
import string
from dataclasses import dataclass
from typing import Final

from PIL import Image, TiffImagePlugin

from wavescope.errors import NotAnImage
from wavescope.imaging.file_parts import jp2_header, jpeg2000_bits

_HEAD_BYTES: Final = 4096
_PRINTABLE: Final = frozenset(string.printable.encode())
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_\s-]{16,}=*\s*")
_DNG_VERSION, _NEW_SUBFILE_TYPE, _SUB_IFDS = 50706, 254, 330
_REDUCED_RESOLUTION: Final = 1
_COMPRESSION, _PHOTOMETRIC = 259, 262
_UNCOMPRESSED, _YCBCR = 1, 6
_BITS_PER_SAMPLE: Final = 258
_APPEARANCES: Final = (14, 19)  # enumerated colour spaces of JPEG 2000: CIELab, CIEJab
_CR2: Final = b"CR\x02\x00"


@dataclass(frozen=True, slots=True)
class UnreadFormat:
    """A format that is not read.

    Attributes:
        name: a noun phrase, with its article.
        remedy: what to do instead.
    """

    name: str
    remedy: str


_CONVERT: Final = "convert it to PNG or JPEG"
_DEVELOP: Final = "develop it, and send PNG, TIFF or JPEG"
_DRAW: Final = "draw it at the size that is to be explained, as PNG"
_TONES: Final = "map its tones to 8 or 16 bits, as PNG"
_UNPACK: Final = "unpack it, and send the image within"
_FRAME: Final = "send one frame of it, as PNG or JPEG"
_SLICE: Final = "send one slice of it with its window applied, as PNG"
_ARRAY: Final = "give the array itself in Python, or send it as PNG"
_DOWNLOAD: Final = "send the file itself, not what a server answered in its place"
_BINARY: Final = "send the bytes of the file as they are, opened in binary mode"

_HEIF: Final = UnreadFormat("a HEIC or HEIF file, as telephones write", _CONVERT)
_RAW: Final = UnreadFormat("a raw file of a camera", _DEVELOP)
_VIDEO: Final = UnreadFormat("a video", _FRAME)
_JXL: Final = UnreadFormat("a JPEG XL file", _CONVERT)
_SVG: Final = UnreadFormat("an SVG drawing", _DRAW)
_HTML: Final = UnreadFormat("a web page", _DOWNLOAD)
_XML: Final = UnreadFormat("an XML document", _DOWNLOAD)
_JSON: Final = UnreadFormat("a JSON document", _DOWNLOAD)
_BASE64_TEXT: Final = UnreadFormat("text in base64", "decode it, and send the bytes")
_DATA_URL: Final = UnreadFormat(
    "a data: URL", "decode what follows its comma from base64, and send the bytes"
)
_TEXT: Final = UnreadFormat("a text", _DOWNLOAD)
_NPZ: Final = UnreadFormat("an archive of NumPy arrays (.npz)", _ARRAY)
_ZIP: Final = UnreadFormat("a zip archive", _UNPACK)
_MANGLED: Final = UnreadFormat("an image whose bytes were converted as if they were text", _BINARY)
_TIFF: Final = UnreadFormat(
    "a TIFF whose samples have no rule here (more than 4 channels, 10 or 64 bits, 12 bits of colours, grey with alpha "
    "of 16 bits, floats of 16 or 64 bits, complex numbers and the like), or whose header is damaged",
    "send 8 or 16 bits, grey or RGB",
)

_MAGIC: Final[tuple[tuple[int, bytes, UnreadFormat], ...]] = (
    (0, b"version https://git-lfs", UnreadFormat("a Git LFS pointer", "fetch the file with 'git lfs pull'")),
    (0, b"\xff\x0a", _JXL),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", _JXL),
    (0, b"8BPS", UnreadFormat("a Photoshop file (PSD)", "export it as PNG or JPEG")),
    (0, b"gimp xcf", UnreadFormat("a GIMP file (XCF)", "export it as PNG or JPEG")),
    (0, b"\x00\x00\x01\x00", UnreadFormat("an icon (ICO)", "send one of its images, as PNG")),
    (0, b"\x00\x00\x02\x00", UnreadFormat("a cursor (CUR)", "send one of its images, as PNG")),
    (0, b"icns", UnreadFormat("an icon (ICNS)", "send one of its images, as PNG")),
    (0, b"\x76\x2f\x31\x01", UnreadFormat("an OpenEXR file", _TONES)),
    (0, b"#?RADIANCE", UnreadFormat("a Radiance file (HDR)", _TONES)),
    (0, b"#?RGBE", UnreadFormat("a Radiance file (HDR)", _TONES)),
    (0, b"PF", UnreadFormat("a portable float map (PFM) of colours", _TONES)),
    (0, b"P7", UnreadFormat("a portable arbitrary map (PAM)", _CONVERT)),
    (0, b"DDS ", UnreadFormat("a texture (DDS)", _CONVERT)),
    (0, b"\xabKTX ", UnreadFormat("a texture (KTX)", _CONVERT)),
    (0, b"II\xbc", UnreadFormat("a JPEG XR file", _CONVERT)),
    (0, b"BPG\xfb", UnreadFormat("a BPG file", _CONVERT)),
    (0, b"%!PS", UnreadFormat("a PostScript drawing", _DRAW)),
    (0, b"\xc5\xd0\xd3\xc6", UnreadFormat("a PostScript drawing", _DRAW)),
    (8, _CR2, _RAW),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"IIU\x00", _RAW),
    (0, b"FOVb", _RAW),
    (128, b"DICM", UnreadFormat("a DICOM file", _SLICE)),
    (344, b"n+1\x00", UnreadFormat("a NIfTI volume", _SLICE)),
    (344, b"ni1\x00", UnreadFormat("a NIfTI volume", _SLICE)),
    (0, b"SIMPLE  =", UnreadFormat("a FITS file", _TONES)),
    (0, b"\x93NUMPY", UnreadFormat("a NumPy array (.npy)", _ARRAY)),
    (0, b"\x89HDF\r\n\x1a\n", UnreadFormat("an HDF5 file", _ARRAY)),
    (0, b"MATLAB 5.0", UnreadFormat("a MATLAB file", _ARRAY)),
    (0, b"\x1f\x8b", UnreadFormat("compressed by gzip", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", UnreadFormat("compressed by zstd", _UNPACK)),
    (0, b"\xfd7zXZ\x00", UnreadFormat("compressed by xz", _UNPACK)),
    (0, b"BZh", UnreadFormat("compressed by bzip2", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", UnreadFormat("an archive (7z)", _UNPACK)),
    (0, b"Rar!", UnreadFormat("an archive (RAR)", _UNPACK)),
    (257, b"ustar", UnreadFormat("an archive (tar)", _UNPACK)),
    (0, b"\x1a\x45\xdf\xa3", _VIDEO),
    (8, b"AVI ", _VIDEO),
    (0, b"FLV\x01", _VIDEO),
    (0, b"\x00\x00\x01\xba", _VIDEO),
    # A PNG or JPEG whose bytes were read as UTF-8 or Latin-1 and written as UTF-8, or whose line ends were changed.
    (0, b"\xef\xbf\xbdPNG", _MANGLED),
    (0, b"\xc2\x89PNG", _MANGLED),
    (0, b"\x89PNG\n", _MANGLED),
    (0, b"\x89PNG\r\r\n", _MANGLED),
    (0, b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", _MANGLED),
    (0, b"\xc3\xbf\xc3\x98\xc3\xbf", _MANGLED),
)
# Of the container that films of MPEG-4, HEIF, AVIF and raw files of Canon share: its brands, behind b"ftyp".
_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def recognise_unread(data: bytes) -> UnreadFormat | None:
    """Recognise the format of a file that no decoder knows; ``None`` where it cannot be said.

    Args:
        data: bytes of the file, of which the first few are looked at.
    """
    head = data[:_HEAD_BYTES]
    if head[4:8] == b"ftyp":
        return _recognise_container(head)
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset):
            return found
    if head.startswith(b"PK\x03\x04"):
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return _NPZ if name.endswith(b".npy") else _ZIP
    if b"%PDF-" in head[:1024]:
        return UnreadFormat("a PDF document", "send the image within, or the page drawn as PNG")
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return _TIFF
    return _recognise_text(head)


def _recognise_container(head: bytes) -> UnreadFormat | None:
    brand = head[8:12]
    if brand in _AVIF_BRANDS:
        return None  # read, unless it is damaged
    if brand in _HEIF_BRANDS:
        return _HEIF
    return _RAW if brand == b"crx " else _VIDEO


def _recognise_text(head: bytes) -> UnreadFormat | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    start = text[:256].lower()
    if start.startswith(b"data:"):
        return _DATA_URL
    if b"<svg" in text.lower() and start.startswith(b"<"):
        return _SVG
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return _HTML
    if start.startswith(b"<?xml"):
        return _XML
    if start.startswith((b"{", b"[")) and _is_text(head):
        return _JSON
    if _is_base64(text):
        return _BASE64_TEXT
    return _TEXT if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a character that the head cuts
            return False
    return len(head) >= 16 and sum(byte in _PRINTABLE or byte >= 0x80 for byte in head) == len(head)


def _is_base64(text: bytes) -> bool:
    """Whether a text is the base64 of a file: of letters of both cases and digits, and not of a text."""
    if not (
        _BASE64.fullmatch(text) and all(re.search(kind, text) for kind in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
    ):
        return False
    letters = re.sub(rb"[\s=]", b"", text).translate(bytes.maketrans(b"-_", b"+/"))
    decoded = binascii.a2b_base64(letters[: len(letters) // 4 * 4])
    return not all(byte in _PRINTABLE for byte in decoded)


def check_misread(image: Image.Image, data: bytes) -> None:
    """Check that Pillow does not misread a file: raw files of cameras, depths and layouts that it scrambles.

    Args:
        image: opened.
        data: bytes of its file.

    Raises:
        NotAnImage: it would.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiff(image, data)
    elif image.format == "JPEG2000":
        _check_jpeg2000(data)


def _check_tiff(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    tags = image.tag_v2
    reduced = tags.get(_NEW_SUBFILE_TYPE)
    preview = isinstance(reduced, int) and reduced & _REDUCED_RESOLUTION and _SUB_IFDS in tags
    if _DNG_VERSION in tags or preview or data[8:12] == _CR2:
        raise NotAnImage(
            f"the image is {_RAW.name}, whose preview alone could be read: {_RAW.remedy}", field="image"
        )
    if tags.get(_PHOTOMETRIC) == _YCBCR and tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED:
        # Pillow takes four bytes of a pixel's three.
        raise NotAnImage(
            "the image is a TIFF of YCbCr colours without compression, which is not read: send RGB, or PNG or JPEG",
            field="image",
        )
    bits = tags.get(_BITS_PER_SAMPLE) or (1,)
    deepest = max(bits) if isinstance(bits, tuple) else 1
    raw_modes = [arguments[0] for *_, arguments in image.tile if isinstance(arguments, tuple) and arguments]
    if deepest > 8 and len(image.getbands()) > 1 and not all(";16" in str(mode) for mode in raw_modes):
        # Pillow takes the two bytes of a sample for two samples.
        raise NotAnImage(
            f"the image is a TIFF of {deepest} bits per sample with its channels in separate planes, which is not "
            "read: save its channels pixel by pixel (PlanarConfiguration 1), or send 8 bits, or PNG",
            field="image",
        )


def _check_jpeg2000(data: bytes) -> None:
    bits = jpeg2000_bits(data)
    if any(depth < 8 for depth in bits) or (len(bits) > 1 and max(bits) > 8):
        # Of several channels Pillow rounds up until white becomes black, and fewer bits do not reach white.
        raise NotAnImage(
            f"the image is a JPEG 2000 file of {', '.join(map(str, sorted(set(bits))))} bits per sample and "
            f"{len(bits)} {'channel' if len(bits) == 1 else 'channels'}, which is not read: send 8 bits, or PNG "
            "or TIFF",
            field="image",
        )
    spaces = [box for name, box in jp2_header(data) if name == b"colr"]
    if any(box[:1] == b"\x01" and int.from_bytes(box[3:7], "big") in _APPEARANCES for box in spaces):
        raise NotAnImage(
            "the image is a JPEG 2000 file of CIELAB colours, which is not read: convert it to sRGB",
            field="image",
        )
