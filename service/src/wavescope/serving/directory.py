"""The models as they are now: what the registry says of them, and what Ray Serve has made of that."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.engine.types import ModelDetails
from wavescope.errors import ModelUnavailable, UnknownModel, WavescopeError
from wavescope.models.spec import ModelSpec, find_spec
from wavescope.serving import names
from wavescope.serving.dispatch import call
from wavescope.serving.registry_file import RegistryFile
from wavescope.serving.status import Deployed, deployed
from wavescope.settings import Settings

STATUS_S = 1.0  # that an answer of the controller is good for
LOOKS = 5  # at what the controller says, before a registered model is said not to be deployed
PROBE_S = 2.0  # that whoever asks for the state waits for the controller or a replica

_PATH = re.compile(r"""(['"])[^'"]*/[^'"]*\1""")

State = Literal["ready", "loading", "updating", "scaled_to_zero", "failed", "removed"]


@dataclass(frozen=True, slots=True)
class _Known:
    """Details as they were told by a replica, and what they hold for."""

    details: ModelDetails
    spec: ModelSpec
    deployed_at: float


class Directory:
    """The models of one process that calls them.

    The registry file is looked at when something is asked, at most every ``models_poll_s``; nothing runs in the
    background.

    Args:
        settings: of the service.
        registry: the file.
        clock: seconds, monotonic.
        status: asks the controller.
        connect: makes the handle of an application, without waiting for it to be there.
    """

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        *,
        clock: Callable[[], float] = time.monotonic,
        status: Callable[[], dict[str, Deployed]] = deployed,
        connect: Callable[[str], DeploymentHandle] | None = None,
    ) -> None:
        self._registry = registry
        self._poll_s = settings.models_poll_s
        self._clock = clock
        self._ask = status
        self._connect = connect or _connect
        self._handles: dict[str, DeploymentHandle] = {}
        self._known: dict[str, _Known] = {}
        self._looked_at = -float("inf")
        self._deployed: dict[str, Deployed] = {}
        self._deployed_at = -float("inf")
        self._asking: asyncio.Task[None] | None = None

    # ---- the registry ------------------------------------------------------------------------------
    def names(self) -> tuple[str, ...]:
        """Of all registered models."""
        return tuple(spec.name for spec in self._specs())

    def spec(self, name: str) -> ModelSpec:
        """What the registry says of a model.

        Raises:
            UnknownModel: not registered, or no longer; names what is.
        """
        return find_spec(self._specs(), name)

    def _specs(self) -> tuple[ModelSpec, ...]:
        if self._clock() - self._looked_at >= self._poll_s:
            self._looked_at = self._clock()
            if self._registry.look():
                registered = {spec.name for spec in self._registry.specs}
                for name in self._handles.keys() - registered:
                    del self._handles[name]
                    self._known.pop(name, None)
        return self._registry.specs

    # ---- the replicas ------------------------------------------------------------------------------
    def handle(self, name: str) -> DeploymentHandle:
        """What calls the model's replicas; a call waits for one to be up, but not for a model that failed.

        Raises:
            UnknownModel: not registered.
        """
        self.spec(name)
        if name not in self._handles:
            self._handles[name] = self._connect(names.model_application(name))
        return self._handles[name]

    async def details(self, name: str) -> ModelDetails:
        """What the model says of itself; brings up a model that is scaled to zero, and waits for one that loads.

        Raises:
            UnknownModel: not registered.
            ModelUnavailable: not deployed, failed, or served elsewhere where it does not answer.
        """
        spec = self.spec(name)
        known = self._known.get(name)
        state = self._deployed.get(names.model_application(name))
        if known and known.spec == spec and (state is None or state.deployed_at == known.deployed_at):
            self._refresh()  # for the next one: the controller may be away
            return known.details
        state = await self._settled(name)
        if state is None or (not state.running and state.phase in ("failed", "leaving")):
            raise _unavailable(name, state)
        handle = self.handle(name)
        async with self.guard(name):
            details: ModelDetails = await call(
                lambda: handle.details.remote(), what=f"model {name!r}", retried=lambda: None
            )
        if state.phase == "steady":  # else it may have been one of the replicas that are to be replaced
            self._known[name] = _Known(details, spec, state.deployed_at)
        return details

    async def _settled(self, name: str) -> Deployed | None:
        """What has become of a registered model; of one not deployed yet, or removed a moment ago, after a while.

        Whoever deploys models follows the registry too, and what the controller said may be old.

        Raises:
            UnknownModel: not registered any more.
        """
        found: Deployed | None = None
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(STATUS_S)
            self.spec(name)
            await self._refreshed()
            found = self._deployed.get(names.model_application(name))
            if found is not None and found.phase != "leaving":
                break
        return found

    def forget(self, name: str) -> None:
        """The model's details are not what they were: a replica said that it was updated."""
        self._known.pop(name, None)

    async def describe(self, name: str) -> tuple[dict[str, Any], ModelDetails | None]:
        """What has become of the model, and what it says of itself; asks a replica at most once, and wakes none.

        Returns:
            JSON-ready: ``state``, one of ``State``; ``replicas`` with ``running``, ``min`` and ``max``; and a
            ``message`` where something is wrong. And the details where they are known or a replica tells them soon.

        Raises:
            UnknownModel: not registered.
        """
        spec = self.spec(name)
        await self._refreshed()
        found = self._deployed.get(names.model_application(name))
        state, message = _state(found, spec)
        known = self._known.get(name)
        details = known.details if known else None
        if found and found.running and found.phase != "leaving":
            try:
                async with asyncio.timeout(PROBE_S):
                    details = await self.details(name)
            except (ModelUnavailable, TimeoutError, RayError, RayServeException) as silent:
                details = None
                if known is None:
                    state = "loading"
                    if isinstance(silent, ModelUnavailable):  # the replica is up, what it calls is not
                        message = silent.message
        running = found.running if found else 0
        told: dict[str, Any] = {
            "state": state,
            "replicas": {"running": running, "min": spec.min_replicas, "max": spec.max_replicas},
        }
        return told | ({"message": message} if message else {}), details

    @asynccontextmanager
    async def guard(self, name: str) -> AsyncIterator[None]:
        """Ends what is done within as soon as nothing will answer it: Ray Serve lets calls to a removed model wait.

        Raises:
            UnknownModel: the model is registered no longer.
            ModelUnavailable: it was removed, or an update of it failed and left no replica.
        """
        task = asyncio.current_task()
        assert task is not None
        gone: list[WavescopeError] = []

        async def watch() -> None:
            while not gone:
                await asyncio.sleep(self._poll_s)
                gone.extend(await self._gone(name))
            task.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not gone or task.uncancel() > 0:  # the second: its caller has gone too
                raise
            raise gone[0] from None
        except DeploymentUnavailableError as failed:
            raise _unavailable(name, self._deployed.get(names.model_application(name))) from failed
        finally:
            watching.cancel()

    async def _gone(self, name: str) -> list[WavescopeError]:
        try:
            self.spec(name)
        except UnknownModel as unknown:
            return [unknown]
        await self._refreshed()
        found = self._deployed.get(names.model_application(name))
        if found and not found.running and found.phase in ("failed", "leaving"):
            return [_unavailable(name, found)]
        return []

    # ---- the controller ----------------------------------------------------------------------------
    def _refresh(self) -> None:
        """Asks the controller beside what goes on, unless its last answer is fresh."""
        if self._asking is None and self._clock() - self._deployed_at >= STATUS_S:
            self._asking = asyncio.create_task(self._look())

    async def _refreshed(self) -> None:
        """The same, and waits for it; while the controller is away, what it said last stays."""
        self._refresh()
        if self._asking is not None:
            await asyncio.wait((self._asking,), timeout=PROBE_S)

    async def _look(self) -> None:
        try:
            self._deployed = await asyncio.to_thread(self._ask)
        except (RayError, RayServeException, TimeoutError):
            pass  # it is restarting: the replicas go on without it
        finally:
            self._deployed_at = self._clock()
            self._asking = None


def _connect(application: str) -> DeploymentHandle:
    # Asking the controller whether it exists would block this process' event loop.
    return serve.get_deployment_handle(names.MODEL_REPLICA, app_name=application, _check_exists=False)


def _unavailable(name: str, found: Deployed | None) -> ModelUnavailable:
    state = "is not deployed yet"
    if found is not None:
        state = f"cannot score: {_public(found.message)}" if found.message else "is being removed or replaced"
    return ModelUnavailable(f"model {name!r} {state}", field="model")


def _public(message: str) -> str:
    """The message without paths of the server, which clients have no business with."""
    return _PATH.sub(r"\1…\1", message)


def _state(found: Deployed | None, spec: ModelSpec) -> tuple[State, str]:
    if found is None:
        return "loading", "not deployed yet"
    if found.phase == "leaving":
        return "removed", "being removed"
    if found.phase == "failed":
        why = _public(found.message) or "its replicas do not start"
        return ("ready", f"the last update failed: {why}") if found.running else ("failed", why)
    if found.running:
        return ("updating", _public(found.message)) if found.phase == "changing" else ("ready", "")
    if found.phase == "steady" and not found.starting and spec.min_replicas == 0:
        return "scaled_to_zero", ""
    return "loading", _public(found.message)
