"""Counting in one process, and adding up what several processes counted.

Every process keeps cumulative values of its own; whoever holds the latest snapshot of each can add them up at any time,
so that one scrape of any gateway answers for the whole application. Counters and histograms of a process that is gone
stay in the sum (a counter must not fall); its gauges do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric as Family

from wavescope.telemetry.metrics import (
    FORWARDS,
    METRICS,
    RENDER_SECONDS,
    REQUEST_DURATION,
    REQUESTS,
    SCORE_SECONDS,
    Metric,
)

Key = tuple[str, tuple[tuple[str, str], ...]]
Snapshot = dict[Key, float]


class Counters:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics = {metric.name: self._declare(metric) for metric in METRICS}

    def _declare(self, metric: Metric) -> Any:
        if metric.kind == "counter":
            return Counter(metric.name, metric.help, metric.labels, registry=self._registry)
        if metric.kind == "gauge":
            return Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
        return Histogram(
            metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry
        )

    def add(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Adds to a counter, or to a gauge."""
        self._of(metric, labels).inc(amount)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Records one value of a histogram, in the metric's unit."""
        self._of(metric, labels).observe(value)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Sets a gauge."""
        self._of(metric, labels).set(value)

    def _of(self, metric: Metric, labels: Mapping[str, str]) -> Any:
        found = self._metrics[metric.name]
        return found.labels(**labels) if metric.labels else found

    def rendered(self, model: str, images: int, seconds: float) -> None:
        """Part of the engine's ``Recorder``."""
        self.add(RENDER_SECONDS, seconds, model=model)

    def scored(self, model: str, images: int, seconds: float) -> None:
        """Part of the engine's ``Recorder``."""
        self.add(FORWARDS, images, model=model)
        self.add(SCORE_SECONDS, seconds, model=model)

    def request(self, *, kind: str, model: str, protocol: str, code: str, duration_s: float) -> None:
        """Records one answered request for an explanation (the ingress' ``RequestRecorder``)."""
        self.add(REQUESTS, kind=kind, model=model, protocol=protocol, code=code)
        self.observe(REQUEST_DURATION, duration_s, kind=kind, model=model, protocol=protocol)

    def snapshot(self) -> Snapshot:
        """Every sample so far, by name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self._registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        }


def is_gauge(key: Key) -> bool:
    """Whether a sample belongs to a gauge, which only live processes contribute to."""
    return any(metric.kind == "gauge" and metric.name == key[0] for metric in METRICS)


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Sum by name and labels."""
    summed: Snapshot = {}
    for snapshot in snapshots:
        for key, value in snapshot.items():
            summed[key] = summed.get(key, 0.0) + value
    return summed


class _Summed:
    """A collector of prefabricated families."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families


def exposition(snapshot: Snapshot) -> str:
    """The snapshot in Prometheus' text format, with help and type of every metric."""
    families: list[Family] = []
    for metric in METRICS:
        # A counter's family is named without the suffix that its samples carry.
        family = Family(metric.name.removesuffix("_total"), metric.help, metric.kind)
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        names = {metric.name + suffix for suffix in suffixes}
        for (name, labels), value in sorted(snapshot.items(), key=_bucket_order):
            if name in names:
                family.add_sample(name, dict(labels), value)
        families.append(family)
    return generate_latest(_Summed(families)).decode()  # type: ignore[arg-type]  # any collector will do


def _bucket_order(item: tuple[Key, float]) -> tuple[Any, ...]:
    """By name and labels, buckets by their bound as a number."""
    (name, labels), _ = item
    bound = float(dict(labels).get("le", "0").replace("+Inf", "inf"))
    return name, tuple(pair for pair in labels if pair[0] != "le"), bound
