"""Colour profiles written by hand, and what they make of colours by the definitions."""

from __future__ import annotations

import struct

import numpy as np

# Primaries and white (x, y) and the exponent of spaces that files come in.
SPACES: dict[str, tuple[tuple[float, ...], float]] = {
    "ProPhoto RGB": ((0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001, 0.3457, 0.3585), 1.8),
    "Adobe RGB": ((0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.3290), 2.2),
}
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB = ((0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290), 2.2)


def to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    """The matrix from linear RGB to XYZ, adapted to D50 (ICC.1:2022, annex E)."""
    columns = np.array(
        [[x / y, 1, (1 - x - y) / y] for x, y in zip(primaries[::2], primaries[1::2], strict=True)]
    ).T
    white = columns[:, 3]
    matrix = columns[:, :3] * np.linalg.solve(columns[:, :3], white)
    cones = BRADFORD @ white
    return np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / cones) @ BRADFORD @ matrix


def matrix_profile(name: str) -> bytes:
    """An ICC profile of version 2 of a matrix and an exponent, written by hand."""
    primaries, exponent = SPACES[name]

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    matrix = to_xyz(primaries)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"
    text = name.encode() + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    parts = {
        b"desc": description + bytes(-len(description) % 4),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(number, D50)),
    }
    for column, colour in enumerate(b"rgb"):
        parts[bytes([colour]) + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(map(number, matrix[:, column]))
        parts[bytes([colour]) + b"TRC"] = curve
    table, body, at = struct.pack(">I", len(parts)), b"", 128 + 4 + 12 * len(parts)
    for tag, content in parts.items():
        table += tag + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + b"".join(map(number, D50))
    return head.ljust(128, b"\0") + table + body


def expected_srgb(colours: np.ndarray, name: str) -> np.ndarray:
    """sRGB of colours of a space, by the definitions, in 0..255."""
    primaries, exponent = SPACES[name]
    linear = (colours / 255) ** exponent
    linear = linear @ (np.linalg.inv(to_xyz(SRGB[0])) @ to_xyz(primaries)).T
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
