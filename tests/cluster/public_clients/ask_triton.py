"""Calls a running service with the ``tritonclient`` package: python ask_triton.py URL GRPC IMAGE APPLICATION."""

# pyright: reportMissingImports=false
# Installed in an environment of its own; see requirements.txt.

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from told import EXPLAINER, MODEL, NAMES, OPTIONS, tell, tensor
from tritonclient.utils import InferenceServerException

TIMEOUT_S = 300


def ask(module: ModuleType, client: Any, image: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """Everything that both transports of the package have."""
    given = module.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([image], dtype=np.object_))

    def infer(model: str, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
        wanted = [module.InferRequestedOutput(name) for name in names]
        result = client.infer(model, [given], outputs=wanted, request_id="mine", **more)
        return {name: tensor(result.as_numpy(name)) for name in names}

    told = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready() and client.is_model_ready(EXPLAINER, "1"),
        "binary": infer(EXPLAINER, NAMES, parameters=options),
        "outputs": infer(MODEL, ("outputs",)),
    }
    # All outputs, the text of the reply among them.
    everything = client.infer(EXPLAINER, [given], parameters=options)
    told["explanation"] = everything.as_numpy("explanation")[0].decode("utf-8")
    try:
        infer("nobody", ("outputs",))
    except InferenceServerException as error:
        told["refusal"] = error.message()
    return told


def main() -> None:
    """Both transports."""
    url, target, path = sys.argv[1:]
    image = Path(path).read_bytes()
    http = tritonclient.http.InferenceServerClient(
        url.removeprefix("http://"), connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S
    )
    rpc = tritonclient.grpc.InferenceServerClient(target)
    told = {"http": ask(tritonclient.http, http, image, OPTIONS)}
    told["http"]["server"] = http.get_server_metadata()
    told["http"]["model"] = http.get_model_metadata(EXPLAINER)
    told["grpc"] = ask(tritonclient.grpc, rpc, image, OPTIONS)
    told["grpc"]["server"] = rpc.get_server_metadata(as_json=True)
    told["grpc"]["model"] = rpc.get_model_metadata(EXPLAINER, as_json=True)
    tell(told)


main()
