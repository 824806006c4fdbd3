"""A gRPC server that can misbehave, and certificates over both transports."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tests.polling import DEADLINE_S
from tests.remote import certificates
from tests.remote.certificates import Certificates
from tests.remote.fake_server import CLASSES, SIDE, scores, serving

from wavescope.engine.types import Preprocessing
from wavescope.errors import ModelChanged, ModelUnavailable, RegistryInvalid, RemoteFailure
from wavescope.models.remote.backend import RemoteBackend, load_remote
from wavescope.models.remote.options import Header, RemoteOptions, Tls
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope_proto.inference import open_inference_pb2 as pb
from wavescope_proto.inference import open_inference_pb2_grpc as pb_grpc

PREPROCESSING = Preprocessing(size=(SIDE, SIDE), resize=None)
Request = pb.ModelInferRequest
Reply = pb.ModelInferResponse


@dataclass
class Model(pb_grpc.GRPCInferenceServiceServicer):
    """Answers by ``behave``, which a test may replace; keeps the metadata that came with requests."""

    behave: Callable[[Request, grpc.ServicerContext], Reply] | None = None
    told: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    def ModelMetadata(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> pb.ModelMetadataResponse:
        if request.name != "toy":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name}")
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name="toy",
            versions=["1"],
            inputs=[tensor(name="images", datatype="FP32", shape=[-1, 3, SIDE, SIDE])],
            outputs=[tensor(name="logits", datatype="FP32", shape=[-1, CLASSES])],
        )

    def ModelInfer(self, request: Request, context: grpc.ServicerContext) -> Reply:  # noqa: N802
        self.told.append({name: str(value) for name, value in context.invocation_metadata()})
        return (self.behave or well)(request, context)


def images_of(request: Request) -> np.ndarray:
    (tensor,), (raw,) = request.inputs, request.raw_input_contents
    return np.frombuffer(raw, np.float32).reshape(list(tensor.shape))


def well(request: Request, _: grpc.ServicerContext) -> Reply:
    found = scores(images_of(request))
    output = Reply.InferOutputTensor(name="logits", datatype="FP32", shape=found.shape)
    return Reply(model_version="1", outputs=[output], raw_output_contents=[found.tobytes()])


def typed(request: Request, _: grpc.ServicerContext) -> Reply:
    """The same in typed contents, as servers may answer that do not know raw ones."""
    found = scores(images_of(request))
    output = Reply.InferOutputTensor(name="logits", datatype="FP32", shape=found.shape)
    output.contents.fp32_contents.extend(found.ravel().tolist())
    return Reply(outputs=[output])


def aborting(code: grpc.StatusCode, text: str) -> Callable[[Request, grpc.ServicerContext], Reply]:
    def behave(_: Request, context: grpc.ServicerContext) -> Reply:
        context.abort(code, text)
        raise AssertionError

    return behave


@contextmanager
def running(credentials: grpc.ServerCredentials | None = None) -> Iterator[Model]:
    model = Model()
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    place = "127.0.0.1:0"
    model.port = (
        server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    )
    server.start()
    try:
        yield model
    finally:
        server.stop(None)


@pytest.fixture
def remote() -> Iterator[Model]:
    with running() as model:
        yield model


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("pem"))


def backend(source: str, *, batch_size: int | None = None, **options: Any) -> RemoteBackend:
    spec = ModelSpec(
        name="toy",
        source=f"oip:{source}",
        preprocessing=PREPROCESSING,
        outputs="logits",
        batch_size=batch_size,
        remote=RemoteOptions(**{"attempts": 1, "timeout_s": DEADLINE_S} | options),
    )
    return load_remote(spec, LoadOptions(Path("unused"), remote_hosts=("127.0.0.1", "localhost")))


def images(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, 3, SIDE, SIDE), dtype=np.float32)


@pytest.mark.parametrize("behave", [well, typed])
def test_scores_come_raw_or_typed(remote: Model, behave: Any) -> None:
    remote.behave = behave
    model = backend(f"grpc://127.0.0.1:{remote.port}/toy", batch_size=4)
    np.testing.assert_array_equal(model.forward(images(11)), scores(images(11)))


def test_headers_are_metadata(remote: Model) -> None:
    header = Header("Authorization", literal="Bearer secret")
    backend(f"grpc://127.0.0.1:{remote.port}/toy", headers=(header,))
    assert all(told["authorization"] == "Bearer secret" for told in remote.told)


def test_a_batch_that_exhausts_the_server_is_halved(remote: Model) -> None:
    exhausted = aborting(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max")
    remote.behave = lambda request, context: (
        exhausted(request, context) if request.inputs[0].shape[0] > 2 else well(request, context)
    )
    model = backend(f"grpc://127.0.0.1:{remote.port}/toy", batch_size=16)
    np.testing.assert_array_equal(model.forward(images(9)), scores(images(9)))
    assert model.limit.size == 2
    remote.behave = exhausted
    with pytest.raises(RemoteFailure, match=r"1 images at once are too large .* RESOURCE_EXHAUSTED"):
        model.forward(images(2))


def test_what_is_unavailable_is_asked_again_over_a_new_connection(remote: Model) -> None:
    model = backend(f"grpc://127.0.0.1:{remote.port}/toy", attempts=3)
    left = [aborting(grpc.StatusCode.UNAVAILABLE, "restarting")] * 2
    remote.behave = lambda request, context: left.pop()(request, context) if left else well(request, context)
    np.testing.assert_array_equal(model.forward(images(2)), scores(images(2)))
    remote.behave = aborting(grpc.StatusCode.UNAVAILABLE, "restarting")
    with pytest.raises(ModelUnavailable, match="answered UNAVAILABLE: restarting"):
        model.forward(images(2))


def test_a_server_that_takes_too_long_is_unavailable(remote: Model) -> None:
    model = backend(f"grpc://127.0.0.1:{remote.port}/toy", timeout_s=0.5)
    done = threading.Event()
    remote.behave = lambda request, context: (done.wait(DEADLINE_S), well(request, context))[1]
    try:
        with pytest.raises(ModelUnavailable, match="did not answer in time"):
            model.forward(images(2))
    finally:
        done.set()


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        (grpc.StatusCode.INTERNAL, "oops", "answered INTERNAL: oops"),
        (grpc.StatusCode.PERMISSION_DENIED, "no Bearer secret here", "answered PERMISSION_DENIED: no … here"),
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape", "answered INVALID_ARGUMENT: unexpected shape"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words_without_secrets(
    remote: Model, code: grpc.StatusCode, text: str, message: str
) -> None:
    header = Header("Authorization", literal="Bearer secret")
    model = backend(f"grpc://127.0.0.1:{remote.port}/toy", headers=(header,))
    remote.behave = aborting(code, text)
    with pytest.raises(RemoteFailure, match=message):
        model.forward(images(2))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(), "no output 'logits', but none"),
        (Reply(outputs=[Reply.InferOutputTensor(name="other")]), "no output 'logits', but other"),
        (
            Reply(outputs=[Reply.InferOutputTensor(name="logits", datatype="FP32", shape=[2, 4])]),
            "neither raw contents nor numbers",
        ),
        (
            Reply(
                outputs=[Reply.InferOutputTensor(name="logits", datatype="FP32", shape=[2, 4])],
                raw_output_contents=[b"123"],
            ),
            "has 3 bytes, not 32",
        ),
        (
            Reply(
                outputs=[Reply.InferOutputTensor(name="logits", datatype="BYTES", shape=[2, 4])],
                raw_output_contents=[b"123"],
            ),
            "is of 'BYTES'",
        ),
    ],
)
def test_what_is_no_scores_is_refused_in_words(remote: Model, reply: Reply, message: str) -> None:
    model = backend(f"grpc://127.0.0.1:{remote.port}/toy")
    remote.behave = lambda *_: reply
    with pytest.raises(RemoteFailure, match=message):
        model.forward(images(2))


def test_a_model_that_is_replaced_on_its_server_is_noticed(remote: Model) -> None:
    model = backend(f"grpc://127.0.0.1:{remote.port}/toy")

    def other(request: Request, context: grpc.ServicerContext) -> Reply:
        reply = well(request, context)
        reply.model_version = "2"
        return reply

    remote.behave = other
    with pytest.raises(ModelChanged):
        model.forward(images(1))


def test_the_environments_proxy_is_not_used(remote: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        for name in ("grpc_proxy", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("no_grpc_proxy", raising=False)
        backend(f"grpc://127.0.0.1:{remote.port}/toy")
        assert proxy.asked == []


@pytest.fixture(params=["https", "grpcs"])
def secure(request: pytest.FixtureRequest, pem: Certificates) -> Iterator[Callable[[str], str]]:
    """A server with a certificate for ``localhost``: its URL under any host's name."""
    if request.param == "https":
        with serving(pem.context()) as fake:
            yield lambda host: f"https://{host}:{fake.port}/v2/models/toy"
    else:
        pair = pem.server_key.read_bytes(), pem.server.read_bytes()
        with running(grpc.ssl_server_credentials([pair])) as model:
            yield lambda host: f"grpcs://{host}:{model.port}/toy"


