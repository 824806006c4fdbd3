"""File of API keys: one YAML file, reloaded whenever it changes.

::

    keys:
      - name: pathology                 # required: name of the caller in logs, and owner of its jobs
        sha256: "9f86d081884c7d65…"     # required: SHA-256 of the key, 64 hexadecimal digits; never the key itself
        priority: interactive           # highest priority of its calls: interactive | batch
        max_running: 4                  # requests that run at once; no limit if left out, here and below
        max_waiting: 16                 # requests in the queue
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
from typing import TYPE_CHECKING, Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from wavescope.admission.quotas import Quota
from wavescope.admission.wait_estimate import Priority
from wavescope.auth.api_keys import ApiKey, KeySet, digest, new_key
from wavescope.errors import InvalidRequest
from wavescope.ingress.plane import Authenticator, NullAuthenticator
from wavescope.settings.documents import UniqueKeyLoader
from wavescope.settings.service import Settings

if TYPE_CHECKING:
    from wavescope.ingress.access import Access

MAX_NAME_CHARS: Final = 64
POLL_S: Final = 1.0
_HEX: Final = re.compile(r"[0-9a-f]{64}")
log = logging.getLogger(__name__)

_Limit = Annotated[StrictInt, Field(ge=0)]
_Signature = tuple[int, int, int]  # time of change, size and inode of a file


class _KeyEntry(BaseModel):
    """Entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[StrictStr, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}$")]
    sha256: StrictStr
    priority: Priority = "interactive"
    max_running: Annotated[StrictInt, Field(ge=1)] | None = None
    max_waiting: _Limit | None = None
    max_forwards_per_minute: Annotated[StrictInt, Field(ge=1)] | None = None
    max_jobs: _Limit | None = None


def make_access(settings: Settings, *, local_only: bool) -> Access:
    """Make the access rules of HTTP: keys, allowed origins and host names.

    Args:
        settings: file of keys, allowed origins and hosts.
        local_only: whether the service answers to names of this host only: if it has no keys and no proxy in front.
    """
    from wavescope.ingress.access import (
        Access,  # imported late: it needs gRPC, which wavescope alone does not install
    )

    return Access(
        authenticator=make_authenticator(settings),
        allowed_origins=settings.allowed_origins,
        metrics_need_key=settings.metrics_need_key,
        events_need_key=settings.events_need_key,
        local_names_only=local_only,
        allowed_hosts=settings.allowed_hosts,
    )


def make_authenticator(settings: Settings) -> Authenticator:
    """Make the authenticator that the settings ask for; without a file of keys everybody may call."""
    return NullAuthenticator() if settings.api_keys_file is None else FileKeys(settings.api_keys_file)


def load_quotas(settings: Settings) -> Callable[[str], Quota]:
    """Load the quotas: a function from the name of a caller to its quota; without keys nobody has one."""
    keys = KeySet(()) if settings.api_keys_file is None else FileKeys(settings.api_keys_file)
    return keys.quota


def load_keys(path: Path) -> tuple[ApiKey, ...]:
    """Load the keys of a file, in the format of this module's docstring.

    Raises:
        InvalidRequest: the file is wrong; the message names entry and field but no value, which may be a secret.
    """
    keys: list[ApiKey] = []
    for position, entry in enumerate(_load_entries(path)):
        key = _parse_key(entry, position)
        if any(key.name == other.name for other in keys):
            raise _invalid(f"name {key.name!r} is used by two keys")
        same = [other.name for other in keys if other.sha256 == key.sha256]
        if same:
            raise _invalid(f"keys {same[0]!r} and {key.name!r} have the same sha256")
        keys.append(key)
    return tuple(keys)


def new_entry(name: str) -> tuple[str, str]:
    """Make a key and its entry: the secret, and the lines to be added to the file.

    Raises:
        InvalidRequest: the name is not 1 to 64 letters, digits, dots, dashes and underscores.
    """
    secret = new_key()
    _parse_key({"name": name, "sha256": digest(secret)}, 0)
    return secret, f'  - name: {name}\n    sha256: "{digest(secret)}"\n'


class FileKeys:
    """API keys of a file that is reloaded when it changes, so that a key is revoked without a restart.

    An invalid file is logged and changes nothing: a typing error must neither lock everybody out nor let anybody in,
    nor keep a process from starting. A process that starts with an invalid file refuses everybody until it is valid.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic, poll_s: float = POLL_S
    ) -> None:
        """Load the file.

        Args:
            path: path of the file.
            clock: reads a monotonic clock, in seconds.
            poll_s: shortest time between two checks of the file, in seconds.
        """
        self._path = path
        self._clock = clock
        self._poll_s = poll_s
        self._checked_at = clock()
        self._keys: KeySet | None = None  # None until the file was valid once
        self._loaded: _Signature | None = None
        self._logged = ""
        self._reload()

    def caller(self, key: str | None) -> str:
        """Authenticate a key (:meth:`KeySet.caller`)."""
        return self._current().caller(key)

    def priority(self, caller: str) -> Priority:
        """Get the highest priority of a caller (:meth:`KeySet.priority`)."""
        return self._current().priority(caller)

    def quota(self, caller: str) -> Quota:
        """Get the quota of a caller (:meth:`KeySet.quota`)."""
        return self._current().quota(caller)

    def _current(self) -> KeySet:
        now = self._clock()
        if now - self._checked_at >= self._poll_s:
            self._checked_at = now
            self._reload()
        return self._keys or KeySet(())

    def _reload(self) -> None:
        """Reload the file if it has changed; an invalid one is tried again at every check, and logged once."""
        signature = _signature(self._path)
        if signature is not None and signature == self._loaded:
            self._logged = ""
            return
        try:
            self._keys = KeySet(load_keys(self._path))
            self._loaded, self._logged = signature, ""
            log.info("API keys read")
        except InvalidRequest as error:
            if error.message != self._logged:
                self._logged = error.message
                kept = "nobody is let in" if self._keys is None else "API keys kept as they were"
                log.error("%s: %s", kept, error.message)  # noqa: TRY400  # a traceback would quote the file


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _load_entries(path: Path) -> list[Any]:
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


def _parse_key(entry: Any, position: int) -> ApiKey:
    name = entry.get("name") if isinstance(entry, dict) else None
    is_named = isinstance(name, str) and len(name) <= MAX_NAME_CHARS
    who = f"key {name!r}" if is_named else f"key number {position + 1}"
    try:
        parsed = _KeyEntry.model_validate(entry)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            # The name of the field is not shown: it may be a secret in the wrong line.
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
