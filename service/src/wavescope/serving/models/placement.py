"""Models that find no place in the cluster: an error with numbers, in place of calls that wait for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wavescope.models.spec import ModelSpec
from wavescope.serving import names
from wavescope.serving.models.capacity import Room
from wavescope.serving.models.status import Deployed

NOTICE_S = 0.4  # that a lack of room has to last: replicas come and go


@dataclass(frozen=True, slots=True)
class Shortage:
    """Shortage that keeps a replica of a model from being placed.

    Attributes:
        reason: with numbers: what it needs, and what there is.
        never: no node is large enough, however empty.
        since: when it was first seen, s of the caller's clock.
    """

    reason: str
    never: bool
    since: float


class Placement:
    """Remembers which models lack a place, and since when.

    Args:
        autoscaler_s: that an autoscaler of nodes is given to make room; 0 where there is none.
    """

    def __init__(self, autoscaler_s: float) -> None:
        self._autoscaler_s = autoscaler_s
        self._short: dict[str, Shortage] = {}

    def look(
        self, specs: Iterable[ModelSpec], deployed: Mapping[str, Deployed], room: Room, now: float
    ) -> None:
        """Compares the controller's and the control plane's answers of one time."""
        leaving = any(found.stopping for found in deployed.values())
        short: dict[str, Shortage] = {}
        for spec in specs:
            application = names.model_application(spec.name)
            lacking = self._lacks(spec, deployed.get(application), room, leaving=leaving)
            if lacking is not None:
                before = self._short.get(spec.name)
                since = before.since if before is not None and before.never == lacking[1] else now
                short[spec.name] = Shortage(*lacking, since)
        self._short = short

    def shortage(self, name: str, now: float) -> Shortage | None:
        """Shortage that keeps a wanted replica from being placed; ``None`` where it may come, or none is wanted."""
        found = self._short.get(name)
        if found is None:
            return None
        patience_s = self._autoscaler_s or (0.0 if found.never else NOTICE_S)
        return found if now - found.since >= patience_s else None

    @property
    def short(self) -> bool:
        """Whether any model lacks a place."""
        return bool(self._short)

    def clear(self) -> None:
        """Record that every model has its replicas."""
        self._short = {}

    def noticed(self, name: str) -> Shortage | None:
        """The same, however short a time it has lasted."""
        return self._short.get(name)

    def _lacks(
        self, spec: ModelSpec, found: Deployed | None, room: Room, *, leaving: bool
    ) -> tuple[str, bool] | None:
        """Reason why there is no place, and whether there never will be one."""
        waits = room.waits(names.model_application(spec.name), spec)
        running, starting = (found.running, found.starting) if found else (0, 0)
        if not waits and (running or self._autoscaler_s):
            return None  # none is wanted, or nodes will come for it once it is
        if never := room.never(spec):
            return never, True
        asleep = found is not None and not (running or starting or spec.min_replicas)
        if leaving or not (waits or asleep):
            return None  # whoever leaves makes room; what has a place loads
        now = room.now(spec)
        return (now, False) if now else None
