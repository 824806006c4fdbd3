"""The gRPC ingress of the running service."""

from __future__ import annotations

import base64

import grpc
import numpy as np
import pytest
from skimage import data
from tests.cluster.service import body, png

from wavescope_proto.v1 import explanation_pb2, explanation_pb2_grpc


@pytest.fixture(scope="module")
def stub(service):
    with grpc.insecure_channel(service.grpc) as channel:
        yield explanation_pb2_grpc.ExplanationServiceStub(channel)


def test_grpc_gives_the_numbers_of_http(service, stub):
    image = png(data.chelsea())
    over_http = service.http.post("/v1/explanations", json=body(image, grid_size=4, nb_design=4)).json()
    reply = stub.Explain(explanation_pb2.ExplainRequest(image=image, grid_size=4, nb_design=4))
    assert list(reply.indices.total) == over_http["indices"]["total"]
    assert reply.forwards == over_http["forwards"]
    assert reply.maps.wcam.data == base64.b64decode(over_http["maps"]["wcam"]["data"])
    shares = [level.importance.share for level in reply.levels]
    assert shares == [level["share"] for level in over_http["levels"]]
    assert np.isclose(sum(shares), 1)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "nope"}, grpc.StatusCode.NOT_FOUND, "nope"),
        ({"image": b"no image"}, grpc.StatusCode.INVALID_ARGUMENT, "image"),
        ({"nb_design": 6}, grpc.StatusCode.INVALID_ARGUMENT, "power of two"),
        ({"levels": 7}, grpc.StatusCode.INVALID_ARGUMENT, "levels"),
    ],
)
def test_bad_request_has_its_code_and_leaks_nothing(stub, fields, status, message):
    with pytest.raises(grpc.RpcError) as raised:
        stub.Explain(explanation_pb2.ExplainRequest(**({"image": png(data.chelsea())} | fields)))
    assert raised.value.code() == status
    assert message in raised.value.details()
    assert "Traceback" not in raised.value.details()
