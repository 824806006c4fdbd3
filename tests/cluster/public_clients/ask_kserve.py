"""Calls a running service with the ``kserve`` package: python ask_kserve.py URL GRPC IMAGE APPLICATION."""

# pyright: reportMissingImports=false
# Installed in an environment of its own; see requirements.txt.

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from told import EXPLAINER, MODEL, NAMES, OPTIONS, tell, tensor

TIMEOUT_S = 300


def request(model: str, image: bytes, *, binary: bool, **parameters: Any) -> InferRequest:
    """An inference with one encoded file, in the JSON or after it."""
    tensor_in = InferInput("image", [1], "BYTES")
    if binary:
        tensor_in.set_data_from_numpy(np.array([image], dtype=np.object_), binary_data=True)
    else:
        tensor_in.data = [base64.b64encode(image).decode("ascii")]
    return InferRequest(model_name=model, infer_inputs=[tensor_in], parameters=parameters)


def numbers(response: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {output.name: tensor(output.as_numpy()) for output in response.outputs if output.name in names}


async def first(url: str, image: bytes) -> dict[str, Any]:
    """The first protocol."""
    client = InferenceRESTClient(RESTConfig(protocol="v1", timeout=TIMEOUT_S))
    instances = [{"b64": base64.b64encode(image).decode("ascii")}]
    options = {"grid_size": 4, "nb_design": 4}
    async with client:
        found = {
            "live": await client.is_server_live(url),
            "ready": await client.is_model_ready(url, MODEL),
            "predictions": (await client.infer(url, {"instances": instances}, model_name=MODEL))[
                "predictions"
            ],
            "explanations": (
                await client.explain(url, MODEL, {"instances": instances, "parameters": options})
            )["explanations"],
        }
        try:
            await client.explain(url, "nobody", {"instances": instances})
        except httpx.HTTPStatusError as error:
            found["refusal"] = str(error)
    return found


async def second(url: str, image: bytes) -> dict[str, Any]:
    """The Open Inference Protocol over REST."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=TIMEOUT_S))
    async with client:
        told = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url) and await client.is_model_ready(url, EXPLAINER),
        }
        for binary in (False, True):
            asked = request(EXPLAINER, image, binary=binary, binary_data_output=binary, **OPTIONS)
            explained = await client.infer(url, asked, model_name=EXPLAINER)
            told["binary" if binary else "json"] = numbers(explained, NAMES)
        predicted = await client.infer(url, request(MODEL, image, binary=True), model_name=MODEL)
        told["outputs"] = numbers(predicted, ("outputs",))
        try:
            await client.infer(url, request("nobody", image, binary=True), model_name="nobody")
        except httpx.HTTPStatusError as error:
            told["refusal"] = str(error)
    return told


async def over_grpc(target: str, image: bytes) -> dict[str, Any]:
    """The Open Inference Protocol over gRPC."""
    async with InferenceGRPCClient(target, timeout=TIMEOUT_S) as client:
        explained = await client.infer(request(EXPLAINER, image, binary=True, **OPTIONS))
        predicted = await client.infer(request(MODEL, image, binary=True))
        told = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready() and await client.is_model_ready(EXPLAINER),
            "binary": numbers(explained, NAMES),
            "outputs": numbers(predicted, ("outputs",)),
        }
        try:
            await client.infer(request("nobody", image, binary=True))
        except grpc.RpcError as error:
            told["refusal"] = error.details()
            told["code"] = dict(error.trailing_metadata())["wavescope-code"]
    return told


async def main(url: str, target: str, path: str) -> None:
    """Every protocol that the package speaks."""
    image = await asyncio.to_thread(Path(path).read_bytes)
    tell(
        {
            "v1": await first(url, image),
            "v2": await second(url, image),
            "grpc": await over_grpc(target, image),
        }
    )


asyncio.run(main(*sys.argv[1:]))
