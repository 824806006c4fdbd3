"""Readiness check: whether a model can score, and the error where none can."""

from __future__ import annotations

from wavescope.errors import ModelUnavailable
from wavescope.ingress.plane import ModelPlane


async def check_ready(plane: ModelPlane) -> None:
    """Check that a model can score. Probes need no key, so that the error names no model.

    Raises:
        ModelUnavailable: no model can score.
    """
    if await plane.ready():
        return
    models = (await plane.models()).values()
    lacking = [details.get("message") for details in models if details.get("state") == "unplaceable"]
    if lacking and len(lacking) == len(models):
        raise ModelUnavailable(f"no model can be placed: one {lacking[0]}")
    raise ModelUnavailable("no model can score yet")
