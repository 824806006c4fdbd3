"""Model directory: the models of the registry file, their states in Ray Serve, and their details."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from wavescope.engine.types import ModelDetails
from wavescope.errors import ModelUnavailable, UnknownModel, WavescopeError
from wavescope.models.spec import ModelSpec, find_spec
from wavescope.serving import names
from wavescope.serving.calls.background import start_in_background
from wavescope.serving.calls.dispatch import call
from wavescope.serving.calls.retries import MODEL_DETAILS
from wavescope.serving.models.capacity import Room, room
from wavescope.serving.models.placement import NOTICE_S, Placement, Shortage
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.models.states import state_of, unavailable, unplaceable
from wavescope.serving.models.status import Deployed, deployed, placed
from wavescope.settings import Settings

STATUS_S = 1.0  # that an answer of the controller is good for
LOOKS = 5
PROBE_S = 2.0


@dataclass(frozen=True, slots=True)
class _CachedDetails:
    """Cached details of a model, and the specification, deployment and replicas that they are valid for."""

    details: ModelDetails
    spec: ModelSpec
    deployed_at: float
    replicas: frozenset[str]

    def hold(self, spec: ModelSpec, state: Deployed | None) -> bool:
        """Whether no replica runs that may have loaded something else; one that died is replaced by such a one."""
        if state is None:
            return self.spec == spec
        return self.spec == spec and self.deployed_at == state.deployed_at and state.replicas <= self.replicas


class ModelDirectory:
    """Models, their handles and states, for one process that calls them.

    The registry file is looked at when something is asked, at most every ``models_poll_s``; nothing runs in the
    background.

    Args:
        settings: of the service.
        registry: the file.
        clock: seconds, monotonic.
        status: asks the controller.
        room: asks the control plane what the nodes have; asked while a model has no replica, or one that starts.
        connect: makes the handle of an application, without waiting for it to be there.
        looks: at what the controller says, before a registered model is said not to be deployed.
        probe_s: that whoever asks for the state waits for the controller or a replica.
    """

    def __init__(
        self,
        settings: Settings,
        registry: RegistryFile,
        *,
        clock: Callable[[], float] = time.monotonic,
        status: Callable[[], dict[str, Deployed]] = deployed,
        room: Callable[[], Room] = room,
        connect: Callable[[str], DeploymentHandle] | None = None,
        looks: int = LOOKS,
        probe_s: float = PROBE_S,
    ) -> None:
        self._registry = registry
        self._poll_s = settings.models_poll_s
        self._clock = clock
        self._ask = status
        self._ask_room = room
        self._placement = Placement(settings.autoscaler_timeout_s)
        self._connect = connect or _connect
        self._looks = looks
        self._probe_s = probe_s
        self._handles: dict[str, DeploymentHandle] = {}
        self._details: dict[str, _CachedDetails] = {}
        self._read_at = -float("inf")
        self._deployed: dict[str, Deployed] = {}
        self._deployed_at = -float("inf")
        self._asking: asyncio.Task[None] | None = None

    # ---- the registry ------------------------------------------------------------------------------
    def names(self) -> tuple[str, ...]:
        """Names of all registered models."""
        return tuple(spec.name for spec in self._specs())

    def spec(self, name: str) -> ModelSpec:
        """Specification of a registered model.

        Raises:
            UnknownModel: not registered, or no longer; names what is.
        """
        return find_spec(self._specs(), name)

    def _specs(self) -> tuple[ModelSpec, ...]:
        if self._clock() - self._read_at >= self._poll_s:
            self._read_at = self._clock()
            if self._registry.look():
                registered = {spec.name for spec in self._registry.specs}
                for name in self._handles.keys() - registered:
                    del self._handles[name]
                    self._details.pop(name, None)
        return self._registry.specs

    # ---- the replicas ------------------------------------------------------------------------------
    def handle(self, name: str) -> DeploymentHandle:
        """Handle of the model's replicas; a call waits for one to be up, but not for a model that failed.

        Raises:
            UnknownModel: not registered.
        """
        self.spec(name)
        if name not in self._handles:
            self._handles[name] = self._connect(names.model_application(name))
        return self._handles[name]

    async def details(self, name: str) -> ModelDetails:
        """Details of a model; brings up one that is scaled to zero, and waits for one that loads.

        Raises:
            UnknownModel: not registered.
            ModelUnavailable: not deployed, failed, without a place in the cluster, or served elsewhere where it does
                not answer.
        """
        spec = self.spec(name)
        known = self._details.get(name)
        state = self._deployed.get(names.model_application(name))
        if known and known.hold(spec, state):
            self._refresh()  # for the next one: the controller may be away
            if state is None or state.running:
                return known.details
            await self._check_place(name)
            if not (now := self._deployed.get(names.model_application(name))) or not now.dead:
                return known.details
        state = await self._wait_deployed(name)
        await self._check_place(name)
        if state is None or state.dead:
            raise unavailable(name, state)
        handle = self.handle(name)
        async with self.guard(name):
            details: ModelDetails = await call(
                lambda: handle.details.remote(), what=f"model {name!r}", policy=MODEL_DETAILS
            )
        if state.phase == "steady":  # else it may have been one of the replicas that are to be replaced
            self._details[name] = _CachedDetails(details, spec, state.deployed_at, state.replicas)
        return details

    async def _wait_deployed(self, name: str) -> Deployed | None:
        """Deployment of a registered model; one not deployed yet, or removed a moment ago, is waited for.

        Whoever deploys models follows the registry too, and what the controller said may be old.

        Raises:
            UnknownModel: not registered any more.
        """
        found: Deployed | None = None
        for look in range(self._looks):
            if look:
                await asyncio.sleep(STATUS_S)
            self.spec(name)
            await self._wait_refreshed()
            found = self._deployed.get(names.model_application(name))
            if (found is not None and found.phase != "leaving") or self._placement.noticed(name):
                break
        return found

    async def _check_place(self, name: str) -> None:
        """Waits out whether a lack of room lasts.

        Raises:
            ModelUnavailable: it does: with what the model needs, and what there is.
        """
        await self._wait_refreshed()
        if self._placement.noticed(name) and self._shortage(name) is None:
            await asyncio.sleep(NOTICE_S)
            await self._wait_refreshed()
        if (short := self._shortage(name)) is not None:
            raise unplaceable(name, short)

    def _shortage(self, name: str) -> Shortage | None:
        """Shortage that keeps a model without a replica from getting one; ``None`` where one runs."""
        found = self._deployed.get(names.model_application(name))
        if found is not None and (found.running or found.dead):
            return None
        return self._placement.shortage(name, self._clock())

    def forget(self, name: str) -> None:
        """Evicts the cached details of a model that was updated."""
        self._details.pop(name, None)

    async def describe(self, name: str) -> tuple[dict[str, Any], ModelDetails | None]:
        """State and details of a model; asks a replica at most once, and wakes none.

        Returns:
            JSON-ready: ``state``, one of ``states.State``; ``replicas`` with ``running``, ``min`` and ``max``; and a
            ``message`` where something is wrong. And the details where they are known or a replica answers soon.

        Raises:
            UnknownModel: not registered.
        """
        spec = self.spec(name)
        await self._wait_refreshed()
        found = self._deployed.get(names.model_application(name))
        state, message = state_of(found, spec)
        if (short := self._placement.shortage(name, self._clock())) is not None:
            if self._shortage(name) is not None:
                state, message = "unplaceable", short.reason
            elif found is not None and not found.dead and found.phase not in ("failed", "leaving"):
                state = "ready"  # until they do, no update goes on either
                message = f"further replicas find no place: each {short.reason}"
        elif (noticed := self._placement.noticed(name)) is not None:
            message = message or f"waits for room: {noticed.reason}"
        known = self._details.get(name)
        details = known.details if known else None
        if found and found.running and found.phase != "leaving":
            try:
                async with asyncio.timeout(self._probe_s):
                    details = await self.details(name)
            except (ModelUnavailable, TimeoutError, RayError, RayServeException) as silent:
                details = None
                if known is None:
                    state = "loading"
                    if isinstance(silent, ModelUnavailable):  # the replica is up, what it calls is not
                        message = silent.message
        running = found.running if found else 0
        status: dict[str, Any] = {
            "state": state,
            "replicas": {"running": running, "min": spec.min_replicas, "max": spec.max_replicas},
        }
        return status | ({"message": message} if message else {}), details

    @asynccontextmanager
    async def guard(self, name: str) -> AsyncIterator[None]:
        """Cancels the body as soon as nothing will answer its calls: Ray Serve lets calls to a removed model wait.

        Raises:
            UnknownModel: the model is registered no longer.
            ModelUnavailable: it was removed, an update of it failed and left no replica, or a replica finds no place.
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
            raise unavailable(name, self._deployed.get(names.model_application(name))) from failed
        finally:
            watching.cancel()

    async def _gone(self, name: str) -> list[WavescopeError]:
        try:
            self.spec(name)
        except UnknownModel as unknown:
            return [unknown]
        await self._wait_refreshed()
        found = self._deployed.get(names.model_application(name))
        if found and found.dead:
            return [unavailable(name, found)]
        short = self._shortage(name)
        return [unplaceable(name, short)] if short else []

    # ---- the controller ----------------------------------------------------------------------------
    def _refresh(self) -> None:
        """Starts to ask the controller, in the background, unless its last answer is fresh."""
        fresh_s = NOTICE_S if self._placement.short else STATUS_S
        if self._asking is None and self._clock() - self._deployed_at >= fresh_s:
            self._asking = start_in_background(self._ask_controller())

    async def _wait_refreshed(self) -> None:
        """Asks the controller, unless its last answer is fresh; that stays while the controller is away."""
        self._refresh()
        if self._asking is not None:
            await asyncio.wait((self._asking,), timeout=self._probe_s)

    async def _ask_controller(self) -> None:
        try:
            self._deployed = found = await asyncio.to_thread(self._ask)
            specs = self._specs()
            if all(placed(found.get(names.model_application(spec.name))) for spec in specs):
                self._placement.clear()
            else:
                self._placement.look(specs, found, await asyncio.to_thread(self._ask_room), self._clock())
        except (RayError, RayServeException, TimeoutError):
            pass  # it is restarting: the replicas go on without it
        finally:
            self._deployed_at = self._clock()
            self._asking = None


def _connect(application: str) -> DeploymentHandle:
    # Asking the controller whether it exists would block this process' event loop.
    return serve.get_deployment_handle(names.MODEL_REPLICA, app_name=application, _check_exists=False)
