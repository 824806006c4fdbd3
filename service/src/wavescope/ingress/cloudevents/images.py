"""Images in the payload of an inference event: KServe's v1 instances, and tensors of the Open Inference Protocol."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float64

from wavescope.engine.types import Preprocessing
from wavescope.errors import InvalidRequest
from wavescope.ingress.cloudevents.attributes import EventAttributes
from wavescope.ingress.kserve.oip.tensors import BYTES, DTYPES, Header, encode_batch, flat, images_from_raw
from wavescope.ingress.kserve.pixels import numbers
from wavescope.ingress.kserve.v1 import instance_image, is_pixels
from wavescope.ingress.schemas.base64_text import decode_base64
from wavescope.ingress.schemas.parsing import load_json

Values = Literal["pixels", "unit", "normalized"]
MAX_AXIS: Final = 2**16


@dataclass(frozen=True, slots=True)
class EventImage:
    """An image of an event.

    Attributes:
        key: digest of the event's identity and the image's place in it, by which a redelivery is known.
        image: encoded file, as it was sent, or a PNG of a tensor.
        fitted: whether it is the model's own input already, which is not resized again.
    """

    key: str
    image: bytes
    fitted: bool


def event_images(
    event: EventAttributes, *, values: Values, preprocessing: Preprocessing, max_images: int
) -> tuple[EventImage, ...]:
    """The images of a request.

    Args:
        event: opened.
        values: of tensors: ``pixels`` of 0 to 255, ``unit`` of 0 to 1, or ``normalized`` as the model takes them.
        preprocessing: of the model: its size, and the mean and standard deviation of normalized values.
        max_images: of one event.

    Raises:
        InvalidRequest: the payload is none of the forms that are read; or it has too many images.
    """
    content, rest = _split(event.data, event.header_length)
    if not isinstance(content, dict) or not ("instances" in content or "inputs" in content):
        raise InvalidRequest(
            "the data must be a JSON object with instances (KServe v1) or inputs (Open Inference Protocol)",
            field="data",
        )
    if "instances" in content:
        found = _instances(content["instances"], values, preprocessing, max_images)
    else:
        found = _inputs(content["inputs"], rest, values, preprocessing, max_images)
    return tuple(EventImage(_key(event, place), image, fitted) for place, (image, fitted) in enumerate(found))


def _key(event: EventAttributes, place: int) -> str:
    parts = (event.namespace, event.inferenceservice, event.source, event.id, event.type, place)
    return f"event:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def _split(data: bytes, header_length: int | None) -> tuple[Any, bytes]:
    """The JSON of the payload, and the binary tensors after it."""
    if header_length is not None and 0 < header_length <= len(data):
        return load_json(data[:header_length], "the data"), data[header_length:]
    text = data.decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return load_json(data, "the data"), b""
    # Everything up to the end of the JSON is text: so many bytes as it is encoded in.
    length = len(text[:end].encode("utf-8"))
    return load_json(data[:length], "the data"), data[length:].lstrip(b"\r\n\t ") if length < len(
        data
    ) else b""


def _check_count(count: int, max_images: int) -> None:
    if not 1 <= count <= max_images:
        raise InvalidRequest(
            f"the event has {count} images; it must have 1..{max_images} (max_images)",
            field="data",
            max_images=max_images,
        )


def _instances(
    instances: Any, values: Values, preprocessing: Preprocessing, max_images: int
) -> list[tuple[bytes, bool]]:
    if not isinstance(instances, list):
        raise InvalidRequest("instances must be a list", field="instances")
    _check_count(len(instances), max_images)
    found: list[tuple[bytes, bool]] = []
    for place, instance in enumerate(instances):
        name = f"instances[{place}]"
        if is_pixels(instance):
            found += _tensor(numbers(instance, name)[None].astype(np.float64), name, values, preprocessing)
        else:
            found.append((instance_image(instance, name), False))
    return found


def _inputs(
    inputs: Any, rest: bytes, values: Values, preprocessing: Preprocessing, max_images: int
) -> list[tuple[bytes, bool]]:
    if not (isinstance(inputs, list) and inputs and all(isinstance(one, dict) for one in inputs)):
        raise InvalidRequest("inputs must be a list of tensors", field="inputs")
    tensor: dict[str, Any] = inputs[0]
    name, datatype, shape = str(tensor.get("name", "input"))[:64], tensor.get("datatype"), tensor.get("shape")
    valid = isinstance(shape, list) and all(type(side) is int and 1 <= side <= MAX_AXIS for side in shape)
    if not valid or not isinstance(shape, list) or not shape:
        raise InvalidRequest(f"input {name} must have a shape of lengths from 1 to {MAX_AXIS}", field=name)
    _check_count(shape[0] if len(shape) != 3 else 1, max_images)
    parameters = tensor.get("parameters")
    binary = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    raw = rest[:binary] if type(binary) is int and binary >= 0 else None
    data = tensor.get("data")
    if datatype == BYTES:
        return [(image, False) for image in _files(name, shape, data, raw)]
    if datatype not in DTYPES:
        raise InvalidRequest(
            f"input {name} must have one of the datatypes {', '.join((BYTES, *DTYPES))}",
            field=name,
            supported=[BYTES, *DTYPES],
        )
    if raw is not None:
        wanted = math.prod(shape) * np.dtype(DTYPES[datatype]).itemsize
        if len(raw) != wanted:
            raise InvalidRequest(f"input {name} must hold {wanted} bytes, not {len(raw)}", field=name)
        array = np.frombuffer(raw, DTYPES[datatype])
    else:
        if not isinstance(data, list):
            raise InvalidRequest(f"input {name} has neither data nor binary data", field=name)
        array = numbers(data, name)
    if array.size != math.prod(shape):
        raise InvalidRequest(
            f"input {name} must hold {math.prod(shape)} numbers, not {array.size}", field=name
        )
    array = array.astype(np.float64).reshape(shape)
    return _tensor(array if array.ndim == 4 else array[None], name, values, preprocessing)


def _files(name: str, shape: list[int], data: Any, raw: bytes | None) -> tuple[bytes, ...]:
    if raw is not None:
        return images_from_raw(Header(name, BYTES, tuple(shape)), raw)
    if not isinstance(data, list) or not all(isinstance(one, str) for one in flat(data)):
        raise InvalidRequest(f"input {name} must hold files in base64", field=name)
    return tuple(decode_base64(one, name) for one in flat(data))


def _tensor(
    array: Float64[np.ndarray, "n a b d"] | np.ndarray,
    name: str,
    values: Values,
    preprocessing: Preprocessing,
) -> list[tuple[bytes, bool]]:
    """Images of a batch of pixels, with their channels first or last."""
    channels = len(preprocessing.mean)
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise InvalidRequest(
            f"{name} must have the shape [n, height, width, 3] or [n, 3, height, width], not {list(array.shape)}",
            field=name,
        )
    if not np.isfinite(array).all():
        raise InvalidRequest(f"{name} holds numbers that are not finite", field=name)
    if values == "normalized":
        if array.shape[3] != channels:
            raise InvalidRequest(
                f"{name} has {array.shape[3]} channels; the model has {channels}", field=name
            )
        array = np.clip(array * np.array(preprocessing.std) + np.array(preprocessing.mean), 0, 1)
    most = 255 if values == "pixels" else 1
    if array.min() < 0 or array.max() > most:
        raise InvalidRequest(
            f"{name} holds {array.min():.4g} to {array.max():.4g}; with values {values} it must be 0 to {most}: "
            "set the monitor's values to pixels, unit or normalized",
            field=name,
            minimum=0,
            maximum=most,
        )
    pixels = np.rint(array * (255 / most)).astype(np.uint8)
    fitted = tuple(pixels.shape[1:3]) == tuple(preprocessing.size)
    return [(image, fitted) for image in encode_batch(pixels)]
