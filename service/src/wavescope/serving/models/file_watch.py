"""The file of a model while the service runs: whether it holds another content than the model was loaded from."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from wavescope.models.files import Identity, files_beside, given_file, identity, sha256_of
from wavescope.models.spec import ModelSpec

T = TypeVar("T")

GOES_ON = "the model goes on as it was loaded"


class FileReader(Protocol):
    """Reads a file that is as ``found`` says; ``None`` until that is done."""

    def __call__(self, what: Callable[[Path], T], path: Path, found: Identity) -> T | OSError | None: ...


class BackgroundReader:
    """Reads files in a thread of its own, one after the other, and remembers what it found while they stay the same.

    Large ones take seconds, in which whoever watches has signals to answer.

    Args:
        stat: of a file.
    """

    def __init__(self, stat: Callable[[Path], Identity] = identity) -> None:
        self._stat = stat
        self._lock = threading.Lock()
        self._found: dict[tuple[Any, Path], tuple[Identity, Any]] = {}
        self._asked: queue.SimpleQueue[tuple[Callable[[Path], Any], Path, Identity]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, what: Callable[[Path], T], path: Path, found: Identity) -> T | OSError | None:
        with self._lock:
            known = self._found.get((what, path))
            if known is not None and known[0] == found:
                return known[1]
            self._found[what, path] = (found, None)
            self._asked.put((what, path, found))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="model files", daemon=True)
                self._thread.start()
        return None

    def _work(self) -> None:
        while True:
            what, path, found = self._asked.get()
            try:
                if not path.is_file():  # a pipe, or a device, might never end
                    raise OSError(errno.EINVAL, "it is no regular file")  # noqa: TRY301  # as reading would
                value = what(path)
            except OSError as error:
                value = error
            whole = self._stat(path) == found
            with self._lock:
                if self._found.get((what, path)) == (found, None):
                    if whole:
                        self._found[what, path] = (found, value)
                    else:  # it was written to meanwhile: whoever still wants it asks again
                        del self._found[what, path]


@dataclass(frozen=True, slots=True)
class FileChange:
    """Result of a look at the files of a model.

    Attributes:
        changed: whether they hold another content than the model was loaded from, and the model is to be loaded anew.
        notice: why the model goes on as it was loaded although its files did not stay as they were; empty otherwise.
    """

    changed: bool = False
    notice: str = ""


class FileWatch:
    """Watches the file that the registry names for one model, and those beside it that hold its tensors.

    A look takes their stat. Only where that is another one, and the same in two looks in a row, the content is read:
    what is being written is left alone, and what was only touched is no change. Links are followed.

    Args:
        spec: of the model, which is loaded from the files as they are now, or later.
        stat: of a file.
        read: reads digests, and what lies beside a file.
    """

    def __init__(
        self, spec: ModelSpec, *, stat: Callable[[Path], Identity] = identity, read: FileReader
    ) -> None:
        self._expected = spec.sha256
        self._stat = stat
        self._read = read
        self._given = given_file(spec)
        self._list_beside = files_beside(spec)
        self._files = () if self._given is None else (self._given,)
        self._listed: Identity = None  # the given file as it was when it named the others
        # As they were when the model was deployed; their digests are known later.
        self._loaded = {path: stat(path) for path in self._files}
        self._content: dict[Path, str] = {}
        self._last = self._loaded
        self._notice = ""

    def look(self) -> FileChange:
        """Looks once. A change is found again by every look, until another watch begins with what was loaded then."""
        if self._given is None:
            return FileChange()
        if not self._list_files(self._given):
            return FileChange(notice=self._notice)
        before, self._last = self._last, {path: self._stat(path) for path in self._files}
        if self._last == self._loaded:
            found = None if self._content else self._digests(self._last)
            if isinstance(found, dict):
                self._content = found
            self._notice = ""
        elif self._last == before:  # else it may be being written
            return self._compare(self._given, self._last)
        return FileChange(notice=self._notice)

    def _list_files(self, given: Path) -> bool:
        """Lists the files anew where the given one is another; whether they are known."""
        found = self._stat(given)
        if self._list_beside is None or found is None or found == self._listed:
            return True
        if found != self._last[given]:
            self._last = {**self._last, given: found}
            return False
        beside = self._read(self._list_beside, given, found)
        if beside is None:
            return False
        self._files = (given, *(() if isinstance(beside, OSError) else beside))
        self._listed = found
        if found == self._loaded[given]:
            self._loaded = {path: self._stat(path) for path in self._files} | self._loaded
        return True

    def _compare(self, given: Path, now: Mapping[Path, Identity]) -> FileChange:
        """Compares files that stay as they are, but are not as they were."""
        gone = [
            path for path, found in now.items() if found is None and self._loaded.get(path, ()) is not None
        ]
        if gone:
            self._notice = f"{gone[0].name!r} is not there, or cannot be read; {GOES_ON}"
            return FileChange(notice=self._notice)
        found = self._digests(now)
        if found is None:
            return FileChange(notice=self._notice)
        self._notice = ""
        if isinstance(found, OSError):
            reason = found.strerror or type(found).__name__
            self._notice = f"{given.name!r} was replaced, but cannot be read: {reason}; {GOES_ON}"
        elif found == self._content:
            self._loaded = dict(now)
        elif self._expected is not None and found.get(given) != self._expected:
            self._notice = (
                f"{given.name!r} was replaced by a file with digest {found.get(given)}, the registry expects "
                f"sha256 {self._expected}; {GOES_ON}, and no replica that starts will load that file"
            )
        else:
            return FileChange(changed=True)
        return FileChange(notice=self._notice)

    def _digests(self, now: Mapping[Path, Identity]) -> dict[Path, str] | OSError | None:
        """Digests of files that are there; ``None`` until all are read."""
        read = {path: self._read(sha256_of, path, found) for path, found in now.items() if found is not None}
        digests: dict[Path, str] = {}
        for path, digest in read.items():
            if digest is None or isinstance(digest, OSError):
                return digest
            digests[path] = digest
        return digests
