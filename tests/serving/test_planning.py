"""Planning waits for its turn, is charged, and ends when nobody waits for it: aggregator, desk and generator."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.fakes.classifiers import details
from tests.fakes.handles import FakeHandle
from tests.imaging import expensive
from tests.polling import DEADLINE_S, until

from wavescope.admission.quotas import Budgets
from wavescope.engine.types import ExplanationRequest, Preprocessing
from wavescope.errors import ImageTooLarge, InvalidRequest, QueueFull, QuotaExceeded, UnknownModel
from wavescope.imaging import subprocess_decoder
from wavescope.imaging.decode_cost import SUBPROCESS_S, DecodeCost
from wavescope.ingress.plane import CallContext, ExplainRequest, PredictRequest
from wavescope.models.spec import DEFAULT_MODEL
from wavescope.serving import generator as generating
from wavescope.serving.admission import planning as planning_module
from wavescope.serving.admission.desk import AdmissionClient, AdmissionDesk
from wavescope.serving.admission.planning import (
    Planning,
    as_forwards,
    decode_seconds,
    groups,
    planning_seconds,
)
from wavescope.serving.aggregator import EstimatorAggregator
from wavescope.serving.generator import PerturbationGenerator
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings

SIDE = 64
PREPROCESSING = Preprocessing(size=(SIDE, SIDE), resize=SIDE)
REQUEST = ExplanationRequest(kind="wcam", plan="full", grid_size=4, nb_design=4, levels=2)
SMALL = expensive.png(100, 100)
LARGE = expensive.jpeg2000(3000, 3000)  # a second of a processor
KEYS = f"""
keys:
  - {{name: poor, sha256: "{"0" * 64}", max_forwards_per_minute: 3}}
