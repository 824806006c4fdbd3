"""Metric values of one process, and the sum over several processes.

Every process keeps cumulative values of its own. The latest snapshots of all processes can be summed at any time, so
that one scrape of any gateway covers the whole application. Counters and histograms of a process that has ended stay in
the sum, as a counter must not fall; its gauges do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric as Family

from wavescope.telemetry.metrics import (
    FORWARDS,
    GRADIENT_SECONDS,
    GRADIENTS,
    KSERVE_EXPLAIN,
    METRICS,
    RENDER_SECONDS,
    REQUEST_DURATION,
    REQUESTS,
    SCORE_SECONDS,
    Metric,
)

Key = tuple[str, tuple[tuple[str, str], ...]]
Snapshot = dict[Key, float]
_GAUGES = frozenset(metric.name for metric in METRICS if metric.kind == "gauge")


class Counters:
    """Metric values of one process, in a registry of their own; those read from the store are not among them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counted = (metric for metric in METRICS if metric.origin != "store")
        self._metrics = {metric.name: self._declare(metric) for metric in counted}

    def _declare(self, metric: Metric) -> Any:
        if metric.kind == "counter":
            return Counter(metric.name, metric.help, metric.labels, registry=self._registry)
        if metric.kind == "gauge":
            return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
        return Histogram(
            metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry
        )

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter or a gauge."""
        self._child(metric, labels).inc(amount)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Observe one value of a histogram, in the unit of the metric."""
        self._child(metric, labels).observe(value)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(metric, labels).set(value)

    def _child(self, metric: Metric, labels: Mapping[str, str]) -> Any:
        family = self._metrics[metric.name]
        return family.labels(**labels) if metric.labels else family

    def rendered(self, model: str, image_count: int, seconds: float) -> None:
        """Count the time of rendering (:class:`wavescope.engine.protocols.Recorder`)."""
        self.add(RENDER_SECONDS, seconds, model=model)

    def scored(self, model: str, image_count: int, seconds: float) -> None:
        """Count scored images and their time (:class:`wavescope.engine.protocols.Recorder`)."""
        self.add(FORWARDS, image_count, model=model)
        self.add(SCORE_SECONDS, seconds, model=model)

    def differentiated(self, model: str, image_count: int, seconds: float) -> None:
        """Count images and time of gradients (:class:`wavescope.engine.protocols.Recorder`)."""
        self.add(GRADIENTS, image_count, model=model)
        self.add(GRADIENT_SECONDS, seconds, model=model)

    def request(self, *, kind: str, model: str, protocol: str, code: str, duration_s: float) -> None:
        """Count one answered request (:class:`wavescope.ingress.plane.RequestRecorder`)."""
        self.add(REQUESTS, kind=kind, model=model, protocol=protocol, code=code)
        self.observe(REQUEST_DURATION, duration_s, kind=kind, model=model, protocol=protocol)

    def kserve_explain(self, *, model: str, duration_s: float) -> None:
        """Count one call of KServe's explain endpoint (:class:`wavescope.ingress.plane.RequestRecorder`)."""
        self.observe(KSERVE_EXPLAIN, duration_s, model_name=model)

    def snapshot(self) -> Snapshot:
        """Take a snapshot: every sample by name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self._registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        }


def is_gauge(key: Key) -> bool:
    """Check whether a sample is of a gauge, to which only live processes contribute."""
    return key[0] in _GAUGES


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Sum snapshots by name and labels.

    Example:
        >>> total([{("wavescope_jobs_total", ()): 2.0}, {("wavescope_jobs_total", ()): 3.0}])
        {('wavescope_jobs_total', ()): 5.0}
    """
    summed: Snapshot = {}
    for snapshot in snapshots:
        for key, value in snapshot.items():
            summed[key] = summed.get(key, 0.0) + value
    return summed


class _FamilyCollector:
    """Collector of metric families that are made already."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families


def exposition(snapshot: Snapshot) -> str:
    """Render a snapshot in the text format of Prometheus, with help and type of every metric."""
    families: dict[str, Family] = {}
    by_sample: dict[str, Family] = {}
    for metric in METRICS:
        # A counter's family is named without the suffix that its samples carry.
        family = Family(metric.name.removesuffix("_total"), metric.help, metric.kind)
        families[metric.name] = family
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        by_sample |= {metric.name + suffix: family for suffix in suffixes}
    for (name, labels), value in sorted(snapshot.items(), key=_bucket_order):
        if name in by_sample:
            by_sample[name].add_sample(name, dict(labels), value)
    return generate_latest(_FamilyCollector(list(families.values()))).decode()  # type: ignore[arg-type]  # any collector will do


def _bucket_order(item: tuple[Key, float]) -> tuple[Any, ...]:
    """Sort key: by name and labels, buckets by their bound as a number."""
    (name, labels), _ = item
    bound = float(dict(labels).get("le", "0").replace("+Inf", "inf"))
    return name, tuple(pair for pair in labels if pair[0] != "le"), bound
