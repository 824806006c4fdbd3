"""Attempts, waits and the circuit breaker, on a clock that is told the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from wavescope.errors import ModelUnavailable
from wavescope.models.remote.breaker import FAILURES, OPEN_S, Breaker, Open
from wavescope.models.remote.calling import Caller
from wavescope.models.remote.faults import Refused, TooLarge, Unavailable
from wavescope.retries import RetryPolicy


class Clock:
    """Seconds that pass only in ``sleep``."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def caller(clock: Clock, breaker: Breaker | None = None, *, attempts: int = 4, **fields: Any) -> Caller:
    retries = RetryPolicy(attempts=attempts, first_delay_s=0.2, max_delay_s=0.5)
    fields = {"retries": retries, "timeout_s": 30.0} | fields
    return Caller("m", breaker=breaker or Breaker(clock=clock), clock=clock, sleep=clock.sleep, **fields)


def failing(times: int, error: Exception) -> Callable[[float], str]:
    """Fails that often, then succeeds."""
    left = [error] * times

    def send(_: float) -> str:
        if left:
            raise left.pop()
        return "sent"

    return send


def test_what_may_pass_is_tried_again_after_growing_random_waits() -> None:
    clock = Clock()
    chances = [0.5, 0.0, 1.0]
    assert caller(clock, chance=lambda: chances.pop(0))(failing(3, Unavailable("away"))) == "sent"
    assert clock.slept == [0.1, 0.0, 0.5]  # of 0.2, 0.4 and at most 0.5 s


def test_attempts_end() -> None:
    clock = Clock()
    with pytest.raises(ModelUnavailable, match="model 'm': its server is not available: away") as caught:
        caller(clock)(failing(4, Unavailable("away")))
    assert len(clock.slept) == 3
    assert caught.value.retryable
    assert caught.value.limits["retry_after_s"] == 1


@pytest.mark.parametrize("error", [Refused("no"), TooLarge("no")])
def test_what_will_not_pass_is_not_tried_again(error: Exception) -> None:
    clock = Clock()
    with pytest.raises(type(error)):
        caller(clock)(failing(1, error))
    assert clock.slept == []


def test_the_server_says_how_long_to_wait() -> None:
    clock = Clock()
    assert caller(clock)(failing(1, Unavailable("busy", after_s=7.0, alive=True))) == "sent"
    assert clock.slept == [7.0]


def test_no_wait_goes_beyond_the_deadline() -> None:
    clock = Clock()
    with pytest.raises(ModelUnavailable) as caught:
        caller(clock, timeout_s=5.0)(failing(1, Unavailable("busy", after_s=7.0, alive=True)))
    assert clock.slept == []
    assert caught.value.limits["retry_after_s"] == 7


def test_every_attempt_is_given_what_is_left_of_the_time() -> None:
    clock = Clock()
    given: list[float] = []

    def send(timeout_s: float) -> str:
        given.append(timeout_s)
        clock.now += 2.0
        if len(given) < 3:
            raise Unavailable("away", after_s=1.0)
        return "sent"

    caller(clock, timeout_s=10.0)(send)
    assert given == [10.0, 7.0, 4.0]


def test_a_server_that_does_not_answer_is_left_alone() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    call = caller(clock, breaker, attempts=1)
    for _ in range(FAILURES):
        with pytest.raises(ModelUnavailable, match="away"):
            call(failing(1, Unavailable("away")))
    sent: list[float] = []
    with pytest.raises(ModelUnavailable, match="did not answer and is asked again in 10 s") as caught:
        call(sent.append)
    assert sent == []
    assert caught.value.limits["retry_after_s"] == OPEN_S


def test_an_open_breaker_ends_the_attempts_of_a_call() -> None:
    clock = Clock()
    with pytest.raises(ModelUnavailable, match="did not answer and is asked again"):
        caller(clock, attempts=20)(failing(20, Unavailable("away")))
    assert len(clock.slept) == FAILURES


def test_one_call_finds_out_whether_the_server_is_back() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, open_s=10.0, clock=clock)
    breaker.record(reached=False)
    clock.now = 9.9
    with pytest.raises(Open):
        breaker.admit()
    clock.now = 10.0
    breaker.admit()
    with pytest.raises(Open):  # while the first is under way
        breaker.admit()
    breaker.record(reached=False)
    clock.now = 19.9
    with pytest.raises(Open):
        breaker.admit()
    clock.now = 20.0
    breaker.admit()
    breaker.record(reached=True)
    for _ in range(3):
        breaker.admit()


@pytest.mark.parametrize("answer", [Refused("no"), TooLarge("no"), Unavailable("busy", alive=True)])
def test_a_server_that_answers_anything_is_not_left_alone(answer: Exception) -> None:
    clock = Clock()
    call = caller(clock, attempts=1)
    for _ in range(2 * FAILURES):
        with pytest.raises((Refused, TooLarge, ModelUnavailable), match=r"no|busy"):
            call(failing(1, answer))


def test_failures_between_successes_do_not_add_up() -> None:
    clock = Clock()
    call = caller(clock, attempts=2)
    for _ in range(2 * FAILURES):
        assert call(failing(1, Unavailable("away"))) == "sent"


def test_an_unforeseen_error_does_not_block_the_breaker() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, open_s=1.0, clock=clock)
    call = caller(clock, breaker, attempts=1)
    breaker.record(reached=False)
    clock.now = 1.0
    with pytest.raises(ZeroDivisionError):
        call(lambda _: 1 / 0)
    clock.now = 2.0
    assert call(lambda _: "sent") == "sent"


def test_calls_from_many_threads_open_the_breaker_once() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    call = caller(clock, breaker, attempts=1)
    refused: list[str] = []

    def one() -> None:
        try:
            call(failing(1, Unavailable("away")))
        except ModelUnavailable as error:
            refused.append(error.message)

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 16
    with pytest.raises(Open):
        breaker.admit()
