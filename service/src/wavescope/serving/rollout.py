"""The models' applications follow the registry file while the service runs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from wavescope.models.spec import ModelSpec
from wavescope.serving import names
from wavescope.serving.registry_file import RegistryFile
from wavescope.serving.status import Deployed

log = logging.getLogger(__name__)


class Rollout:
    """Deploys what the registry has and removes what it has no more; models that did not change are not touched.

    Args:
        registry: what is deployed already.
        deploy: starts or updates a model without waiting for it; another number of the attempt starts what had failed.
        delete: removes a model without waiting for it to be gone.
        status: asks the controller for all models by their applications.
    """

    def __init__(
        self,
        registry: RegistryFile,
        *,
        deploy: Callable[[ModelSpec, int], None],
        delete: Callable[[str], None],
        status: Callable[[], dict[str, Deployed]],
    ) -> None:
        self._registry = registry
        self._deploy = deploy
        self._delete = delete
        self._status = status
        self._deployed = {spec.name: spec for spec in registry.specs}
        self._settling: set[str] = set()
        self._attempts: dict[str, int] = {}

    def look(self, *, again: bool = False) -> None:
        """Applies what changed in the file. What the controller does not take now is tried at the next look.

        Args:
            again: read the file even where it did not change, and start models that failed once more.
        """
        self._registry.look(again=again)
        try:
            self._apply(again)
            self._tell()
        except (RayError, RayServeException, TimeoutError) as away:
            log.warning("the models could not be updated yet", extra={"reason": type(away).__name__})

    def _apply(self, again: bool) -> None:
        wanted = {spec.name: spec for spec in self._registry.specs}
        for name in self._deployed.keys() - wanted.keys():
            self._delete(name)
            del self._deployed[name]
            self._settling.discard(name)
            log.info("model removed", extra={"model": name})
        failed = self._failed() if again else set[str]()
        for name, spec in wanted.items():
            before, retry = self._deployed.get(name), names.model_application(name) in failed
            if before != spec or retry:
                self._attempts[name] = self._attempts.get(name, 0) + retry
                self._deploy(spec, self._attempts[name])
                self._deployed[name] = spec
                self._settling.add(name)
                log.info("model updated" if before else "model added", extra={"model": name})

    def _tell(self) -> None:
        """Logs what became of the models that were started, once."""
        if not self._settling:
            return
        found = self._status()
        for name in sorted(self._settling):
            deployed = found.get(names.model_application(name))
            if deployed is None or deployed.phase == "changing":
                continue
            if deployed.phase == "failed":
                log.error("the model failed", extra={"model": name, "reason": deployed.message})
            self._settling.discard(name)

    def _failed(self) -> set[str]:
        return {application for application, found in self._status().items() if found.phase == "failed"}
