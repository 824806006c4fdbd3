"""Explanations to draw."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.figures import samples

from wavescope.engine.types import Explanation

MakeExplanation = Callable[..., Explanation]


@pytest.fixture
def make_explanation() -> MakeExplanation:
    """Makes one of any kind: ``make_explanation(kind="fam", rings=12)``; ``wcam`` unless told."""

    def make(kind: str = "wcam", **given: object) -> Explanation:
        return samples.MAKERS[kind](**given)

    return make
