"""The engine's types are the one source of what the client reads and of what messages hold."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tools import client_types

from wavescope.core.maps import Importance
from wavescope.engine.choices import CHOICES
from wavescope.engine.types import (
    CLASS_FIELDS,
    CropBox,
    Explanation,
    ExplanationRequest,
    Indices,
    LevelImportance,
)
from wavescope.ingress import layout
from wavescope_proto.v1 import explanation_pb2 as pb

FILE = pb.DESCRIPTOR
NAMES = {
    Explanation: "ExplainResponse",
    LevelImportance: "Level",
    CropBox: "Crop",
    layout.SufficientImage: "Sufficiency",
}
# Numbers with gaps, which messages hold as messages of their own.
GAPPY = {"effect": "effects", "effect_error": "effects"}
# Pairs, which messages hold as two fields or as a message of their own.
PAIRS = {"scale_px": ("scale_from_px", "scale_to_px"), "frequency": ("frequency_from", "frequency_to")}
SCALARS = {bool: {"bool"}, int: {"int32", "int64"}, float: {"double"}, str: {"string"}}
TYPES = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}


def sections() -> list[type]:
    """Every dataclass of the reply that is a message of its own."""
    found: list[type] = []

    def add(cls: type) -> None:
        if cls not in found:
            found.append(cls)
            for field in layout.reply_fields(cls):
                if (item := layout.item_of(field.hint)) is not None:
                    add(item)

    add(Explanation)
    found.remove(Importance)  # a level's own numbers are one message with those of its orientations
    return found


def message(cls: type) -> Descriptor:
    return FILE.message_types_by_name[NAMES.get(cls, cls.__name__)]


def type_name(field: FieldDescriptor) -> str:
    return field.message_type.name if field.message_type is not None else TYPES[field.type]


def expected(field: layout.ReplyField) -> dict[str, set[str]]:
    """The fields of a message for one of the reply, with their types."""
    hint = layout.without_none(field.hint)
    if field.name in PAIRS:
        number = int if get_args(hint)[0] is int else float
        return dict.fromkeys(PAIRS[field.name], SCALARS[number])
    if field.name == "interval_95":
        return {field.name: {"Interval"}}
    if field.name in GAPPY:
        return {GAPPY[field.name]: {"Effect"}}
    if field.form == "list":
        number = bool if "bool" in hint.dtypes else int if "int32" in hint.dtypes else float
        return {field.name: SCALARS[number]}
    if field.form is not None:
        return {field.name: {"Tensor"} if field.form == "tensor" else {"bytes"}}
    if (item := layout.item_of(field.hint)) is not None:
        return {field.name: {str(NAMES.get(item, item.__name__))}}
    if get_origin(hint) is dict:
        return {field.name: {"Struct", f"{field.name.capitalize()}Entry"}}
    if get_origin(hint) is tuple:
        return {field.name: SCALARS[get_args(hint)[0]]}
    return {field.name: SCALARS.get(hint, SCALARS[str])}


@pytest.mark.parametrize("cls", sections(), ids=lambda cls: cls.__name__)
def test_a_message_has_the_fields_of_its_type(cls: type) -> None:
    wanted: dict[str, set[str]] = {}
    for field in layout.reply_fields(cls):
        wanted |= expected(field)
    if cls is LevelImportance:  # its three numbers are a message, as those of its orientations
        wanted = {name: types for name, types in wanted.items() if name not in ("sum", "share", "mean_share")}
        wanted["importance"] = {"Importance"}
    if cls is Explanation:
        wanted["explanations"] = {"ExplainResponse"}  # the reply to a batch
    found = {field.name: type_name(field) for field in message(cls).fields}
    assert set(found) == set(wanted)
    assert [name for name in found if found[name] not in wanted[name]] == []


@pytest.mark.parametrize("cls", sections(), ids=lambda cls: cls.__name__)
def test_lists_of_a_type_are_repeated_in_its_message(cls: type) -> None:
    lists = {
        GAPPY.get(field.name, field.name)
        for field in layout.reply_fields(cls)
        if field.name not in PAIRS
        and (field.form == "list" or get_origin(layout.without_none(field.hint)) in (tuple, dict))
        and get_args(layout.without_none(field.hint))[1:] in ((), (Ellipsis,), (float,))
    } - {"parameters"}
    lists -= {"interval_95"} if cls is not Indices else set()
    repeated = {field.name for field in message(cls).fields if field.is_repeated} - {"explanations"}
    assert repeated == lists


def test_importance_is_the_message_of_a_level_and_of_its_orientations() -> None:
    assert {field.name for field in fields(Importance)} == {
        field.name for field in pb.Importance.DESCRIPTOR.fields
    }


def test_a_request_has_the_fields_of_its_type() -> None:
    sent = {field.name: field for field in pb.ExplainRequest.DESCRIPTOR.fields}
    files = {"image", "images", "other", "targets", "model"}
    classes = {f"{name}_{way}" for name in CLASS_FIELDS for way in ("index", "name")}
    assert set(sent) - files - classes == {field.name for field in fields(ExplanationRequest)} - {
        *CLASS_FIELDS
    }
    for name, hint in get_type_hints(ExplanationRequest).items():
        if name not in CLASS_FIELDS:
            assert type_name(sent[name]) in SCALARS[layout.without_none(hint)]


@pytest.mark.parametrize("name", sorted(set(CHOICES) - {"wavelet"}))
def test_comments_of_the_request_name_every_choice(name: str) -> None:
    source = (client_types.OUTPUT.parents[4] / "clients/proto/wavescope/v1/explanation.proto").read_text(
        "utf-8"
    )
    body = source[source.index("message ExplainRequest {") : source.index("message TargetList {")]
    comment = body[: body.index(f" {name} = ")].rsplit(";\n", 1)[1]
    assert [choice for choice in CHOICES[name] if choice is not None and f"`{choice}`" not in comment] == []


def test_the_client_s_types_are_those_that_the_engine_s_make() -> None:
    wanted: Any = client_types.render()
    assert client_types.OUTPUT.read_text("utf-8") == wanted, "run: make types"
