"""Models that come, change, sleep and go while the service runs, and while another one answers as before."""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
import yaml
from ray import serve
from skimage import data
from tests.cluster.service import DEADLINE_S, POLL_S, SMALL, Service, body, eventually, png
from tests.fakes.onnx_models import OnnxToy

import wavescope
from wavescope.engine.types import Preprocessing
from wavescope.serving.command import run
from wavescope.serving.models.directory import STATUS_S
from wavescope.serving.models.rollout import Rollout
from wavescope.settings import Settings, load_registry

NAME = "toy"
IMAGE = png(data.chelsea())
FIELDS: dict[str, Any] = {**SMALL, "plan": "full", "seed": 5}
PREPROCESSING = Preprocessing(size=(32, 32), resize=32, mean=(0.5,) * 3, std=(0.25,) * 3)


class Registry:
    """The file of the running service, and what ``wavescope serve`` does about it, at once."""

    def __init__(self, file: Path, rollout: Rollout, folder: Path) -> None:
        self._file = file
        self._rollout = rollout
        self._folder = folder
        self._first = yaml.safe_load(file.read_text())["models"]

    def write(self, toy: dict[str, Any] | None) -> None:
        """Registers the first model, and the toy, or not."""
        self._file.write_text(yaml.safe_dump({"models": [*self._first, *([toy] if toy else [])]}))
        self._rollout.look()

    def look(self) -> None:
        """Looks at the registry and at the files that it names."""
        self._rollout.look()

    def broken(self) -> None:
        self._file.write_text("models: nonsense")
        self._rollout.look()

    def toy(self, *, seed: int = 0, **fields: Any) -> dict[str, Any]:
        """The toy with other weights for every seed."""
        file = OnnxToy(f"toy-{seed}", PREPROCESSING, seed).write(self._folder).reference
        preprocessing = {"size": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
        return {
            "name": NAME,
            "source": f"onnx:{file}",
            "outputs": "logits",
            "device": "cpu",
            "num_cpus": 1,
            "preprocessing": preprocessing,
            **fields,
        }

    def file(self, toy: dict[str, Any]) -> Path:
        return self._folder / toy["source"].removeprefix("onnx:")

    def expected(self, toy: dict[str, Any]) -> list[float]:
        """The toy's total indices by the library, in this process."""
        file = self._folder / "expected.yaml"
        file.write_text(yaml.safe_dump({"models": [toy]}))
        explanation = wavescope.explain(data.chelsea(), model=NAME, models_file=file, **FIELDS)
        return explanation.indices.total.tolist()


@pytest.fixture(scope="module")
def registry(
    service: Service, service_settings: Settings, models_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    quick = service_settings.model_copy(update={"downscale_delay_s": 0.5, "drain_s": 5.0})
    rollout = run.rollout(quick, load_registry(models_file), models_file)
    made = Registry(models_file, rollout, tmp_path_factory.mktemp("toys"))
    yield made
    made.write(None)


@pytest.fixture(scope="module", autouse=True)
def first_model_answers_as_before(service: Service, registry: Registry) -> Iterator[None]:
    """Asks the first model all the while, and compares."""
    ended = threading.Event()
    request = body(IMAGE, **FIELDS)

    def ask() -> list[Any]:
        replies: list[Any] = []
        while not ended.is_set():
            replies.append(service.http.post("/v1/explanations", json=request).json().get("indices"))
        return replies

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        yield
        ended.set()
        replies = asking.result(timeout=DEADLINE_S)
    assert len(replies) > 3
    assert replies[0] is not None
    assert all(reply == replies[0] for reply in replies)


def told(service: Service) -> dict[str, Any]:
    """What is told of the toy, over a connection of its own, and so by either gateway."""
    return httpx.get(f"{service.url}/v1/models/{NAME}", timeout=60).json()


def until(service: Service, state: str, *, everywhere: bool = False, **fields: Any) -> dict[str, Any]:
    """What is told of the toy as soon as it is so; ``everywhere``: by every gateway, whose news may be old."""
    found: list[dict[str, Any]] = []
    polls = math.ceil(2 * STATUS_S / POLL_S) if everywhere else 1

    def reached() -> bool:
        found.append(told(service))
        last = found[-polls:]
        return len(last) == polls and all(
            one.get("state") == state and fields.items() <= one.items() for one in last
        )

    eventually(reached, f"{state} {fields}")
    return found[-1]


def explain(service: Service, **fields: Any) -> httpx.Response:
    request = body(IMAGE, model=NAME, **{**FIELDS, **fields})
    headers = {"Cache-Control": "no-cache"}
    return httpx.post(f"{service.url}/v1/explanations", json=request, headers=headers, timeout=DEADLINE_S)


def total(reply: httpx.Response) -> list[float]:
    assert reply.status_code == 200, reply.text
    return reply.json()["indices"]["total"]


def replica_names() -> set[str]:
    actors = ray.util.list_named_actors(all_namespaces=True)
    return {actor["name"] for actor in actors if f"model-{NAME}#" in actor["name"]}


def gone(registry: Registry) -> None:
    """Removes the toy, so that what comes next is no update."""
    registry.write(None)
    eventually(lambda: f"model-{NAME}" not in serve.status().applications, "the application gone")


def test_a_model_is_added_updated_and_removed(service: Service, registry: Registry) -> None:
    assert explain(service).status_code == 404
    toy = registry.toy()
    registry.write(toy)
    before = until(service, "ready")
    assert before["replicas"] == {"running": 1, "min": 1, "max": 1}
    assert (before["device"], before["precision"], before["source"]) == ("cpu", "float32", "onnx")
    assert before["seconds_per_image"] > 0
    assert (before["gradients"], before["no_gradients"]) == (True, None)
    assert total(explain(service)) == registry.expected(toy)

    names = replica_names()
    registry.write(toy | {"max_replicas": 2, "max_ongoing_chunks": 5})
    until(service, "ready", replicas={"running": 1, "min": 1, "max": 2})
    assert total(explain(service)) == registry.expected(toy)
    assert replica_names() == names

    registry.broken()
    assert told(service)["state"] == "ready"

    other = registry.toy(seed=1)
    numbers = [registry.expected(toy), registry.expected(other)]
    with ThreadPoolExecutor(1) as pool:
        ended = threading.Event()

        def ask() -> list[httpx.Response]:
            replies = [explain(service)]
            while not ended.is_set():
                replies.append(explain(service))
            return replies

        asking = pool.submit(ask)
        registry.write(other)
        eventually(lambda: told(service).get("revision") not in (None, before["revision"]), "the update")
        until(service, "ready")
        ended.set()
        replies = [total(reply) for reply in asking.result(timeout=DEADLINE_S)]
    assert all(reply in numbers for reply in replies)
    assert total(explain(service)) == numbers[1]

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(explain, service, grid_size=16, nb_design=256)
        eventually(
            lambda: service.metric(f'wavescope_forwards_total{{model="{NAME}"}}') > 4000, "it is scored"
        )
        registry.write(None)
        reply = pending.result(timeout=DEADLINE_S)
    assert reply.status_code in (404, 503)
    assert reply.json()["code"] in ("unknown_model", "model_unavailable")
    eventually(lambda: explain(service).status_code == 404, "new requests refused")
    eventually(lambda: f"model-{NAME}" not in serve.status().applications, "the application gone")


def test_a_model_whose_file_is_replaced_is_updated(service: Service, registry: Registry) -> None:
    gone(registry)
    toy, other = registry.toy(seed=5), registry.toy(seed=6)
    file, fresh = registry.file(toy), registry.file(other)
    expected = [registry.expected(toy), registry.expected(other)]
    whole = fresh.read_bytes()
    registry.write(toy)
    before = until(service, "ready", everywhere=True)
    assert total(explain(service)) == expected[0]
    names = replica_names()
    for _ in range(5):
        file.touch()
        registry.look()
    assert replica_names() == names

    def asked_anew() -> bool:
        registry.look()
        return told(service).get("revision") not in (None, before["revision"])

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(explain, service, grid_size=16, nb_design=256)
        fresh.replace(file)
        eventually(asked_anew, "the update")
        assert pending.result(timeout=DEADLINE_S).status_code == 200
    until(service, "ready", everywhere=True)
    cached = httpx.post(
        f"{service.url}/v1/explanations", json=body(IMAGE, model=NAME, **FIELDS), timeout=DEADLINE_S
    )
    assert total(cached) == total(explain(service)) == expected[1]

    # The registry vouches for a file that is then replaced: the model goes on, and says so.
    registry.write(toy | {"sha256": hashlib.sha256(whole).hexdigest()})
    until(service, "ready", everywhere=True)
    file.write_bytes(b"another")

    def says(what: str) -> Callable[[], bool]:
        def said() -> bool:
            registry.look()
            return what in told(service).get("message", "")

        return said

    eventually(says("the registry expects sha256"), "the digest is told")
    assert told(service)["state"] == "ready"
    assert total(explain(service)) == expected[1]
    file.unlink()
    eventually(says("is not there"), "the lack is told")
    file.write_bytes(whole)
    eventually(lambda: says("")() and "message" not in told(service), "it is taken back")


def test_a_model_sleeps_until_the_first_request(service: Service, registry: Registry) -> None:
    toy = registry.toy(min_replicas=0, max_replicas=1)
    registry.write(toy)
    assert until(service, "scaled_to_zero", everywhere=True)["replicas"] == {"running": 0, "min": 0, "max": 1}
    assert httpx.get(f"{service.url}/readyz").status_code == 200
    assert total(explain(service)) == registry.expected(toy)
    until(service, "scaled_to_zero")


def test_a_model_that_cannot_be_loaded_says_why_and_disturbs_nobody(
    service: Service, registry: Registry
) -> None:
    registry.write(registry.toy(sha256="0" * 64))
    failed = until(service, "failed", everywhere=True)
    assert not failed["ready"]
    assert "sha256" in failed["message"]
    assert "Traceback" not in failed["message"]
    assert "/" not in failed["message"]
    reply = explain(service)
    assert (reply.status_code, reply.json()["code"]) == (503, "model_unavailable")
    registry.write(registry.toy(seed=2))
    until(service, "ready")


@pytest.mark.parametrize(
    ("lacking", "why"),
    [
        ({"num_cpus": 5}, "needs 5 CPUs on one node; the largest node has 4"),
        (
            {"num_cpus": 4, "min_replicas": 0},
            r"needs 4 CPUs on one node; at most \d CPUs? of one (are|is) free",
        ),
    ],
    ids=["too large", "asleep, and others hold its room"],
)
def test_a_model_without_a_place_is_refused_at_once_and_comes_up_when_there_is_one(
    service: Service, registry: Registry, lacking: dict[str, Any], why: str
) -> None:
    gone(registry)
    registry.write(registry.toy(seed=3, **lacking))
    assert re.search(why, until(service, "unplaceable", everywhere=True)["message"])
    for path in ("explanations", "explanations:estimate", "predictions", "jobs"):
        fields = {} if path == "predictions" else FIELDS
        unknown, reply = (
            httpx.post(f"{service.url}/v1/{path}", json=body(IMAGE, model=name, **fields), timeout=60)
            for name in ("nobody", NAME)
        )
        assert unknown.status_code == 404, path
        assert (reply.status_code, reply.json()["code"]) == (503, "model_unavailable"), path
        assert re.search(why, reply.json()["message"])
        # Under a second; where other processes take the cores, the other refusal is slow as well.
        assert reply.elapsed < timedelta(seconds=5) + 10 * unknown.elapsed, path
    assert httpx.get(f"{service.url}/readyz", timeout=60).status_code == 200  # the other model answers
    registry.write(registry.toy(seed=3))
    until(service, "ready")


def test_a_model_that_fails_again_and_again_is_tried_after_pauses_and_recovers(
    service: Service, registry: Registry
) -> None:
    gone(registry)
    toy = registry.toy(seed=4)
    registry.write(toy)
    until(service, "ready")
    whole = registry.file(toy).read_bytes()
    registry.file(toy).write_bytes(b"broken")
    for name in replica_names():
        ray.kill(ray.get_actor(name, namespace="serve"))
    eventually(lambda: "tried again in" in told(service).get("message", ""), "the pause is told")
    failed = told(service)
    assert (failed["state"], failed["ready"]) == ("failed", False)
    reply = explain(service)
    assert (reply.status_code, reply.json()["code"]) == (503, "model_unavailable")
    names = replica_names()
    eventually(lambda: "3 times in a row" in told(service).get("message", ""), "it was tried once more")
    assert replica_names() == names  # by the same process
    registry.file(toy).write_bytes(whole)
    until(service, "ready", everywhere=True)
    assert total(explain(service)) == registry.expected(toy)
