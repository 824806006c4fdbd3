"""The registry file while the service runs: read again when its content changes."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from wavescope.errors import RegistryInvalid
from wavescope.models.spec import ModelSpec
from wavescope.settings import load_registry

log = logging.getLogger(__name__)


class RegistryFile:
    """The models that the file names; a file that cannot be used changes nothing.

    Args:
        path: of the registry; ``None`` where there is none, and nothing ever changes.
        specs: what it held when it was last read.
    """

    def __init__(self, path: Path | None, specs: tuple[ModelSpec, ...]) -> None:
        self.specs = specs
        self._path = path
        self._seen: bytes | None = None

    def look(self, *, again: bool = False) -> bool:
        """Reads the file where its content is not that of the last look; whether ``specs`` changed.

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
        if seen == self._seen and not again:
            return False
        try:
            specs = load_registry(self._path)
        except RegistryInvalid as invalid:
            log.error(  # noqa: TRY400  # the operator's mistake, logged without a traceback
                "the registry cannot be used: every model stays as it is", extra={"reason": invalid.message}
            )
            return False
        before, self.specs = self.specs, specs
        return specs != before
