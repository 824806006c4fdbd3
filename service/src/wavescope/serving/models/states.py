"""States of models and their errors, as callers see them."""

from __future__ import annotations

import re
from typing import Literal

from wavescope.errors import ModelUnavailable
from wavescope.models.spec import ModelSpec
from wavescope.serving.models.placement import Shortage
from wavescope.serving.models.status import Deployed

State = Literal["ready", "loading", "updating", "scaled_to_zero", "unplaceable", "failed", "removed"]

_PATH = re.compile(r"""(['"])[^'"]*/[^'"]*\1""")


def unavailable(name: str, found: Deployed | None) -> ModelUnavailable:
    """Error of a model that cannot answer, by its state."""
    state = "is not deployed yet"
    if found is not None:
        state = f"cannot score: {_why(found)}" if found.message else "is being removed or replaced"
    return ModelUnavailable(f"model {name!r} {state}", field="model")


def unplaceable(name: str, short: Shortage) -> ModelUnavailable:
    """Error of a model without a place: the resources it needs and the cluster lacks."""
    return ModelUnavailable(f"model {name!r} cannot be placed: it {short.reason}", field="model")


def _why(found: Deployed) -> str:
    """Reason of a failed deployment, its number of failures, and the time to the next attempt."""
    parts = [_public(found.message)]
    if found.failures > 1:
        parts.append(f"{found.failures} times in a row")
    if found.retry_in_s is not None:
        parts.append(f"tried again in {found.retry_in_s:.0f} s" if found.retry_in_s else "tried again now")
    return "; ".join(parts)


def _public(message: str) -> str:
    """The message without paths of the server, which clients have no business with."""
    return _PATH.sub(r"\1…\1", message)


def state_of(found: Deployed | None, spec: ModelSpec) -> tuple[State, str]:
    """State of a model, and a message where something is wrong."""
    if found is None:
        return "loading", "not deployed yet"
    if found.phase == "leaving":
        return "removed", "being removed"
    if found.phase == "failed" or found.dead:
        why = _why(found) or "its replicas do not start"
        return ("ready", f"the last update failed: {why}") if found.running else ("failed", why)
    if found.running:
        return ("updating", _public(found.message)) if found.phase == "changing" else ("ready", found.notice)
    if found.phase == "steady" and not found.starting and spec.min_replicas == 0:
        return "scaled_to_zero", found.notice
    return "loading", _public(found.message)
