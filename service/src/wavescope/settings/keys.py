"""The API keys: one YAML file, read again whenever it changes.

::

    keys:
      - name: pathology                 # required: names the caller in logs, and owns its jobs
        sha256: "9f86d081884c7d65…"     # required: of the key, 64 hexadecimal digits; never the key itself
        priority: interactive           # the best its calls may have: interactive | batch
        max_running: 4                  # requests computed at once; without it no limit of its own, as below
        max_waiting: 16                 # requests that wait
        max_forwards_per_minute: 60000  # images scored
        max_jobs: 100                   # jobs that have not ended

``wavescope keys new NAME`` makes a key and its entry. ``keys: []`` lets nobody in.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from wavescope.engine.quotas import Quota
from wavescope.errors import InvalidRequest
from wavescope.ingress.access import Access
from wavescope.ingress.keys import ApiKey, Keys, digest, new_key
from wavescope.ingress.plane import Doorkeeper, OpenDoor, Priority
from wavescope.settings.documents import UniqueKeyLoader
from wavescope.settings.service import Settings

MAX_NAME_CHARS: Final = 64
POLL_S: Final = 1.0
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)

_Limit = Annotated[StrictInt, Field(ge=0)]
_Signature = tuple[int, int, int]  # when a file was changed, its size and inode


class _KeyEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[StrictStr, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}$")]
    sha256: StrictStr
    priority: Literal["interactive", "batch"] = "interactive"
    max_running: Annotated[StrictInt, Field(ge=1)] | None = None
    max_waiting: _Limit | None = None
    max_forwards_per_minute: Annotated[StrictInt, Field(ge=1)] | None = None
    max_jobs: _Limit | None = None


def access(settings: Settings, *, local_only: bool) -> Access:
    """Who may come in over HTTP.

    Args:
        settings: keys and origins.
        local_only: answer to names of this host only; not where others may call, or something in front is in charge.
    """
    return Access(
        doorkeeper=doorkeeper(settings),
        allowed_origins=settings.allowed_origins,
        metrics_need_key=settings.metrics_need_key,
        local_names_only=local_only,
    )


def doorkeeper(settings: Settings) -> Doorkeeper:
    """Who knows the API keys."""
    return OpenDoor() if settings.api_keys_file is None else FileKeys(settings.api_keys_file)


def load_quotas(settings: Settings) -> Callable[[str], Quota]:
    """The quota of a caller, by name; without keys nobody has one."""
    keys = Keys(()) if settings.api_keys_file is None else FileKeys(settings.api_keys_file)
    return keys.quota


def load_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file in the format of this module's docstring.

    Raises:
        InvalidRequest: names the entry and the field at fault; never repeats a value, which may be a secret.
    """
    keys: list[ApiKey] = []
    for position, entry in enumerate(_entries(path)):
        key = _key(entry, position)
        if any(key.name == other.name for other in keys):
            raise _invalid(f"name {key.name!r} is used by two keys")
        same = [other.name for other in keys if other.sha256 == key.sha256]
        if same:
            raise _invalid(f"keys {same[0]!r} and {key.name!r} have the same sha256")
        keys.append(key)
    return tuple(keys)


def new_entry(name: str) -> tuple[str, str]:
    """A new secret, and the lines to be added to the file for it.

    Raises:
        InvalidRequest: names are 1 to 64 letters, digits, dots, dashes and underscores.
    """
    secret = new_key()
    _key({"name": name, "sha256": digest(secret)}, 0)
    return secret, f'  - name: {name}\n    sha256: "{digest(secret)}"\n'


class FileKeys:
    """The keys of a file, read again when it has changed, so that one can be withdrawn without a restart.

    A file that cannot be used is logged and changes nothing: a slip of the editor must neither lock everybody out nor
    let anybody in, nor keep a process from coming back. One that begins with such a file lets nobody in until it can
    be used.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic, poll_s: float = POLL_S
    ) -> None:
        """Reads the file.

        Args:
            path: of the keys file.
            clock: s, from any start.
            poll_s: the file is looked at so often at most.
        """
        self._path = path
        self._clock = clock
        self._poll_s = poll_s
        self._looked_at = clock()
        self._keys: Keys | None = None  # until the file could be used
        self._read: _Signature | None = None
        self._told = ""
        self._look()

    def caller(self, key: str | None) -> str:
        """See :class:`wavescope.ingress.plane.Doorkeeper`."""
        return self._current().caller(key)

    def priority(self, caller: str) -> Priority:
        """See :class:`wavescope.ingress.plane.Doorkeeper`."""
        return self._current().priority(caller)

    def quota(self, caller: str) -> Quota:
        """A key's quota; none for a key that was withdrawn, whose jobs may still run."""
        return self._current().quota(caller)

    def _current(self) -> Keys:
        now = self._clock()
        if now - self._looked_at >= self._poll_s:
            self._looked_at = now
            self._look()
        return self._keys or Keys(())

    def _look(self) -> None:
        """Reads the file unless it was read as it is; one that cannot be used is tried at every look, and told once."""
        signature = _signature(self._path)
        if signature is not None and signature == self._read:
            self._told = ""
            return
        try:
            self._keys = Keys(load_keys(self._path))
            self._read, self._told = signature, ""
            _log.info("API keys read")
        except InvalidRequest as error:
            if error.message != self._told:
                self._told = error.message
                kept = "nobody is let in" if self._keys is None else "API keys kept as they were"
                _log.error("%s: %s", kept, error.message)


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _entries(path: Path) -> list[Any]:
    try:
        document = yaml.load(path.read_text("utf-8"), UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise _invalid(f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # PyYAML's message quotes the file, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        raise _invalid("is not YAML" + ("" if mark is None else f": see line {mark.line + 1}")) from None
    if not isinstance(document, dict) or set(document) != {"keys"} or not isinstance(document["keys"], list):
        raise _invalid("must hold the one key 'keys', a list")
    return document["keys"]


def _key(entry: Any, position: int) -> ApiKey:
    name = entry.get("name") if isinstance(entry, dict) else None
    known = isinstance(name, str) and len(name) <= MAX_NAME_CHARS
    who = f"key {name!r}" if known else f"key number {position + 1}"
    try:
        parsed = _KeyEntry.model_validate(entry)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            # The name of the field is told by its place alone: it may be a secret that was put in the wrong line.
            allowed = ", ".join(_KeyEntry.model_fields)
            raise _invalid(f"{who} has a field that is none of {allowed}") from None
        raise _invalid(f"{who}: {field + ': ' if field else ''}{problem['msg']}") from None
    sha256 = parsed.sha256.lower()
    if not _HEX.fullmatch(sha256):
        raise _invalid(
            f"{who}: sha256 must be 64 hexadecimal digits, the SHA-256 of the key and not the key itself; "
            "'wavescope keys new NAME' prints both"
        )
    quota = Quota(parsed.max_running, parsed.max_waiting, parsed.max_forwards_per_minute, parsed.max_jobs)
    return ApiKey(parsed.name, sha256, parsed.priority, quota)


def _invalid(reason: str) -> InvalidRequest:
    return InvalidRequest(f"API keys file: {reason}", field="api_keys_file")
