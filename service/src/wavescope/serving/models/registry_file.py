"""The registry file while the service runs: read again when its content changes, or a label file that it names."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from wavescope.errors import RegistryInvalid
from wavescope.models.files import Identity, identity
from wavescope.models.spec import ModelSpec
from wavescope.settings import list_label_files, load_registry

log = logging.getLogger(__name__)


class RegistryFile:
    """The models that the file names; a file that cannot be used changes nothing.

    A label file that changed is read once two looks in a row find it the same: it may be being written.

    Args:
        path: of the registry; ``None`` where there is none, and nothing ever changes.
        specs: what it held when it was last read.
        stat: of a label file.
    """

    def __init__(
        self,
        path: Path | None,
        specs: tuple[ModelSpec, ...],
        *,
        stat: Callable[[Path], Identity] = identity,
    ) -> None:
        self.specs = specs
        self._path = path
        self._stat = stat
        self._seen: bytes | None = None
        self._read: dict[Path, Identity] = {}  # label files as they were when they were read
        self._last = self._read

    def look(self, *, again: bool = False) -> bool:
        """Reads the file where its content, or a label file, is not as before; whether ``specs`` changed.

        Args:
            again: read it in any case, for what it refers to may have changed.
        """
        if self._path is None:
            return False
        try:
            content = self._path.read_bytes()
        except OSError:
            content = b""  # logged below, once, as an invalid registry
        seen, self._seen = self._seen, hashlib.sha256(content).digest()
        if seen == self._seen and not self._labels_changed() and not again:
            return False
        self._read = self._last = {path: self._stat(path) for path in list_label_files(self._path)}
        try:
            specs = load_registry(self._path)
        except RegistryInvalid as invalid:
            log.error(  # noqa: TRY400  # the operator's mistake, logged without a traceback
                "the registry cannot be used: every model stays as it is", extra={"reason": invalid.message}
            )
            return False
        before, self.specs = self.specs, specs
        return specs != before

    def _labels_changed(self) -> bool:
        """Whether label files are no more as they were read, and are whole."""
        before, self._last = self._last, {path: self._stat(path) for path in self._read}
        gone = [
            path.name for path, found in self._last.items() if found is None and self._read[path] is not None
        ]
        if gone and self._last != before:
            log.warning(
                "a label file is not there, or cannot be read: every model stays as it is",
                extra={"file": gone[0]},
            )
        return not gone and self._last != self._read and self._last == before
