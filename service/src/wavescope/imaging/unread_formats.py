"""Formats that are recognised and not read, or that Pillow would misread: what to do with a file of one."""

from __future__ import annotations

import binascii
import re
import struct
from dataclasses import dataclass
from typing import Final

from PIL import Image, TiffImagePlugin

from wavescope.errors import NotAnImage
from wavescope.file_magic import HEAD_BYTES, is_printable, recognise_magic, recognise_text
from wavescope.imaging.file_parts import jp2_header, jpeg2000_bits

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_\s-]{16,}+=*\s*")
_DNG_VERSION, _NEW_SUBFILE_TYPE, _SUB_IFDS = 50706, 254, 330
_REDUCED_RESOLUTION: Final = 1
_SHORTEST_TEXT: Final = 16
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
_TIFF_REMEDY: Final = "send 8 or 16 bits, grey or RGB"
_TIFF_FORMS: Final = (
    "more than 4 channels, 10 or 64 bits, 12 bits of colours, grey with alpha of 16 bits, floats of 16 or 64 bits, "
    "complex numbers and the like"
)
_SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 277, 339
_SHORT: Final = 3
_SAMPLE_FORMATS: Final = {2: "signed ", 3: "float ", 5: "complex ", 6: "complex "}

# By the keys of file_magic.
_COMMON: Final = {
    "lfs": UnreadFormat("a Git LFS pointer", "fetch the file with 'git lfs pull'"),
    "hdf5": UnreadFormat("an HDF5 file", _ARRAY),
    "gzip": UnreadFormat("compressed by gzip", _UNPACK),
    "zstd": UnreadFormat("compressed by zstd", _UNPACK),
    "xz": UnreadFormat("compressed by xz", _UNPACK),
    "bzip2": UnreadFormat("compressed by bzip2", _UNPACK),
    "7z": UnreadFormat("an archive (7z)", _UNPACK),
    "rar": UnreadFormat("an archive (RAR)", _UNPACK),
    "tar": UnreadFormat("an archive (tar)", _UNPACK),
    "numpy": UnreadFormat("a NumPy array (.npy)", _ARRAY),
    "html": _HTML,
    "xml": _XML,
    "json": _JSON,
    "text": _TEXT,
}
# Letters alone would also begin a text, so each pattern goes on to what only the format has.
_PATTERNS: Final[tuple[tuple[bytes, UnreadFormat], ...]] = (
    (rb"\xff\x0a", _JXL),
    (rb"\x00\x00\x00\x0cJXL \r\n\x87\n", _JXL),
    (rb"8BPS\x00[\x01\x02]", UnreadFormat("a Photoshop file (PSD)", "export it as PNG or JPEG")),
    (rb"gimp xcf (?:file|v\d{3})\x00", UnreadFormat("a GIMP file (XCF)", "export it as PNG or JPEG")),
    (rb"\x00\x00\x01\x00[^\x00]\x00", UnreadFormat("an icon (ICO)", "send one of its images, as PNG")),
    (rb"\x00\x00\x02\x00[^\x00]\x00", UnreadFormat("a cursor (CUR)", "send one of its images, as PNG")),
    (rb"icns[\x00-\x0f]", UnreadFormat("an icon (ICNS)", "send one of its images, as PNG")),
    (rb"\x76\x2f\x31\x01", UnreadFormat("an OpenEXR file", _TONES)),
    (rb"#\?(?:RADIANCE|RGBE)\s", UnreadFormat("a Radiance file (HDR)", _TONES)),
    (rb"PF\s+[0-9]", UnreadFormat("a portable float map (PFM) of colours", _TONES)),
    (rb"P7\s(?:\s|#|[A-Z]{5}|332)", UnreadFormat("a portable arbitrary map (PAM)", _CONVERT)),
    (rb"DDS \x7c\x00\x00\x00", UnreadFormat("a texture (DDS)", _CONVERT)),
    (rb"\xabKTX ", UnreadFormat("a texture (KTX)", _CONVERT)),
    (rb"II\xbc", UnreadFormat("a JPEG XR file", _CONVERT)),
    (rb"BPG\xfb", UnreadFormat("a BPG file", _CONVERT)),
    (rb"%!PS(?:-Adobe|\s)", UnreadFormat("a PostScript drawing", _DRAW)),
    (rb"\xc5\xd0\xd3\xc6", UnreadFormat("a PostScript drawing", _DRAW)),
    (rb".{8}CR\x02\x00", _RAW),
    (rb"FUJIFILMCCD-RAW", _RAW),
    (rb"IIR[OS]\x08\x00\x00\x00", _RAW),
    (rb"MMOR\x00\x00\x00\x08", _RAW),
    (rb"IIU\x00", _RAW),
    (rb"FOVb..[\x01-\x0f]\x00", _RAW),
    (rb".{128}DICM[^ -~]", UnreadFormat("a DICOM file", _SLICE)),
    (rb".{344}n[+i]1\x00", UnreadFormat("a NIfTI volume", _SLICE)),
    (rb"SIMPLE  = +T", UnreadFormat("a FITS file", _TONES)),
    (rb"MATLAB 5\.0 MAT-file", UnreadFormat("a MATLAB file", _ARRAY)),
    (rb"\x1a\x45\xdf\xa3", _VIDEO),
    (rb"RIFF.{4}AVI ", _VIDEO),
    (rb"FLV\x01", _VIDEO),
    (rb"\x00\x00\x01\xba", _VIDEO),
    # A PNG or JPEG whose bytes were read as UTF-8 or Latin-1 and written as UTF-8, or whose line ends were changed.
    (rb"\xef\xbf\xbdPNG", _MANGLED),
    (rb"\xc2\x89PNG", _MANGLED),
    (rb"\x89PNG\n", _MANGLED),
    (rb"\x89PNG\r\r\n", _MANGLED),
    (rb"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", _MANGLED),
    (rb"\xc3\xbf\xc3\x98\xc3\xbf", _MANGLED),
)
_MAGIC: Final = tuple((re.compile(pattern, re.DOTALL), found) for pattern, found in _PATTERNS)
# Of the container that films of MPEG-4, HEIF, AVIF and raw files of Canon share: its brands, behind b"ftyp".
_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def recognise_unread(data: bytes) -> UnreadFormat | None:
    """Recognise the format of a file that no decoder knows; ``None`` where it cannot be said.

    Args:
        data: bytes of the file, of which the first few are looked at.
    """
    head = data[:HEAD_BYTES]
    if head[4:8] == b"ftyp" and head[:1] == b"\x00":  # behind its length
        return _recognise_container(head)
    common = recognise_magic(head)
    if common is not None:
        return _COMMON[common]
    for magic, found in _MAGIC:
        if magic.match(head):
            return found
    if head.startswith(b"PK\x03\x04"):
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return _NPZ if name.endswith(b".npy") else _ZIP
    if b"%PDF-" in head[:1024]:
        return UnreadFormat("a PDF document", "send the image within, or the page drawn as PNG")
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return _name_tiff(data)
    return _recognise_text(head)


