"""Unpacking of compressed bodies, piece by piece, so that a small one that grows without end is stopped at a limit.

What zlib leaves of a slice is copied at the end of every member. Slices and the number of members are bounded, and so
is the work of one call, whatever the body holds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from wavescope.errors import InvalidRequest

PIECE_BYTES: Final = 2**20
SLICE_BYTES: Final = 2**16
# Tools that write members of 64 KiB (bgzip) stay below it up to 60 MiB.
MAX_MEMBERS: Final = 1000
_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS


def slices(chunk: bytes, slice_bytes: int = SLICE_BYTES) -> Iterator[bytes]:
    """A part of a body in slices, as :meth:`Inflate.feed` takes them."""
    return (chunk[start : start + slice_bytes] for start in range(0, len(chunk), slice_bytes))


class Inflate:
    """Unpacks gzip, of one member or of several after each other; zeros may follow the last one."""

    def __init__(self, piece_bytes: int = PIECE_BYTES, max_members: int = MAX_MEMBERS) -> None:
        """Begin.

        Args:
            piece_bytes: most bytes of a piece.
            max_members: most members of a body.
        """
        self._piece_bytes = piece_bytes
        self._max_members = max_members
        self._members = 1
        self._stream = zlib.decompressobj(_GZIP_WBITS)
        self._packed = b""
        self._begun = False

    def feed(self, packed: bytes) -> None:
        """Take the next slice of the body, after what is there was read; what it unpacks to is read next."""
        self._packed += packed

    def read(self) -> bytes:
        """The next piece; empty once more of the body is needed.

        Raises:
            InvalidRequest: the body is no gzip, or of too many members.
        """
        while self._packed or (self._begun and not self._stream.eof):
            if self._stream.eof:
                self._packed = self._packed.lstrip(
                    b"\0"
                )  # tapes and tools that write in blocks pad with zeros
                if not self._packed:
                    break
                self._next_member()
            try:
                piece = self._stream.decompress(self._packed, self._piece_bytes)
            except zlib.error as error:
                raise _damaged() from error
            self._begun = True
            self._packed = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if piece:
                return piece
            if not self._stream.eof:
                break
        return b""

    def _next_member(self) -> None:
        if self._members == self._max_members:
            raise InvalidRequest(
                f"the body is gzip of more than {self._max_members} members after each other: compress it as one",
                field="Content-Encoding",
                maximum=self._max_members,
            )
        self._members += 1
        self._stream = zlib.decompressobj(_GZIP_WBITS)

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
