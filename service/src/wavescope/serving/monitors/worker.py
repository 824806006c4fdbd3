"""Monitor workers: they claim monitors by leases, measure observations, fold them in order and save the state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wavescope.engine.monitors.config import MonitorConfig
from wavescope.engine.monitors.fold import fold, is_of_reference, reference_left
from wavescope.engine.monitors.measure import expired
from wavescope.engine.monitors.observation import is_profiled
from wavescope.engine.monitors.state import Facts, LogEntry, MonitorState
from wavescope.engine.monitors.status import summarise
from wavescope.errors import StoreUnavailable, WavescopeError
from wavescope.serving.calls.background import start_in_background
from wavescope.serving.monitors.log import read_entry, read_state
from wavescope.serving.monitors.measuring import Measurer, Throttle
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store.codec import encode
from wavescope.store.monitors import Entry, MonitorRecord, Monitors

KEPT_REFERENCE = 10  # images of the reference that are kept for each one of the stream

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerTimes:
    """Times and sizes of monitor workers.

    Attributes:
        idle_s: between looks for a monitor that has something to do.
        wake_s: after which a monitor without new entries is looked at again, for what is to be sent.
        retry_s: before an observation that lacked something is tried again.
        slice_s: after which no further observation of a monitor is begun before others have their turn.
        entries: of a log that are read at once.
        at_once: observations of one monitor that are measured at once.
    """

    idle_s: float = 0.5
    wake_s: float = 5.0
    retry_s: float = 2.0
    slice_s: float = 2.0
    entries: int = 32
    at_once: int = 2


TIMES = WorkerTimes()


class Effects(Protocol):
    """Effects of a state outside of its monitor: webhooks, diagnoses."""

    async def carry_out(self, record: MonitorRecord, worker: str, state: MonitorState) -> None:
        """Does what is due now; what was done already is not done again."""
        ...


class MonitorWorkers:
    """Measures and folds for monitors, for as long as the process lives.

    A monitor whose worker dies is claimed by another once its lease has expired, and goes on where its log says.

    Args:
        store: of the monitors.
        settings: number of workers, leases, limits.
        measurer: measures images.
        effects: what follows from a state.
        folded: called with the monitor's name and the seconds since an observation was accepted, when it is folded.
        times: of pauses, and sizes.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: Monitors,
        settings: Settings,
        measurer: Measurer,
        effects: Effects,
        *,
        folded: Callable[[str, float], None],
        times: WorkerTimes = TIMES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._measurer = measurer
        self._effects = effects
        self._folded = folded
        self._times = times
        self._clock = clock
        self._throttle = Throttle()
        self._tasks: list[asyncio.Task[None]] = []

    def start_once(self) -> None:
        """Starts the workers, on the running loop; constructors of replicas have none."""
        if not self._tasks:
            self._tasks = [
                start_in_background(self._work_for_ever(uuid.uuid4().hex))
                for _ in range(self._settings.monitor_workers)
            ]

    async def stop(self) -> None:
        """Ends the workers and their leases."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work_for_ever(self, worker: str) -> None:
        while True:
            busy = False
            try:
                busy = await self.work_once(worker)
            except StoreUnavailable as silent:
                log.warning("the store of monitors does not answer: %s", silent.message)
            except Exception:  # a worker must not end: the lease lapses, and the monitor is tried again
                log.exception("a monitor worker failed")
            if not busy:
                await asyncio.sleep(self._times.idle_s)

    async def work_once(self, worker: str) -> bool:
        """Takes the next monitor on, for one piece of its log; whether there was one that has more to do."""
        lease_s = self._settings.job_lease_s
        record = await in_store_thread(
            self._store.claim_monitor, worker, lease_s, wake_after_s=self._times.wake_s
        )
        if record is None:
            return False
        working = asyncio.create_task(self._work(worker, record))
        renewing = asyncio.create_task(self._renew(worker, record.name))
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log.info("monitor is another's now, or deleted", extra={"monitor": record.name})
                return False
            return await working
        finally:
            working.cancel()
            renewing.cancel()
            await asyncio.wait((working, renewing))
            with contextlib.suppress(StoreUnavailable):  # then it lapses
                await in_store_thread(self._store.release_monitor, record.name, worker)

    async def _renew(self, worker: str, name: str) -> None:
        """Renews the lease until the monitor is of another worker, or deleted."""
        while True:
            await asyncio.sleep(self._settings.job_lease_s / 3)
            with contextlib.suppress(StoreUnavailable):
                if not await in_store_thread(
                    self._store.renew_monitor, name, worker, self._settings.job_lease_s
                ):
                    return

    async def _work(self, worker: str, record: MonitorRecord) -> bool:
        """Measures and folds the next entries; whether there may be more of them."""
        name = record.name
        folded, checkpoint, _ = await in_store_thread(self._store.load_checkpoint, name)
        state = await asyncio.to_thread(read_state, record, checkpoint)
        entries = await in_store_thread(
            self._store.read_entries, name, after=folded, limit=self._times.entries
        )
        run = _first_run(entries)
        ended, away = await self._ended(worker, record, state, run)
        if ended:
            before, state = state, await asyncio.to_thread(fold, state, ended)
            # Before the state is saved: whoever comes to it again after a crash drops the same images.
            await self._drop_images(name, before, state, ended)
            saved = await in_store_thread(
                self._store.save_checkpoint,
                name,
                worker,
                folded=state.folded,
                state=await asyncio.to_thread(encode, state),
                status=await asyncio.to_thread(lambda: encode(summarise(state))),
            )
            if not saved:
                return False
            now = self._clock()
            for entry in ended:
                if entry.observed is not None:
                    self._folded(name, max(0.0, now - entry.at))
            await self._purge(name, state.folded)
        await self._effects.carry_out(record, worker, state)
        if away:  # a model, a place
            await asyncio.sleep(self._times.retry_s)
        return len(ended) > 0 and not away

    # ---- measuring -------------------------------------------------------------------------------
    async def _ended(
        self, worker: str, record: MonitorRecord, state: MonitorState, run: Sequence[Entry]
    ) -> tuple[list[LogEntry], bool]:
        """The first entries of a run with their measurements, and whether what measures them is away.

        As many as are measured before the turn is over, and the monitor has had its share of the model.
        """
        read = [await asyncio.to_thread(read_entry, entry) for entry in run]
        profiles = _profiles(state, read)
        places = asyncio.Semaphore(self._times.at_once)
        ends_s = asyncio.get_running_loop().time() + self._times.slice_s
        over = away = False

        async def end(found: LogEntry, profile: bool) -> bool:
            nonlocal over, away
            if found.facts is None or found.observed is not None:
                return True
            async with places:
                over = over or asyncio.get_running_loop().time() > ends_s
                if over or away or self._throttle.left_s(record.name) > 0:
                    over = True
                    return False
                measured = await self._measure(worker, record, state.config, found, profile)
                away = away or not measured
                return measured

        tasks = [asyncio.create_task(end(*pair)) for pair in zip(read, profiles, strict=True)]
        try:
            results = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        whole = next((at for at, measured in enumerate(results) if not measured), len(results))
        return await self._stored(record.name, run[:whole]), away

    async def _stored(self, name: str, run: Sequence[Entry]) -> list[LogEntry]:
        """The entries as the store has them now, which is what every worker folds."""
        if not run:
            return []
        entries = await in_store_thread(self._store.read_entries, name, after=run[0].seq - 1, limit=len(run))
        read = [await asyncio.to_thread(read_entry, entry) for entry in entries]
        whole = next(
            (at for at, one in enumerate(read) if one.command is None and one.observed is None), len(read)
        )
        return read[:whole]

    async def _measure(
        self, worker: str, record: MonitorRecord, config: MonitorConfig, entry: LogEntry, profile: bool
    ) -> bool:
        """Measures an observation, and ends it; ``False`` where that is to be tried again later."""
        image = await in_store_thread(self._store.get_payload, record.name, entry.seq)
        try:
            observed = await self._measurer.measure(
                config, image or b"", entry.facts or Facts(), profile=profile, owner=record.owner
            )
            seconds = await self._measurer.seconds_per_image(config.model)
        except WavescopeError as error:
            if self._clock() - entry.at <= self._settings.monitor_expiry_s:
                log.warning("an observation waits: %s", error.message, extra={"monitor": record.name})
                return False
            observed, seconds = expired("", error.message), None
        if seconds is not None:
            self._throttle.spend(record.name, observed.forwards, seconds, config.sample.max_share_of_model)
        # Another may have measured it before its lease lapsed: the first measurement is the one that counts.
        keep = config.keep_images > 0 and observed.energies is not None
        await in_store_thread(
            self._store.end_observation, record.name, entry.seq, worker, encode(observed), keep=keep
        )
        return True

    # ---- what is kept ----------------------------------------------------------------------------
    async def _drop_images(
        self, name: str, before: MonitorState, after: MonitorState, ended: Sequence[LogEntry]
    ) -> None:
        """Deletes images that are not among the most shifted ones, nor of the reference's first."""
        if max(before.config.keep_images, after.config.keep_images) == 0:
            return
        candidates = kept_images(before) | {entry.seq for entry in ended if entry.observed is not None}
        dropped = sorted(candidates - kept_images(after))
        if dropped:
            await in_store_thread(self._store.drop_payloads, name, dropped)

    async def _purge(self, name: str, folded: int) -> None:
        before = folded - self._settings.monitor_history
        if before > 0:
            await in_store_thread(self._store.purge_entries, name, before=before)


