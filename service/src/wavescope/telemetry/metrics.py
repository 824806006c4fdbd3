"""Metrics of Wavescope: name, meaning, labels and buckets of each, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


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

METRICS: tuple[Metric, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""Every metric declared above, in order."""
