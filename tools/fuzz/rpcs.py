"""RPCs of both services: messages whose fields hold anything, sound ones that are damaged, and bytes that are none."""

from __future__ import annotations

import base64
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from tests.fuzz.images import mutated_files
from tools.fuzz.hostile import damaged
from tools.fuzz.requests import MODEL
from tools.fuzz.target import Target
from tools.fuzz.verdict import HANG_S, Verdict, hung, leaks

from wavescope.ingress.openapi.request_examples import TINY_PNG
from wavescope_proto.inference import open_inference_pb2 as oip
from wavescope_proto.v1 import explanation_pb2 as pb

IMAGE = base64.b64decode(TINY_PNG)
METHODS: tuple[MethodDescriptor, ...] = tuple(
    method
    for file, name in ((pb, "ExplanationService"), (oip, "GRPCInferenceService"))
    for method in file.DESCRIPTOR.services_by_name[name].methods
)
METADATA = (
    "x-request-id", "authorization", "x-api-key", "wavescope-priority", "cache-control", "idempotency-key", "x-odd",
    "application", "multiplexed_model_id", "request_id", "x-odd-bin",
)  # fmt: skip
TEXTS = (
    "",
    "wcam",
    "sobol",
    "compare",
    "adaptive",
    MODEL,
    f"{MODEL}-wcam",
    "image",
    "BYTES",
    "UINT8",
    "FP32",
    "\0",
    "é" * 99,
)
DOUBLES = (0.0, -0.0, 1.5, -1.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
WHOLE = {"32": (0, 1, 2, 64, -1, 2**31 - 1, -(2**31)), "64": (0, 1, 2, -1, 2**53, 2**63 - 1, -(2**63))}
SHORT_S = 0.002
BROKEN = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class Rpc:
    """One call.

    Attributes:
        method: such as ``/wavescope.v1.ExplanationService/Explain``.
        streams: whether it answers with several messages.
        content: the message.
        metadata: of the call.
        timeout_s: that the caller sends.
    """

    method: str
    streams: bool
    content: bytes
    metadata: tuple[tuple[str, str | bytes], ...]
    timeout_s: float


def rpcs(seed: int) -> Iterator[Rpc]:
    """Without end: RPCs with something wrong in them."""
    rng, files = random.Random(f"grpc {seed}"), mutated_files(seed)
    while True:
        method = rng.choice(METHODS)
        yield Rpc(
            f"/{method.containing_service.full_name}/{method.name}",
            method.server_streaming,
            _content(method, rng, files),
            tuple(_entry(rng) for _ in range(rng.choice((0, 0, 1, 2, 20)))),
            SHORT_S if rng.random() < 0.02 else HANG_S,
        )


def _content(method: MethodDescriptor, rng: random.Random, files: Iterator[bytes]) -> bytes:
    match rng.randrange(6):
        case 0:
            return rng.randbytes(rng.choice((1, 10, 1000)))
        case 1:
            return damaged(_sound(method.input_type).SerializeToString(), rng)
        case 2 | 3:
            return _any(method.input_type, rng, files).SerializeToString()
        case _:
            # Fields that come again replace or extend those before.
            sound, odd = _sound(method.input_type), _any(method.input_type, rng, files, share=0.06)
            return sound.SerializeToString() + odd.SerializeToString()


def _sound(descriptor: Descriptor) -> Message:
    """A message that is answered, where one is known."""
    request = pb.ExplainRequest(image=IMAGE, kind="sobol", plan="full", grid_size=2, nb_design=2)
    tensor = oip.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(IMAGE)
    known: dict[str, Message] = {
        "ExplainRequest": request,
        "ExplainStreamRequest": pb.ExplainStreamRequest(request=request),
        "EstimateRequest": pb.EstimateRequest(request=request),
        "PredictRequest": pb.PredictRequest(images=[IMAGE]),
        "SubmitJobRequest": pb.SubmitJobRequest(request=request),
        "ModelInferRequest": oip.ModelInferRequest(model_name=MODEL, inputs=[tensor]),
        "ModelMetadataRequest": oip.ModelMetadataRequest(name=MODEL),
    }
    return known.get(descriptor.name) or GetMessageClass(descriptor)()


def _any(
    descriptor: Descriptor, rng: random.Random, files: Iterator[bytes], *, share: float = 0.2, depth: int = 4
) -> Message:
    """A message of a type, of whose fields a share holds anything."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if rng.random() > share:
            continue
        count = rng.choice((0, 1, 2, 5, 40)) if field.is_repeated else 1
        for _ in range(count):
            _set(message, field, rng, files, depth)
    return message


def _set(
    message: Any, field: FieldDescriptor, rng: random.Random, files: Iterator[bytes], depth: int
) -> None:
    if field.message_type is None:
        value = _scalar(field, rng, files)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
        return
    if field.message_type.GetOptions().map_entry:  # of messages, as all of ours are
        key, inner = rng.choice((*TEXTS, "grid_size", "binary_data_output")), getattr(message, field.name)
        inner[key].MergeFrom(_any(inner[key].DESCRIPTOR, rng, files, share=0.5))
        return
    inner = _any(field.message_type, rng, files, share=0.4, depth=depth - 1) if depth else None
    if inner is None:
        return
    if field.is_repeated:
        getattr(message, field.name).append(inner)
    else:
        getattr(message, field.name).CopyFrom(inner)


def _scalar(field: FieldDescriptor, rng: random.Random, files: Iterator[bytes]) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_BYTES:
            return rng.choice(
                (b"", IMAGE, rng.randbytes(50), len(IMAGE).to_bytes(4, "little") + IMAGE, next(files))
            )
        case FieldDescriptor.TYPE_STRING:
            return rng.choice(
                (*TEXTS, "".join(chr(rng.randint(1, 0xD7FF)) for _ in range(rng.randint(0, 40))))
            )
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return rng.choice(DOUBLES)
        case FieldDescriptor.TYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.TYPE_UINT32 | FieldDescriptor.TYPE_UINT64:
            return rng.choice((0, 1, 2**32 - 1))
        case FieldDescriptor.TYPE_INT32:
            return rng.choice((*WHOLE["32"], rng.randint(0, 64)))
        case _:
            return rng.choice((*WHOLE["64"], rng.randint(0, 64)))


def _entry(rng: random.Random) -> tuple[str, str | bytes]:
    name = rng.choice(METADATA)
    if name.endswith("-bin"):
        return name, rng.randbytes(rng.randint(0, 100))
    usual = rng.choice(("batch", "no-cache", "Bearer", "Bearer x", "", "a" * 200))
    drawn = "".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(0, 60)))
    return name, rng.choice((usual, drawn))


def call(channel: Any, rpc: Rpc) -> Verdict:
    """What came of an RPC on a channel."""
    make = channel.unary_stream if rpc.streams else channel.unary_unary
    try:
        answer = make(rpc.method)(rpc.content, timeout=rpc.timeout_s, metadata=rpc.metadata)
        if rpc.streams:
            deque(answer, maxlen=0)
    except grpc.RpcError as error:
        return _verdict(error, rpc)
    return Verdict("OK")


def _verdict(error: Any, rpc: Rpc) -> Verdict:
    """Of an RPC that ended with an error, which is a finished call as well."""
    code, details = error.code().name, error.details() or ""
    coded = any(name == "wavescope-code" for name, _ in error.trailing_metadata() or ())
    if code == "DEADLINE_EXCEEDED" and not coded:
        return Verdict("given up by the caller") if rpc.timeout_s == SHORT_S else hung()
    if found := leaks(details.encode("utf-8", "backslashreplace")):
        return Verdict(code, f"{code} reveals {found}: {details[:300]}")
    return Verdict(code, f"{code}: {details[:300]}" if code in BROKEN else None)


def channel_to(target: Target) -> grpc.Channel:
    """A channel; closed by its user."""
    return grpc.insecure_channel(f"127.0.0.1:{target.grpc_port}", [("grpc.max_receive_message_length", -1)])
