"""From the fields a caller gave to a request with every parameter settled."""

from __future__ import annotations

from typing import Any

from wavescope.engine.choices import DEFAULTS_OF, REFERENCE
from wavescope.engine.types import ExplanationRequest


def make_request(**given: Any) -> ExplanationRequest:
    """The request with the defaults of its kind, then those of ``compat``, then what was given.

    Values are not checked here: an unknown kind keeps the defaults of ``wcam`` until it is refused.

    Raises:
        TypeError: a name that is no field.
    """
    kind = given.get("kind", "wcam")
    settled: dict[str, Any] = dict(DEFAULTS_OF.get(kind, {}))
    if given.get("compat") == "reference":
        for field, value in REFERENCE.items():
            if isinstance(value, dict):  # by kind
                settled |= {field: value[kind]} if kind in value else {}
            else:
                settled[field] = value
    return ExplanationRequest(**settled | given)
