"""Request with every parameter settled, from the fields that a caller gave."""

from __future__ import annotations

from typing import Any

from wavescope.core.scores import AUTO
from wavescope.engine.choices import (
    ADAPTIVE_ACCURACY,
    ADAPTIVE_FORWARDS,
    ADAPTIVE_PARTITIONS,
    FULL_ALONE,
    REFERENCE,
    STOPS,
)
from wavescope.engine.kinds import DEFAULT_KIND, find_kind
from wavescope.engine.kinds.kind import Kind
from wavescope.engine.limits import MAX_ADAPTIVE_FACTORS
from wavescope.engine.types import ExplanationRequest

PAPERS_ROWS = 8  # N of the full plan


def make_request(**given: Any) -> ExplanationRequest:
    """The request with the defaults of its kind, then those of ``compat`` and of the plan, then what was given.

    Values are not checked here: an unknown kind keeps the defaults of ``wcam`` until it is refused.

    Raises:
        TypeError: a name that is no field.
    """
    kind = find_kind(given.get("kind", DEFAULT_KIND.name))
    settled: dict[str, Any] = {"kind": kind.name, "partition": kind.partitions[0], **kind.defaults}
    if given.get("compat") == "reference":
        settled |= REFERENCE | dict(kind.reference_defaults)
    settled.setdefault("plan", kind.fixed.get("plan") or _plan(kind, settled, given))
    if given.get("plan", settled["plan"]) == "adaptive":
        budget = given.get("max_forwards") or ADAPTIVE_FORWARDS
        settled |= {"max_forwards": ADAPTIVE_FORWARDS, "nb_design": independent_rows(budget)}
        if all(given.get(field) is None for field in STOPS):
            settled["accuracy"] = ADAPTIVE_ACCURACY
    return ExplanationRequest(**settled | given)


def _plan(kind: Kind, settled: dict[str, Any], given: dict[str, Any]) -> str:
    """The plan of a request that names none: the adaptive one where it is as good for a fraction of the forwards."""
    if given.get("compat") is not None:
        return "full"
    if any(given.get(field) is not None for field in STOPS) or given.get("prior", AUTO) != AUTO:
        return "adaptive"
    fields = ExplanationRequest().parameters() | settled | given
    for field, values in FULL_ALONE.items():
        if given.get(field) is not None and (values is None or given[field] in values):
            return "full"
    cells = fields["grid_size"]
    suits = kind.adaptive and fields["partition"] in ADAPTIVE_PARTITIONS and isinstance(cells, int)
    if not suits or cells**2 > MAX_ADAPTIVE_FACTORS:
        return "full"
    return "adaptive" if PAPERS_ROWS * (cells**2 + 2) > ADAPTIVE_FORWARDS else "full"


def independent_rows(max_forwards: int) -> int:
    """Rows of A that suit a budget: the power of two of at most an eighth of it, 8 to 256."""
    return 2 ** min(max(int(max_forwards // 8).bit_length() - 1, 3), 8)
