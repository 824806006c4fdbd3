"""Images as callers in Python give them: paths, open files, buffers, images of PIL, arrays and tensors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from wavescope.errors import InvalidRequest

_CHANNELS: Final = (1, 3, 4)
_MAX_SHOWN_CHARS: Final = 120


def read_argument(image: Any, name: str) -> bytes | Image.Image | np.ndarray:
    """Read what a caller gave as an image: the bytes of its file, an image of PIL, or an array (h, w[, channels]).

    Args:
        image: a path, an open file, a buffer, an image of PIL, an array, or a tensor of torch or another library.
        name: of the argument, for errors.

    Raises:
        InvalidRequest: it is something else, the file cannot be read, or the array has another shape.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return _read_path(image, name)
    if isinstance(image, Image.Image):
        return image
    if callable(getattr(image, "read", None)):
        return _read_file(image, name)
    transpose = f"{name}.permute(1, 2, 0)" if hasattr(image, "permute") else f"{name}.transpose(1, 2, 0)"
    array = _as_array(image, name)
    _check_shape(array, name, transpose)
    return array


def _read_path(path: str | os.PathLike[str], name: str) -> bytes:
    text = os.fspath(path)
    shown = repr(text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…")
    if isinstance(text, str) and text.startswith("data:"):
        raise InvalidRequest(
            f"{name} is a data: URL: give the bytes, base64.b64decode(url.partition(',')[2])", field=name
        )
    if isinstance(text, str) and text.startswith(("http://", "https://")):
        raise InvalidRequest(
            f"{name} {shown} is an address: nothing is fetched; give the bytes of the file", field=name
        )
    try:
        return Path(path).read_bytes()
    except OSError as error:
        hint = ", and is no path: text in base64 is decoded first" if len(text) > _MAX_SHOWN_CHARS else ""
        raise InvalidRequest(f"{name} {shown} cannot be read: {error.strerror}{hint}", field=name) from error
    except ValueError as error:  # a zero byte
        raise InvalidRequest(f"{name} {shown} is no path", field=name) from error


def _read_file(file: Any, name: str) -> bytes:
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # closed, or text that is no UTF-8
        opened = ": open it in binary mode, open(path, 'rb')" if isinstance(error, UnicodeError) else ""
        raise InvalidRequest(f"{name} is a file that cannot be read{opened}", field=name) from error
    if isinstance(data, str):
        raise InvalidRequest(
            f"{name} is a file opened as text: open it in binary mode, open(path, 'rb')", field=name
        )
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidRequest(
            f"{name} has a method read that returns {type(data).__name__}, not bytes", field=name
        )
    if not data:
        raise InvalidRequest(
            f"{name} is a file without further bytes: it is empty, or was read before (file.seek(0))",
            field=name,
        )
    return bytes(data)


def _as_array(image: Any, name: str) -> np.ndarray:
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, list | tuple):
        raise InvalidRequest(
            f"{name} is a {type(image).__name__}: give an array, np.asarray({name}, dtype=np.uint8)",
            field=name,
        )
    if callable(getattr(image, "detach", None)) and callable(getattr(image, "cpu", None)):
        image = image.detach().cpu()  # a tensor of torch
        if not hasattr(image, "numpy"):
            raise InvalidRequest(f"{name} is a {type(image).__name__} without pixels", field=name)
        try:
            return image.numpy()
        except TypeError:  # a type that NumPy does not have, such as bfloat16
            return image.float().numpy()
    if hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
        return np.asarray(image)
    raise InvalidRequest(
        f"{name} must be a path, an open file, bytes, a PIL image, an array or a tensor, not {type(image).__name__}",
        field=name,
    )


def _check_shape(array: np.ndarray, name: str, transpose: str) -> None:
    """Refuse shapes that are no image's, with what they look like and how they become one."""
    shape = array.shape
    if array.ndim == 2 or (array.ndim == 3 and shape[2] in _CHANNELS):
        return
    if array.ndim == 3 and shape[0] in _CHANNELS:
        remedy = f"it looks like (channels, height, width): transpose it, {transpose}"
    elif array.ndim == 4 and shape[0] == 1:
        remedy = f"it looks like a batch of one image: take {name}[0]"
        if shape[3] not in _CHANNELS and shape[1] in _CHANNELS:
            remedy += f", and transpose it from (channels, height, width): {transpose.replace(name, f'{name}[0]', 1)}"
    elif array.ndim == 4:
        remedy = f"it looks like a batch of {shape[0]} images: give them to explain_batch"
    else:
        remedy = "it must be (height, width), or (height, width, channels) with 1, 3 or 4 channels"
    raise InvalidRequest(
        f"{name} has the shape ({', '.join(map(str, shape))}){_contents(array)}: {remedy}",
        field=name,
        shape=list(shape),
    )


def _contents(array: np.ndarray) -> str:
    """Type and range of an array, for messages."""
    if array.size == 0 or array.dtype.kind not in "biuf":
        return f" and type {array.dtype}"
    return f", {array.dtype} from {float(array.min()):.4g} to {float(array.max()):.4g}"
