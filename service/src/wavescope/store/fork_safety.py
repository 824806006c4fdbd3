"""Fork safety: registered objects quiesce before ``os.fork`` and resume after it.

The child of a fork then finds no half-done call and no connection of its parent.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class ForkSafe(Protocol):
    """Object that can quiesce for a fork."""

    def before_fork(self) -> None:
        """Finish calls that are under way, close everything that must not be inherited, begin no new call."""
        ...

    def after_fork(self) -> None:
        """Resume, in the parent and in the child."""
        ...


_registered: weakref.WeakSet[ForkSafe] = weakref.WeakSet()
_quiescent: list[ForkSafe] = []
_forking = threading.Lock()  # one fork at a time: the quiescent objects are those of one fork


def register(target: ForkSafe) -> None:
    """Quiesce an object at every fork of this process from now on; only a weak reference is held."""
    _registered.add(target)


def _before_fork() -> None:
    _forking.acquire()
    _quiescent.extend(_registered)
    for target in _quiescent:
        target.before_fork()


def _after_fork() -> None:
    while _quiescent:
        _quiescent.pop().after_fork()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
