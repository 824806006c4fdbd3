"""The models' applications follow the registry file, and the files that it names, while the service runs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from wavescope.models.spec import ModelSpec
from wavescope.serving import names
from wavescope.serving.models.capacity import Room
from wavescope.serving.models.file_watch import FileChange, FileWatch
from wavescope.serving.models.placement import Placement
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.models.status import Deployed

RETRY_S = 30.0  # after the first failure, then twice as long each time
MAX_RETRY_S = 900.0

log = logging.getLogger(__name__)


class Rollout:
    """Deploys what the registry has and removes what it has no more; models that did not change are not touched.

    A model has changed too where its files hold another content than when it was deployed.

    Args:
        registry: what is deployed already.
        deploy: starts or updates a model without waiting for it; another number of the attempt starts what had failed.
        delete: removes a model without waiting for it to be gone.
        status: asks the controller for all models by their applications.
        room: asks the control plane what the nodes have.
        postpone: lets every process know in how many seconds a model that failed is tried again.
        watch: begins to watch the files of a model that is loaded from them as they are now, or later.
        note: lets every process know why a model goes on as it was loaded, though its files did not stay as they were;
            empty: they did.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        registry: RegistryFile,
        *,
        deploy: Callable[[ModelSpec, int], None],
        delete: Callable[[str], None],
        status: Callable[[], dict[str, Deployed]],
        room: Callable[[], Room],
        postpone: Callable[[str, float], None],
        watch: Callable[[ModelSpec], FileWatch],
        note: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._deploy = deploy
        self._delete = delete
        self._status = status
        self._room = room
        self._postpone = postpone
        self._watch = watch
        self._note = note
        self._clock = clock
        self._placement = Placement(0.0)  # whoever starts a cluster of its own has no autoscaler
        self._logged: dict[str, str] = {}  # why models find no place
        self._deployed = {spec.name: spec for spec in registry.specs}
        self._files = {spec.name: watch(spec) for spec in registry.specs}
        self._noted: dict[str, str] = {}
        self._settling = set(self._deployed)
        self._failures: dict[str, int] = {}  # of deployments in a row
        self._due: dict[str, float] = {}  # when they are tried again
        self._attempts: dict[str, int] = {}

    def look(self, *, again: bool = False) -> None:
        """Applies what changed in the file. What the controller does not take now is tried at the next look.

        Models that failed, and of which no replica is left, are tried again by themselves, ever more rarely.

        Args:
            again: read the file even where it did not change, and start models that failed once more.
        """
        self._registry.look(again=again)
        try:
            self._tell(since=self._apply(again))
        except (RayError, RayServeException, TimeoutError) as away:
            log.warning("the models could not be updated yet", extra={"reason": type(away).__name__})

    def _apply(self, again: bool) -> set[str]:
        """Deploys and removes; which models it deployed."""
        started: set[str] = set()
        wanted = {spec.name: spec for spec in self._registry.specs}
        for name in self._deployed.keys() - wanted.keys():
            self._delete(name)
            del self._deployed[name], self._files[name]
            self._forget(name)
            self._notify(name, "")
            self._settling.discard(name)
            log.info("model removed", extra={"model": name})
        failed = self._failed() if again else set[str]()
        for name, spec in wanted.items():
            before, asked = self._deployed.get(name), names.model_application(name) in failed
            look = self._files[name].look() if before == spec else FileChange()
            self._notify(name, look.notice)
            changed = look.changed or before != spec
            if before is not None and changed and self._too_large(spec):
                continue  # the replicas that run would leave for some that never come
            due = self._clock() >= self._due.get(name, math.inf)
            if changed or asked or due:
                attempt = self._attempts.get(name, 0) + (asked or due or look.changed)
                files = self._watch(spec)  # before they are read by the replicas
                self._deploy(spec, attempt)
                if before is None or attempt != self._attempts.get(name, 0) or _other_process(before, spec):
                    self._files[name] = files
                self._attempts[name] = attempt
                self._deployed[name] = spec
                self._settling.add(name)
                started.add(name)
                self._due.pop(name, None)
                if changed or asked:
                    self._forget(name)
                    why = {"reason": "its files hold another content"} if look.changed else {}
                    log.info("model updated" if before else "model added", extra={"model": name, **why})
        return started

    def _notify(self, name: str, notice: str) -> None:
        """Logs and publishes why a model goes on as it was loaded, unless that is known."""
        if notice != self._noted.get(name, ""):
            self._note(name, notice)
            self._noted[name] = notice
            if notice:
                log.warning(
                    "the files of the model are not as they were", extra={"model": name, "reason": notice}
                )

    def _tell(self, *, since: set[str]) -> None:
        """Logs what became of the models that were started, once; of those started just now nothing is known yet."""
        if not self._settling - since:
            return
        found = self._status()
        self._placement.look(self._registry.specs, found, self._room(), self._clock())
        for name in sorted(self._settling - since):
            deployed = found.get(names.model_application(name))
            if (short := self._placement.shortage(name, self._clock())) is not None:
                self._warn(name, "the model cannot be placed", short.reason)
                continue
            if deployed is None or deployed.phase == "changing":
                continue
            self._settling.discard(name)
            if deployed.phase != "failed":
                self._forget(name)
            elif deployed.running:  # trying again would end those that answer
                self._warn(name, "the model failed", deployed.message)
            else:
                delay_s = min(RETRY_S * 2 ** self._failures.get(name, 0), MAX_RETRY_S)
                self._failures[name] = self._failures.get(name, 0) + 1
                self._due[name] = self._clock() + delay_s
                self._postpone(name, delay_s)
                self._warn(name, "the model failed", deployed.message, retry_in_s=delay_s)

    def _forget(self, name: str) -> None:
        """Failed deployments so far."""
        for kept in (self._logged, self._failures, self._due):
            kept.pop(name, None)

    def _too_large(self, spec: ModelSpec) -> bool:
        """Whether no node could ever hold a replica; logged once."""
        if lacking := self._room().never(spec):
            self._warn(spec.name, "the model stays as it is: what it is to be cannot be placed", lacking)
        return bool(lacking)

    def _warn(self, name: str, what: str, reason: str, **more: float) -> None:
        """Logs a message, unless it was the last one of the model."""
        if self._logged.get(name) != reason:
            self._logged[name] = reason
            log.error(what, extra={"model": name, "reason": reason, **more})

    def _failed(self) -> set[str]:
        found = self._status().items()
        return {name for name, deployed in found if deployed.phase == "failed" or deployed.dead}


def _other_process(before: ModelSpec, spec: ModelSpec) -> bool:
    """Whether an update ends the replicas that run, and loads the model anew."""
    return before.of_one_process() != spec.of_one_process()
