"""Linear algebra has one thread while an explanation is computed, and as many as before once none is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.onnx_models import OnnxToy
from threadpoolctl import OpenBLASController, ThreadpoolController

import wavescope
from wavescope.core.adaptive.gaussian_process import GaussianProcess, Measurements
from wavescope.engine.threads import Bound, one_thread
from wavescope.engine.types import Preprocessing

DEADLINE_S = 60.0
MANY = 2


def threads() -> set[int]:
    return {found["num_threads"] for found in ThreadpoolController().select(user_api="blas").info()}


@pytest.fixture(autouse=True)
def many() -> object:
    """More threads than one, which ``make test`` says."""
    limit = ThreadpoolController().limit(limits=MANY, user_api="blas")
    OpenBLASController.clear_controlling_thread()  # for any thread to change
    if threads() != {MANY}:
        pytest.skip("this BLAS has one thread")
    yield
    limit.restore_original_limits()
    OpenBLASController.clear_controlling_thread()


def test_one_thread_within_and_as_many_as_before_afterwards() -> None:
    with one_thread():
        assert threads() == {1}
    assert threads() == {MANY}


def test_an_adaptive_plan_has_one_thread_while_it_computes_and_scores_and_the_caller_as_many_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing: list[set[int]] = []
    scoring: list[set[int]] = []
    posterior = GaussianProcess.posterior

    def look(self: GaussianProcess, measured: Measurements, **options: float) -> Any:
        computing.append(threads())
        return posterior(self, measured, **options)

    monkeypatch.setattr(GaussianProcess, "posterior", look)
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    wavescope.explain(
        image,
        model=OnnxToy("toy", Preprocessing(size=(32, 32))).write(tmp_path),
        plan="adaptive",
        grid_size=8,
        levels=2,
        max_forwards=96,
        progress=lambda done, planned: scoring.append(threads()),
    )
    assert computing
    assert scoring
    assert all(seen == {1} for seen in computing + scoring)
    assert threads() == {MANY}


def test_the_bound_is_given_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert threads() == {MANY}


def test_the_bound_holds_until_the_last_of_several_calls_has_ended() -> None:
    bound = Bound()
    first_left, second_in = threading.Event(), threading.Event()

    def first() -> None:
        with bound.within():
            assert second_in.wait(DEADLINE_S)
        first_left.set()

    def second() -> set[int]:
        with bound.within():
            second_in.set()
            assert first_left.wait(DEADLINE_S)
            return threads()

    with ThreadPoolExecutor(2) as pool:
        calls = pool.submit(first), pool.submit(second)
        calls[0].result(DEADLINE_S)
        assert calls[1].result(DEADLINE_S) == {1}
    assert threads() == {MANY}


def test_a_forked_child_has_a_bound_of_its_own() -> None:
    bound = Bound()
    with bound.within():
        child = os.fork()
        if not child:  # the parent's call is none of the child's, and its lock no matter who held it
            with bound.within():
                os._exit(0 if threads() == {1} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert threads() == {MANY}


def test_a_process_of_our_own_is_bound_also_in_libraries_that_come_later() -> None:
    code = (
        "import json, numpy\n"
        "from wavescope.engine.threads import bound_for_good\n"
        "bound_for_good()\n"
        "import scipy.linalg\n"
        "from threadpoolctl import threadpool_info\n"
        "print(json.dumps([found['num_threads'] for found in threadpool_info() if found['user_api'] == 'blas']))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["OMP_NUM_THREADS"] = str(MANY)  # as Ray sets it
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    assert set(json.loads(found.stdout)) == {1}
