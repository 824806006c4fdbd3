"""Streams, and what becomes of the work of a client that leaves, over real sockets and every protocol."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
from skimage import data
from tests.cluster.service import SMALL, SMALL_FORWARDS, body, eventually, png, settled

from wavescope_proto.v1 import explanation_pb2 as pb
from wavescope_proto.v1.explanation_pb2_grpc import ExplanationServiceStub

FORWARDS = 'wavescope_forwards_total{model="efficientnet-lite0"}'
EVENTS = {"Accept": "text/event-stream"}
GRID, ROWS = 16, 4
SMALL_GRID, MORE_ROWS = 8, 8  # 528 forwards: about six rows come after the first partial result
WHOLE = ROWS * (GRID**2 + 2)


@pytest.fixture(scope="module")
def image() -> bytes:
    return png(data.chelsea())


@pytest.fixture(scope="module")
def fields():
    """About 1,000 forwards: long enough to be left."""
    return {"plan": "full", "grid_size": GRID, "nb_design": ROWS, "seed": 31}


def events(reply: httpx.Response):
    name = ""
    for line in reply.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_stream_tells_progress_and_parts_and_ends_with_the_result(service, image, fields):
    request = body(image, **fields | {"grid_size": SMALL_GRID, "nb_design": MORE_ROWS})
    with service.http.stream("POST", "/v1/explanations", json=request, headers=EVENTS) as reply:
        assert reply.status_code == 200
        told = list(events(reply))
    names = [name for name, _ in told]
    assert names[-1] == "result"
    assert set(names) == {"progress", "partial", "result"}
    first = next(content for name, content in told if name == "partial")
    # The first is due after two rows; on a busy machine it is computed while a further row or two comes in.
    assert 2 <= first["rows"] < MORE_ROWS
    assert len(first["indices"]["total"]) == SMALL_GRID**2
    whole = service.http.post("/v1/explanations", json=request).json()
    assert told[-1][1]["indices"] == whole["indices"]


def test_an_adaptive_stream_tells_its_first_part_within_a_tenth_of_the_whole(service, image):
    request = body(image, plan="adaptive", seed=32)
    with service.http.stream("POST", "/v1/explanations", json=request, headers=EVENTS) as reply:
        told = list(events(reply))
    first = next(content for name, content in told if name == "partial")
    assert first["forwards"] <= told[-1][1]["forwards"] / 10


def test_what_is_wrong_is_told_before_the_stream_begins(service):
    reply = service.http.post("/v1/explanations", json=body(b"no image"), headers=EVENTS)
    assert (reply.status_code, reply.json()["code"]) == (415, "not_an_image")


def leave_http(service, image, fields):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service.url}/v1/explanations", json=body(image, **fields), timeout=1.0)


def leave_stream(service, image, fields):
    with httpx.stream(
        "POST", f"{service.url}/v1/explanations", json=body(image, **fields), headers=EVENTS, timeout=60
    ) as reply:
        next(content for name, content in events(reply) if name == "progress" and content["forwards"] > 0)


def leave_kserve(service, image, fields):
    request = {"instances": [{"b64": base64.b64encode(image).decode()}], "parameters": fields}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service.url}/v1/models/efficientnet-lite0:explain", json=request, timeout=1.0)


def leave_oip(service, image, fields):
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(image).decode()]}
    request = {"inputs": [tensor], "parameters": fields}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{service.url}/v2/models/efficientnet-lite0-wcam/infer", json=request, timeout=1.0)


def leave_grpc(service, image, fields):
    with grpc.insecure_channel(service.grpc) as channel, pytest.raises(grpc.RpcError):
        ExplanationServiceStub(channel).Explain(pb.ExplainRequest(image=image, **fields), timeout=1.0)


def leave_grpc_stream(service, image, fields):
    with grpc.insecure_channel(service.grpc) as channel:
        request = pb.ExplainStreamRequest(request=pb.ExplainRequest(image=image, **fields))
        told = ExplanationServiceStub(channel).ExplainStream(request)
        next(event for event in told if event.WhichOneof("event") == "progress" and event.progress.forwards)
        told.cancel()


@pytest.mark.parametrize(
    "leave", [leave_http, leave_stream, leave_kserve, leave_oip, leave_grpc, leave_grpc_stream]
)
def test_a_client_that_leaves_stops_its_work(service, image, fields, leave):
    before = settled(service, FORWARDS)
    seed = fields["seed"] + len(leave.__name__)
    leave(service, image, fields | {"seed": seed})
    assert settled(service, FORWARDS) - before < WHOLE
    eventually(lambda: service.metric("wavescope_explanations_in_progress") == 0, "nothing in progress")
    eventually(lambda: service.metric("wavescope_admission_running") == 0, "nothing admitted")


def test_streams_left_between_two_messages_leave_nothing_behind(service, image, fields):
    """More than are admitted at once: those that stayed would keep the others out."""

    def leave_at_once(seed: int) -> None:
        with grpc.insecure_channel(service.grpc) as channel:
            request = pb.ExplainRequest(image=image, **fields | {"seed": seed})
            told = ExplanationServiceStub(channel).ExplainStream(pb.ExplainStreamRequest(request=request))
            next(iter(told))
            told.cancel()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(leave_at_once, range(1000, 1020)))
    eventually(lambda: service.metric("wavescope_explanations_in_progress") == 0, "nothing in progress")
    eventually(lambda: service.metric("wavescope_admission_running") == 0, "nothing admitted")
    with grpc.insecure_channel(service.grpc) as channel:
        request = pb.ExplainRequest(image=image, **SMALL)
        assert ExplanationServiceStub(channel).Explain(request, timeout=60).forwards == SMALL_FORWARDS
