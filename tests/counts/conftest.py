"""A generator and a replica in this process."""

from __future__ import annotations

import pytest
from tests.fakes.wire import Cheap, Quiet, Reference, Steep, Wire

from wavescope.models.spec import DEFAULT_MODEL
from wavescope.serving import generator, replica
from wavescope.serving.generator import PerturbationGenerator
from wavescope.serving.replica import ModelReplica
from wavescope.settings import Settings


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """A generator and a replica of the cheap model, behind one handle."""
    return _wire(monkeypatch, Cheap())


@pytest.fixture
def steep(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The same of the cheap model that has gradients."""
    return _wire(monkeypatch, Steep())


def _wire(monkeypatch: pytest.MonkeyPatch, model: Cheap) -> Wire:
    monkeypatch.setattr(replica, "load", lambda spec, **options: model)
    for module in (replica, generator):
        monkeypatch.setattr(module, "Reporter", Quiet)
    monkeypatch.setattr(Reference, "store", {})
    return Wire(PerturbationGenerator(Settings()), ModelReplica(DEFAULT_MODEL, Settings()))
