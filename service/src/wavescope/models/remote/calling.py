"""Calls to a model server: retries with random delays, a deadline, and a circuit breaker."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from wavescope.errors import ModelUnavailable
from wavescope.models.remote.breaker import Breaker, Open
from wavescope.models.remote.faults import Refused, TooLarge, Unavailable
from wavescope.retries import RetryPolicy

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Caller:
    """Makes calls to one server, from any thread.

    Args:
        model: its name here, for messages.
        retries: of one call. The delays are random, below those of the policy: clients that failed together do not
            come back together.
        timeout_s: for one call with all its attempts and delays.
        breaker: of the server.
        clock: seconds, monotonic.
        sleep: waits.
        chance: a random number in [0, 1).
    """

    def __init__(
        self,
        model: str,
        *,
        retries: RetryPolicy,
        timeout_s: float,
        breaker: Breaker,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._model = model
        self._retries = retries
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._clock = clock
        self._sleep = sleep
        self._chance = chance

    def __call__(self, send: Callable[[float], Result]) -> Result:
        """Returns what ``send`` returns, given the seconds that are left.

        Raises:
            TooLarge, Refused: as ``send`` raised them, at once.
            ModelUnavailable: the server was not reached by any attempt in time, or is being left alone;
                limit ``retry_after_s``.
        """
        deadline = self._clock() + self._timeout_s

        tried_enough = tenacity.stop_after_attempt(self._retries.attempts)

        def enough(state: tenacity.RetryCallState) -> bool:
            return tried_enough(state) or self._clock() + state.upcoming_sleep >= deadline

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            stop=enough,
            wait=self._delay_s,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._attempt, send, deadline)
        except Unavailable as error:
            # Callers are only asked to retry: an operator finds the reason in the log.
            log.warning("model %r: its server is not available: %s", self._model, error.reason)
            raise ModelUnavailable(
                f"model {self._model!r}: its server is not available: {error.reason}",
                field="model",
                retry_after_s=max(error.after_s or 1.0, 1.0),
            ) from error

    def _attempt(self, send: Callable[[float], Result], deadline: float) -> Result:
        try:
            self._breaker.admit()
        except Open as error:
            raise ModelUnavailable(
                f"model {self._model!r}: its server did not answer and is asked again in {error.after_s:.0f} s",
                field="model",
                retry_after_s=error.after_s,
            ) from error
        reached = False
        try:
            result = send(max(deadline - self._clock(), 1e-3))
            reached = True
        except Unavailable as error:
            reached = error.alive
            raise
        except (TooLarge, Refused):
            reached = True
            raise
        finally:
            self._breaker.record(reached=reached)
        return result

    def _delay_s(self, state: tenacity.RetryCallState) -> float:
        """Seconds before the next attempt: as many as the server asks for, else a random share of the policy's."""
        assert state.outcome is not None
        error = state.outcome.exception()
        if isinstance(error, Unavailable) and error.after_s is not None:
            return error.after_s
        return self._chance() * self._retries.delay_s(state.attempt_number)
