"""Objects that hold still while the process forks: the child finds no half-done call and no foreign connection."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Holding(Protocol):
    """What can hold still."""

    def hold(self) -> None:
        """Before a fork: finish what goes on, let go of what must not be inherited, begin nothing."""
        ...

    def go_on(self) -> None:
        """After a fork, in the parent and in the child."""
        ...


_watched: weakref.WeakSet[Holding] = weakref.WeakSet()
_held: list[Holding] = []
_forking = threading.Lock()  # one thread at a time: the objects held are those of one fork


def watch(one: Holding) -> None:
    """From now on it is held while this process forks."""
    _watched.add(one)


def _before() -> None:
    _forking.acquire()
    _held.extend(_watched)
    for one in _held:
        one.hold()


def _after() -> None:
    while _held:
        _held.pop().go_on()
    _forking.release()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
