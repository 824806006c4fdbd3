"""Whether a model can score, and what is told where none can."""

from __future__ import annotations

from wavescope.errors import ModelUnavailable
from wavescope.ingress.plane import ModelPlane


async def check_ready(plane: ModelPlane) -> None:
    """For probes, which need no key: tells what the cluster lacks, and no model by its name.

    Raises:
        ModelUnavailable: no model can score.
    """
    if await plane.ready():
        return
    told = (await plane.models()).values()
    lacking = [details.get("message") for details in told if details.get("state") == "unplaceable"]
    if lacking and len(lacking) == len(told):
        raise ModelUnavailable(f"no model can be placed: one {lacking[0]}")
    raise ModelUnavailable("no model can score yet")
