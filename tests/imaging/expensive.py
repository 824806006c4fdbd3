"""Small files whose decoding takes many seconds, or would if their code streams were as large as they say."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def jpeg2000(width: int, height: int) -> bytes:
    """A header that declares so many pixels; those of the code stream are fewer."""
    data = encoded(Image.new("RGB", (64, 64)), "JPEG2000")
    at = data.index(b"ihdr") + 4
    return data[:at] + struct.pack(">II", height, width) + data[at + 8 :]


def progressive(width: int, height: int, scans: int) -> bytes:
    """A JPEG with its last scan over and over."""
    data = encoded(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    own = data.count(b"\xff\xda")
    data = data[:last] + data[last:-2] * (scans - own + 1) + data[-2:]
    at = data.index(b"\xff\xc2") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def png(width: int, height: int, *, depth: int = 8) -> bytes:
    """A PNG of RGBA that is one colour, as small as that gets."""
    row = b"\0" + b"\x55" * (width * 4 * depth // 8)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + b"".join(chunk(*one) for one in ((b"IHDR", header), (b"IDAT", packed)))
        + chunk(b"IEND", b"")
    )
