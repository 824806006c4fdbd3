"""Reading of the metrics of monitors from the store, in one place of the application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wavescope.errors import StoreUnavailable
from wavescope.serving.calls.background import start_in_background
from wavescope.serving.monitors.log import read_status
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store import open_store
from wavescope.store.monitors import MonitorRecord
from wavescope.telemetry.counters import Snapshot
from wavescope.telemetry.metrics import STORE_UP
from wavescope.telemetry.monitors import MonitorFacts, monitor_samples

FRESH_S = 1.0  # that samples are given again without a look at the store
ANSWER_S = 2.0  # that a scrape waits for the store

log = logging.getLogger(__name__)


class MonitorList(Protocol):
    """Store whose monitors can be listed."""

    def list_monitors(self) -> list[MonitorRecord]:
        """List all monitors (:meth:`wavescope.store.monitors.MonitorRegistry.list_monitors`)."""
        ...


def store_reader(settings: Settings) -> Callable[[], Awaitable[Snapshot]]:
    """A function that reads the samples of the store that the settings name."""
    store = open_store(
        settings.store_url,
        state_dir=settings.state_dir,
        result_bytes=settings.result_cache_bytes,
        timeout_s=settings.store_timeout_s,
        results_timeout_s=settings.result_cache_timeout_s,
    )
    return StoreSamples(store).read


class StoreSamples:
    """Samples of all monitors, as the store has them now.

    While the store does not answer they are left out, and ``wavescope_store_up`` is 0: what was true before would read
    as if it were true now.

    Args:
        store: of the monitors.
        answer_s: longest wait for it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: MonitorList,
        *,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._answer_s = answer_s
        self._clock = clock
        self._reading: asyncio.Task[Snapshot] | None = None
        self._read_at = 0.0
        self._unread: set[str] = set()

    async def read(self) -> Snapshot:
        """The samples, at most a second old; one reading at a time, however many ask."""
        reading = self._reading
        if reading is None or (reading.done() and self._clock() - self._read_at >= FRESH_S):
            reading = self._reading = start_in_background(self._read())
        done, _ = await asyncio.wait((reading,), timeout=self._answer_s)
        return reading.result() if done else _up(answered=False)

    async def _read(self) -> Snapshot:
        try:
            records = await in_store_thread(self._store.list_monitors)
            return await asyncio.to_thread(self._samples, records)
        except StoreUnavailable:
            return _up(answered=False)
        except Exception:
            # The metrics of the processes do not depend on it.
            log.exception("metrics of monitors cannot be read")
            return _up(answered=False)
        finally:
            self._read_at = self._clock()

    def _samples(self, records: Sequence[MonitorRecord]) -> Snapshot:
        facts: list[MonitorFacts] = []
        for record in records:
            try:
                facts.append(_facts(record))
            except ValueError:  # saved by another version, or damaged
                if record.name not in self._unread:
                    log.warning("the status of a monitor cannot be read", extra={"monitor": record.name})
                    self._unread.add(record.name)
        return monitor_samples(facts) | _up(answered=True)


def _facts(record: MonitorRecord) -> MonitorFacts:
    status = read_status(record)
    return MonitorFacts(
        name=status.name,
        state=status.state,
        summary=status.summary,
        events=status.events,
        pending=status.pending,
        last_observation_at=status.last_observation_at,
    )


def _up(*, answered: bool) -> Snapshot:
    return {(STORE_UP.name, ()): float(answered)}
