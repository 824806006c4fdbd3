"""API keys: who calls is told by a secret that the service knows the SHA-256 of.

A key is 32 random bytes, so that a plain hash hides it: there is no dictionary to try, and salt or a slow hash, which
protect what people choose, would only slow down every request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from wavescope.engine.quotas import Quota
from wavescope.errors import Unauthenticated
from wavescope.ingress.plane import Priority

PREFIX: Final = "wsk_"  # lets scanners of repositories find a key that was committed
KEY_BYTES: Final = 32
MIN_KEY_CHARS: Final = 32  # shorter ones could be guessed from their hash
_HOW: Final = "send it in the header 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret.

    Attributes:
        name: of the caller, in logs and as owner of its jobs.
        sha256: of the key, 64 hexadecimal digits in lower case.
        priority: the best that its calls may have.
        quota: of all its calls together.
    """

    name: str
    sha256: str = field(repr=False)
    priority: Priority = "interactive"
    quota: Quota = field(default_factory=Quota)


def new_key() -> str:
    """A new secret: ``wsk_`` and 43 characters that need no quoting anywhere."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest(key: str) -> str:
    """The SHA-256 of a key, as keys files have it."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class Keys:
    """A fixed set of keys; see :class:`wavescope.ingress.plane.Doorkeeper`."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = {key.name: key for key in keys}

    def caller(self, key: str | None) -> str:
        """The name of a key; takes as long whichever key it is.

        Raises:
            Unauthenticated: no key, or none of these.
        """
        if not key:
            raise Unauthenticated(f"an API key is needed: {_HOW}", field="Authorization")
        if len(key) < MIN_KEY_CHARS:
            raise Unauthenticated(
                f"an API key has at least {MIN_KEY_CHARS} characters, this one {len(key)}: {_HOW}",
                field="Authorization",
                min_chars=MIN_KEY_CHARS,
            )
        found = None
        presented = digest(key)
        for known in self._keys.values():
            if hmac.compare_digest(known.sha256, presented):
                found = known
        if found is None:
            raise Unauthenticated(f"no such API key: {_HOW}", field="Authorization")
        return found.name

    def priority(self, caller: str) -> Priority:
        """The best priority of a key's calls; the last one for a key that was withdrawn since."""
        return self._keys[caller].priority if caller in self._keys else "batch"

    def quota(self, caller: str) -> Quota:
        """A key's quota; none for a key that was withdrawn, whose jobs may still run."""
        return self._keys[caller].quota if caller in self._keys else Quota()
