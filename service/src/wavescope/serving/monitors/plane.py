"""The part of the data plane that is of monitors, over the store."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from wavescope.engine.monitors.config import MonitorConfig, check_config, check_name, routes
from wavescope.engine.monitors.observation import Observed
from wavescope.engine.monitors.state import Command, MonitorState, Table
from wavescope.engine.monitors.status import ScaleStatus, findings, scales_between
from wavescope.errors import (
    AlarmNotOpen,
    Forbidden,
    InvalidRequest,
    MonitorConflict,
    MonitorStale,
    QueueFull,
    UnknownMonitor,
    WavescopeError,
)
from wavescope.imaging.decode import decode as decode_image
from wavescope.ingress.cloudevents import event_images, is_sampled, open_event
from wavescope.ingress.cloudevents.attributes import EventAttributes
from wavescope.ingress.plane import (
    CallContext,
    Diagnosis,
    MonitorReport,
    MonitorStatus,
    Observation,
)
from wavescope.serving.models.directory import ModelDirectory
from wavescope.serving.monitors.effects import Effects, diagnosis_of
from wavescope.serving.monitors.log import command_entry, observation_entry, read_state, read_status
from wavescope.serving.monitors.webhooks import check_receiver
from wavescope.serving.reporting import Reporter
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store.codec import decode, encode
from wavescope.store.errors import unknown_monitor
from wavescope.store.monitors import EventOutcome, MonitorRecord
from wavescope.store.protocols import Store
from wavescope.telemetry.metrics import MONITOR_EVENTS

WATCH_S = 0.5  # between looks at a monitor that is watched
FOLDED_S = 3.0  # that a command is waited for, so that its reply shows what it did
POLL_S = 0.1
RETRY_AFTER_S = 5
REPORT_ROWS = 5000  # measurements that a report of a time window reads, the latest

log = logging.getLogger(__name__)


class StoredMonitors:
    """Implements :class:`wavescope.ingress.plane.MonitorPlane`; every method's contract stands there.

    Settings, directory of the models, store and counters are those of the class that takes this part in.
    """

    _settings: Settings
    _directory: ModelDirectory
    _store: Store
    _reporter: Reporter

    # ---- monitors --------------------------------------------------------------------------------
    async def put_monitor(
        self, name: str, config: MonitorConfig, call: CallContext
    ) -> tuple[MonitorStatus, bool]:
        check_name(name)
        check_config(config)
        self._directory.spec(config.model)
        if config.webhook is not None:
            await asyncio.to_thread(check_receiver, config.webhook.url, config.webhook.secret, self._settings)
        token = secrets.token_urlsafe(32)
        record = MonitorRecord(
            name=name, owner=call.caller, created_at=0.0, token_digest=_digest(token), config=encode(config)
        )
        found, new = await in_store_thread(
            self._store.create_monitor, record, max_monitors=self._settings.max_monitors
        )
        if found.owner != call.caller:
            raise MonitorConflict(f"the name {name!r} is taken: choose another", field="name")
        if new:
            log.info("monitor made", extra={"monitor": name, "request_id": call.request_id})
            return read_status(found, token), True
        former = decode(found.config, MonitorConfig)
        if former.of_reference != config.of_reference:
            raise MonitorConflict(
                f"monitor {name!r} has its reference: model, request, values, reference and whether there are profiles "
                "stay as they are; delete it, or choose another name",
                field=_changed(former, config),
            )
        if former != config:
            await in_store_thread(self._store.configure_monitor, name, config=encode(config))
            await self._append(name, Command(do="configure", by=call.caller, config=config))
        return read_status(await in_store_thread(self._store.get_monitor, name)), False

    async def monitor(self, name: str, call: CallContext) -> MonitorStatus:
        return read_status(await self._record(name, call))

    async def monitors(self, call: CallContext) -> tuple[MonitorStatus, ...]:
        records = await in_store_thread(self._store.list_monitors)
        return tuple(read_status(record) for record in records if record.owner == call.caller)

    async def delete_monitor(self, name: str, call: CallContext) -> None:
        await self._record(name, call)
        await in_store_thread(self._store.delete_monitor, name)

    async def renew_token(self, name: str, call: CallContext) -> MonitorStatus:
        await self._record(name, call)
        token = secrets.token_urlsafe(32)
        record = await in_store_thread(self._store.configure_monitor, name, token_digest=_digest(token))
        return read_status(record, token)

    # ---- observations ----------------------------------------------------------------------------
    async def observe(
        self, name: str, observations: Sequence[Observation], call: CallContext
    ) -> tuple[str, ...]:
        record = await self._record(name, call)
        status = read_status(record)
        if status.state == "stale":
            raise MonitorStale(
                f"monitor {name!r} is stale: {status.summary.reason}", field="name", state="stale"
            )
        if status.state == "rejected":
            raise MonitorConflict(
                f"monitor {name!r} has no reference: {status.summary.reason} (:rebaseline)",
                field="name",
                state="rejected",
            )
        config = decode(record.config, MonitorConfig)
        outcomes = await self._accept(name, config, observations)
        if outcomes and all(outcome == "busy" for outcome in outcomes):
            raise QueueFull(
                f"{record.pending} observations of monitor {name!r} have not ended; none more are accepted now",
                monitor_max_pending=self._settings.monitor_max_pending,
                monitor_max_pending_bytes=self._settings.monitor_max_pending_bytes,
                retry_after_s=RETRY_AFTER_S,
            )
        return outcomes

    async def receive_event(
        self, name: str | None, token: str | None, headers: Mapping[str, str], body: bytes, call: CallContext
    ) -> dict[str, int]:
        if name is not None:
            record = await in_store_thread(self._store.get_monitor, name)
            self._check_sender(record, token, call)
            records = [record]
        else:
            records = [
                record
                for record in await in_store_thread(self._store.list_monitors)
                if record.owner == call.caller or not self._settings.events_need_key
            ]
        try:
            event = await asyncio.to_thread(
                open_event, headers, body, max_bytes=self._settings.max_body_bytes
            )
        except WavescopeError:
            if name is not None:
                await in_store_thread(self._store.count_events, name, {"invalid": 1})
            else:
                self._count_astray("invalid")
            raise
        configs = {record.name: decode(record.config, MonitorConfig) for record in records}
        if name is None:
            matches = {one: config.match for one, config in configs.items()}
            chosen = routes(matches, event.namespace, event.inferenceservice, event.component)
            if not chosen:
                self._count_astray("unmatched")
                return {"unmatched": 1}
        else:
            chosen = [name]
        total: Counter[str] = Counter()
        for one in chosen:
            total.update(await self._accept_event(one, configs[one], event))
        return dict(total)

    def _count_astray(self, outcome: str) -> None:
        """Count an event that is of no monitor: the store has no place for it."""
        self._reporter.counters.add(MONITOR_EVENTS, monitor="", outcome=outcome)

    def _check_sender(self, record: MonitorRecord, token: str | None, call: CallContext) -> None:
        """Refuses whoever has neither token nor key; without a token it does not say that there is such a monitor."""
        if token is None:
            if record.owner != call.caller and self._settings.events_need_key:
                raise unknown_monitor(record.name)
        elif not hmac.compare_digest(_digest(token), record.token_digest):
            raise Forbidden(
                "this is not the token of the monitor's address for events: take the one that its creation replied "
                "with, or make a new one (:renew-token)",
                field="token",
            )

    async def _accept_event(
        self, name: str, config: MonitorConfig, event: EventAttributes
    ) -> Mapping[str, int]:
        if event.kind != "request":
            return await self._count(name, "ignored")
        if not is_sampled(event.id, config.sample.rate):
            return await self._count(name, "sampled_out")
        preprocessing = (await self._directory.details(config.model)).preprocessing
        try:
            images = await asyncio.to_thread(
                event_images,
                event,
                values=config.values,
                preprocessing=preprocessing,
                max_images=self._settings.max_images,
            )
        except WavescopeError:
            await self._count(name, "invalid")
            raise
        observations = [
            Observation(
                image=one.image,
                key=one.key,
                label=event.id,
                fitted=one.fitted,
                traceparent=event.traceparent or "",
            )
            for one in images
        ]
        return Counter(await self._accept(name, config, observations))

    async def _accept(
        self, name: str, config: MonitorConfig, observations: Sequence[Observation]
    ) -> tuple[EventOutcome, ...]:
        entries = [observation_entry(one, one.key or uuid.uuid4().hex) for one in observations]
        found = await in_store_thread(
            self._store.append_entries,
            name,
            entries,
            max_pending=self._settings.monitor_max_pending,
            max_pending_bytes=self._settings.monitor_max_pending_bytes,
            thin_s=config.sample.thin_s,
        )
        return tuple(outcome for outcome, _ in found)

    async def _count(self, name: str, outcome: EventOutcome) -> dict[str, int]:
        await in_store_thread(self._store.count_events, name, {outcome: 1})
        return {outcome: 1}

    # ---- commands --------------------------------------------------------------------------------
    async def command_monitor(self, name: str, command: Command, call: CallContext) -> MonitorStatus:
        record = await self._record(name, call)
        key = uuid.uuid4().hex
        if command.do == "acknowledge":
            alarm = read_status(record).summary.alarm
            if alarm is None or alarm.number != command.alarm:
                raise AlarmNotOpen(
                    f"alarm {command.alarm} of monitor {name!r} is not open; "
                    + (f"alarm {alarm.number} is" if alarm is not None else "none is"),
                    field="alarm",
                    open=[] if alarm is None else [alarm.number],
                )
        if command.do in ("pause", "resume"):
            await in_store_thread(self._store.configure_monitor, name, paused=command.do == "pause")
        seq = await self._append(name, command, key)
        return await self._folded(name, seq)

    async def _append(self, name: str, command: Command, key: str = "") -> int:
        entry = command_entry(command, f"command:{key or uuid.uuid4().hex}")
        ((_, seq),) = await in_store_thread(self._store.append_entries, name, [entry])
        return seq

    async def _folded(self, name: str, seq: int) -> MonitorStatus:
        """The status once an entry is folded, or as it is after a while."""
        ends_s = time.monotonic() + FOLDED_S
        while True:
            record = await in_store_thread(self._store.get_monitor, name)
            if record.folded >= seq or time.monotonic() >= ends_s:
                return read_status(record)
            await asyncio.sleep(POLL_S)

    # ---- reports ---------------------------------------------------------------------------------
    async def monitor_report(
        self, name: str, call: CallContext, *, since: float | None = None, until: float | None = None
    ) -> MonitorReport:
        record = await self._record(name, call)
        _, checkpoint, _ = await in_store_thread(self._store.load_checkpoint, name)
        state = await asyncio.to_thread(read_state, record, checkpoint)
        window = None
        if since is not None or until is not None:
            window = await self._window(name, state, since or 0.0, until or 2**40)
        images = await self._images(name, state)
        return MonitorReport(
            status=read_status(record), findings=findings(state), window=window, images=images
        )

    async def _window(
        self, name: str, state: MonitorState, since: float, until: float
    ) -> tuple[ScaleStatus, ...]:
        if not since < until:
            raise InvalidRequest("since must be before until", field="since")
        entries = await in_store_thread(
            self._store.read_results, name, since=since, until=until, limit=REPORT_ROWS
        )

        def measured() -> tuple[ScaleStatus, ...]:
            rows = [(entry.seq, decode(entry.result, Observed)) for entry in entries if entry.result]
            reference = state.watch.reference if state.watch is not None else state.gathered
            held = {int(seq) for seq in reference.seqs}
            return scales_between(
                state.config,
                reference,
                _table(state.config, ((seq, row) for seq, row in rows if seq not in held)),
            )

        return await asyncio.to_thread(measured)

    async def _images(self, name: str, state: MonitorState) -> dict[int, Float[np.ndarray, "c h w"]]:
        """Crops of the most shifted images that are kept."""
        found: dict[int, Float[np.ndarray, "c h w"]] = {}
        if not state.config.keep_images or not state.shifted:
            return found
        preprocessing = (await self._directory.details(state.config.model)).preprocessing
        for one in state.shifted[: state.config.keep_images]:
            payload = await in_store_thread(self._store.get_payload, name, one.seq)
            if payload is None:
                continue
            try:
                picture = await asyncio.to_thread(
                    decode_image, payload, preprocessing, limits=self._settings.image_limits
                )
            except WavescopeError:
                continue
            found[one.seq] = picture.pixels
        return found

    async def diagnosis(self, name: str, alarm: int, call: CallContext) -> Diagnosis:
        record = await self._record(name, call)
        summary = read_status(record).summary
        if not 1 <= alarm <= summary.alarm_count:
            raise AlarmNotOpen(
                f"monitor {name!r} has had {summary.alarm_count} alarms; there is no alarm {alarm}",
                field="alarm",
                maximum=summary.alarm_count,
            )
        _, _, effects = await in_store_thread(self._store.load_checkpoint, name)
        saved = None if effects is None else decode(effects, Effects)
        return diagnosis_of(alarm, summary.config, saved)

    async def watch_monitor(self, name: str, call: CallContext) -> AsyncGenerator[MonitorStatus, None]:
        sent: tuple[object, ...] | None = None
        await self._record(name, call)
        while True:
            try:
                record = await self._record(name, call)
            except UnknownMonitor:
                return
            status = read_status(record)
            seen = (record.folded, record.last_seq, record.pending, status.state)
            if seen != sent:
                yield status
                sent = seen
            await asyncio.sleep(WATCH_S)

    async def _record(self, name: str, call: CallContext) -> MonitorRecord:
        record = await in_store_thread(self._store.get_monitor, name)
        if record.owner != call.caller:
            raise unknown_monitor(name)
        return record


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _changed(former: MonitorConfig, config: MonitorConfig) -> str:
    names = ("model", "request", "values", "reference", "sample.profile_rate")
    pairs = zip(names, former.of_reference, config.of_reference, strict=True)
    return next(name for name, one, other in pairs if one != other)


def _table(config: MonitorConfig, rows: Iterable[tuple[int, Observed]]) -> Table:
    table = Table.empty(config)
    for seq, row in rows:
        if row.shares is not None:
            table = table.add(seq, row)
    return table
