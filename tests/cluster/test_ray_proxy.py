"""What Ray Serve's proxies do with requests before our own code sees them."""

from __future__ import annotations

import json
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
import ray
from skimage import data
from tests.cluster.service import SMALL, Service, body, eventually, png

from wavescope.settings import Settings
from wavescope_proto.v1 import explanation_pb2, explanation_pb2_grpc

LIMIT = Settings().max_body_bytes
KERNEL_BUFFERS = 16 * 2**20  # what is on the way when the reply comes
CHUNK = 2**20
REPLY_S = 60.0


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-timeout-seconds": "0.001"},
        {"X-Request-Timeout-Seconds": "0.001"},
        {"x-request-disconnect-disabled": "?1", "x-request-timeout-seconds": "0.001"},
        {"serve_multiplexed_model_id": "another", "x-session-id": "mine"},
        {"x-request-id": b"\xff\xfe"},
        {"x-request-id": "x" * 5000},
    ],
)
def test_headers_that_the_proxy_would_obey_change_nothing(service: Service, headers):
    reply = service.http.post("/v1/explanations", json=body(png(data.chelsea()), **SMALL), headers=headers)
    assert reply.status_code == 200
    assert len(reply.headers.get_list("x-request-id")) == 1
    assert len(reply.headers["x-request-id"]) <= 128


def test_metadata_that_the_proxy_would_obey_changes_nothing(service: Service):
    metadata = [
        ("application", "model-efficientnet-lite0"),
        ("multiplexed_model_id", "another"),
        ("session_id", "mine"),
        ("request_id", "x" * 1000),
    ]
    with grpc.insecure_channel(service.grpc) as channel:
        stub = explanation_pb2_grpc.ExplanationServiceStub(channel)
        request = explanation_pb2.ExplainRequest(image=png(data.chelsea()), **SMALL)
        assert stub.Explain(request, metadata=metadata).forwards == 72


def test_endless_body_is_cut_at_the_limit(service: Service):
    sent = 0
    with _connect(service) as client:
        client.sendall(_head("Transfer-Encoding: chunked"))
        chunk = f"{CHUNK:x}\r\n".encode() + b"x" * CHUNK + b"\r\n"
        while sent <= LIMIT + KERNEL_BUFFERS:
            readable, writable, _ = select.select([client], [client], [], REPLY_S)
            if readable or not writable:
                break
            sent += CHUNK
            client.sendall(chunk)
        status, headers, problem = _reply(client)
    assert status == 413
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert problem["code"] == "body_too_large"
    assert problem["limits"] == {"max_body_bytes": LIMIT}
    assert LIMIT < sent <= LIMIT + KERNEL_BUFFERS


def test_declared_length_over_the_limit_is_refused_before_the_body_is_sent(service: Service):
    with _connect(service) as client:
        client.sendall(_head(f"Content-Length: {LIMIT + 1}\r\nX-Request-ID: mine"))
        status, headers, problem = _reply(client)
    assert status == 413
    assert headers["x-request-id"] == problem["request_id"] == "mine"


def test_headers_without_an_end_are_cut_at_their_limit(service: Service):
    with _connect(service) as client:
        sent = 0
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        while sent <= KERNEL_BUFFERS:
            readable, _, _ = select.select([client], [client], [], REPLY_S)
            if readable:
                break
            sent += CHUNK
            try:
                client.sendall(b"a" * CHUNK)
            except ConnectionError:  # the service has answered and closed since it was looked
                break
        status, _, problem = _reply(client)
    assert (status, problem["code"]) == (431, "headers_too_large")
    assert problem["limits"] == {"max_header_bytes": Settings().max_header_bytes}


@pytest.mark.parametrize("path", ["/-/routes", "/-/healthz"])
def test_the_paths_of_ray_serve_are_for_this_host_alone(service: Service, path: str):
    assert service.http.get(path).status_code == 200
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert service.http.get(path, headers=headers).status_code == 403


def test_a_message_over_the_limit_of_bodies_is_refused_by_grpc(service: Service):
    with grpc.insecure_channel(service.grpc) as channel:
        stub = explanation_pb2_grpc.ExplanationServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="larger than max") as caught:
            stub.Explain(explanation_pb2.ExplainRequest(image=bytes(LIMIT + 2 * 2**20)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.slow
def test_callers_of_a_gateway_that_dies_may_retry_and_learn_nothing_of_it(service: Service):
    image = png(data.chelsea())
    with grpc.insecure_channel(service.grpc) as channel, ThreadPoolExecutor(2) as pool:
        stub = explanation_pb2_grpc.ExplanationServiceStub(channel)
        forwards = service.metric("wavescope_forwards_total")
        over_http = pool.submit(service.http.post, "/v1/explanations", json=body(image, nb_design=64))
        over_grpc = pool.submit(stub.Explain, explanation_pb2.ExplainRequest(image=image, nb_design=64))
        eventually(lambda: service.metric("wavescope_forwards_total") > forwards, "both are being computed")
        for actor in _gateways():
            ray.kill(actor, no_restart=True)
        reply = over_http.result()
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "1"
        assert reply.json()["code"] == "model_unavailable"
        with pytest.raises(grpc.RpcError) as raised:
            over_grpc.result()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(raised.value.trailing_metadata())["wavescope-code"] == "model_unavailable"
    for leaked in ("Traceback", "actor", "ray", "127.0.0.1"):
        assert leaked not in raised.value.details()
    eventually(lambda: _is_ready(service), "the service is back")


def _gateways() -> list[ray.actor.ActorHandle]:
    named = ray.util.list_named_actors(all_namespaces=True)
    return [
        ray.get_actor(entry["name"], namespace=entry["namespace"])
        for entry in named
        if "#Gateway#" in entry["name"]
    ]


def _is_ready(service: Service) -> bool:
    try:
        return service.http.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def _connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout=REPLY_S)


def _head(headers: str) -> bytes:
    lines = ("POST /v1/explanations HTTP/1.1", "Host: localhost", "Content-Type: application/json", headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _reply(client: socket.socket) -> tuple[int, dict[str, str], dict]:
    reply = HTTPResponse(client)
    reply.begin()
    return (
        reply.status,
        {name.lower(): value for name, value in reply.getheaders()},
        json.loads(reply.read(int(reply.headers["content-length"]))),
    )
