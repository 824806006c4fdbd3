"""Which requests may be computed now, which wait, and which are refused: a plain state with a clock handed in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from wavescope.engine import waiting
from wavescope.engine.quotas import Quota
from wavescope.engine.waiting import Priority
from wavescope.errors import QueueFull, QuotaExceeded

NO_QUOTA = Quota()
SHORTEST_RETRY_S = 1.0
# How much slower or faster than expected requests are computed is learnt from those that ended: at first it is believed
# like so many seconds of them, and each one leaves this much of what was learnt before.
PRIOR_S = 10.0
REMEMBERED = 0.95


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to be let in.

    Attributes:
        id: unique; the same again is the same ask.
        caller: name of its API key, empty without keys.
        forwards: images to be scored at most.
        seconds: expected of scoring, on the replicas there are.
        patient: whether it waits however long that takes, as jobs do: their number is bounded elsewhere.
    """

    id: str
    caller: str
    priority: Priority
    forwards: int
    seconds: float
    patient: bool = False


@dataclass(slots=True)
class _Entry:
    ask: Ask
    order: int
    heard_s: float
    running: bool = False


@dataclass(slots=True)
class _Bucket:
    """Forwards a caller may still ask for; below zero after a request larger than a minute's."""

    level: float
    at_s: float


@dataclass(slots=True)
class Admission:
    """Requests that wait and run.

    Interactive requests start before batch ones, but for every fourth start; batch ones take at most half of the
    places. Among equals the caller with the fewest running goes first, then who came first. Who is not heard of for
    ``silent_s`` is taken for dead and makes room.

    Attributes:
        max_running: computed at once.
        max_waiting: more are refused, but patient ones.
        max_wait_s: expected wait beyond which interactive requests are refused.
        quota: of a caller.
        clock: seconds, monotonic.
    """

    max_running: int
    max_waiting: int
    max_wait_s: float
    clock: Callable[[], float]
    quota: Callable[[str], Quota] = lambda caller: NO_QUOTA
    silent_s: float = 30.0
    _entries: dict[str, _Entry] = field(default_factory=dict[str, _Entry])
    _buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket])
    _arrivals: int = 0
    _starts: int = 0
    _busy_s: float = PRIOR_S
    _done_s: float = PRIOR_S
    _ticked_s: float = 0.0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._entries) - self.running

    @property
    def running(self) -> int:
        """Requests that are computed."""
        return sum(entry.running for entry in self._entries.values())

    def offer(self, ask: Ask, *, running: bool = False) -> None:
        """Takes a request in, to wait for its turn; one that is known already keeps its place.

        Args:
            ask: the request.
            running: it was let in before, by an admission that has forgotten it.

        Raises:
            QuotaExceeded: more than the caller's share.
            QueueFull: more than the service takes on now.
        """
        self._tick()
        now = self.clock()
        if ask.id in self._entries:
            self._entries[ask.id].heard_s = now
            return
        if not running:
            self._check(ask, now)
            self._charge(ask, now)
        self._arrivals += 1
        self._entries[ask.id] = _Entry(ask, self._arrivals, now, running)

    @property
    def pace(self) -> float:
        """Seconds that an expected second of computing has taken of late."""
        return self._busy_s / self._done_s

    def begin(self) -> list[str]:
        """The waiting requests whose turn it is; they count as running from now on."""
        self._tick()
        begun: list[str] = []
        while (entry := self._next()) is not None:
            entry.running = True
            self._starts += 1
            begun.append(entry.ask.id)
        return begun

    def leave(self, ask_id: str, *, finished: bool = False) -> None:
        """A request has ended, or waits no longer.

        Args:
            ask_id: of the request.
            finished: whether it was computed to its end: then it says how quickly the others will be.
        """
        self._tick()
        entry = self._entries.pop(ask_id, None)
        if finished and entry is not None and entry.running:
            self._busy_s *= REMEMBERED
            self._done_s = self._done_s * REMEMBERED + entry.ask.seconds

    def heard(self, ask_id: str) -> bool:
        """A request is alive; whether it is known."""
        entry = self._entries.get(ask_id)
        if entry is not None:
            entry.heard_s = self.clock()
        return entry is not None

    def forget_silent(self) -> list[str]:
        """Requests whose process says nothing any more; they are let go."""
        self._tick()
        oldest = self.clock() - self.silent_s
        silent = [name for name, entry in self._entries.items() if entry.heard_s < oldest]
        for name in silent:
            del self._entries[name]
        return silent

    def charge(self, caller: str, forwards: int) -> None:
        """Takes forwards from a caller's budget for what needs no turn.

        Raises:
            QuotaExceeded: more than the budget allows now.
        """
        ask = Ask("", caller, "interactive", forwards, 0.0)
        self._check_budget(ask, self.clock())
        self._charge(ask, self.clock())

    def wait_s(self, priority: Priority) -> float:
        """Seconds that a request of this priority would be expected to wait now."""
        parts = [(entry.running, _part(entry.ask)) for entry in self._entries.values()]
        return self.pace * waiting.wait_s(
            priority,
            [part for running, part in parts if running],
            [part for running, part in parts if not running],
            places=self.max_running,
            batch_places=self._batch_places,
            starts=self._starts,
        )

    def _tick(self) -> None:
        """Counts the time that something was being computed."""
        now = self.clock()
        if self.running:
            self._busy_s += now - self._ticked_s
        self._ticked_s = now

    def _check(self, ask: Ask, now: float) -> None:
        quota = self.quota(ask.caller)
        mine = [entry for entry in self._entries.values() if entry.ask.caller == ask.caller]
        queued = sum(not entry.running for entry in mine)
        if quota.max_waiting is not None and queued >= quota.max_waiting and not ask.patient:
            at_limit = quota.max_running is not None and len(mine) - queued >= quota.max_running
            if at_limit or self._free(ask.priority) <= 0:
                raise QuotaExceeded(
                    f"{queued} requests of this key wait already; its quota is {quota.max_waiting}",
                    max_waiting=quota.max_waiting,
                    retry_after_s=self._retry_after(ask.priority),
                )
        self._check_budget(ask, now)
        if not ask.patient:
            self._check_queue(ask)

    def _check_budget(self, ask: Ask, now: float) -> None:
        quota = self.quota(ask.caller)
        short_s = self._short_s(ask, quota, now)
        if short_s > 0:
            raise QuotaExceeded(
                f"{ask.forwards} forwards are more than this key's quota of {quota.forwards_per_minute} a minute "
                "allows now",
                forwards_per_minute=quota.forwards_per_minute,
                forwards=ask.forwards,
                retry_after_s=math.ceil(short_s),
            )

    def _check_queue(self, ask: Ask) -> None:
        if self._free(ask.priority) <= 0 and self.waiting >= self.max_waiting:
            raise QueueFull(
                f"{self.waiting} requests wait already; at most {self.max_waiting} may",
                max_waiting=self.max_waiting,
                retry_after_s=self._retry_after(ask.priority),
            )
        # An empty queue lets in whatever it is: who waits behind nobody cannot be helped by coming later.
        if self.waiting and (wait_s := self.wait_s(ask.priority)) > self.max_wait_s:
            raise QueueFull(
                f"the wait would be about {wait_s:.0f} s; requests are refused beyond {self.max_wait_s:g} s",
                max_wait_s=self.max_wait_s,
                retry_after_s=self._retry_after(ask.priority),
            )

    def _retry_after(self, priority: Priority) -> int:
        return math.ceil(max(SHORTEST_RETRY_S, self.wait_s(priority) / 2))

    def _short_s(self, ask: Ask, quota: Quota, now: float) -> float:
        """Seconds until the caller's budget allows the request; 0 where it does now."""
        rate = quota.forwards_per_minute
        if rate is None:
            return 0.0
        # More than a minute's forwards at once need a whole minute's budget, and leave a debt.
        return max(0.0, (min(ask.forwards, rate) - self._level(ask.caller, rate, now)) * 60 / rate)

    def _level(self, caller: str, rate: int, now: float) -> float:
        bucket = self._buckets.get(caller)
        return rate if bucket is None else min(rate, bucket.level + (now - bucket.at_s) * rate / 60)

    def _charge(self, ask: Ask, now: float) -> None:
        rate = self.quota(ask.caller).forwards_per_minute
        if rate is not None:
            self._buckets[ask.caller] = _Bucket(self._level(ask.caller, rate, now) - ask.forwards, now)

    @property
    def _batch_places(self) -> int:
        return max(1, self.max_running // 2)

    @property
    def _running_batch(self) -> int:
        return sum(entry.running and entry.ask.priority == "batch" for entry in self._entries.values())

    def _free(self, priority: Priority) -> int:
        """Places that a request of this priority may take now."""
        free = self.max_running - self.running
        return free if priority == "interactive" else min(free, self._batch_places - self._running_batch)

    def _next(self) -> _Entry | None:
        startable = [entry for entry in self._startable() if self._free(entry.ask.priority) > 0]
        kinds = {entry.ask.priority for entry in startable}
        turn = waiting.next_turn(self._starts, "interactive" in kinds, "batch" in kinds)
        candidates = [entry for entry in startable if entry.ask.priority == turn]
        return min(candidates, key=lambda entry: (self._runs_of(entry.ask.caller), entry.order), default=None)

    def _startable(self) -> list[_Entry]:
        """Those that wait and whose caller has not its share running."""
        found: list[_Entry] = []
        for entry in self._entries.values():
            most = self.quota(entry.ask.caller).max_running
            if not entry.running and (most is None or self._runs_of(entry.ask.caller) < most):
                found.append(entry)
        return found

    def _runs_of(self, caller: str) -> int:
        return sum(entry.running and entry.ask.caller == caller for entry in self._entries.values())


def _part(ask: Ask) -> waiting.Part:
    return waiting.Part(ask.priority, ask.seconds, followed=ask.patient)
