"""Failed attempts to load a model in a row, stored where the death of a process does not reach.

Ray Serve starts a replica that died at once, for as long as it takes. A model whose file crashes the runtime, or that
does not fit into memory, would keep the cores busy with nothing but starting.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import ray
from ray.exceptions import RayError

from wavescope.models.spec import ModelSpec
from wavescope.serving.calls.retries import LOADING

TRIES = 2  # that follow each other without a pause
DIED = "its process died while it loaded the model"

_NAMESPACE = b"wavescope"
_NOTICES = b"notices"


@dataclass(frozen=True, slots=True)
class Failing:
    """Record of the attempts to load one model.

    Attributes:
        version: of what is loaded, and how often it was asked for.
        failures: in a row.
        reason: of the last.
        at: when this was written, s since 1970.
        retry_at: when it is tried again, s since 1970; 0 where nobody knows.
        begun: actors that load it now, or died of it.
    """

    version: str = ""
    failures: int = 0
    reason: str = ""
    at: float = 0.0
    retry_at: float = 0.0
    begun: tuple[str, ...] = ()


class Shelf(Protocol):
    """Keeps one value by model."""

    def get(self, model: str) -> Failing:
        """Get the value that was put; without one, nothing failed."""
        ...

    def put(self, model: str, failing: Failing) -> None: ...


class Attempts:
    """The attempts of one process to load a model.

    Args:
        spec: of the model.
        attempt: number of its deployment.
        process: id of this one's actor.
        shelf: what all of them share.
        alive: whether an actor still lives.
        clock: s since 1970.
    """

    def __init__(
        self,
        spec: ModelSpec,
        attempt: int,
        process: str,
        shelf: Shelf,
        *,
        alive: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._model = spec.name
        self._version = hashlib.sha256(f"{spec!r} {attempt}".encode()).hexdigest()
        self._process = process
        self._shelf = shelf
        self._alive = alive
        self._clock = clock

    def delay_s(self) -> float:
        """Seconds until the next attempt; attempts that ended with their process count as failures."""
        found = self._found()
        dead = {process for process in found.begun if process != self._process and not self._alive(process)}
        failures = found.failures + len(dead)
        delay = 0.0 if failures < TRIES else LOADING.delay_s(failures - TRIES + 1)
        if failures:
            self._keep(
                replace(
                    found,
                    failures=failures,
                    reason=DIED if dead else found.reason,
                    retry_at=self._clock() + delay,
                    begun=tuple(process for process in found.begun if process not in dead),
                )
            )
        return delay

    def begin(self) -> None:
        """This process loads the model: should it die of that, the next one knows."""
        found = self._found()
        self._keep(replace(found, begun=(*found.begun, self._process)))

    def failed(self, reason: str) -> None:
        """Count a failure to load, which the process survived."""
        found = self._found()
        self._keep(replace(found, failures=found.failures + 1, reason=reason, begun=self._others(found)))

    def loaded(self) -> None:
        """Forget the failures: the model is loaded."""
        self._keep(Failing(self._version, begun=self._others(self._found())))

    def reason(self) -> str:
        """Reason why the last attempt failed."""
        return self._found().reason

    def _others(self, found: Failing) -> tuple[str, ...]:
        return tuple(process for process in found.begun if process != self._process)

    def _found(self) -> Failing:
        found = self._shelf.get(self._model)
        return found if found.version == self._version else Failing(self._version)

    def _keep(self, failing: Failing) -> None:
        self._shelf.put(self._model, replace(failing, at=self._clock()))


class ControlPlane:
    """The shelf of a running cluster. While the control plane is away, nothing has failed."""

    def get(self, model: str) -> Failing:
        from ray.experimental.internal_kv import _internal_kv_get  # as Ray Serve keeps its own state

        kept: bytes | None = None
        with suppress(RayError):
            kept = _internal_kv_get(_key(model), namespace=_NAMESPACE)
        if not kept:
            return Failing()
        stored = json.loads(kept)
        return Failing(**{**stored, "begun": tuple(stored["begun"])})

    def put(self, model: str, failing: Failing) -> None:
        from ray.experimental.internal_kv import _internal_kv_put

        with suppress(RayError):
            _internal_kv_put(_key(model), json.dumps(asdict(failing)).encode(), namespace=_NAMESPACE)


def note(model: str, notice: str) -> None:
    """Lets every process know why a model goes on as it was loaded; an empty notice takes that back.

    Whoever deploys the models is the only one that calls it.
    """
    from ray.experimental.internal_kv import _internal_kv_put

    kept = {name: text for name, text in notices().items() if name != model} | (
        {model: notice} if notice else {}
    )
    with suppress(RayError):
        _internal_kv_put(_NOTICES, json.dumps(kept).encode(), namespace=_NAMESPACE)


def notices() -> dict[str, str]:
    """The notices of all models that have one; none while the control plane is away."""
    from ray.experimental.internal_kv import _internal_kv_get

    kept: bytes | None = None
    with suppress(RayError):
        kept = _internal_kv_get(_NOTICES, namespace=_NAMESPACE)
    return json.loads(kept) if kept else {}


def postpone(model: str, delay_s: float) -> None:
    """A model that Ray Serve gave up is deployed anew after some time: notes when."""
    shelf, now = ControlPlane(), time.time()
    found = shelf.get(model)
    reason = found.reason or (DIED if found.begun else "")
    shelf.put(model, replace(found, reason=reason, at=now, retry_at=now + delay_s))


def attempts(spec: ModelSpec, attempt: int) -> Attempts | None:
    """Attempts of this process, where it is a replica of a cluster."""
    process = ray.get_runtime_context().get_actor_id() if ray.is_initialized() else None
    return Attempts(spec, attempt, process, ControlPlane(), alive=_alive) if process else None


def _alive(process: str) -> bool:
    import ray._private.state as state

    return state.actors(actor_id=process).get("State") not in (None, "DEAD")


def _key(model: str) -> bytes:
    return f"loading:{model}".encode()
