"""No message, whatever it holds, is answered with a defect, or not answered."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.rpcs import ask
from tests.ingress.fakes import IMAGE, FakeContext, FakePlane, make_explanation

from wavescope_proto.v1 import explanation_pb2 as pb

EXPLANATION = make_explanation()
RPCS = pb.DESCRIPTOR.services_by_name["ExplanationService"].methods_by_name
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_BYTES: st.sampled_from([b"", IMAGE, b"not an image"]) | st.binary(max_size=64),
    FieldDescriptor.TYPE_STRING: st.text(max_size=40)
    | st.sampled_from(["wcam", "compare", "full", "adaptive", "job-1"]),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1) | st.integers(0, 64),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1) | st.integers(0, 64),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
}


def messages(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    """Any message of a type, most of its fields absent."""
    fields = {}
    for field in descriptor.fields:
        value = SCALARS[field.type] if field.message_type is None else messages(field.message_type)
        fields[field.name] = st.lists(value, max_size=3) if field.is_repeated else value
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: GetMessageClass(descriptor)(**given))


metadata = st.lists(
    st.tuples(
        st.sampled_from(
            ["x-request-id", "authorization", "wavescope-priority", "cache-control", "idempotency-key"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40) | st.just("batch"),
    ),
    max_size=3,
)


@pytest.mark.parametrize("name", RPCS)
@given(data=st.data())
def test_no_message_is_answered_with_a_defect(name: str, data: st.DataObject) -> None:
    context = FakeContext(data.draw(metadata))
    plane = FakePlane(EXPLANATION)
    ask(plane, "SubmitJob", pb.SubmitJobRequest(request=pb.ExplainRequest(image=IMAGE)), FakeContext())
    ask(plane, name, data.draw(messages(RPCS[name].input_type)), context)
    assert context.code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    assert (context.code is None) == ("wavescope-code" not in context.trailing)
    assert context.trailing["x-request-id"]
