"""One batch is sent: attempts, the time between them, and the server that is left alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from wavescope.errors import ModelUnavailable
from wavescope.models.remote.breaker import Breaker, Open
from wavescope.models.remote.faults import Refused, TooLarge, Unavailable

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

# A random wait below 0.2 s, 0.4 s, 0.8 s … and 5 s: clients that failed together do not come back together.
FIRST_WAIT_S = 0.2
MAX_WAIT_S = 5.0
_BACK_OFF = tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=MAX_WAIT_S)


class Caller:
    """Makes calls to one server, from any thread.

    Args:
        model: its name here, for messages.
        attempts: at most, of one call.
        timeout_s: for one call with all its attempts and waits.
        breaker: of the server.
        clock: seconds, monotonic.
        sleep: waits.
    """

    def __init__(
        self,
        model: str,
        *,
        attempts: int,
        timeout_s: float,
        breaker: Breaker,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._model = model
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._clock = clock
        self._sleep = sleep

    def __call__(self, send: Callable[[float], Result]) -> Result:
        """What ``send`` returns, given the seconds that are left.

        Raises:
            TooLarge, Refused: as ``send`` raised them, at once.
            ModelUnavailable: the server was not reached by any attempt in time, or is being left alone;
                limit ``retry_after_s``.
        """
        deadline = self._clock() + self._timeout_s

        tried_enough = tenacity.stop_after_attempt(self._attempts)

        def enough(state: tenacity.RetryCallState) -> bool:
            return tried_enough(state) or self._clock() + state.upcoming_sleep >= deadline

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            stop=enough,
            wait=_wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._attempt, send, deadline)
        except Unavailable as error:
            # Callers are only told to come back: this is where an operator learns of it.
            _log.warning("model %r: its server is not available: %s", self._model, error.reason)
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


def _wait(state: tenacity.RetryCallState) -> float:
    assert state.outcome is not None
    error = state.outcome.exception()
    if isinstance(error, Unavailable) and error.after_s is not None:
        return error.after_s
    return _BACK_OFF(state)
