"""Models that stay loaded from one explanation to the next, at most so many."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wavescope.engine.protocols import Classifier
from wavescope.models.files import Identity, files_of, identity
from wavescope.models.load import load
from wavescope.models.spec import ModelSpec


@dataclass(eq=False)
class _Kept:
    """A model, and who uses it.

    Attributes:
        asked: all that loading was asked for.
        files: that it is loaded from, as they were before.
        loading: held until it is loaded, or has failed to.
        users: calls that have it now.
    """

    asked: tuple[Any, ...]
    files: dict[Path, Identity]
    loading: threading.Lock = field(default_factory=threading.Lock)
    model: Classifier | None = None
    users: int = 0

    @property
    def current(self) -> bool:
        """Whether loading it again would give the same model."""
        if getattr(self.model, "stale", False):  # its server says that it has another one by now
            return False
        return all(identity(path) == before for path, before in self.files.items())


class KeptModels:
    """Lends models, and keeps the last ones loaded. For any thread; calls that ask for the same one share it.

    A model is loaded anew when anything that loading depends on is another: its specification, the threads, the allowed
    hosts, a variable that a header is read from, or a file, by inode, size and times. What is given up is closed once
    the last call has returned it. A child process begins without any.

    Args:
        limit: models that are kept; 0 keeps none.
        loading: loads one.
    """

    def __init__(self, limit: int, *, loading: Callable[..., Classifier] = load) -> None:
        self._limit = limit
        self._loading = loading
        self._begin()
        os.register_at_fork(after_in_child=self._begin_in_child)

    def keep(self, limit: int) -> None:
        """Keeps at most so many from now on; gives up those that are too many, the longest unused first."""
        with self._lock:
            self._limit = limit
            leaving = self._overflow()
        _close(leaving)

    @contextmanager
    def lent(
        self, spec: ModelSpec, *, cache_dir: Path, threads: int | None, remote_hosts: tuple[str, ...]
    ) -> Iterator[Classifier]:
        """The model of a specification, for as long as the context is open; arguments and errors as of ``load``."""
        asked = (spec, cache_dir, threads, remote_hosts, _variables(spec))
        kept = self._taken(asked)
        try:
            with kept.loading:
                if kept.model is None:
                    before = _files(spec, cache_dir)
                    model = self._loading(
                        spec, cache_dir=cache_dir, threads=threads, remote_hosts=remote_hosts
                    )
                    # Loading itself may have made or fetched them.
                    kept.files = {
                        path: before.get(path) or now for path, now in _files(spec, cache_dir).items()
                    }
                    kept.model = model
                model = kept.model
            yield model
        finally:
            self._returned(kept)

    def _taken(self, asked: tuple[Any, ...]) -> _Kept:
        """The entry that was asked for, counted as used; a new one, not loaded yet, where there is none."""
        with self._lock:
            found = next((kept for kept in self._kept if kept.asked == asked), None)
            leaving = []
            if found is not None and not found.current:
                self._kept.remove(found)
                leaving = [found] if not found.users else []
                found = None
            if found is None:
                found = _Kept(asked, {})
            else:
                self._kept.remove(found)
            found.users += 1
            self._kept.append(found)  # last used, last given up
            leaving += self._overflow()
        _close(leaving)
        return found

    def _returned(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            if kept in self._kept and kept.model is None:  # it could not be loaded
                self._kept.remove(kept)
            leaving = [kept] if kept not in self._kept and not kept.users else []
        _close(leaving)

    def _overflow(self) -> list[_Kept]:
        """Takes out those that are too many, and returns the ones among them that nobody uses."""
        count = max(len(self._kept) - self._limit, 0)
        leaving, self._kept = self._kept[:count], self._kept[count:]
        return [kept for kept in leaving if not kept.users]

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []

    def _begin_in_child(self) -> None:
        # A runtime's threads are not there after a fork: its model cannot run, and who frees it would wait for them.
        for kept in self._kept:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
        self._begin()


def _files(spec: ModelSpec, cache_dir: Path) -> dict[Path, Identity]:
    try:
        return {path: identity(path) for path in files_of(spec, cache_dir)}
    except ImportError:  # which loading explains better
        return {}


def _variables(spec: ModelSpec) -> tuple[str | None, ...]:
    headers = spec.remote.headers if spec.remote is not None else ()
    return tuple(os.environ.get(header.env) for header in headers if header.env is not None)


def _close(leaving: list[_Kept]) -> None:
    for kept in leaving:
        close = getattr(kept.model, "close", None)
        if close is not None:
            close()
