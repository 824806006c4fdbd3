"""Metrics of Wavescope: name, meaning, labels and buckets of each, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wavescope.engine.monitors.state import SHARE_BUCKETS


@dataclass(frozen=True, slots=True)
class Metric:
    """Declaration of one metric.

    Attributes:
        name: full name as scraped, with unit and ``_total`` suffix where they apply.
        kind: type of the metric, which says how processes are summed: counters and histograms of all, gauges of the
            live ones.
        help: description in one sentence, as scraped.
        labels: label names, in order.
        buckets: upper bounds in the metric's unit, for histograms.
        origin: where values come from: ``process`` where every process counts its own; ``store`` where they are read
            from the store at a scrape, by the hub alone; ``both`` where the two have samples of different labels.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    origin: Literal["process", "store", "both"] = "process"


REQUESTS = Metric(
    "wavescope_requests_total", "counter", "Requests answered.", ("kind", "model", "protocol", "code")
)
REQUEST_DURATION = Metric(
    "wavescope_request_duration_seconds",
    "histogram",
    "Time from the request's arrival to its reply.",
    ("kind", "model", "protocol"),
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 600.0),
)
IN_PROGRESS = Metric("wavescope_explanations_in_progress", "gauge", "Explanations being computed now.")
FORWARDS = Metric(
    "wavescope_forwards_total",
    "counter",
    "Images scored by model replicas, those whose outputs must be known before their gradients among them.",
    ("model",),
)
GRADIENTS = Metric(
    "wavescope_gradients_total",
    "counter",
    "Images whose gradients model replicas computed; these are not among the forwards.",
    ("model",),
)
GRADIENT_SECONDS = Metric(
    "wavescope_gradient_seconds_total",
    "counter",
    "Time model replicas spent computing gradients, without forwards before them.",
    ("model",),
)
SCORE_SECONDS = Metric(
    "wavescope_score_seconds_total", "counter", "Time model replicas spent in forward passes.", ("model",)
)
RENDER_SECONDS = Metric(
    "wavescope_render_seconds_total",
    "counter",
    "Time model replicas spent rendering perturbed images.",
    ("model",),
)
CHUNKS = Metric(
    "wavescope_chunks_total",
    "counter",
    "Chunks asked for, by how they ended: scored, retried after their replica died, recalled from an earlier run.",
    ("model", "outcome"),
)
REPLICAS = Metric("wavescope_replicas", "gauge", "Replicas alive.", ("deployment", "model"))
QUEUED_IMAGES = Metric(
    "wavescope_queued_images", "gauge", "Images that wait at model replicas or are being scored.", ("model",)
)
ADMISSION_RUNNING = Metric("wavescope_admission_running", "gauge", "Requests admitted and not ended.")
ADMISSION_WAITING = Metric("wavescope_admission_waiting", "gauge", "Requests that wait to be admitted.")
PLANNING_RUNNING = Metric("wavescope_planning_running", "gauge", "Requests whose images are being planned.")
PLANNING_WAITING = Metric("wavescope_planning_waiting", "gauge", "Requests that wait to be planned.")
ADMISSION_REFUSED = Metric(
    "wavescope_admission_refused_total", "counter", "Requests that were not admitted.", ("reason",)
)
JOBS = Metric("wavescope_jobs_total", "counter", "Jobs ended, by their last state.", ("state",))
JOBS_UNFINISHED = Metric("wavescope_jobs_unfinished", "gauge", "Jobs accepted and not ended.")
RESULTS = Metric(
    "wavescope_results_total",
    "counter",
    "Results looked for among the earlier ones: hit or miss.",
    ("outcome",),
)

