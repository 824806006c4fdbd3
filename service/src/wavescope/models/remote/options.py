"""Options of the registry for calls to a model that is served elsewhere; checked when they are made."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wavescope.models.layouts import LAYOUTS, Layout
from wavescope.retries import RetryPolicy

if TYPE_CHECKING:
    from wavescope.models.spec import ModelSpec

DEFAULT_TIMEOUT_S = 60.0
MAX_CONCURRENCY = 64
MAX_ATTEMPTS = 20
# Of one batch, where its server cannot be reached or is overloaded; a registry entry may give another number.
RETRIES: Final = RetryPolicy(attempts=4, first_delay_s=0.2, max_delay_s=5.0)

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What the protocols set themselves.
_OURS = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "inference-header-content-length",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    )
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates beyond the system's own.

    Attributes:
        ca_file: of the authorities that the server's certificate may come from, PEM; replaces the system's.
        cert_file, key_file: our own certificate with its chain, and its key, PEM; both or none.

    Raises:
        ValueError: of the last two only one is given.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("tls: cert_file and key_file go together")


@dataclass(frozen=True, slots=True)
class Header:
    """A header of every request, or its gRPC metadata. Where its value is a secret, only the place of it is kept here.

    Attributes:
        name: of the header, in any case.
        literal: its value; not shown in the object's ``repr``.
        env: the environment variable of the replica that holds it.
        file: that holds it, read anew for each request so that it may be replaced; surrounding blanks do not count.

    Raises:
        ValueError: the name is none or one of ours, or not exactly one of the three is given.
    """

    name: str
    literal: str | None = field(default=None, repr=False)
    env: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        lower = self.name.lower()
        if not _HEADER.fullmatch(self.name) or lower.startswith("grpc-") or lower.endswith("-bin"):
            raise ValueError(f"headers: {self.name!r} is no name of a header")
        if lower in _OURS:
            raise ValueError(f"headers: {self.name!r} is set by the protocol itself")
        if sum(value is not None for value in (self.literal, self.env, self.file)) != 1:
            raise ValueError(f"headers: {self.name!r} needs a value, or one of env and file")
        if self.literal is not None and not is_header_value(self.literal):
            raise ValueError(f"headers: the value of {self.name!r} must be printable ASCII")


def is_header_value(text: str) -> bool:
    """Whether a text can be sent: printable ASCII, so that it cannot end the header."""
    return bool(re.fullmatch(r"[ -~]+", text))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """Options of calls to a remote model.

    Attributes:
        input: the tensor's name; ``None`` takes what the server's metadata says, else ``input-0``.
        output: the tensor's name, for KServe v1 a key of each prediction; ``None`` takes the only or first one.
        input_layout: order of the axes of one batch of images.
        timeout_s: for one batch, all attempts together.
        attempts: that are made at most, for a server that cannot be reached or is overloaded.
        concurrency: batches that are under way at once.
        tls: certificates; ``None`` for the system's.
        headers: of every request.

    Raises:
        ValueError: begins with the field that is wrong.
    """

    input: str | None = None
    output: str | None = None
    input_layout: Layout = "nchw"
    timeout_s: float = DEFAULT_TIMEOUT_S
    attempts: int = RETRIES.attempts
    concurrency: int = 4
    tls: Tls | None = None
    headers: tuple[Header, ...] = ()

    @property
    def retries(self) -> RetryPolicy:
        """Retry policy of one batch."""
        return replace(RETRIES, attempts=self.attempts)

    def __post_init__(self) -> None:
        if self.input_layout not in LAYOUTS:
            raise ValueError(f"input_layout: {self.input_layout!r} is none of {', '.join(LAYOUTS)}")
        if not 0 < self.timeout_s < math.inf:
            raise ValueError(f"timeout_s: {self.timeout_s} must be above 0")
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts: {self.attempts} must be 1 to {MAX_ATTEMPTS}")
        if not 1 <= self.concurrency <= MAX_CONCURRENCY:
            raise ValueError(f"concurrency: {self.concurrency} must be 1 to {MAX_CONCURRENCY}")
        for name in ("input", "output"):
            if getattr(self, name) == "":
                raise ValueError(f"{name}: must not be empty")
        names = [header.name.lower() for header in self.headers]
        if len(set(names)) != len(names):
            raise ValueError("headers: a header is given twice")


def certificate_files(spec: ModelSpec, cache_dir: Path) -> tuple[Path, ...]:
    """The files of TLS that connections to a remote model are made with; headers' are read for each request."""
    del cache_dir
    tls = spec.remote.tls if spec.remote is not None else None
    paths = (tls.ca_file, tls.cert_file, tls.key_file) if tls is not None else ()
    return tuple(Path(path) for path in paths if path is not None)


def check_files(options: RemoteOptions) -> None:
    """Check that the files of ``options`` exist.

    Raises:
        ValueError: begins with the field.
    """
    tls = options.tls or Tls()
    named = {"tls.ca_file": tls.ca_file, "tls.cert_file": tls.cert_file, "tls.key_file": tls.key_file}
    for header in options.headers:
        named[f"headers.{header.name}"] = header.file
    for name, path in named.items():
        if path is not None and not Path(path).is_file():
            raise ValueError(f"{name}: there is no file {path!r}")