def test_a_certificate_of_the_declared_authority_is_trusted(
    secure: Callable[[str], str], pem: Certificates
) -> None:
    model = backend(secure("localhost"), tls=Tls(ca_file=str(pem.ca)))
    np.testing.assert_array_equal(model.forward(images(2)), scores(images(2)))


@pytest.mark.parametrize("case", ["another authority", "another name"])
def test_other_certificates_are_not_trusted(
    secure: Callable[[str], str], pem: Certificates, case: str
) -> None:
    url = secure("localhost" if case == "another authority" else "127.0.0.1")
    tls = None if case == "another authority" else Tls(ca_file=str(pem.ca))
    with pytest.raises((RemoteFailure, ModelUnavailable), match=r"(?i)certificate|handshake|UNAVAILABLE"):
        backend(url, tls=tls)


@pytest.mark.parametrize("transport", ["https", "grpcs"])
def test_our_own_certificate_is_shown_to_servers_that_ask(pem: Certificates, transport: str) -> None:
    known = Tls(ca_file=str(pem.ca), cert_file=str(pem.client), key_file=str(pem.client_key))
    unknown = Tls(ca_file=str(pem.ca))
    if transport == "https":
        with serving(pem.context(ask_client=True)) as fake:
            url = f"https://localhost:{fake.port}/v2/models/toy"
            backend(url, tls=known)
            with pytest.raises((RemoteFailure, ModelUnavailable)):
                backend(url, tls=unknown)
        return
    pair = pem.server_key.read_bytes(), pem.server.read_bytes()
    credentials = grpc.ssl_server_credentials([pair], pem.ca.read_bytes(), require_client_auth=True)
    with running(credentials) as model:
        url = f"grpcs://localhost:{model.port}/toy"
        backend(url, tls=known)
        with pytest.raises((RemoteFailure, ModelUnavailable)):
            backend(url, tls=unknown)


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_certificates_that_cannot_be_used_are_named(pem: Certificates, scheme: str, tmp_path) -> None:
    url = f"{scheme}://localhost:9/" + ("v2/models/toy" if scheme == "https" else "toy")
    with pytest.raises(RegistryInvalid, match=r"remote\.tls\.ca_file: there is no file"):
        backend(url, tls=Tls(ca_file=str(tmp_path / "absent.pem")))


def test_a_broken_certificate_is_an_error_of_the_registry(tmp_path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(RegistryInvalid, match="the certificates cannot be read") as caught:
        backend("https://localhost:9/v2/models/toy", tls=Tls(ca_file=str(broken)))
    assert caught.value.field == "remote.tls"