# ---- monitors, read from the store -----------------------------------------------------------------------------------
STORE_UP = Metric(
    "wavescope_store_up",
    "gauge",
    "Whether the store answered at this scrape, 0 or 1; while it does not, metrics of monitors are left out.",
    origin="store",
)
MONITOR_STATE = Metric(
    "wavescope_monitor_state",
    "gauge",
    "State of the monitor: 1 for the one it is in, 0 for the others.",
    ("monitor", "state"),
    origin="store",
)
MONITOR_EVIDENCE = Metric(
    "wavescope_monitor_evidence",
    "gauge",
    "Evidence that the signal changed, log10; no sample while there is none.",
    ("monitor", "signal"),
    origin="store",
)
MONITOR_EVIDENCE_THRESHOLD = Metric(
    "wavescope_monitor_evidence_threshold",
    "gauge",
    "Evidence at which an alarm is raised, log10.",
    ("monitor", "signal"),
    origin="store",
)
MONITOR_ALARMS = Metric(
    "wavescope_monitor_alarms_total",
    "counter",
    "Alarms, by the signals that reached their threshold.",
    ("monitor", "signal"),
    origin="store",
)
MONITOR_EVENTS = Metric(
    "wavescope_monitor_events_total",
    "counter",
    "Images that arrived, by what became of them; without a monitor those of POST /v1/events that were of none.",
    ("monitor", "outcome"),
    origin="both",
)
MONITOR_OBSERVATIONS = Metric(
    "wavescope_monitor_observations_total",
    "counter",
    "Observations that were folded, by how their measurement ended.",
    ("monitor", "outcome"),
    origin="store",
)
MONITOR_SHARE = Metric(
    "wavescope_monitor_share_ratio",
    "histogram",
    "Share of the importance at a scale, of the profiles of the stream.",
    ("monitor", "scale"),
    SHARE_BUCKETS,
    origin="store",
)
MONITOR_REFERENCE_SHARE = Metric(
    "wavescope_monitor_reference_share_ratio",
    "gauge",
    "Mean share of the importance at a scale in the reference.",
    ("monitor", "scale"),
    origin="store",
)
MONITOR_CONFIDENCE = Metric(
    "wavescope_monitor_confidence_ratio",
    "histogram",
    "Probability of the predicted class, of the images of the stream.",
    ("monitor",),
    SHARE_BUCKETS,
    origin="store",
)
MONITOR_LAST_OBSERVATION = Metric(
    "wavescope_monitor_last_observation_timestamp_seconds",
    "gauge",
    "Time at which the last observation was accepted; no sample before the first.",
    ("monitor",),
    origin="store",
)
MONITOR_PENDING = Metric(
    "wavescope_monitor_pending_observations",
    "gauge",
    "Observations accepted and not measured yet.",
    ("monitor",),
    origin="store",
)
MONITOR_FORWARDS = Metric(
    "wavescope_monitor_forwards_total",
    "counter",
    "Images scored for the observations that were folded.",
    ("monitor",),
    origin="store",
)

# ---- monitors, counted by the processes ------------------------------------------------------------------------------
MONITOR_DELAY = Metric(
    "wavescope_monitor_delay_seconds",
    "histogram",
    "Time from an observation's acceptance until it was folded.",
    ("monitor",),
    (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
WEBHOOK_DELIVERIES = Metric(
    "wavescope_webhook_deliveries_total",
    "counter",
    "Attempts to deliver a webhook: delivered, retried later, failed for good, or disabled by its receiver.",
    ("outcome",),
)

# ---- explanations ----------------------------------------------------------------------------------------------------
_RATIOS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
STAGE_DURATION = Metric(
    "wavescope_stage_duration_seconds",
    "histogram",
    "Time of computed explanations by stage: plan, score, and total.",
    ("model", "stage"),
    (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0),
)
FIRST_MAP = Metric(
    "wavescope_time_to_first_map_seconds",
    "histogram",
    "Time from a stream's request to its first indices, or to its explanations where they came first.",
    ("model",),
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0),
)
FORWARDS_SAVED = Metric(
    "wavescope_forwards_saved_total",
    "counter",
    "Images that needed no scoring: of a cached result, or of a full plan with 8 rows in place of the adaptive one.",
    ("model", "reason"),
)
FINDING_SHARE = Metric(
    "wavescope_finding_share_ratio",
    "histogram",
    "Share of the importance at a scale, of explanations with default parameters of kinds wcam and profile.",
    ("model", "kind", "scale"),
    _RATIOS,
)
FINDING_SPLIT_HALF = Metric(
    "wavescope_finding_split_half",
    "histogram",
    "Split-half correlation of the indices, of explanations with default parameters.",
    ("model", "kind"),
    (-0.5, 0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
FINDING_DEPTH = Metric(
    "wavescope_finding_depth_ratio",
    "histogram",
    "Reconstruction depth over the number of factors, of kind sufficient-image with default parameters.",
    ("model",),
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
FINDING_SCALE_SHIFT = Metric(
    "wavescope_finding_scale_shift_ratio",
    "histogram",
    "Share of the importance that moved to other scales, of kind compare with default parameters.",
    ("model",),
    _RATIOS,
)

# KServe's own metric, by its name, help and buckets (kserve/metrics.py): dashboards of explainers ask for it.
KSERVE_EXPLAIN = Metric(
    "request_explain_seconds",
    "histogram",
    "explain request latency",
    ("model_name",),
    (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)

METRICS: tuple[Metric, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""Every metric declared above, in order."""
