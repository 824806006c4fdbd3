"""Unpacking of compressed bodies, piece by piece, so that a small one that grows without end is stopped at a limit."""

from __future__ import annotations

import zlib
from typing import Final

from wavescope.errors import InvalidRequest

PIECE_BYTES: Final = 2**20
_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS


class Inflate:
    """Unpacks gzip, of one member or of several after each other."""

    def __init__(self, piece_bytes: int = PIECE_BYTES) -> None:
        """Begin.

        Args:
            piece_bytes: most bytes of a piece.
        """
        self._piece_bytes = piece_bytes
        self._stream = zlib.decompressobj(_GZIP_WBITS)
        self._packed = b""
        self._begun = False

    def feed(self, packed: bytes) -> None:
        """Take more of the body; what it unpacks to is read next."""
        self._packed += packed

    def read(self) -> bytes:
        """The next piece; empty once more of the body is needed.

        Raises:
            InvalidRequest: the body is no gzip.
        """
        while self._packed or (self._begun and not self._stream.eof):
            if self._stream.eof:
                self._stream = zlib.decompressobj(_GZIP_WBITS)
            try:
                piece = self._stream.decompress(self._packed, self._piece_bytes)
            except zlib.error as error:
                raise _damaged() from error
            self._begun = True
            self._packed = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if piece:
                return piece
            if not self._stream.eof:
                return b""
        return b""

    def check_end(self) -> None:
        """Check that the body was whole.

        Raises:
            InvalidRequest: it was cut off, or empty.
        """
        if not self._stream.eof or self._packed:
            raise _damaged()


def _damaged() -> InvalidRequest:
    return InvalidRequest(
        "the body is not the gzip that Content-Encoding says, or is cut off", field="Content-Encoding"
    )
