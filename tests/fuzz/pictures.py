"""Pictures over every dtype, mode, number of bits, colour profile and format, with what they show.

Where :mod:`tests.fuzz.images` damages files, these are as programs write them: laid out here, or by Pillow, from
samples that are known, so that the mean of the picture follows without a decoder.
"""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms
from tests.imaging.profiles import SPACES, expected_srgb, matrix_profile

HEIGHT, WIDTH = 24, 40
# One choice of each is made where a picture needs it.
CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "source": ("array", "pillow", "pillow", "tiff", "png", "pnm"),
    # Of the array's samples: largest, least, type, axes, and how they lie in memory.
    "peak": (1, 127, 255, 1023, 4095, 16383, 32767, 65535, 2**31 - 1),
    "least": (0.0, 0.0, -0.5, float("nan"), float("inf")),
    "dtype": (
        "?", "u1", "i1", "<u2", ">u2", "<i2", "<u4", "<i4", ">i4", "<u8", "<i8", "<f2", "<f4", ">f4", "<f8", "g", "<c8",
        "O", "U3", "<M8[s]", "<m8[s]",
    ),
    "axes": ("hw", "hw1", "hw3", "hw4", "hw2", "3hw", "1hw3", "w", ""),
    "memory": ("contiguous", "Fortran", "reversed", "read-only", "masked", "partly masked"),
    # Of an image of Pillow's.
    "mode": (
        "1", "L", "LA", "La", "P", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "I;16B",
        "F",
    ),
    "form": ("PNG", "TIFF", "JPEG", "WEBP", "BMP", "PPM", "GIF", "JPEG2000", "AVIF"),
    "profile": ("none", "none", "sRGB", "LAB", "damaged", "nothing", *SPACES),
    "damage": tuple(range(1000)),
    # Of a file that is laid out here: the largest sample as a share of what its bits hold, and so on.
    "reach": (1.0, 1.0, 1 / 5, 1 / 16, 1 / 256, 1 / 65535),
    "bits": (1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64),
    "sample_format": ("unsigned", "unsigned", "signed", "float"),
    "channels": (1, 1, 2, 3, 3, 4, 5),
    "big_endian": (False, True),
    "white_is_zero": (False, False, True),
    "largest_is_told": (False, False, True),
    "palette": (False, True),
    "plain": (False, True),
}  # fmt: skip
Choose = Callable[[str], Any]
# A photograph's worth of colours: every channel has black, white and much between.
LIGHT: Final = np.random.default_rng(0).uniform(0.1, 1, (HEIGHT, WIDTH, 3))
LIGHT[0, :2] = [[0], [1]]
ALPHA: Final = np.random.default_rng(1).uniform(0.5, 1, (HEIGHT, WIDTH))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, and the slow reading of it.

    Attributes:
        what: it is, for a message.
        given: bytes of a file, an image of Pillow's, or an array.
        silent: means, 0 to 1, that the decoded picture may have without a word: its range is declared.
        told: further means that it may have if it says what was assumed.
        readable: whether it may not be refused.
        unsure: whether nothing is known about its mean.
        same_array: whether its samples alone, as an array, have the same meaning.
    """

    what: str
    given: bytes | Image.Image | np.ndarray
    silent: tuple[float, ...] = ()
    told: tuple[float, ...] = ()
    readable: bool = False
    unsure: bool = False
    same_array: bool = False


def draw_picture(choose: Choose) -> Drawn:
    """Draw a picture.

    Args:
        choose: picks one of ``CHOICES`` by its name.
    """
    make = {"array": _array, "pillow": _pillow, "tiff": _tiff, "png": _png, "pnm": _pnm}
    return make[choose("source")](choose)


def drawn_files(seed: int) -> Iterator[bytes]:
    """Without end: files of pictures."""
    rng = random.Random(f"pictures {seed}")
    while True:
        given = draw_picture(lambda name: rng.choice(CHOICES[name])).given
        if isinstance(given, bytes):
            yield given


# ---- arrays and images of Pillow's ----------------------------------------------------------------


def _array(choose: Choose) -> Drawn:
    dtype, axes, memory = np.dtype(choose("dtype")), choose("axes"), choose("memory")
    peak, least = choose("peak"), choose("least") if dtype.kind == "f" else 0.0
    if dtype.kind in "iu":
        peak = min(peak, np.iinfo(dtype).max)
    samples = LIGHT[:, :, 0] * peak if dtype.kind != "b" else LIGHT[:, :, 0] > 0.5
    if dtype.kind != "f":
        samples = np.rint(samples)
    samples[0, 0] = least
    with np.errstate(over="ignore"):
        flat = samples.astype(dtype)
    clear = np.broadcast_to(flat[0, 1], flat.shape)  # the largest
    given = {
        "hw": lambda: flat,
        "hw1": lambda: flat[:, :, None],
        "hw2": lambda: np.stack([flat] * 2, -1),
        "hw3": lambda: np.stack([flat] * 3, -1),
        "hw4": lambda: np.stack([flat, flat, flat, clear], -1),
        "3hw": lambda: np.stack([flat] * 3),
        "1hw3": lambda: np.stack([flat] * 3, -1)[None],
        "w": lambda: flat[0],
        "": lambda: flat[0, 1:2].reshape(()),
    }[axes]()
    if memory == "Fortran":
        given = given.copy(order="F")
    elif memory == "reversed":
        given = given[::-1] if given.ndim else given
    elif memory == "read-only":
        given.flags.writeable = False
    elif memory in ("masked", "partly masked"):
        given = np.ma.masked_array(given, mask=np.zeros(given.shape, bool))
        given.mask.flat[0] = memory == "partly masked"
    numbers = np.asarray(samples, float)

    def mean(white: float) -> float:
        shown, alpha = np.minimum(numbers / white, 1), min(peak / white, 1) if axes == "hw4" else 1
        return float(shown.mean()) * alpha + 1 - alpha

    what = f"array of {dtype.str} ({axes}), {memory}, up to {peak}, least {least}"
    whole = axes in ("hw", "hw1", "hw3", "hw4") and memory != "partly masked"
    if dtype.kind == "b":
        return Drawn(what, given, (mean(1),), readable=whole)
    if dtype.kind == "f":
        sound = peak == 1 and least == 0
        return Drawn(what, given, (mean(1),) if sound else (), readable=whole and sound)
    if dtype.kind in "iu" and dtype.itemsize == 1 and dtype.kind == "u":
        return Drawn(what, given, (mean(255),), readable=whole and peak > 1)
    if dtype.str[1:] == "u2":
        silent = (mean(65535),) if peak >= 2**14 else ()
        return Drawn(what, given, silent, (mean(65535),), readable=whole and peak >= 2**12)
    told = (mean(255), mean(65535)) if dtype.kind in "iu" else ()
    return Drawn(what, given, (), told, readable=whole and bool(told) and peak in (127, 255, 65535))


def _pillow(choose: Choose) -> Drawn:
    mode, form, kind, reach = (choose(name) for name in ("mode", "form", "profile", "reach"))
    image, samples = _image_of_mode(mode, reach, choose)
    profile = _profile(kind, choose)
    options: dict[str, Any] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(form, {})
    buffer, given = io.BytesIO(), None
    try:
        with warnings.catch_warnings(action="ignore"):  # numbers of 32 bits in a PNG are not for ever
            image.save(buffer, form, **options, **({} if profile is None else {"icc_profile": profile}))
        given = buffer.getvalue()
    except (OSError, KeyError, ValueError):  # a format that does not hold the mode
        if profile is not None:
            image.info["icc_profile"] = profile
    what = f"{form if given else 'image'} of mode {mode}, profile {kind}, reach {reach}, peak {samples.max():.0f}"
    deep = mode.startswith(("I", "F"))
    means = _means(image, samples, mode)
    if (
        kind in SPACES and not deep and mode != "La"
    ):  # some formats hold no profile; tests of colours are strict
        converted = expected_srgb(np.asarray(image.convert("RGB"), float), kind) / 255
        means += (float(converted.mean()),)
        if image.mode in ("LA", "RGBA", "RGBa"):
            means += (float(_over_white(converted).mean()),)
    # Nothing is known of what a damaged profile says, of strong colours that are compressed and then converted, and of
    # what an encoder makes of numbers that are not its own.
    unsure = kind == "damaged" or mode == "F"
    unsure |= kind in SPACES and (deep or mode == "La" or form in ("AVIF", "JPEG"))
    unsure |= deep and form not in ("PNG", "TIFF")
    silent = () if mode in ("I", "F") or (deep and reach < 1) else means
    if mode == "I" and given and form == "PNG":  # whose encoder writes 16 bits
        silent = means = (float(np.minimum(samples / 65535, 1).mean()),)
    return Drawn(
        what,
        given or image,
        silent,
        means,
        readable=reach == 1 and not deep and not (mode == "YCbCr" and form == "TIFF"),
        unsure=unsure,
        same_array=profile is None
        and mode in ("L", "RGB", "RGBA", "I;16", "I;16B", "I", "F")
        and form != "GIF",
    )


def _means(image: Image.Image, samples: np.ndarray, mode: str) -> tuple[float, ...]:
    """Means of an image by what its mode says."""
    if mode == "F":
        return (float(samples.mean()),)
    if mode == "I":
        return tuple(float(np.minimum(samples / white, 1).mean()) for white in (255, 65535))
    if mode.startswith("I;16"):
        return (float(samples.mean() / 65535),)
    shown = samples / 255
    if mode in ("LA", "La", "RGBA", "RGBa"):  # formats may leave alpha out
        return (float(_over_white(shown).mean()), float(shown.mean()))
    if mode in ("1", "P"):
        shown = np.asarray(image.convert("RGB")) / 255
    return (float(shown.mean()),)


def _over_white(shown: np.ndarray) -> np.ndarray:
    alpha = np.rint(ALPHA * 255)[..., None] / 255
    return shown * alpha + 1 - alpha


def _image_of_mode(mode: str, reach: float, choose: Choose) -> tuple[Image.Image, np.ndarray]:
    """An image of a mode, and the samples that it is made of."""
    grey = LIGHT[:, :, 0]
    if mode == "F":
        floats = (grey * choose("peak")).astype(np.float32)
        return Image.fromarray(floats), floats
    if mode == "I":
        numbers = np.rint(grey * choose("peak")).astype(np.int32)
        return Image.fromarray(numbers), numbers
    if mode.startswith("I;16"):
        words = np.rint(grey * 65535 * reach).astype(">u2" if mode.endswith("B") else "<u2")
        return Image.frombytes(mode, (WIDTH, HEIGHT), words.tobytes()), words
    samples = np.rint(LIGHT * 255 * reach).astype(np.uint8)
    image = Image.fromarray(samples)
    if mode in ("1", "L", "LA", "La"):
        image = image.convert("L")
        samples = np.asarray(image)[..., None]
    if mode in ("LA", "La", "RGBA", "RGBa"):
        image.putalpha(Image.fromarray(np.rint(ALPHA * 255).astype(np.uint8)))
    if mode == "P":
        image = image.quantize(64)
    elif mode == "LAB":
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, *spaces, outputMode="LAB") or image
        image.info.pop("icc_profile", None)
    elif image.mode != mode:
        image = image.convert(mode)
    return image, samples


def _profile(kind: str, choose: Choose) -> bytes | None:
    if kind == "none":
        return None
    if kind == "nothing":
        return b"\0" * 200
    if kind in SPACES:
        return matrix_profile(kind)
    if kind != "damaged":
        made = ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()
        return made[:24] + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + made[36:]  # the time at which it is made
    profile, rng = bytearray(matrix_profile("Adobe RGB")), random.Random(choose("damage"))
    for _ in range(rng.choice((1, 1, 2, 8))):
        profile[rng.randrange(len(profile))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(profile)


# ---- files that are laid out here -----------------------------------------------------------------


def _packed(samples: np.ndarray, bits: int, *, big_endian: bool = True) -> bytes:
    """Samples (h, w, c) in so many bits each, rows filled up to whole bytes."""
    values = np.asarray(samples).reshape(len(samples), -1)
    if bits in (8, 16, 32, 64):
        kind = "f" if values.dtype.kind == "f" else "iu"[values.dtype.kind == "u"]
        return values.astype(f"{'>' if big_endian else '<'}{kind}{bits // 8}").tobytes()
    digits = (values[..., None].astype(np.uint64) >> np.arange(bits, dtype=np.uint64)[::-1]) & np.uint64(1)
    return np.packbits(digits.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def _samples(channels: int) -> np.ndarray:
    """(h, w, channels) in 0..1, of 2, 4 and more channels the last opaque."""
    colours = LIGHT if channels >= 3 else LIGHT[:, :, :1]
    filled = np.ones((HEIGHT, WIDTH, max(0, channels - colours.shape[2])))
    return np.concatenate([colours, filled], axis=2)


def _tiff(choose: Choose) -> Drawn:
    bits, form, channels = choose("bits"), choose("sample_format"), choose("channels")
    big_endian, reach = choose("big_endian"), choose("reach")
    inverted = channels < 3 and choose("white_is_zero")
    reach = max(reach, 1 / 16) if inverted else reach
    colours, seen = _samples(channels), 3 if channels >= 3 else 1
    shown = colours[:, :, :seen]
    peak = 2.0**bits - 1 if form == "unsigned" else 2.0 ** (bits - 1) - 1
    if form == "float":
        values = ((1 - colours if inverted else colours) * (1 if reach == 1 else 255)).astype(float)
        inverted = inverted and channels == 1
        bits = bits if bits in (16, 32, 64) else 32
    else:
        numbers = np.rint(colours * peak)
        numbers[:, :, :seen] = np.rint(shown * peak * reach)
        numbers = peak - numbers if inverted else numbers
        values = np.minimum(numbers, 2.0**62).astype(np.uint64 if form == "unsigned" else np.int64)
    told = form == "unsigned" and bits == 16 and channels < 3 and choose("largest_is_told")
    strip = _packed(values, bits, big_endian=big_endian)
    code = {"unsigned": 1, "signed": 2, "float": 3}[form]
    entries: list[tuple[int, str, list[int]]] = [
        (256, "I", [WIDTH]),
        (257, "I", [HEIGHT]),
        (258, "H", [bits] * channels),
        (259, "H", [1]),
        (262, "H", [2 if channels >= 3 else int(not inverted)]),
        (273, "I", [8]),
        (277, "H", [channels]),
        (278, "I", [HEIGHT]),
        (279, "I", [len(strip)]),
    ]
    largest = max(1, int(peak * reach))
    if told:
        entries.append((281, "H", [largest] * channels))
    if channels not in (1, 3):
        entries.append((338, "H", [2] * (channels - (3 if channels >= 3 else 1))))
    entries.append((339, "H", [code] * channels))
    what = (
        f"TIFF of {channels} channels of {bits} bits {form}, {'big' if big_endian else 'little'}, "
        f"{'inverted' if inverted else 'plain'}, reach {reach}, told {told}"
    )
    given = _tiff_file(strip, entries, ">" if big_endian else "<")
    common = bits in (1, 4, 8) or (bits == 16 and form == "unsigned")
    readable = common and reach == 1 and channels in ((1,) if bits != 8 else (1, 3, 4))
    readable &= bits == 8 or (form == "unsigned" and not (inverted and bits == 16))
    if form == "float":
        return Drawn(what, given, (float(shown.mean()),) if reach == 1 else ())
    mean = float(np.rint(shown * peak * reach).mean() / peak)
    if form == "signed":
        told_means = tuple(
            float(np.minimum(shown * peak * reach / white, 1).mean()) for white in (255, 65535)
        )
        return Drawn(what, given, (), told_means)
    # Of 16 bits of which the highest are unused, Pillow leaves the lower 8 out where there are several channels.
    deep = bits == 16 and reach < 1
    silent = (mean,) if inverted or not (told or channels < 3) or not deep else ()
    told_means = (mean, float(shown.mean())) if told else (mean,)
    same = channels == 1 and bits in (8, 16) and not inverted and not told
    return Drawn(what, given, silent, told_means, readable=readable, same_array=same)


def _tiff_file(strip: bytes, entries: list[tuple[int, str, list[int]]], order: str) -> bytes:
    directory, beside = b"", b""
    start = 8 + len(strip) + len(strip) % 2
    after = start + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", after + len(beside))
            beside += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        directory += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + place
    mark = b"MM\0*" if order == ">" else b"II*\0"
    head = mark + struct.pack(f"{order}I", start)
    count = struct.pack(f"{order}H", len(entries))
    return head + strip + bytes(len(strip) % 2) + count + directory + bytes(4) + beside


def _png(choose: Choose) -> Drawn:
    channels, reach = min(choose("channels"), 4), choose("reach")
    bits = choose("bits")
    bits = bits if bits in ((1, 2, 4, 8, 16) if channels == 1 else (8, 16)) else 8
    palette = channels == 1 and bits <= 8 and choose("palette")
    colours, peak = _samples(channels), 2**bits - 1
    # A palette's samples are places, and its colours are shades from black to white.
    numbers = np.rint(colours[:, :, :] * peak * (1 if palette else reach)).astype(np.uint64)
    if channels in (2, 4) and not palette:
        numbers[:, :, -1] = peak
    rows = _packed(numbers, bits)
    size = len(rows) // HEIGHT
    body = b"".join(b"\0" + rows[at : at + size] for at in range(0, len(rows), size))
    kind = 3 if palette else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, 0))]
    shown = np.asarray(numbers[:, :, : 3 if channels >= 3 else 1], float) / peak
    if palette:
        shades = np.rint(np.linspace(0, 255 * reach, peak + 1))
        parts.append((b"PLTE", b"".join(bytes([int(shade)] * 3) for shade in shades)))
        shown = shades[numbers[:, :, 0].astype(int)] / 255
    parts += [(b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    given = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    what = f"PNG of {channels} channels of {bits} bits{' with a palette' if palette else ''}, reach {reach}"
    mean = float(shown.mean())
    silent = (mean,) if bits < 16 or channels > 1 or reach == 1 else ()
    same = channels in (1, 3, 4) and bits == (16 if channels == 1 and bits == 16 else 8) and not palette
    return Drawn(what, given, silent, (mean,), readable=reach == 1, same_array=same)


def _pnm(choose: Choose) -> Drawn:
    plain, channels, reach, bits = (
        choose("plain"),
        3 if choose("channels") > 2 else 1,
        choose("reach"),
        choose("bits"),
    )
    bits = min(bits, 16)
    peak = 2**bits - 1
    numbers = np.rint(_samples(channels) * peak * reach).astype(int)
    if plain:
        body = " ".join(str(number) for number in numbers.ravel()).encode()
    else:
        body = numbers.astype("u1" if bits <= 8 else ">u2").tobytes()
    name = {(1, False): b"P5", (1, True): b"P2", (3, False): b"P6", (3, True): b"P3"}[channels, plain]
    given = b"%s\n%d %d\n%d\n" % (name, WIDTH, HEIGHT, peak) + body
    what = f"{name.decode()} of {channels} channels up to {peak}, reach {reach}"
    mean = float(numbers.mean() / peak)
    silent = (mean,) if bits < 16 or channels > 1 or reach == 1 else ()
    return Drawn(what, given, silent, (mean,), readable=reach == 1 or bits < 8, same_array=bits == 8)
