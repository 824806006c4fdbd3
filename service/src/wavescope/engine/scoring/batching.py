"""Chunks of any requests share device batches: what waits is scored in order of arrival, batch after full batch."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from wavescope.engine.scoring import scoreboard
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.scoring.scorer import DeviceBatches, Part
from wavescope.errors import ModelChanged

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Chunk:
    """A chunk and how far it has come.

    Attributes:
        whole: all rows that are wanted.
        future: of its scores; done as soon as it is cancelled or has failed.
        at: the first row that was not launched yet.
        scored: what has landed, by first row.
    """

    whole: Part
    future: Future[Scored]
    at: int
    scored: dict[int, Scored] = field(default_factory=dict[int, Scored])

    def take(self, most: int) -> Part:
        """The next rows, at most so many."""
        first, self.at = self.at, min(self.at + most, self.whole.stop)
        return replace(self.whole, start=first, stop=self.at)

    def land(self, start: int, scored: Scored) -> None:
        """Takes scores, in any order; the last ones end the chunk."""
        self.scored[start] = scored
        if sum(len(part.predicted) for part in self.scored.values()) == self.whole.count:
            with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
                self.future.set_result(scoreboard.join([self.scored[at] for at in sorted(self.scored)]))

    def fail(self, failure: Exception) -> None:
        """Ends the chunk."""
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(failure)


_Taken = Sequence[tuple[_Chunk, Part]]


class Batcher:
    """Fills device batches from the chunks that wait, and scores them on the one thread that calls :meth:`run`.

    A batch takes rows of the chunk that came first, and is topped up with those of the next ones. Requests have few
    chunks here at a time and each further one queues at the end, so that no request waits for another to finish. The
    next batch is launched before the last one's scores are read, so that a GPU never waits. A cancelled chunk starts no
    further row. A batch that fails is scored again chunk by chunk: a failure reaches its own request alone.

    Closed, it scores what waits and takes nothing more: what comes later fails at once with ``ModelChanged``, since
    the device's model is being replaced.

    Args:
        device: what scores.
    """

    def __init__(self, device: DeviceBatches) -> None:
        self._device = device
        self._calls: deque[Callable[[], None]] = deque()
        self._chunks: deque[_Chunk] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, part: Part) -> Future[Scored]:
        """The scores of any number of rows, at least one, in order. Cancelling the future stops them."""
        assert part.count > 0, "a chunk has at least one row"
        chunk = _Chunk(part, Future(), part.start)
        with self._changed:
            if self._closed:
                chunk.fail(_replaced())
            else:
                self._chunks.append(chunk)
                self._changed.notify()
        return chunk.future

    def call(self, work: Callable[[], Result]) -> Future[Result]:
        """Run ``work`` on the thread of the device before its next batch; the future has its result."""
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except Exception as failure:  # noqa: BLE001  # raised in the caller, as an executor does
                future.set_exception(failure)

        with self._changed:
            if self._closed:
                future.set_exception(_replaced())
            else:
                self._calls.append(run)
                self._changed.notify()
        return future

    def run(self) -> None:
        """Works until it is closed and nothing waits."""
        while self._wait():
            self.drain()

    def close(self) -> None:
        """Ends :meth:`run` once what waits is done."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def drain(self) -> None:
        """Works until nothing waits and nothing is on its way."""
        land: Callable[[], None] | None = None
        while land or self._calls or self._chunks:
            while self._calls:
                self._calls.popleft()()
            taken = self._next()
            land_next = self._launch(taken) if taken else None
            if land:
                land()
            land = land_next

    def _wait(self) -> bool:
        """Whether something waits, as soon as it does; never once it is closed and all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._chunks or self._closed)
            return bool(self._calls or self._chunks)

    def _next(self) -> _Taken:
        """The rows of the next device batch, none if nothing waits."""
        taken: list[tuple[_Chunk, Part]] = []
        room = self._device.size
        while room and self._chunks:
            chunk = self._chunks[0]
            if not chunk.future.done():
                part = chunk.take(room)
                taken.append((chunk, part))
                room -= part.count
            if chunk.future.done() or chunk.at == chunk.whole.stop:
                self._chunks.popleft()
        return taken

    def _launch(self, taken: _Taken) -> Callable[[], None] | None:
        """Launches a device batch; the function returned waits for its scores, and there is none where it failed."""
        try:
            return partial(self._land, taken, self._device.launch([part for _, part in taken]))
        except Exception as failure:  # noqa: BLE001  # raised in whoever asked for these rows
            self._fail(taken, failure)
            return None

    def _land(self, taken: _Taken, wait: Callable[[], list[Scored]]) -> None:
        try:
            scored = wait()
        except Exception as failure:  # noqa: BLE001  # raised in whoever asked for these rows
            self._fail(taken, failure)
            return
        for (chunk, part), found in zip(taken, scored, strict=True):
            chunk.land(part.start, found)

    def _fail(self, taken: _Taken, failure: Exception) -> None:
        """One chunk has failed; several are tried one by one, since only one of them may be at fault."""
        if len(taken) == 1:
            taken[0][0].fail(failure)
            return
        for alone in taken:
            land = self._launch([alone])
            if land:
                land()


def _replaced() -> ModelChanged:
    return ModelChanged("the model was updated while the request ran; send it again", field="model")
