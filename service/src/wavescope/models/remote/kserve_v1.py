"""KServe v1: ``POST /v1/models/<name>:predict`` with nested numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from jaxtyping import Float32

from wavescope.models.remote.address import Address
from wavescope.models.remote.faults import Refused
from wavescope.models.remote.http import Http, json_of
from wavescope.models.remote.protocol import Wire
from wavescope.models.remote.tensors import Described, Scores, from_numbers


class KServeV1:
    """A :class:`~wavescope.models.remote.protocol.Client`; the protocol has no metadata of inputs and outputs."""

    def __init__(self, address: Address, http: Http) -> None:
        self._path = f"{address.path}:predict"
        self._http = http

    def describe(self, timeout_s: float) -> Described:
        return Described()

    def infer(self, images: Float32[np.ndarray, "n c h w"], wire: Wire, timeout_s: float) -> Scores:
        content = orjson.dumps({"instances": wire.laid_out(images)}, option=orjson.OPT_SERIALIZE_NUMPY)
        reply = self._http.post(self._path, content, {"content-type": "application/json"}, timeout_s)
        predictions = json_of(reply.body, "the reply").get("predictions")
        if not isinstance(predictions, list):
            raise Refused("the reply has no list of predictions")
        rows = [_row(prediction, wire.output) for prediction in predictions]
        return Scores(from_numbers(wire.output or "predictions", None, rows))

    def close(self) -> None:
        self._http.close()


def _row(prediction: Any, output: str) -> Any:
    """The scores in one prediction: itself, or what it has under a key."""
    if not isinstance(prediction, dict):
        return prediction
    if not output and len(prediction) == 1:
        return next(iter(prediction.values()))
    if output not in prediction:
        keys = ", ".join(sorted(map(str, prediction)))
        what = f"no {output!r}" if output else "several keys, and no output is declared"
        raise Refused(f"a prediction has {what}: {keys:.200}")
    return prediction[output]
