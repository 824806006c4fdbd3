"""Open Inference Protocol v2 over HTTP, with the binary tensor data extension where the server has it."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import orjson
from jaxtyping import Float32

from wavescope.models.remote.address import Address
from wavescope.models.remote.faults import Refused
from wavescope.models.remote.http import Http, Reply, json_of
from wavescope.models.remote.protocol import Wire
from wavescope.models.remote.tensors import DTYPES, Described, Scores, Tensor, from_bytes, from_numbers

LENGTH = "inference-header-content-length"
EXTENSION = "binary_tensor_data"
# Servers that do not know the extension, and write what they cannot read into their log.
WITHOUT_BINARY = ("mlserver",)


class OipRest:
    """A :class:`~wavescope.models.remote.protocol.Client` over HTTP.

    Servers do not reliably say whether they know binary tensors: Triton's lists the extension, KServe's knows it and is
    silent, MLServer does not know it and fails. For others the first batch shows it.
    """

    def __init__(self, address: Address, http: Http) -> None:
        self._path = address.path
        self._server = f"{address.prefix}/v2"
        self._http = http
        self._binary: bool | None = None

    @property
    def binary(self) -> bool | None:
        """Whether tensors go as binary data; ``None`` before the first batch."""
        return self._binary

    def describe(self, timeout_s: float) -> Described:
        if self._binary is None:
            self._binary = self._says_binary(timeout_s)
        document = json_of(self._http.get(self._path, timeout_s).body, "the model's metadata")
        versions = document.get("versions")
        return Described(
            inputs=_tensors(document.get("inputs")),
            outputs=_tensors(document.get("outputs")),
            # Of several the server chooses, and does not say here which.
            version=str(versions[0]) if isinstance(versions, list) and len(versions) == 1 else "",
            platform=str(document.get("platform") or ""),
        )

    def infer(self, images: Float32[np.ndarray, "n c h w"], wire: Wire, timeout_s: float) -> Scores:
        if self._binary is None:
            try:
                scores = self._infer(images, wire, timeout_s, binary=True)
                self._binary = True
            except Refused as refused:
                if not refused.form:
                    raise
                scores = self._infer(images, wire, timeout_s, binary=False)
                self._binary = False
            return scores
        return self._infer(images, wire, timeout_s, binary=self._binary)

    def close(self) -> None:
        self._http.close()

    def _says_binary(self, timeout_s: float) -> bool | None:
        """Read from the server whether it supports binary tensors."""
        try:
            server = json_of(self._http.get(self._server, timeout_s).body, "the server's metadata")
        except Refused:
            return None  # behind a gateway that shows the model alone
        extensions = server.get("extensions")
        if isinstance(extensions, list) and EXTENSION in extensions:
            return True
        return False if server.get("name") in WITHOUT_BINARY else None

    def _infer(self, images: np.ndarray, wire: Wire, timeout_s: float, *, binary: bool) -> Scores:
        values = wire.laid_out(images).astype(DTYPES[wire.datatype], copy=False)
        tensor: dict[str, Any] = {
            "name": wire.input,
            "shape": list(values.shape),
            "datatype": wire.datatype,
        }
        output: dict[str, Any] = {"name": wire.output}
        # KServe's own server answers no request without an id.
        request: dict[str, Any] = {"id": uuid.uuid4().hex, "inputs": [tensor]}
        if wire.output:
            request["outputs"] = [output]
        headers = {"content-type": "application/json"}
        if binary:
            tensor["parameters"] = {"binary_data_size": values.nbytes}
            if wire.output:
                output["parameters"] = {"binary_data": True}
            else:
                request["parameters"] = {"binary_data_output": True}
            head = orjson.dumps(request)
            content = b"".join((head, values.data.cast("B")))
            headers = {"content-type": "application/octet-stream", LENGTH: str(len(head))}
        else:
            # orjson writes the shortest digits that read back as the same number.
            tensor["data"] = values.astype(np.float32, copy=False).ravel()
            content = orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY)
        return _scores(self._http.post(f"{self._path}/infer", content, headers, timeout_s), wire)


def _scores(reply: Reply, wire: Wire) -> Scores:
    length = reply.headers.get(LENGTH)
    body = memoryview(reply.body)
    if length is not None and not (length.isdecimal() and int(length[:12]) <= len(body)):
        raise Refused(f"the reply's header {LENGTH} is {length!r:.40}")
    split = int(length) if length is not None else len(body)
    document = json_of(body[:split], "the reply")
    outputs = document.get("outputs")
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise Refused("the reply has no outputs")
    at = split
    for output in outputs:
        parameters = output.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        raw = None
        if isinstance(size, int) and size >= 0:
            raw, at = body[at : at + size], at + size
        if not wire.output or output.get("name") == wire.output:
            return Scores(_array(output, raw), str(document.get("model_version") or ""))
    names = [str(output.get("name")) for output in outputs]
    raise Refused(f"the reply has no output {wire.output!r}, but {', '.join(names) or 'none'}")


def _array(output: dict[str, Any], raw: memoryview | None) -> np.ndarray:
    name, shape = str(output.get("name")), output.get("shape")
    if not isinstance(shape, list):
        raise Refused(f"output {name!r} has no shape")
    if raw is not None:
        return from_bytes(name, str(output.get("datatype")), shape, raw)
    return from_numbers(name, shape, output.get("data"))


def _tensors(found: object) -> tuple[Tensor, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(
        Tensor(
            str(tensor.get("name") or ""),
            str(tensor.get("datatype") or ""),
            tuple(side if isinstance(side, int) else -1 for side in tensor.get("shape") or ()),
        )
        for tensor in found
        if isinstance(tensor, dict)
    )
