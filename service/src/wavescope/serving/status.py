"""What Ray Serve knows of the models' applications, in our own words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from ray import serve
from ray.serve.schema import ApplicationStatusOverview

from wavescope.serving import names

Phase = Literal["steady", "changing", "failed", "leaving"]

_OURS = re.compile(r"wavescope\.errors\.\w+: (.+)")


@dataclass(frozen=True, slots=True)
class Deployed:
    """The application of one model.

    Attributes:
        phase: ``steady``: as wanted, or scaling; ``changing``: deployed a moment ago, not all replicas are as wanted;
            ``failed``: no further replica will be started; ``leaving``: on its way out.
        running: replicas that can be called.
        starting: replicas that load the model.
        deployed_at: when it was last deployed, s since 1970.
        message: why replicas do not start, empty where they do.
    """

    phase: Phase
    running: int
    starting: int
    deployed_at: float
    message: str = ""


# Of the application: its deployment says for a moment longer what was before.
_PHASES: dict[str, Phase] = {
    "NOT_STARTED": "changing",
    "DEPLOYING": "changing",
    "DEPLOY_FAILED": "failed",
    "RUNNING": "steady",
    "UNHEALTHY": "steady",  # a replica died and is replaced
    "DELETING": "leaving",
}


def deployed() -> dict[str, Deployed]:
    """The applications of models by their names; asks the controller and waits for it."""
    prefix = names.model_application("")
    applications = serve.status().applications
    return {name: _deployed(found) for name, found in applications.items() if name.startswith(prefix)}


def service() -> tuple[Phase, str]:
    """Phase of the application that is the service, and why it failed."""
    application = serve.status().applications.get(names.APPLICATION)
    if application is None:
        return "changing", ""
    told = [reason(deployment.message) for deployment in application.deployments.values()]
    return _PHASES[application.status], next(filter(None, told), "a part of it does not start")


def _deployed(application: ApplicationStatusOverview) -> Deployed:
    phase = _PHASES[application.status]
    # A serve config's application has no deployments while it is being built, nor where that failed.
    deployment = application.deployments.get(names.MODEL_REPLICA)
    message = reason(application.message if deployment is None else deployment.message)
    # Keyed by the states' names, whatever their type says.
    replicas = cast("dict[str, int]", deployment.replica_states if deployment else {})
    return Deployed(
        phase,
        replicas.get("RUNNING", 0),
        sum(replicas.get(state, 0) for state in ("STARTING", "UPDATING", "RECOVERING")),
        application.last_deployed_time_s,
        "" if phase == "steady" else message,
    )


def reason(text: str) -> str:
    """What our own code said, out of the tracebacks that Ray Serve puts around it."""
    ours: list[str] = _OURS.findall(text)
    if ours:
        return ours[-1]
    return "its process does not start; the log says why" if "Error" in text or "Traceback" in text else ""