def _name_tiff(data: bytes) -> UnreadFormat:
    """A TIFF that Pillow does not open, with what its tags say of its samples."""
    form = _TIFF_FORMS
    values = _read_shorts(data)
    if _BITS_PER_SAMPLE in values:
        channels = values.get(_SAMPLES_PER_PIXEL, 1)
        kind = _SAMPLE_FORMATS.get(values.get(_SAMPLE_FORMAT, 1), "")
        form = f"{channels} {'channel' if channels == 1 else 'channels'} of {values[_BITS_PER_SAMPLE]} {kind}bits"
    return UnreadFormat(
        f"a TIFF whose samples have no rule here ({form}), or whose header is damaged", _TIFF_REMEDY
    )


def _read_shorts(data: bytes) -> dict[int, int]:
    """First values of the tags of 16 bits in the first directory of a TIFF, as far as it is sound."""
    order = "<" if data.startswith(b"II") else ">"
    found: dict[int, int] = {}
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, start)
        for position in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", data, position)
            if kind == _SHORT and count:
                at = position + 8
                if count > 2:  # the values lie elsewhere
                    (at,) = struct.unpack_from(order + "I", data, position + 8)
                (found[tag],) = struct.unpack_from(order + "H", data, at)
    except struct.error:
        pass
    return found


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
    if _is_base64(text):
        return _BASE64_TEXT
    kind = recognise_text(head)
    if kind is None or (kind == "text" and len(head) < _SHORTEST_TEXT):
        return None
    return _COMMON[kind]


def _is_base64(text: bytes) -> bool:
    """Whether a text is the base64 of a file: of letters of both cases and digits, and not of a text."""
    if not (
        _BASE64.fullmatch(text) and all(re.search(kind, text) for kind in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
    ):
        return False
    letters = re.sub(rb"[\s=]", b"", text).translate(bytes.maketrans(b"-_", b"+/"))
    decoded = binascii.a2b_base64(letters[: len(letters) // 4 * 4])
    return not is_printable(decoded, above_ascii=False)


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
