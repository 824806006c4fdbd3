"""JSON of monitors: status, alarms, reports, diagnoses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wavescope.core.monitoring.observing import Reading
from wavescope.engine.monitors.state import AlarmRecord
from wavescope.engine.monitors.status import ScaleStatus
from wavescope.ingress.job_replies import job_path, rfc3339
from wavescope.ingress.plane import Diagnosis, MonitorReport, MonitorStatus
from wavescope.ingress.schemas.monitor import config_json


def monitor_reply(status: MonitorStatus, root: str = "") -> dict[str, Any]:
    """A monitor as a JSON-ready dictionary.

    Args:
        status: of the monitor.
        root: of the service's paths, where it is not served at the root.
    """
    summary, address = status.summary, f"{root}{monitor_path(status.name)}"
    reply = {
        "name": status.name,
        "state": status.state,
        "since": rfc3339(summary.since),
        "reason": summary.reason or None,
        "created_at": rfc3339(status.created_at),
        "model_revision": summary.reference.revision or None,
        "observations": sum(summary.outcomes.values()),
        "pending": status.pending,
        "rate_per_hour": summary.rate_per_hour,
        "last_observation_at": rfc3339(status.last_observation_at),
        "guarantee": {
            "mean_observations": summary.guarantee.mean_observations,
            "mean_days_at_this_rate": summary.guarantee.mean_days_at_this_rate,
            "assumes": summary.guarantee.assumes,
        },
        "signals": [signal_reply(reading) for reading in summary.signals],
        "cause": summary.cause,
        "verdict": summary.verdict,
        "scales": [scale_reply(scale) for scale in summary.scales],
        "reference": {
            "n": summary.reference.n,
            "size": summary.reference.size,
            "source": summary.reference.source,
            "lag1_autocorrelation": summary.reference.lag1_autocorrelation,
            "self_test_log10": _finite(summary.reference.self_test_log10),
        },
        "outcomes": summary.outcomes,
        "events": status.events,
        "forwards": summary.forwards,
        "alarm": None if summary.alarm is None else alarm_reply(summary.alarm, address),
        "alarms": summary.alarm_count,
        "config": config_json(summary.config),
        "links": {
            "self": address,
            "observations": f"{address}/observations",
            "events": f"{address}/events" + (f"/{status.token}" if status.token else ""),
            "report": f"{address}/report",
            "alarms": f"{address}/alarms",
        },
    }
    return reply | ({"token": status.token} if status.token else {})


def monitor_path(name: str) -> str:
    """The path of a monitor."""
    return f"/v1/monitors/{name}"


def signal_reply(reading: Reading) -> dict[str, Any]:
    """A signal's reading; no evidence at all is ``null``."""
    changed = reading.changed_at
    return {
        "name": reading.name,
        "observed": reading.observed,
        "failed": reading.failed,
        "log10_evidence": _finite(reading.log10_evidence),
        "log10_threshold": reading.log10_threshold,
        "false_alarm_bound": reading.false_alarm_bound,
        "direction": reading.direction,
        "changed_at": None
        if changed is None
        else {"seq": changed.seq, "interval": list(changed.interval), "earlier": changed.earlier},
    }


def scale_reply(scale: ScaleStatus) -> dict[str, Any]:
    """Importance of one scale, then and now."""
    return {
        "scale": scale.scale,
        "level": scale.level,
        "reference": scale.reference,
        "reference_sd": scale.reference_sd,
        "now": scale.now,
        "interval_95": None if scale.interval_95 is None else list(scale.interval_95),
        "profiles": scale.profiles,
    }


def alarm_reply(alarm: AlarmRecord, address: str) -> dict[str, Any]:
    """An alarm.

    Args:
        alarm: the alarm.
        address: of its monitor.
    """
    return {
        "id": alarm.number,
        "seq": alarm.seq,
        "at": rfc3339(alarm.at),
        "signals": [signal_reply(reading) for reading in alarm.readings],
        "acknowledged_at": rfc3339(alarm.acknowledged_at),
        "verdict": alarm.judgement,
        "by": alarm.by or None,
        "links": {"diagnosis": f"{address}/alarms/{alarm.number}/diagnosis"},
    }


def alarms_reply(status: MonitorStatus, root: str = "") -> dict[str, Any]:
    """The latest alarms of a monitor, in order; arguments as of :func:`monitor_reply`."""
    address = f"{root}{monitor_path(status.name)}"
    summary = status.summary
    return {
        "name": status.name,
        "count": summary.alarm_count,
        "alarms": [alarm_reply(alarm, address) for alarm in summary.alarms],
    }


def report_reply(report: MonitorReport, root: str = "") -> dict[str, Any]:
    """The report of a monitor: its status, evidence over time, and the most shifted observations."""
    found = report.findings
    evidence = {
        "signals": list(found.names),
        "log10_threshold": list(found.thresholds),
        "seq": [int(seq) for seq in found.trace.seqs],
        "at": [rfc3339(float(at)) for at in found.trace.at],
        "log10": [[_finite(float(value)) for value in row] for row in np.atleast_2d(found.trace.log10)]
        if len(found.trace.seqs)
        else [],
    }
    return monitor_reply(report.status, root) | {
        "alarms": alarms_reply(report.status, root)["alarms"],
        "window": None if report.window is None else [scale_reply(scale) for scale in report.window],
        "evidence": evidence,
        "shifted": [
            {
                "seq": one.seq,
                "p": one.p,
                "signal": one.signal,
                "nearest_reference": one.nearest,
                "label": one.label or None,
                "image_kept": one.seq in report.images,
            }
            for one in found.shifted
        ],
    }


def diagnosis_reply(diagnosis: Diagnosis, root: str = "") -> dict[str, Any]:
    """The jobs that look into an alarm."""
    return {
        "alarm": diagnosis.alarm,
        "reason": diagnosis.reason or None,
        "jobs": [
            {
                **job,
                "links": {
                    "self": f"{root}{job_path(job['id'])}",
                    "result": f"{root}{job_path(job['id'])}/result",
                },
            }
            for job in diagnosis.jobs
        ],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
