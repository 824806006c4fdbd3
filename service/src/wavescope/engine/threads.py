"""Threads of linear algebra: one, wherever a model computes beside it.

The matrices here are small: OpenBLAS, which NumPy and SciPy bring, gains nothing from a second thread, and while its
threads wait for each other they spin on the cores that the model's own need. With one thread the numbers do not depend
on how many there could be. Libraries on OpenMP are left alone: they have the threads of the model, and wait with them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING

from threadpoolctl import OpenBLASController, ThreadpoolController

if TYPE_CHECKING:
    from threadpoolctl import Limiter

VARIABLE = "OPENBLAS_NUM_THREADS"


def bound_for_good() -> None:
    """One thread for the rest of this process, also of libraries that are loaded later: for processes of our own."""
    os.environ[VARIABLE] = "1"  # which a copy of OpenBLAS reads when it is loaded
    _bound()
    OpenBLASController.clear_controlling_thread()


class Bound:
    """One thread as long as any call is within, then as many as before: for processes that are others'.

    It holds for the whole process: what other threads of it multiply meanwhile has one thread too. Where another thread
    of the process has set a limit by threadpoolctl, that one holds.
    """

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    @contextlib.contextmanager
    def within(self) -> Generator[None]:
        """Bind the threads while the context is open, in whatever thread."""
        began = self._lock
        with began:
            if not self._calls:
                # Looked for anew, in 1 ms: the caller may have loaded another library since.
                self._limit = _bound()
            self._calls += 1
        try:
            yield
        finally:
            if began is self._lock:  # else this is a child that was forked meanwhile
                with began:
                    self._calls -= 1
                    if not self._calls and self._limit is not None:
                        self._limit.restore_original_limits()
                    # Else whoever leaves last could not.
                    OpenBLASController.clear_controlling_thread()

    def _begin(self) -> None:
        # Also in a child: a thread that held the lock is not there, nor are the calls that would give back the limit.
        self._lock = threading.Lock()
        self._calls = 0
        self._limit: Limiter | None = None


def _bound() -> Limiter:
    found = ThreadpoolController().select(internal_api="openblas").select(threading_layer="pthreads")
    return found.limit(limits=1)


one_thread = Bound().within
"""The bound of this process; a context manager."""
