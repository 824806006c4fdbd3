"""Admission policy: which requests run, which wait in the queue, and which are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from wavescope.admission import wait_estimate
from wavescope.admission.quotas import Budgets, Quota
from wavescope.admission.wait_estimate import Priority
from wavescope.errors import QueueFull, QuotaExceeded

NO_QUOTA = Quota()
SHORTEST_RETRY_S = 1.0
# The pace is a ratio of sums over the requests that ended, actual seconds over expected ones. Both sums begin with
# PRIOR_S, as if so many seconds had taken as long as expected; each further request first multiplies both by DECAY.
PRIOR_S = 10.0
DECAY = 0.95

# A request queues twice: to have its images decoded and planned, then to be computed.
Lane = Literal["planning", "computing"]


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """Request for admission.

    Attributes:
        id: unique id; a second request with the same one is the same.
        caller: name of the API key, empty without keys.
        priority: class of the queue.
        forwards: largest number of images to be scored; for planning, the forwards that it is charged as.
        seconds: expected seconds of scoring on the present replicas, or of planning.
        patient: whether it waits without limit, as jobs do: their number is bounded elsewhere.
        charged_forwards: forwards that its caller was charged for planning it.
        lane: queue that it waits in.
    """

    id: str
    caller: str
    priority: Priority
    forwards: int
    seconds: float
    patient: bool = False
    charged_forwards: int = 0
    lane: Lane = "computing"


@dataclass(slots=True)
class _Entry:
    """Request in the queue or running; ``heartbeat_s`` is the time of its last sign of life."""

    request: AdmissionRequest
    order: int
    heartbeat_s: float
    running: bool = False


@dataclass(slots=True)
class Admission:
    """Admission state: the requests that wait and those that run.

    Interactive requests start before batch ones, except at every fourth start; batch ones take at most half of the
    places. Among equals the caller with the fewest running requests goes first, then the earliest. A request without a
    heartbeat for ``silent_s`` is evicted.

    Attributes:
        max_running: largest number of requests that run at once.
        max_waiting: largest number of requests in the queue, patient ones aside; more are refused.
        max_wait_s: expected wait in seconds beyond which interactive requests are refused.
        clock: reads a monotonic clock, in seconds.
        quota: gives the quota of a caller.
        silent_s: seconds without a heartbeat after which a request is evicted.
        budgets: forwards that callers have left, where several admissions share them; ``None`` for its own.
    """

    max_running: int
    max_waiting: int
    max_wait_s: float
    clock: Callable[[], float]
    quota: Callable[[str], Quota] = lambda caller: NO_QUOTA
    silent_s: float = 30.0
    budgets: Budgets | None = None
    _entries: dict[str, _Entry] = field(default_factory=dict[str, _Entry])
    _arrivals: int = 0
    _starts: int = 0
    _busy_s: float = PRIOR_S
    _done_s: float = PRIOR_S
    _ticked_s: float = 0.0
    _budgets: Budgets = field(init=False)

    def __post_init__(self) -> None:
        self._budgets = self.budgets or Budgets(self.quota, self.clock)

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return len(self._entries) - self.running

    @property
    def running(self) -> int:
        """Number of requests that run."""
        return sum(entry.running for entry in self._entries.values())

    def offer(self, request: AdmissionRequest, *, running: bool = False) -> None:
        """Put a request into the queue; one that is there already keeps its place, and this is its heartbeat.

        Args:
            request: the request.
            running: whether it runs already, admitted by an instance that was since restarted.

        Raises:
            QuotaExceeded: the quota of the caller is used up.
            QueueFull: the queue is full, or the wait would be too long.
        """
        self._tick()
        now = self.clock()
        if request.id in self._entries:
            self._entries[request.id].heartbeat_s = now
            return
        if not running:
            self._check(request)
            self._budgets.charge(request.caller, request.forwards)
        self._arrivals += 1
        self._entries[request.id] = _Entry(request, self._arrivals, now, running)

    @property
    def pace(self) -> float:
        """Ratio of actual to expected seconds of the last requests."""
        return self._busy_s / self._done_s

    def begin(self) -> list[str]:
        """Start the waiting requests whose turn it is; return their ids."""
        self._tick()
        begun: list[str] = []
        while (entry := self._next()) is not None:
            entry.running = True
            self._starts += 1
            begun.append(entry.request.id)
        return begun

    def leave(self, request_id: str, *, finished: bool = False) -> None:
        """Remove a request that has ended, or waits no longer.

        Args:
            request_id: id of the request.
            finished: whether it was computed to its end; only then its duration counts for the pace.
        """
        self._tick()
        entry = self._entries.pop(request_id, None)
        if finished and entry is not None and entry.running:
            self._busy_s *= DECAY
            self._done_s = self._done_s * DECAY + entry.request.seconds

    def heartbeat(self, request_id: str) -> bool:
        """Record a heartbeat of a request; ``False`` if it is not known."""
        entry = self._entries.get(request_id)
        if entry is not None:
            entry.heartbeat_s = self.clock()
        return entry is not None

    def evict_silent(self) -> list[str]:
        """Evict the requests without a heartbeat for ``silent_s``; return their ids."""
        self._tick()
        oldest = self.clock() - self.silent_s
        silent = [name for name, entry in self._entries.items() if entry.heartbeat_s < oldest]
        for name in silent:
            del self._entries[name]
        return silent

    def wait_s(self, priority: Priority) -> float:
        """Estimate the seconds that a new request of this priority would wait."""
        entries = [(entry.running, _queue_entry(entry.request)) for entry in self._entries.values()]
        return self.pace * wait_estimate.wait_s(
            priority,
            [waited for running, waited in entries if running],
            [waited for running, waited in entries if not running],
            places=self.max_running,
            batch_places=self._batch_places,
            starts=self._starts,
        )

    def _tick(self) -> None:
        """Count the time in which requests were running."""
        now = self.clock()
        if self.running:
            self._busy_s += now - self._ticked_s
        self._ticked_s = now

    def _check(self, request: AdmissionRequest) -> None:
        """Refuse a request over the quota of its caller, or over the bounds of the queue."""
        quota = self.quota(request.caller)
        mine = [entry for entry in self._entries.values() if entry.request.caller == request.caller]
        queued = sum(not entry.running for entry in mine)
        if quota.max_waiting is not None and queued >= quota.max_waiting and not request.patient:
            at_limit = quota.max_running is not None and len(mine) - queued >= quota.max_running
            if at_limit or self._free(request.priority) <= 0:
                raise QuotaExceeded(
                    f"{queued} requests of this key wait already; its quota is {quota.max_waiting}",
                    max_waiting=quota.max_waiting,
                    retry_after_s=self._retry_after(request.priority),
                )
        self._budgets.check(request.caller, request.forwards, charged=request.charged_forwards)
        if not request.patient:
            self._check_queue(request)

    def _check_queue(self, request: AdmissionRequest) -> None:
        if self._free(request.priority) <= 0 and self.waiting >= self.max_waiting:
            raise QueueFull(
                f"{self.waiting} requests wait already; at most {self.max_waiting} may",
                max_waiting=self.max_waiting,
                retry_after_s=self._retry_after(request.priority),
            )
        # With an empty queue nothing is refused for its wait: coming later would not shorten it.
        if self.waiting and (wait_s := self.wait_s(request.priority)) > self.max_wait_s:
            raise QueueFull(
                f"the wait would be about {wait_s:.0f} s; requests are refused beyond {self.max_wait_s:g} s",
                max_wait_s=self.max_wait_s,
                retry_after_s=self._retry_after(request.priority),
            )

    def _retry_after(self, priority: Priority) -> int:
        return math.ceil(max(SHORTEST_RETRY_S, self.wait_s(priority) / 2))

    @property
    def _batch_places(self) -> int:
        return max(1, self.max_running // 2)

    @property
    def _running_batch(self) -> int:
        return sum(entry.running and entry.request.priority == "batch" for entry in self._entries.values())

    def _free(self, priority: Priority) -> int:
        """Number of places that are free for this priority."""
        free = self.max_running - self.running
        return free if priority == "interactive" else min(free, self._batch_places - self._running_batch)

    def _next(self) -> _Entry | None:
        startable = [entry for entry in self._list_startable() if self._free(entry.request.priority) > 0]
        kinds = {entry.request.priority for entry in startable}
        turn = wait_estimate.next_turn(self._starts, "interactive" in kinds, "batch" in kinds)
        candidates = [entry for entry in startable if entry.request.priority == turn]
        return min(
            candidates,
            key=lambda entry: (self._count_running(entry.request.caller), entry.order),
            default=None,
        )

    def _list_startable(self) -> list[_Entry]:
        """Waiting requests whose caller has fewer running than its quota."""
        found: list[_Entry] = []
        for entry in self._entries.values():
            most = self.quota(entry.request.caller).max_running
            if not entry.running and (most is None or self._count_running(entry.request.caller) < most):
                found.append(entry)
        return found

    def _count_running(self, caller: str) -> int:
        return sum(entry.running and entry.request.caller == caller for entry in self._entries.values())


def _queue_entry(request: AdmissionRequest) -> wait_estimate.QueueEntry:
    return wait_estimate.QueueEntry(request.priority, request.seconds, replenished=request.patient)
