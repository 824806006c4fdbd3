"""Status of the models' applications in Ray Serve."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from ray.serve.context import _get_global_client

from wavescope.serving import names
from wavescope.serving.models.attempts import TRIES, ControlPlane, notices

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
        stopping: replicas that finish what they have, and hold their resources until then.
        failures: to load the model, in a row.
        retry_in_s: until it is tried again; ``None`` where it is not, or nobody knows when.
        replicas: ids of those that can be called.
        notice: why it goes on as it was loaded, though its files did not stay as they were; empty where they did.
    """

    phase: Phase
    running: int
    starting: int
    deployed_at: float
    message: str = ""
    stopping: int = 0
    failures: int = 0
    retry_in_s: float | None = None
    replicas: frozenset[str] = frozenset()
    notice: str = ""

    @property
    def dead(self) -> bool:
        """Whether no replica answers, and none will before long."""
        return not self.running and (self.phase in ("failed", "leaving") or self.failures >= TRIES)


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
    return models_of(applications())


def placed(found: Deployed | None) -> bool:
    """Whether a model has every replica that is wanted of it, and one at least."""
    return found is not None and found.running > 0 and not found.starting


def applications() -> dict[str, dict[str, Any]]:
    """Status of every application, and its deployments with their replicas, from the controller.

    ``serve.status`` builds a model of every option of every deployment out of it, 20 ms and more of computing.
    """
    client = _get_global_client()
    assert client is not None  # it raises where there is none
    found: dict[str, dict[str, Any]] = client.get_serve_details().get("applications", {})
    return found


def models_of(applications: dict[str, dict[str, Any]]) -> dict[str, Deployed]:
    """Deployments of models, by their names."""
    prefix = names.model_application("")
    models = {
        name: _failing(_deployed(found), name.removeprefix(prefix))
        for name, found in applications.items()
        if name.startswith(prefix)
    }
    noted = notices() if models else {}
    return {
        name: replace(found, notice=noted.get(name.removeprefix(prefix), ""))
        for name, found in models.items()
    }


def service_of(applications: dict[str, dict[str, Any]]) -> tuple[Phase, str]:
    """Phase of the application that is the service, and why it failed."""
    application = applications.get(names.APPLICATION)
    if application is None:
        return "changing", ""
    reasons = [reason(deployment.get("message", "")) for deployment in application["deployments"].values()]
    return _PHASES[application["status"]], next(filter(None, reasons), "a part of it does not start")


def _deployed(application: dict[str, Any]) -> Deployed:
    phase = _PHASES[application["status"]]
    # A serve config's application has no deployments while it is being built, nor where that failed.
    deployment = application["deployments"].get(names.MODEL_REPLICA)
    message = reason((application if deployment is None else deployment).get("message", ""))
    replicas = deployment.get("replicas", ()) if deployment else ()
    states = [replica["state"] for replica in replicas]
    return Deployed(
        phase,
        states.count("RUNNING"),
        sum(states.count(state) for state in ("STARTING", "UPDATING", "RECOVERING")),
        application["last_deployed_time_s"],
        "" if phase == "steady" else message,
        states.count("STOPPING"),
        replicas=frozenset(replica["replica_id"] for replica in replicas if replica["state"] == "RUNNING"),
    )


def _failing(found: Deployed, model: str) -> Deployed:
    """The state of a model, with the failures that its replicas noted since it was deployed."""
    if found.running:
        return found
    failing = ControlPlane().get(model)
    if not failing.failures or failing.at < found.deployed_at:
        return found
    retry_in_s = max(0.0, failing.retry_at - time.time()) if failing.retry_at else None
    return replace(found, message=failing.reason, failures=failing.failures, retry_in_s=retry_in_s)


def reason(text: str) -> str:
    """Message of our own error, out of the tracebacks that Ray Serve puts around it."""
    ours: list[str] = _OURS.findall(text)
    if ours:
        return ours[-1]
    return "its process does not start; the log says why" if "Error" in text or "Traceback" in text else ""
