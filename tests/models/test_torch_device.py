"""A recorded batch and what surrounds it, with a recording that works on a CPU; tests/gpu has the real one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from wavescope.models.torch.device import FixedBatch, Mode, Module, RenderStream, Replay, fetch, fixed_batch

CPU = torch.device("cpu")
BATCH = 4


def linear() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)).eval()


def images(rows: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(rows).standard_normal((rows, 3, 2, 2), dtype=np.float32))


def record(module: Module, given: torch.Tensor, mode: Mode) -> Replay:
    """As a graph does: the result lies at one address, and every replay overwrites it."""
    with mode():
        scores = module(given)

    def replay() -> torch.Tensor:
        with mode():
            return scores.copy_(module(given))

    return replay


def refuse(module: Module, given: torch.Tensor, mode: Mode) -> Replay:
    raise RuntimeError("cannot be captured\nand a page more")


@pytest.mark.parametrize("rows", [1, 3, BATCH])
def test_fewer_rows_than_the_batch_give_their_own_scores(rows: int) -> None:
    module, given = linear(), torch.zeros(BATCH, 3, 2, 2)
    fixed = FixedBatch(given, record(module, given, torch.inference_mode))
    fixed(images(BATCH))  # leaves its rows behind
    with torch.inference_mode():
        expected = module(images(rows))
    torch.testing.assert_close(fixed(images(rows)), expected)


def test_scores_have_the_same_bits_whatever_comes_with_them() -> None:
    module, given = linear(), torch.zeros(BATCH, 3, 2, 2)
    fixed = FixedBatch(given, record(module, given, torch.inference_mode))
    whole = fixed(images(BATCH))
    assert torch.equal(fixed(images(BATCH)[:1]), whole[:1])


def test_scores_are_float32_and_outlive_the_next_batch() -> None:
    module, given = linear().to(torch.bfloat16), torch.zeros(BATCH, 3, 2, 2, dtype=torch.bfloat16)
    fixed = FixedBatch(given, record(module, given, torch.inference_mode))
    first = fixed(images(2))
    kept = first.clone()
    fixed(images(3))
    assert first.dtype == torch.float32
    assert torch.equal(first, kept)


def test_images_may_be_of_another_memory_layout() -> None:
    module, given = linear(), torch.zeros(BATCH, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    fixed = FixedBatch(given, record(module, given, torch.inference_mode))
    torch.testing.assert_close(fixed(images(3)), module(images(3)).detach())


def test_the_first_way_that_works_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    module, given = linear(), torch.zeros(BATCH, 3, 2, 2)
    found = fixed_batch(module, given, torch.inference_mode, name="m", records={"a": record, "b": refuse})
    assert found is not None
    assert found[0] == "a"
    assert not caplog.records


def test_what_fails_is_logged_in_one_line_and_the_next_way_taken(caplog: pytest.LogCaptureFixture) -> None:
    module, given = linear(), torch.zeros(BATCH, 3, 2, 2)
    with caplog.at_level(logging.WARNING):
        found = fixed_batch(module, given, torch.inference_mode, name="m", records={"a": refuse, "b": record})
    assert found is not None
    assert found[0] == "b"
    assert [r.getMessage() for r in caplog.records] == ["model 'm' runs as b; failed: a: cannot be captured"]


def test_where_nothing_works_the_model_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    given = torch.zeros(BATCH, 3, 2, 2)
    with caplog.at_level(logging.WARNING):
        found = fixed_batch(
            linear(), given, torch.inference_mode, name="m", records={"a": refuse, "b": refuse}
        )
    assert found is None
    (line,) = caplog.records
    assert line.getMessage().startswith("model 'm' runs as eager; failed: a: ")


def test_the_module_is_recorded_in_the_mode_asked_for() -> None:
    entered: list[bool] = []

    @contextlib.contextmanager
    def mode() -> Iterator[None]:
        entered.append(True)
        yield

    fixed_batch(linear(), torch.zeros(BATCH, 3, 2, 2), mode, name="m", records={"a": record})
    assert entered


def test_on_a_cpu_rendering_is_in_order_and_results_are_there_at_once() -> None:
    with RenderStream(CPU).entered(None):
        array = images(2)
    assert (fetch(array)() == array.numpy()).all()