def kept_images(state: MonitorState) -> set[int]:
    """Numbers of the observations whose images are kept: the most shifted ones, and the first of the reference."""
    count = state.config.keep_images
    reference = state.watch.reference if state.watch is not None else state.gathered
    first = reference.seqs[: KEPT_REFERENCE * count]
    return {one.seq for one in state.shifted[:count]} | {int(seq) for seq in first}


def _first_run(entries: Sequence[Entry]) -> list[Entry]:
    """The entries up to the first command that follows an observation: it may change what observations are for."""
    seen = False
    for at, entry in enumerate(entries):
        if entry.kind == "command" and seen:
            return list(entries[:at])
        seen = seen or entry.kind == "observation"
    return list(entries)


def _profiles(state: MonitorState, entries: Sequence[LogEntry]) -> list[bool]:
    """Whether each entry gets a profile, as far as the state and the commands that come first say."""
    commands = [entry for entry in entries if entry.command is not None]
    state = fold(state, commands)
    left, found = reference_left(state), list[bool]()
    for entry in entries:
        if entry.facts is None:
            found.append(False)
            continue
        reference = left > 0 and is_of_reference(state, entry.facts)
        left -= reference
        found.append(is_profiled(state.config, entry.seq, reference=reference))
    return found


def state_of(record: MonitorRecord, store: Monitors) -> MonitorState:
    """The state of a monitor as it was saved last."""
    _, checkpoint, _ = store.load_checkpoint(record.name)
    return read_state(record, checkpoint)
