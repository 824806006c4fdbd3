"""Open Inference Protocol v2 over gRPC, tensors as raw contents."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np
from jaxtyping import Float32

from wavescope.models.remote.address import Address, authority
from wavescope.models.remote.faults import Refused, TooLarge, Unavailable, of_refusal, readable
from wavescope.models.remote.headers import Headers
from wavescope.models.remote.hosts import AllowedHosts
from wavescope.models.remote.http import MAX_REPLY_BYTES
from wavescope.models.remote.options import RemoteOptions, Tls
from wavescope.models.remote.protocol import Wire
from wavescope.models.remote.tensors import DTYPES, Described, Scores, Tensor, from_bytes, from_numbers
from wavescope_proto.inference import open_inference_pb2 as pb
from wavescope_proto.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub

Reply = TypeVar("Reply")


class OipGrpc:
    """A :class:`~wavescope.models.remote.protocol.Client` over gRPC.

    Args:
        address: of the model.
        hosts: that may be asked; the host's addresses are looked up and checked for every connection.
        options: TLS and headers.

    Raises:
        ValueError: a header's or certificate's file cannot be used.
    """

    def __init__(self, address: Address, hosts: AllowedHosts, options: RemoteOptions) -> None:
        self._address = address
        self._hosts = hosts
        self._headers = Headers(options.headers)
        self._credentials = _credentials(options.tls) if address.secure else None
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._turn = 0

    def describe(self, timeout_s: float) -> Described:
        request = pb.ModelMetadataRequest(name=self._address.model, version=self._address.version)
        found = self._call(lambda stub, **given: stub.ModelMetadata(request, **given), timeout_s)
        return Described(
            inputs=tuple(Tensor(one.name, one.datatype, tuple(one.shape)) for one in found.inputs),
            outputs=tuple(Tensor(one.name, one.datatype, tuple(one.shape)) for one in found.outputs),
            version=found.versions[0] if len(found.versions) == 1 else "",
            platform=found.platform,
        )

    def infer(self, images: Float32[np.ndarray, "n c h w"], wire: Wire, timeout_s: float) -> Scores:
        values = wire.laid_out(images).astype(DTYPES[wire.datatype], copy=False)
        request = pb.ModelInferRequest(
            model_name=self._address.model,
            model_version=self._address.version,
            id=uuid.uuid4().hex,
            inputs=[
                pb.ModelInferRequest.InferInputTensor(
                    name=wire.input, datatype=wire.datatype, shape=values.shape
                )
            ],
            outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=wire.output)]
            if wire.output
            else [],
            raw_input_contents=[values.tobytes()],
        )
        reply = self._call(lambda stub, **given: stub.ModelInfer(request, **given), timeout_s)
        for place, output in enumerate(reply.outputs):
            if not wire.output or output.name == wire.output:
                return Scores(_array(reply, place), reply.model_version)
        names = ", ".join(output.name for output in reply.outputs)
        raise Refused(f"the reply has no output {wire.output!r}, but {names or 'none'}")

    def close(self) -> None:
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _call(self, call: Callable[..., Reply], timeout_s: float) -> Reply:
        try:
            channel = self._connected()
            own = self._headers.read()
        except (PermissionError, ValueError) as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Unavailable(f"the name of {self._address.authority} cannot be resolved") from error
        try:
            return call(GRPCInferenceServiceStub(channel), timeout=timeout_s, metadata=tuple(own.items()))
        except grpc.RpcError as error:
            fault = self._fault(error, self._headers.secrets(own))
            if isinstance(fault, Unavailable):
                self._forget(channel)
            raise fault from error

    def _connected(self) -> grpc.Channel:
        with self._lock:
            if self._channel is None:
                # IPv4 first: where a name has both, servers that listen on one listen on that.
                addresses = sorted(
                    self._hosts.resolve(self._address.host, self._address.port), key=lambda ip: ":" in ip
                )
                self._channel = self._connect(addresses[self._turn % len(addresses)])
            return self._channel

    def _connect(self, ip: str) -> grpc.Channel:
        # To the address that was checked: gRPC would look the name up again, and go through the environment's proxy.
        target = f"{'ipv6' if ':' in ip else 'ipv4'}:{authority(ip, self._address.port)}"
        options: list[tuple[str, object]] = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            # A new channel connects anew, without an old one's back-off.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
            ("grpc.default_authority", self._address.authority),
        ]
        if self._credentials is None:
            return grpc.insecure_channel(target, options)
        options.append(("grpc.ssl_target_name_override", self._address.host))
        return grpc.secure_channel(target, self._credentials, options)

    def _forget(self, channel: grpc.Channel) -> None:
        """The next call connects anew, to the next address. Calls under way keep the old channel."""
        with self._lock:
            if self._channel is channel:
                self._channel = None
                self._turn += 1

    def _fault(self, error: grpc.RpcError, secrets: tuple[str, ...]) -> Exception:
        code = error.code()  # type: ignore[attr-defined]
        text = readable(error.details() or "", secrets)  # type: ignore[attr-defined]
        reason = f"{self._address.authority} answered {code.name}" + (f": {text}" if text else "")
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return TooLarge(reason)
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            return Unavailable(reason)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unavailable(f"{self._address.authority} did not answer in time")
        if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE):
            return of_refusal(text, reason, form=False)
        return Refused(reason)


def _array(reply: pb.ModelInferResponse, place: int) -> np.ndarray:
    output = reply.outputs[place]
    if len(reply.raw_output_contents) == len(reply.outputs):
        raw = reply.raw_output_contents[place]
        return from_bytes(output.name, output.datatype, list(output.shape), raw)
    numbers = output.contents.fp32_contents or output.contents.fp64_contents
    if not numbers:
        raise Refused(f"output {output.name!r} has neither raw contents nor numbers")
    dtype = np.float32 if output.contents.fp32_contents else np.float64
    return from_numbers(output.name, list(output.shape), np.array(numbers, dtype))


def _credentials(tls: Tls | None) -> grpc.ChannelCredentials:
    tls = tls or Tls()

    def read(path: str | None) -> bytes | None:
        return None if path is None else Path(path).read_bytes()

    try:
        return grpc.ssl_channel_credentials(read(tls.ca_file), read(tls.key_file), read(tls.cert_file))
    except OSError as error:
        raise ValueError(f"tls: the certificates cannot be read: {error}") from error
