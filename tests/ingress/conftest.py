"""One explanation made by hand, and a data plane that answers with it."""

from __future__ import annotations

import pytest
from tests.ingress.fakes import FakePlane, MemoryRecorder, make_explanation

from wavescope.engine.types import Explanation


@pytest.fixture
def explanation() -> Explanation:
    return make_explanation()


@pytest.fixture
def plane(explanation: Explanation) -> FakePlane:
    return FakePlane(explanation)


@pytest.fixture
def recorder() -> MemoryRecorder:
    return MemoryRecorder()
