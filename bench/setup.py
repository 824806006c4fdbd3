"""What the sections of ``make bench`` share: how often, on how many threads, and one running service."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

import httpx
import numpy as np
from bench.processes import free_port
from PIL import Image
from skimage import data

from wavescope.models.onnx.backend import OnnxBackend
from wavescope.models.onnx.embedded import load_embedded
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope.serving.command import run
from wavescope.settings import Settings, load_settings

MODEL = "efficientnet-lite0"
SINGLES = "single-threaded"  # the same model on as many replicas of one thread each as ``MODEL`` has threads


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        http: a client of it.
        settings: it was started with.
        start_s: from nothing to ready.
    """

    http: httpx.Client
    settings: Settings
    start_s: float

    def explain(self, images: list[bytes], **fields: Any) -> dict[str, Any]:
        """The reply to one request: an explanation, or a batch of them."""
        encoded = [{"base64": base64.b64encode(image).decode()} for image in images]
        body = {"image": encoded[0]} if len(encoded) == 1 else {"images": encoded}
        return self.http.post("/v1/explanations", json=body | fields).raise_for_status().json()


@dataclass
class Setup:
    """How to measure.

    Attributes:
        rounds: alternations of every timing.
        threads: of the model, everywhere.
        quick: as little as proves that it works.
    """

    rounds: int
    threads: int
    quick: bool
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Setup:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @cached_property
    def model(self) -> OnnxBackend:
        """The default model in this process."""
        spec = ModelSpec(name=MODEL, source=f"embedded:{MODEL}", num_cpus=self.threads, threads=self.threads)
        return load_embedded(spec, LoadOptions(load_settings().cache_dir))

    @cached_property
    def service(self) -> Service:
        """One service for all sections, with :data:`MODEL` and :data:`SINGLES`, started for the first that asks."""
        source = f"embedded:{MODEL}"
        one = ModelSpec(
            name=MODEL, source=source, num_cpus=self.threads, threads=self.threads, max_replicas=1
        )
        singles = ModelSpec(
            name=SINGLES,
            source=source,
            num_cpus=1,
            threads=1,
            min_replicas=self.threads,
            max_replicas=self.threads,
        )
        return self._stack.enter_context(serving((one, singles), num_cpus=2 * self.threads))

    def stop(self) -> None:
        """Ends the service, for sections that start one of their own."""
        self._stack.close()
        self.__dict__.pop("service", None)


@contextmanager
def serving(registry: tuple[ModelSpec, ...], *, num_cpus: int, **settings: Any) -> Iterator[Service]:
    """A service on a cluster of its own, ended with the context."""
    chosen = load_settings(port=free_port(), grpc_port=0, **settings)
    began = time.perf_counter()
    with run.cluster(num_cpus=num_cpus):
        run.deploy(chosen, registry)
        start_s = time.perf_counter() - began
        with httpx.Client(
            base_url=f"http://127.0.0.1:{chosen.port}", timeout=chosen.request_timeout_s
        ) as http:
            yield Service(http, chosen, start_s)


def alternate(works: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every work in every round, side by side.

    Args:
        works: called with the number of the round.
        rounds: every other one backwards, so that no side always follows the same neighbour.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds):
        for name in list(works) if turn % 2 == 0 else list(works)[::-1]:
            times[name].append(timed(lambda name=name, turn=turn: works[name](turn)))
    return times


def timed(work: Callable[[], Any]) -> float:
    """Seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratio(times: dict[str, list[float]], over: str, under: str) -> float:
    """The median over rounds of one side's seconds over the other's."""
    return median(a / b for a, b in zip(times[over], times[under], strict=True))


def spread(values: list[float], digits: int = 1) -> str:
    """``median (min–max)``."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def photograph(name: str = "chelsea", *, side: int | None = None) -> bytes:
    """A photograph of scikit-image: PNG, or with ``side`` a square JPEG of that many pixels."""
    pixels: np.ndarray = getattr(data, name)()
    buffer = io.BytesIO()
    if side is None:
        Image.fromarray(pixels).save(buffer, "PNG")
    else:
        Image.fromarray(pixels).resize((side, side)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
