"""Effects of alarms outside of their monitor: a signed webhook, and jobs that look into them."""

from __future__ import annotations

import dataclasses
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from wavescope.engine.monitors.config import MonitorConfig
from wavescope.engine.monitors.state import AlarmRecord, MonitorState, Shifted
from wavescope.engine.monitors.status import SENTENCES, cause_of, summarise
from wavescope.engine.requests import make_request
from wavescope.errors import WavescopeError
from wavescope.ingress.monitor_replies import alarm_reply, monitor_path
from wavescope.ingress.plane import Diagnosis, ExplainRequest
from wavescope.models.remote.hosts import allowed_hosts
from wavescope.serving.monitors.webhooks import Delivery, Message, after, check_receiver, send
from wavescope.serving.threads import in_store_thread
from wavescope.settings import Settings
from wavescope.store.codec import decode, encode
from wavescope.store.monitors import MonitorRecord
from wavescope.store.protocols import NewJob, Store

DIAGNOSED = 3  # images of an alarm
NOT_KEPT = "no images are kept: set keep_images before the next alarm"
NONE_LEFT = "the images of the alarm are not kept any more"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisJob:
    """Job that looks into an alarm.

    Attributes:
        id: of the job.
        kind: ``compare`` with the nearest image of the reference that is kept, or ``sufficient-image``, whose depth
            says how much of the image the prediction needs.
        observation: number of the image.
        reference: number of the image that it is compared with; ``None`` for the other kind.
    """

    id: str
    kind: str
    observation: int
    reference: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Effects of a monitor's alarms so far, as they are saved.

    Attributes:
        diagnoses: jobs by the alarm's number.
        deliveries: of webhooks, by the alarm's number.
    """

    diagnoses: dict[str, tuple[DiagnosisJob, ...]] = field(
        default_factory=dict[str, tuple[DiagnosisJob, ...]]
    )
    deliveries: dict[str, Delivery] = field(default_factory=dict[str, Delivery])


class AlarmEffects:
    """Carries out what alarms lead to; see :class:`wavescope.serving.monitors.worker.Effects`.

    Args:
        store: of monitors and jobs.
        settings: limits of jobs, and the hosts of webhooks.
        delivery: called with the outcome of every attempt to deliver a webhook.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        delivery: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._delivery = delivery
        self._settings = settings
        self._clock = clock

    async def carry_out(self, record: MonitorRecord, worker: str, state: MonitorState) -> None:
        """Sends what is due of the alarms' webhooks, and submits the diagnosis of one that was just raised."""
        due = state.open_alarm is not None or (state.config.webhook is not None and state.alarms)
        if not due:
            return
        saved = await self._saved(record.name)
        done = await self._diagnosed(record, state, saved)
        done = await self._delivered(record, state, done)
        if done != saved:
            await self._save(record.name, worker, done)

    async def _diagnosed(self, record: MonitorRecord, state: MonitorState, saved: Effects) -> Effects:
        alarm = state.open_alarm
        if alarm is None or str(alarm.number) in saved.diagnoses:
            return saved
        jobs = await self._submit(record, state, alarm)
        return replace(saved, diagnoses=saved.diagnoses | {str(alarm.number): jobs})

    async def _delivered(self, record: MonitorRecord, state: MonitorState, saved: Effects) -> Effects:
        """The deliveries of all alarms that are kept, each tried once if it is due."""
        hook = state.config.webhook
        if hook is None or any(one.outcome == "disabled" for one in saved.deliveries.values()):
            return saved
        deliveries = {
            str(one.number): saved.deliveries.get(str(one.number), Delivery()) for one in state.alarms
        }
        for alarm in state.alarms:
            delivery, now = deliveries[str(alarm.number)], self._clock()
            if delivery.outcome != "pending" or delivery.next_at > now:
                continue
            status: int | None = None
            try:
                receiver = check_receiver(hook.url, hook.secret, self._settings)
                hosts = allowed_hosts(self._settings.webhook_hosts, "webhook_hosts")
                message = self._message(record, state, alarm)
                status = await send(
                    receiver, message, now=now, hosts=hosts, timeout_s=self._settings.webhook_timeout_s
                )
            except WavescopeError as refused:  # a host that is not listed any more, a secret that is gone
                log.warning("a webhook is not sent: %s", refused.message, extra={"monitor": record.name})
            made = after(delivery, now, status)
            deliveries[str(alarm.number)] = made
            outcome = made.outcome if made.outcome != "pending" else "retried"
            self._delivery(outcome)
            log.info("webhook", extra={"monitor": record.name, "alarm": alarm.number, "outcome": outcome})
        return replace(saved, deliveries=deliveries)

    @staticmethod
    def _message(record: MonitorRecord, state: MonitorState, alarm: AlarmRecord) -> Message:
        path = monitor_path(record.name)
        summary = summarise(state)
        return Message(
            id=uuid.uuid5(uuid.NAMESPACE_URL, f"{record.name} {record.created_at} {alarm.number}").hex,
            type="io.wavescope.monitor.alarm",
            source=path,
            subject=record.name,
            time=alarm.at,
            data={
                "monitor": record.name,
                "model": state.config.model,
                "alarm": alarm_reply(alarm, path),
                "cause": cause_of(alarm.readings),
                "verdict": SENTENCES[cause_of(alarm.readings)],
                "guarantee": {
                    "mean_observations": summary.guarantee.mean_observations,
                    "assumes": summary.guarantee.assumes,
                },
                "links": {"report": f"{path}/report", "acknowledge": f"{path}:acknowledge"},
            },
        )

    async def _saved(self, name: str) -> Effects:
        _, _, effects = await in_store_thread(self._store.load_checkpoint, name)
        return Effects() if effects is None else decode(effects, Effects)

    async def _save(self, name: str, worker: str, effects: Effects) -> None:
        await in_store_thread(self._store.save_effects, name, worker, encode(effects))

    async def _submit(
        self, record: MonitorRecord, state: MonitorState, alarm: AlarmRecord
    ) -> tuple[DiagnosisJob, ...]:
        found: list[DiagnosisJob] = []
        if not state.config.keep_images or state.watch is None:
            return ()
        for one in state.shifted[: min(DIAGNOSED, state.config.keep_images)]:
            image = await in_store_thread(self._store.get_payload, record.name, one.seq)
            if image is None:
                continue
            nearest = await self._nearest(record.name, state, one)
            try:
                if nearest is not None:
                    seq, other = nearest
                    found.append(
                        await self._job(record, state.config, alarm, "compare", one.seq, image, seq, other)
                    )
                found.append(await self._job(record, state.config, alarm, "sufficient-image", one.seq, image))
            except WavescopeError as refused:  # a full queue: an alarm matters more than its diagnosis
                log.warning("a diagnosis is left out: %s", refused.message, extra={"monitor": record.name})
        return tuple(found)

    async def _nearest(self, name: str, state: MonitorState, one: Shifted) -> tuple[int, bytes] | None:
        """The nearest image of the reference, or the first one that is kept where that is not."""
        assert state.watch is not None
        candidates = [one.nearest] if one.nearest is not None else []
        for seq in [*candidates, *map(int, state.watch.reference.seqs[: 10 * state.config.keep_images])]:
            image = await in_store_thread(self._store.get_payload, name, seq)
            if image is not None:
                return seq, image
        return None

    async def _job(
        self,
        record: MonitorRecord,
        config: MonitorConfig,
        alarm: AlarmRecord,
        kind: str,
        seq: int,
        image: bytes,
        reference: int | None = None,
        other: bytes | None = None,
    ) -> DiagnosisJob:
        # The same id whoever submits it: a second worker submits no second job.
        identity = uuid.uuid5(
            uuid.NAMESPACE_URL, f"{record.name} {record.created_at} {alarm.number} {seq} {kind}"
        ).hex
        request = make_request(kind=kind, seed=config.request.seed, wavelet=config.request.wavelet)
        explain = ExplainRequest(
            model=config.model,
            images=(image,) if other is None else (image, other),
            targets=((None,),),
            request=request,
            batch=False,
            identities=(identity,),
        )
        job = NewJob(
            id=identity,
            owner=record.owner,
            payload=encode(explain),
            content=identity,
            labels={
                "kind": kind,
                "model": config.model,
                "images": 1,
                "request_id": "",
                "monitor": record.name,
            },
        )
        await in_store_thread(
            self._store.submit,
            job,
            max_unfinished=self._settings.max_jobs,
            max_bytes=self._settings.max_job_bytes,
        )
        return DiagnosisJob(id=identity, kind=kind, observation=seq, reference=reference)


def diagnosis_of(alarm: int, config: MonitorConfig, saved: Effects | None) -> Diagnosis:
    """The diagnosis of an alarm, as far as it was begun.

    Args:
        alarm: number of the alarm.
        config: of its monitor.
        saved: effects of the monitor; ``None`` before there are any.
    """
    jobs = saved.diagnoses.get(str(alarm)) if saved is not None else None
    if jobs:
        return Diagnosis(alarm=alarm, jobs=tuple(_json(job) for job in jobs))
    return Diagnosis(
        alarm=alarm, jobs=(), reason=NOT_KEPT if not config.keep_images else NONE_LEFT if jobs == () else ""
    )


def _json(job: DiagnosisJob) -> dict[str, Any]:
    return dataclasses.asdict(job)
