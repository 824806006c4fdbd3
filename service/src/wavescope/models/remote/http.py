"""HTTP to one host: its addresses checked, no redirects, no proxies, no more read than is allowed."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy

import httpx
import orjson

from wavescope.models.remote.address import Address, authority
from wavescope.models.remote.faults import Refused, TooLarge, Unavailable, of_refusal, readable
from wavescope.models.remote.headers import Headers
from wavescope.models.remote.hosts import AllowedHosts
from wavescope.models.remote.options import RemoteOptions, Tls

CONNECT_TIMEOUT_S = 5.0
MAX_REPLY_BYTES = 64 * 2**20
# The request is wrong, or wrong in this form.
_BAD_REQUEST = frozenset((400, 415, 422, 500, 501))
_UNAVAILABLE = frozenset((502, 503, 504))


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """A reply of status 200."""

    headers: Mapping[str, str]
    body: bytes


class Http:
    """Sends requests to the server of one model, from any thread.

    Args:
        address: of the model.
        hosts: that may be asked; the host's addresses are looked up and checked for every request.
        options: TLS, headers, and how many requests are under way at once.
        clock: seconds, monotonic.

    Raises:
        ValueError: a header's or certificate's file cannot be used.
    """

    def __init__(
        self,
        address: Address,
        hosts: AllowedHosts,
        options: RemoteOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._hosts = hosts
        self._headers = Headers(options.headers)
        self._clock = clock
        # The environment's proxies and .netrc would be a way around the list of hosts.
        self._client = httpx.Client(
            verify=_tls(options.tls) if address.secure else False,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=options.concurrency + 1),
        )
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def get(self, path: str, timeout_s: float) -> Reply:
        """The reply to ``GET path``."""
        return self._request("GET", path, None, {}, timeout_s)

    def post(self, path: str, content: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        """The reply to ``POST path``; content with its type and length among the headers.

        Raises:
            Unavailable, TooLarge, Refused: as the status says.
        """
        return self._request("POST", path, content, headers, timeout_s)

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def _request(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Reply:
        try:
            addresses = self._hosts.resolve(self._address.host, self._address.port)
            own = self._headers.read()
        except (PermissionError, ValueError) as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Unavailable(f"the name of {self._address.authority} cannot be resolved") from error
        deadline = self._clock() + timeout_s
        for place, ip in enumerate(addresses):
            try:
                return self._send(method, ip, path, content, {**own, **headers}, deadline, own)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if place + 1 == len(addresses):
                    raise self._unreached(error) from error
            except httpx.TransportError as error:
                raise self._unreached(error) from error
        raise AssertionError("a host has at least one address")

    def _send(
        self,
        method: str,
        ip: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        deadline: float,
        own: dict[str, str],
    ) -> Reply:
        left = max(deadline - self._clock(), 1e-3)
        scheme = "https" if self._address.secure else "http"
        # To the address that was checked, so that the name cannot become another one between the check and the call.
        with self._client.stream(
            method,
            f"{scheme}://{authority(ip, self._address.port)}{path}",
            content=content,
            headers={
                **headers,
                "host": self._host(),
                "user-agent": "wavescope",
                "accept-encoding": "identity",
            },
            timeout=httpx.Timeout(left, connect=min(left, CONNECT_TIMEOUT_S)),
            extensions={"sni_hostname": self._address.host} if self._address.secure else {},
        ) as response:
            body = self._body(response, deadline)
            if response.status_code == httpx.codes.OK:
                return Reply(response.headers, body)
            raise self._fault(response, body, self._headers.secrets(own))

    def _host(self) -> str:
        usual = 443 if self._address.secure else 80
        whole = self._address.authority
        return whole.removesuffix(f":{usual}") if self._address.port == usual else whole

    def _body(self, response: httpx.Response, deadline: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise Refused(f"the reply has more than {MAX_REPLY_BYTES} bytes")
            if self._clock() > deadline:
                raise Unavailable(f"{self._address.authority} did not answer in time")
            parts.append(part)
        return b"".join(parts)

    def _fault(self, response: httpx.Response, body: bytes, secrets: tuple[str, ...]) -> Exception:
        status = response.status_code
        text = readable(_words(body), secrets)
        reason = f"{self._address.authority} answered {status}" + (f": {text}" if text else "")
        if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge(reason)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return Unavailable(reason, after_s=_retry_after(response), alive=True)
        if status in _UNAVAILABLE:
            return Unavailable(reason, after_s=_retry_after(response))
        if status in _BAD_REQUEST:
            return of_refusal(text, reason, form=True)
        if response.has_redirect_location:
            reason = f"{self._address.authority} answered {status}, a redirect, which is not followed"
        return Refused(reason)

    def _unreached(self, error: httpx.TransportError) -> Exception:
        where = self._address.authority
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Refused(f"the certificate of {where} is not trusted: {cause.verify_message}")
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.TimeoutException):
            return Unavailable(f"{where} did not answer in time")
        return Unavailable(f"{where} cannot be reached ({type(error).__name__})")


def json_of(body: bytes | memoryview, what: str) -> dict[str, object]:
    """The JSON object in a reply.

    Raises:
        Refused: it is none.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(f"{what} is not JSON") from error
    if not isinstance(document, dict):
        raise Refused(f"{what} is no JSON object")
    return document


def _words(body: bytes) -> str:
    """Reason of a failure in a reply: the field of its JSON, else its text."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:2000].decode("utf-8", "replace")
    found = document.get("error", document.get("detail")) if isinstance(document, dict) else document
    return str(found or "")


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((at - datetime.now(UTC)).total_seconds(), 0.0) if at.tzinfo else None


def _tls(tls: Tls | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file if tls else None)
        if tls is not None and tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"tls: the certificates cannot be read: {error}") from error
    return context


def _no_password() -> str:
    # Without it OpenSSL would ask at the terminal.
    raise ValueError("tls.key_file: is encrypted; give it without a password")