"""
WAITS = "import sys, time; sys.stdin.buffer.readline(); time.sleep(600)"


@pytest.fixture(autouse=True)
def nobody_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no hub to push counts to."""
    monkeypatch.setattr(Reporter, "start_once", lambda self: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    keys = tmp_path / "keys.yaml"
    keys.write_text(KEYS)
    return Settings(state_dir=tmp_path, api_keys_file=keys, max_planning=1, max_waiting=2, max_running=1)


class Known:
    """A directory of one model that is there."""

    async def details(self, model: str) -> Any:
        return details((3, SIDE, SIDE), classes=10)

    async def describe(self, model: str) -> Any:
        return {"replicas": {"running": 1}}, None

    def handle(self, model: str) -> None:
        return None

    def spec(self, model: str) -> Any:
        return DEFAULT_MODEL

    guarded = 0
    removed = False

    @asynccontextmanager
    async def guard(self, model: str) -> AsyncIterator[None]:
        self.guarded += 1
        if self.removed:
            raise UnknownModel("no such model", field="model")
        try:
            yield
        finally:
            self.guarded -= 1


class Aggregator(EstimatorAggregator):
    """One that no Ray Serve tells that it is to leave."""

    def __del__(self) -> None:  # type: ignore[override]
        return None


class World:
    """An aggregator with its desk and its generator."""

    def __init__(self, settings: Settings) -> None:
        self.desk = AdmissionDesk(settings)
        self.generator = FakeHandle(PerturbationGenerator(settings))
        registry = RegistryFile(None, (DEFAULT_MODEL,))
        handle: Any = FakeHandle(self.desk)
        self.aggregator = Aggregator(settings, registry, self.generator, handle)  # type: ignore[arg-type]
        self.aggregator._directory = Known()  # type: ignore[assignment]
        self.aggregator._start_once = lambda: None  # type: ignore[method-assign]

    def planning(self) -> tuple[int, int]:
        """Of planning: how many run, and how many wait."""
        lane = self.desk._lanes["planning"]
        return lane.running, lane.waiting


def request(*images: bytes) -> ExplainRequest:
    targets = ((None,),) * len(images)
    return ExplainRequest("m", images, targets, REQUEST, False, tuple("abc"[: len(images)]), fresh=True)


def call(name: str = "") -> CallContext:
    return CallContext("", caller=name)


async def ask(world: World, way: str, *images: bytes, caller: str = "") -> Any:
    """The aggregator's answer to that call."""
    if way == "predict":
        return await world.aggregator.predict(PredictRequest("m", images, 1), call(caller))
    return await getattr(world.aggregator, way)(request(*images), call(caller))


def timed(coroutine: Coroutine[Any, Any, None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await coroutine

    asyncio.run(run())


def test_an_estimate_is_charged_and_refused_where_the_budget_is_used_up(settings: Settings) -> None:
    async def run() -> None:
        world = World(settings)
        for _ in range(3):  # of a small image: one forward each
            await world.aggregator.estimate(request(SMALL), call("poor"))
        asked = len(world.generator.methods)
        with pytest.raises(QuotaExceeded, match="quota of 3 a minute"):
            await world.aggregator.estimate(request(SMALL), call("poor"))
        assert len(world.generator.methods) == asked
        await world.aggregator.estimate(request(SMALL), call("rich"))

    timed(run())


@pytest.mark.parametrize("way", ["explain", "estimate", "predict"])
def test_no_header_is_read_for_a_caller_whose_budget_is_used_up(
    settings: Settings, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(planning_module, "estimate_decode_cost", lambda image, **_: read.append(image))

    async def run() -> None:
        world = World(settings)
        world.desk._lanes["planning"]._budgets.charge("poor", 3)
        with pytest.raises(QuotaExceeded, match="quota of 3 a minute"):
            await ask(world, way, SMALL, caller="poor")
        assert read == []

    timed(run())


def test_reading_headers_is_charged_whatever_they_say(settings: Settings) -> None:
    async def run() -> None:
        world = World(settings)
        for _ in range(3):
            with pytest.raises(ImageTooLarge):
                await world.aggregator.estimate(request(expensive.jpeg2000(8000, 7999)), call("poor"))
        with pytest.raises(QuotaExceeded):
            await world.aggregator.estimate(request(expensive.jpeg2000(8000, 7999)), call("poor"))

    timed(run())


@pytest.mark.parametrize(("seconds", "charged"), [((0.05,), 1), ((0.05, 0.9), 10)])
def test_all_turns_together_are_charged_once(
    settings: Settings, seconds: tuple[float, ...], charged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_module, "decode_seconds", lambda *_: seconds)
    budgets: list[int] = []

    async def run() -> None:
        desk = AdmissionDesk(settings)
        monkeypatch.setattr(Budgets, "charge", lambda _, caller, forwards: budgets.append(forwards))
        door = AdmissionClient(FakeHandle(desk))  # type: ignore[arg-type]
        planning = Planning(door, "poor", "interactive", (), forwards=1, patient=False)
        await planning.read(
            (b"",) * len(seconds), ("image",) * len(seconds), settings, lambda s: as_forwards(sum(s))
        )
        for image_s in seconds:
            async with planning.turn(image_s):
                pass
        assert sum(budgets) == charged == planning.forwards

    timed(run())


def test_who_leaves_while_headers_are_read_has_a_place_until_that_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    read: list[bytes] = []

    def slow(image: bytes, **_: Any) -> Any:
        read.append(image)
        begun.set()
        go_on.wait(DEADLINE_S)
        return DecodeCost(0.0, 1, in_subprocess=False)

    monkeypatch.setattr(planning_module, "estimate_decode_cost", slow)

    async def run() -> None:
        world = World(settings)
        leaving = asyncio.create_task(world.aggregator.estimate(request(SMALL, SMALL), call()))
        await until(begun.is_set)
        leaving.cancel()
        other = asyncio.create_task(world.aggregator.estimate(request(SMALL), call()))
        await until(lambda: world.planning() == (1, 1))
        assert len(read) == 1
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await other
        assert len(read) == 2  # the second image of who left was not

    timed(run())


def test_no_more_threads_are_at_work_than_places_however_often_callers_leave(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    begun = 0

    def slow(*_: Any, **__: Any) -> Any:
        nonlocal begun
        begun += 1
        go_on.wait(DEADLINE_S)
        raise ImageTooLarge("told to nobody", field="image")

    monkeypatch.setattr(generating, "decode_or_estimate", slow)

    async def run() -> None:
        generator = PerturbationGenerator(settings)

        def come() -> asyncio.Task[Any]:
            return asyncio.create_task(generator.plan(SMALL, REQUEST, 1, PREPROCESSING, "logits"))

        first = come()
        await until(lambda: begun == 1)
        first.cancel()
        for _ in range(5):
            again = come()
            await asyncio.sleep(0)
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)
        last = come()
        await until(generator._places.locked)
        assert begun == settings.max_planning == 1
        go_on.set()
        with pytest.raises(ImageTooLarge):
            await last
        assert begun == 2
        assert not generator._places.locked()

    timed(run())


def test_the_start_of_a_process_is_a_part_of_what_decoding_costs(settings: Settings) -> None:
    tiny = expensive.encoded(Image.new("RGB", (64, 64)), "JPEG2000")
    assert decode_seconds((tiny, SMALL), ("a", "b"), settings)[0] > SUBPROCESS_S
    assert decode_seconds((tiny, SMALL), ("a", "b"), settings)[1] < SUBPROCESS_S / 10


def test_a_jobs_own_planning_is_not_charged_again(settings: Settings) -> None:
    async def run() -> None:
        world = World(settings)
        for _ in range(4):
            planning = await world.aggregator._read_headers(
                request(SMALL),
                await Known().details(""),
                CallContext("", "poor", "batch", job_id="job"),
                charged=False,
            )
            await world.aggregator._plan(request(SMALL), await Known().details(""), None, planning)

    timed(run())


@pytest.mark.parametrize("way", ["explain", "estimate", "predict"])
def test_what_costs_too_much_is_refused_before_anything_is_decoded(settings: Settings, way: str) -> None:
    async def run() -> None:
        world, images = World(settings), (SMALL, expensive.jpeg2000(8000, 7999))
        with pytest.raises(ImageTooLarge, match=r"images\[1\]: decoding the image, JPEG2000 of 8000x7999"):
            await ask(world, way, *images)
        assert world.generator.methods == []

    timed(run())


@pytest.mark.parametrize(
    ("target", "against", "said"),
    [
        (1, "class 2", ""),
        ("class 1", "name:Class 1", "against and target are the same class, 1 ('class 1')"),
        (None, "index:10", "against 10 is outside 0..9"),
        (None, "lynx", "the model has no class 'lynx'"),
    ],
)
def test_the_class_to_contrast_with_is_found_when_a_request_is_planned(
    settings: Settings, target: Any, against: str, said: str
) -> None:
    async def run() -> None:
        asked = replace(request(SMALL), request=replace(REQUEST, against=against), targets=((target,),))
        world = World(settings)
        if not said:
            await world.aggregator.estimate(asked, call())
            return
        with pytest.raises(InvalidRequest) as caught:
            await world.aggregator.estimate(asked, call())
        assert (caught.value.field, said in caught.value.message) == ("against", True)

    timed(run())


def test_planning_waits_for_its_turn_and_so_many_may_wait(settings: Settings) -> None:
    async def run() -> None:
        world, order = World(settings), list[str]()
        door, first = AdmissionClient(FakeHandle(world.desk)), asyncio.Event()  # type: ignore[arg-type]

        async def plan(name: str, hold: asyncio.Event | None = None) -> None:
            planning = Planning(door, name[:1], "interactive", (0.1,), forwards=0, patient=False)
            async with planning.turn(0.1):
                order.append(name)
                if hold is not None:
                    await hold.wait()

        inside = asyncio.create_task(plan("a1", first))
        await until(lambda: world.planning() == (1, 0))
        waiting = [asyncio.create_task(plan("a2"))]
        await until(lambda: world.planning() == (1, 1))
        waiting.append(asyncio.create_task(plan("a3")))
        await until(lambda: world.planning() == (1, 2))
        waiting.append(asyncio.create_task(plan("b1")))
        await until(lambda: world.planning() == (1, 3))
        with pytest.raises(QueueFull, match="3 requests wait already; at most 3 may"):
            await plan("c1")
        assert await door.wait_s("interactive") > 0.3  # it is part of the wait that callers are told
        first.set()
        await asyncio.gather(inside, *waiting)
        assert order == ["a1", "a2", "a3", "b1"]
        assert world.planning() == (0, 0)

    timed(run())


def test_images_of_a_batch_take_turns_and_are_not_refused_halfway(settings: Settings) -> None:
    async def run() -> None:
        world = World(settings)
        world.generator.held = asyncio.Event()
        batch = asyncio.create_task(world.aggregator.estimate(request(SMALL, SMALL, SMALL), call("poor")))
        await until(lambda: world.planning() == (1, 0))
        others = []
        for place in range(3):  # as many as may wait
            others.append(asyncio.create_task(world.aggregator.estimate(request(SMALL), call("rich"))))
            await until(lambda place=place: world.planning() == (1, place + 1))
        world.generator.held.set()
        forwards = (await batch).forwards
        assert forwards
        await asyncio.gather(*others)

    timed(run())


@pytest.mark.parametrize("way", ["explain", "estimate", "predict"])
def test_who_leaves_frees_the_turn_and_stops_the_generator(settings: Settings, way: str) -> None:
    async def run() -> None:
        world = World(settings)
        world.generator.held = asyncio.Event()
        leaving = asyncio.create_task(ask(world, way, SMALL))
        await until(lambda: world.generator.running == 1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await until(lambda: (world.generator.running, world.planning()) == (0, (0, 0)))

    timed(run())


@pytest.mark.parametrize("way", ["explain", "estimate", "predict"])
def test_who_waits_to_be_planned_is_told_when_the_model_is_removed(settings: Settings, way: str) -> None:
    async def run() -> None:
        world, known = World(settings), Known()
        world.aggregator._directory = known  # type: ignore[assignment]
        world.generator.held = asyncio.Event()
        first = asyncio.create_task(ask(world, "estimate", SMALL))
        await until(lambda: world.generator.running == 1)
        waiting = asyncio.create_task(ask(world, way, SMALL))
        await until(lambda: world.planning() == (1, 1))
        assert known.guarded == 2
        known.removed = True
        with pytest.raises(UnknownModel):
            await ask(world, way, SMALL)
        for leaving in (first, waiting):
            leaving.cancel()
        await asyncio.gather(first, waiting, return_exceptions=True)

    timed(run())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes")
@pytest.mark.parametrize("method", ["plan", "stack", "corrupt"])
def test_a_call_that_is_cancelled_ends_the_process_that_decodes(
    settings: Settings, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[subprocess_decoder.SubprocessDecoder] = []
    begin = subprocess_decoder.SubprocessDecoder.run
    monkeypatch.setattr(
        subprocess_decoder.SubprocessDecoder, "run", lambda self: made.append(self) or begin(self)
    )
    arguments: dict[str, tuple[Any, ...]] = {
        "plan": (LARGE, REQUEST, 1, PREPROCESSING, "logits"),
        "stack": ((LARGE,), ("image",), PREPROCESSING),
        "corrupt": (LARGE, REQUEST, PREPROCESSING),
    }

    async def run() -> None:
        generator = PerturbationGenerator(settings, decoder_command=(sys.executable, "-c", WAITS))
        working = asyncio.create_task(getattr(generator, method)(*arguments[method]))
        await until(lambda: bool(made) and made[0].pid is not None)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        await until(lambda: not Path(f"/proc/{made[0].pid}").exists())

    timed(run())


def test_corruptions_that_nobody_waits_for_end_between_two_images(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    begun, go_on = asyncio.Event(), threading.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def endless(pixels: Any, seed: int, *, reference: bool) -> Any:
            nonlocal made
            while True:
                made += 1
                loop.call_soon_threadsafe(begun.set)
                go_on.wait(DEADLINE_S)
                yield "fog", 1, (pixels * 255).astype("uint8")

        monkeypatch.setattr(generating, "iterate_corruptions", endless)
        generator = PerturbationGenerator(settings)
        working = asyncio.create_task(generator.corrupt(SMALL, REQUEST, PREPROCESSING))
        await begun.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        go_on.set()
        await asyncio.get_running_loop().shutdown_default_executor()  # waits for the thread
        assert made == 1

    timed(run())


def test_what_takes_long_is_decoded_image_by_image() -> None:
    assert groups([0.1, 0.1, 0.1]) == [range(3)]
    assert groups([0.1, 0.6, 0.1, 0.3, 0.2]) == [range(1), range(1, 2), range(2, 4), range(4, 5)]


def test_the_charge_is_a_forward_for_every_started_tenth_of_a_second() -> None:
    assert [as_forwards(seconds) for seconds in (0.01, 0.1, 0.11, 2.0)] == [1, 1, 2, 20]


def test_zoom_decodes_twice_and_robustness_corrupts_besides() -> None:
    def seconds(kind: str) -> float:
        return planning_seconds(ExplanationRequest(kind=kind), (1.0, 1.0), Preprocessing())

    assert seconds("zoom") == pytest.approx(2 * seconds("wcam"))
    assert seconds("robustness") > 2 * seconds("wcam")
