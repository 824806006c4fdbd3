"""docs/architecture.md names the types that a field of a request passes through, where they are."""

from __future__ import annotations

import dataclasses
import importlib
import re

import pytest
from tests.docs.test_protocols import ARCHITECTURE, rows_below

from wavescope.engine.plan import PlanSpec
from wavescope.engine.types import ExplanationRequest
from wavescope.ingress.schemas.request import ExplanationBody

WAY = [
    cells
    for direction in ("down", "up")
    for cells in rows_below(ARCHITECTURE, f"| {direction} | form | module | process |")
]
NAMED = [(module, name) for _, form, module, _ in WAY for name in re.findall(r"[A-Z]\w+", form)]


def test_its_forms_are_numbered_and_few() -> None:
    numbers = [int(cells[0]) for cells in WAY]
    assert numbers == [*range(1, 10), *range(1, 7)]


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_every_form_is_where_it_is_said_to_be(module: str, name: str) -> None:
    assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize("module", sorted({module for _, _, module, _ in WAY}))
def test_every_module_is_there(module: str) -> None:
    assert importlib.import_module(module).__doc__


def test_the_field_is_in_the_forms_that_have_fields_of_its_own() -> None:
    assert "grid_size" in ExplanationBody.model_fields
    for form in (ExplanationRequest, PlanSpec):
        assert "grid_size" in {field.name for field in dataclasses.fields(form)}
