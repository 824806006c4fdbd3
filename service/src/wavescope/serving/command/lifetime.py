"""The process of ``wavescope serve``: its signals, and how it ends when its cluster has died."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NoReturn

PR_SET_CHILD_SUBREAPER: Final = 36
ENDING: Final = (signal.SIGTERM, signal.SIGINT)
HANDLED: Final = (*ENDING, signal.SIGHUP)
EXIT_DIED: Final = 3
SIGNALLED: Final = 128  # and the signal's number, as shells report it
WATCH_S: Final = 1.0  # between looks at Ray's processes

log = logging.getLogger(__name__)


class Signals:
    """Signals to this process, queued for whoever serves.

    Those that end the service do so at once while it answers nobody, and when one came before: Ray is then not asked
    to leave, as half started it hangs or crashes.

    Attributes:
        answering: whether requests are answered, which are to be finished first; called as a signal comes.
        folder: of Ray's sockets and logs, removed where the service ends at once.
    """

    def __init__(self) -> None:
        self.answering: Callable[[], bool] = lambda: False
        self.folder: Path | None = None
        # May be put to while they are waited for.
        self._received: SimpleQueue[int] = SimpleQueue()
        self._ends: SimpleQueue[int] = SimpleQueue()
        self._before: dict[int, Any] = {}
        self.ending = False  # one that ends the service has come

    def __enter__(self) -> Signals:
        self._before = {number: signal.getsignal(number) for number in HANDLED}
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Handles the signals here; whatever handled them before does not any more."""
        for number in HANDLED:
            signal.signal(number, self._handle)

    def next(self, *, timeout_s: float) -> int | None:
        """The next signal; ``None`` where none came in time."""
        try:
            return self._received.get(timeout=timeout_s)
        except Empty:
            return None

    def wait_for_end(self, *, timeout_s: float) -> bool:
        """Whether a signal came that ends the service, as soon as it does; :meth:`next` returns it all the same."""
        if not self.ending:
            with contextlib.suppress(Empty):
                self._ends.get(timeout=timeout_s)
        return self.ending

    def _handle(self, number: int, _: object) -> None:
        if number in ENDING:
            if self.ending or not self.answering():
                end_at_once("wavescope: interrupted", SIGNALLED + number, self.folder)
            self.ending = True
            self._ends.put(number)
        self._received.put(number)


@contextmanager
def watched_cluster(folder: Path) -> Iterator[None]:
    """Ends this process, and all below it, within seconds of the end of a process of Ray's that it cannot work without.

    By a thread: the one that serves may wait for an answer of what has died.

    Args:
        folder: of Ray's sockets and logs, removed.
    """
    from wavescope.serving.command.local_node import ended_processes

    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_S):
            if ended := ended_processes():
                why = f"Ray's {ended[0]} has died, and the service with it; start it again"
                log.error("the cluster has died", extra={"reason": why})
                end_at_once(f"wavescope: error: {why}", EXIT_DIED, folder)

    watching = threading.Thread(target=watch, name="cluster", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def adopt_orphans() -> None:
    """Makes this process the parent of what its children leave behind, so that it can be found and ended (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    """Takes note of adopted processes that ended; those of Ray are its own to look at."""
    from wavescope.serving.command.local_node import own_processes

    with contextlib.suppress(ChildProcessError):
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return  # no child has ended: /proc need not be read, which costs milliseconds, once a second
    own = own_processes()
    for pid in descendants(os.getpid(), depth=1):
        if pid not in own:
            with contextlib.suppress(ChildProcessError):  # somebody else was quicker
                os.waitpid(pid, os.WNOHANG)


def end_at_once(last_word: str, status: int, folder: Path | None) -> NoReturn:
    """Ends this process and all below it, where Ray cannot be asked to leave.

    Args:
        last_word: one line for standard error.
        status: of the exit.
        folder: of Ray's sockets and logs, removed.
    """
    # Ray's code in this process would exit with a status of its own as soon as its raylet were gone. Stopped processes
    # keep their sockets open, and write nothing into the folder.
    _send(signal.SIGSTOP)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    # Not by sys.stderr: a signal may come while that is being written to.
    with contextlib.suppress(OSError):
        os.write(2, f"{last_word}\n".encode(errors="replace"))
    _send(signal.SIGKILL)
    os._exit(status)  # Ray's own clean-up would wait for what is gone


def _send(number: signal.Signals) -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def descendants(pid: int, *, depth: int | None = None) -> list[int]:
    """The processes below one, from /proc; ``depth`` of 1 for its children alone."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            name_and_rest = stat.read_text(errors="replace").rpartition(")")
            children.setdefault(int(name_and_rest[2].split()[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    below = [pid]
    while below and (depth is None or depth > 0):
        depth = None if depth is None else depth - 1
        below = [child for parent in below for child in children.get(parent, ())]
        found += below
    return found
