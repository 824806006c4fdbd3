"""Models are kept between explanations: at most so many, never one that has changed, closed when given up."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.onnx_models import OnnxToy

from wavescope.engine.types import Preprocessing
from wavescope.errors import WeightsUnavailable
from wavescope.models.load import load
from wavescope.models.model_cache import KeptModels
from wavescope.models.remote.options import Header, RemoteOptions
from wavescope.models.spec import ModelSpec

DEADLINE_S = 60.0
TOY = OnnxToy("toy", Preprocessing(size=(16, 16)))


class Fake:
    """A model that can be closed, and knows what it was loaded for."""

    def __init__(self, spec: ModelSpec, asked: dict[str, Any]) -> None:
        self.spec = spec
        self.asked = asked
        self.closed = 0
        self.stale = False

    def close(self) -> None:
        self.closed += 1


class Loading:
    """Loads fakes, and counts them."""

    def __init__(self) -> None:
        self.loaded: list[Fake] = []
        self.before: Callable[[], None] = lambda: None

    def __call__(self, spec: ModelSpec, **asked: Any) -> Fake:
        self.before()
        self.loaded.append(Fake(spec, asked))
        return self.loaded[-1]


@pytest.fixture
def loading() -> Loading:
    return Loading()


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return in_file(tmp_path / "a.onnx")


def in_file(path: Path, **fields: Any) -> ModelSpec:
    path.write_bytes(b"a model")
    preprocessing = Preprocessing(size=(8, 8), mean=(0.5,), std=(0.5,))
    return ModelSpec(name="a", source=f"onnx:{path}", preprocessing=preprocessing, outputs="logits", **fields)


def lent(kept: KeptModels, spec: ModelSpec, **given: Any) -> Any:
    options = {"cache_dir": Path("cache"), "threads": 2, "remote_hosts": ()} | given
    with kept.lent(spec, **options) as model:
        return model


def test_the_same_model_is_loaded_once(loading: Loading, spec: ModelSpec) -> None:
    kept = KeptModels(1, loading=loading)
    assert lent(kept, spec) is lent(kept, replace(spec))
    assert [model.closed for model in loading.loaded] == [0]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"another"),
        lambda path: path.write_bytes(b"a model"),  # the same bytes, written anew
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: shutil.move(shutil.copy2(path, path.with_suffix(".new")), path),
    ],
    ids=["other bytes", "written", "touched", "replaced"],
)
def test_a_model_whose_file_has_changed_is_loaded_anew(
    loading: Loading, spec: ModelSpec, change: Callable[[Path], object]
) -> None:
    kept = KeptModels(4, loading=loading)
    first = lent(kept, spec)
    change(Path(spec.reference))
    second = lent(kept, spec)
    assert second is not first
    assert first.closed == 1
    assert lent(kept, spec) is second


def test_a_file_beside_the_model_counts_as_the_model(loading: Loading, tmp_path: Path) -> None:
    beside = tmp_path / "weights.bin"
    beside.write_bytes(b"one")
    spec = in_file(tmp_path / "a.onnx")
    # As protocol buffers write TensorProto.external_data.
    Path(spec.reference).write_bytes(b"\x0a\x08location\x12\x0bweights.bin")
    kept = KeptModels(1, loading=loading)
    first = lent(kept, spec)
    beside.write_bytes(b"other")
    assert lent(kept, spec) is not first


def test_a_file_that_changes_while_it_is_loaded_is_loaded_again(loading: Loading, spec: ModelSpec) -> None:
    kept = KeptModels(1, loading=loading)
    loading.before = lambda: Path(spec.reference).write_bytes(b"written meanwhile") and None
    first = lent(kept, spec)
    loading.before = lambda: None
    assert lent(kept, spec) is not first


def test_a_file_that_loading_makes_is_no_change(loading: Loading, spec: ModelSpec) -> None:
    Path(spec.reference).unlink()
    loading.before = lambda: Path(spec.reference).write_bytes(b"exported") and None
    kept = KeptModels(1, loading=loading)
    assert lent(kept, spec) is lent(kept, spec)


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"threads": 3}, {}),
        ({"labels": ("cat", "dog")}, {}),
        ({"batch_size": 2}, {}),
        ({}, {"threads": 1}),
        ({}, {"remote_hosts": ("example.org",)}),
        ({}, {"cache_dir": Path("elsewhere")}),
    ],
)
def test_whatever_loading_depends_on_makes_it_another_model(
    loading: Loading, spec: ModelSpec, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    kept = KeptModels(2, loading=loading)
    first = lent(kept, spec)
    assert lent(kept, replace(spec, **fields), **options) is not first
    assert lent(kept, spec) is first


def test_a_variable_that_a_header_is_read_from_makes_it_another_model(
    loading: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec(
        name="far",
        source="kserve-v1:http://example.org/v1/models/far:predict",
        preprocessing=Preprocessing(size=(8, 8), mean=(0.5,), std=(0.5,)),
        outputs="logits",
        remote=RemoteOptions(headers=(Header("authorization", env="FAR_TOKEN"),)),
    )
    kept = KeptModels(1, loading=loading)
    monkeypatch.setenv("FAR_TOKEN", "one")
    first = lent(kept, spec)
    assert lent(kept, spec) is first
    monkeypatch.setenv("FAR_TOKEN", "other")
    assert lent(kept, spec) is not first
    assert first.closed == 1


def test_a_model_whose_server_has_another_one_is_loaded_anew(loading: Loading, spec: ModelSpec) -> None:
    kept = KeptModels(1, loading=loading)
    first = lent(kept, spec)
    first.stale = True
    assert lent(kept, spec) is not first
    assert first.closed == 1


def test_at_most_as_many_as_were_said_are_kept_and_the_longest_unused_goes_first(
    loading: Loading, tmp_path: Path
) -> None:
    kept = KeptModels(2, loading=loading)
    one, two, three = (in_file(tmp_path / f"{name}.onnx") for name in "abc")
    first, second = lent(kept, one), lent(kept, two)
    assert lent(kept, one) is first
    lent(kept, three)
    assert [first.closed, second.closed] == [0, 1]
    kept.keep(0)
    assert [model.closed for model in loading.loaded] == [1, 1, 1]
    assert lent(kept, one) is not lent(kept, one)
    assert all(model.closed == 1 for model in loading.loaded)


def test_a_model_in_use_is_closed_by_the_last_who_returns_it(loading: Loading, spec: ModelSpec) -> None:
    kept = KeptModels(1, loading=loading)
    options: dict[str, Any] = {"cache_dir": Path("cache"), "threads": 2, "remote_hosts": ()}
    with kept.lent(spec, **options) as model:
        with kept.lent(spec, **options) as same:
            assert same is model
            kept.keep(0)
        assert loading.loaded[0].closed == 0
    assert loading.loaded[0].closed == 1


def test_threads_that_ask_at_once_share_one_loading(loading: Loading, spec: ModelSpec) -> None:
    kept = KeptModels(1, loading=loading)
    asking = threading.Barrier(4)
    begun = threading.Event()
    loading.before = lambda: begun.wait(DEADLINE_S) and None

    def ask() -> Any:
        asking.wait(DEADLINE_S)
        return lent(kept, spec)

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(ask) for _ in range(4)]
        begun.set()
        models = {id(future.result(DEADLINE_S)) for future in found}
    assert len(models) == len(loading.loaded) == 1


def test_what_could_not_be_loaded_is_tried_again(loading: Loading, spec: ModelSpec) -> None:
    def fail() -> None:
        raise WeightsUnavailable("no file yet")

    kept = KeptModels(1, loading=loading)
    loading.before = fail
    with pytest.raises(WeightsUnavailable, match="no file yet"):
        lent(kept, spec)
    loading.before = lambda: None
    assert lent(kept, spec) is lent(kept, spec)


def test_a_forked_child_loads_a_model_of_its_own(tmp_path: Path) -> None:
    # The threads of the parent's session are not there in the child: its own must be another.
    spec = TOY.write(tmp_path)
    kept = KeptModels(1, loading=load)

    def forward() -> None:
        with kept.lent(spec, cache_dir=tmp_path, threads=2, remote_hosts=()) as model:
            images = np.zeros((2, *model.details.preprocessing.shape), np.float32)
            assert model.forward(images).shape[0] == 2

    forward()
    child = multiprocessing.get_context("fork").Process(target=forward)
    child.start()
    child.join(DEADLINE_S)
    assert child.exitcode == 0
