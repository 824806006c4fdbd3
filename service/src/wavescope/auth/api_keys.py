"""API keys: making, hashing and authenticating; the service knows only the SHA-256 of a key.

A key is 32 random bytes, so a plain hash is safe: there is no dictionary to try, and salt or a slow hash, which protect
passwords that people choose, would only slow down every request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from wavescope.admission.quotas import Quota
from wavescope.admission.wait_estimate import Priority
from wavescope.errors import Unauthenticated

PREFIX: Final = "wsk_"  # secret scanners find a committed key by it
KEY_BYTES: Final = 32
MIN_KEY_CHARS: Final = 32  # shorter ones could be guessed from their hash
_HINT: Final = "send it in the header 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """API key, without its secret.

    Attributes:
        name: name of the caller, in logs and as owner of its jobs.
        sha256: SHA-256 of the key, 64 hexadecimal digits in lower case.
        priority: highest priority that its calls may have.
        quota: quota of all its calls together.
    """

    name: str
    sha256: str = field(repr=False)
    priority: Priority = "interactive"
    quota: Quota = field(default_factory=Quota)


def new_key() -> str:
    """Make a new API key: ``wsk_`` and 43 characters that are safe in URLs and shells."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest(key: str) -> str:
    """Compute the SHA-256 of a key in hexadecimal, as it stands in the file of keys.

    Example:
        >>> digest("wsk_example")[:16]
        'a4b589bbe9888507'
    """
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class KeySet:
    """Fixed set of API keys; a :class:`wavescope.ingress.plane.Authenticator`."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = {key.name: key for key in keys}

    def caller(self, key: str | None) -> str:
        """Authenticate a key, in constant time; return its name.

        Raises:
            Unauthenticated: there is no key, or it is not in the set.
        """
        if not key:
            raise Unauthenticated(f"an API key is needed: {_HINT}", field="Authorization")
        if len(key) < MIN_KEY_CHARS:
            raise Unauthenticated(
                f"an API key has at least {MIN_KEY_CHARS} characters, this one {len(key)}: {_HINT}",
                field="Authorization",
                min_chars=MIN_KEY_CHARS,
            )
        match = None
        presented = digest(key)
        for candidate in self._keys.values():
            if hmac.compare_digest(candidate.sha256, presented):
                match = candidate
        if match is None:
            raise Unauthenticated(f"no such API key: {_HINT}", field="Authorization")
        return match.name

    def priority(self, caller: str) -> Priority:
        """Get the highest priority of a caller; ``batch`` for a key that was revoked since."""
        return self._keys[caller].priority if caller in self._keys else "batch"

    def quota(self, caller: str) -> Quota:
        """Get the quota of a caller; none for a key that was revoked, whose jobs may still run."""
        return self._keys[caller].quota if caller in self._keys else Quota()
