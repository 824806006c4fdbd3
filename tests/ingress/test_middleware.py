"""Who may come in over HTTP, decided before anything of the body is read; the same for the metadata of gRPC."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from tests.ingress.fakes import FakeContext, FakePlane, chunks, make_explanation, send

from wavescope.auth.api_keys import ApiKey, KeySet, digest
from wavescope.auth.key_file import FileKeys, make_access
from wavescope.errors import Forbidden, InvalidRequest, Unauthenticated
from wavescope.ingress.access import Access, check
from wavescope.ingress.app import build_app
from wavescope.ingress.call_context import admit, call_of, request_id_of
from wavescope.ingress.plane import CallContext, IngressLimits, NullAuthenticator
from wavescope.ingress.problems import MalformedRequest
from wavescope.settings import Settings, load_settings

ALICE, BOB = "wsk_" + "a" * 43, "wsk_" + "b" * 43
KEYS = KeySet([ApiKey("alice", digest(ALICE)), ApiKey("bob", digest(BOB), "batch")])
BEARER = {"Authorization": f"Bearer {ALICE}"}
OPEN = ["/livez", "/readyz", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/metrics"]


def app_with(calls: list[CallContext] | None = None, **given):
    """An application that also tells with which call its endpoint was reached."""
    app = build_app(
        FakePlane(make_explanation()), limits=IngressLimits(), draw=lambda _: b"", access=Access(**given)
    )

    async def whoami(request: Request) -> None:
        assert calls is not None
        calls.append(call_of(request))

    app.add_api_route("/whoami", whoami)
    return app


@pytest.mark.parametrize(
    "headers",
    [
        BEARER,
        {"authorization": f"bearer  {ALICE} "},
        {"X-API-Key": ALICE},
        {"Authorization": "Basic abc", "X-API-Key": ALICE},
    ],
)
def test_a_key_comes_in_either_header(headers):
    calls: list[CallContext] = []
    assert send(app_with(calls, authenticator=KEYS), "GET", "/whoami", headers=headers).status_code == 200
    assert calls[0].caller == "alice"


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": "wsk_" + "c" * 43}, {"Authorization": f"Basic {ALICE}"}]
)
def test_without_a_known_key_it_is_401_and_says_how(headers):
    reply = send(app_with(authenticator=KEYS), "POST", "/v1/explanations", headers=headers)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "unauthenticated"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert "wsk_" not in reply.text


def test_nothing_of_the_body_is_read_without_a_key():
    sent: list[int] = []
    reply = send(app_with(authenticator=KEYS), "POST", "/v1/explanations", content=chunks(100, 1024, sent))
    assert reply.status_code == 401
    assert sent == []


@pytest.mark.parametrize(
    "path", ["/v1/models", "/nowhere", "/", "/docsx", "/livez/", "//livez", "/v2/models/m"]
)
def test_every_other_path_needs_a_key(path):
    app = app_with(authenticator=KEYS, metrics_need_key=True)
    assert send(app, "GET", path).status_code == 401
    assert send(app, "GET", "/metrics").status_code == 401
    assert send(app, "GET", path, headers=BEARER).status_code in (200, 307, 404)


@pytest.mark.parametrize("path", OPEN)
def test_probes_documentation_and_metrics_need_none(path):
    assert send(app_with(authenticator=KEYS), "GET", path).status_code in (200, 404)


def test_priority_is_the_best_allowed_unless_less_is_asked_for():
    calls: list[CallContext] = []
    app = app_with(calls, authenticator=KEYS)
    for key, asked in [(ALICE, None), (ALICE, "batch"), (BOB, None), (BOB, "interactive")]:
        asked_for = {} if asked is None else {"Wavescope-Priority": asked}
        send(app, "GET", "/whoami", headers={"X-API-Key": key, **asked_for})
    assert [call.priority for call in calls] == ["interactive", "batch", "batch", "batch"]


def test_no_such_priority_names_the_header():
    reply = send(app_with(), "GET", "/v1/models", headers={"Wavescope-Priority": "urgent"})
    assert reply.status_code == 422
    assert reply.json()["field"] == "Wavescope-Priority"
    assert reply.json()["limits"] == {"allowed": ["interactive", "batch"]}


@pytest.mark.parametrize(
    ("value", "fresh"),
    [(None, False), ("no-cache", True), ("max-age=0, No-Store", True), ("no-cached", False), ("", False)],
)
def test_cache_control_asks_for_a_fresh_result(value, fresh):
    calls: list[CallContext] = []
    send(app_with(calls), "GET", "/whoami", headers={} if value is None else {"Cache-Control": value})
    assert calls[0].fresh is fresh


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (None, "localhost:8000", 200),
        ("http://localhost:8000", "localhost:8000", 200),
        ("http://LOCALHOST:8000", "localhost:8000", 200),
        ("https://maps.example", "maps.example", 200),
        ("https://maps.example", "maps.example:443", 200),
        ("http://[::1]:8000", "[::1]:8000", 200),
        ("https://partner.example", "maps.example", 200),
        ("https://evil.example", "localhost:8000", 403),
        ("http://localhost:9999", "localhost:8000", 403),
        ("https://partner.example.evil.example", "maps.example", 403),
        ("null", "localhost:8000", 403),
        ("", "localhost:8000", 403),
        ("http://localhost:x", "localhost:8000", 403),
        ("file://", "localhost", 403),
    ],
)
def test_pages_of_other_sites_may_not_call(origin, host, status):
    app = app_with(allowed_origins=("https://partner.example",))
    headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
    reply = send(app, "GET", "/v1/models", headers=headers)
    assert reply.status_code == status
    if status == 403:
        assert (reply.json()["code"], reply.json()["field"]) == ("forbidden", "Origin")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LocalHost:8000", 200),
        ("wavescope.localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("127.1.2.3", 200),
        ("[::1]:8000", 200),
        ("rebound.example:8000", 403),
        ("localhost.evil.example", 403),
        ("evil-localhost", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
        ("0.0.0.0", 403),
    ],
)
def test_without_keys_only_names_of_this_host_are_answered(host, status):
    app = app_with(local_names_only=True)
    reply = send(app, "GET", "/v1/models", headers={"Host": host})
    assert reply.status_code == status
    assert send(app_with(), "GET", "/v1/models", headers={"Host": host}).status_code == 200
    if status == 403:
        assert (reply.json()["code"], reply.json()["field"]) == ("forbidden", "Host")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["localhost", "localhost"],
        ["localhost", "evil.example"],
        [""],
        ["localhost/evil.example"],
        ["localhost:8000/"],
        ["evil.example@localhost"],
        ["localhost?evil"],
        ["localhost#evil"],
        ["localhost, evil.example"],
        ["localhost:80:80"],
        ["localhost:port"],
        ["["],
        ["::1"],
        ["local host"],
        ["lo\xe9al"],
    ],
)
def test_a_request_has_one_host_and_nothing_around_it(headers):
    scope = asked(*(("host", value) for value in headers))
    with pytest.raises(MalformedRequest, match="Host") as caught:
        check(scope, Access())
    assert caught.value.field == "Host"


def test_another_name_of_this_host_is_let_in_by_a_setting():
    settings = load_settings(allowed_hosts="wavescope, Explain.example.org")
    access = make_access(settings, local_only=True)
    for host in ("wavescope:8000", "explain.example.org", "EXPLAIN.example.org:443", "localhost"):
        assert check(asked(("host", host)), access) == ("", "interactive")
    for host in ("other:8000", "example.org", "wavescope.example.org"):
        with pytest.raises(
            Forbidden, match=rf"header Host is {host}, not localhost.* \(WAVESCOPE_ALLOWED_HOSTS\)"
        ):
            check(asked(("host", host)), access)


def test_http_1_0_needs_no_host():
    assert check(asked(version="1.0"), Access(local_names_only=True)) == ("", "interactive")


def test_of_two_origins_none_counts():
    ours = "http://localhost"
    access = Access(allowed_origins=("https://partner.example",))
    for pair in [(ours, ours), (ours, "https://evil.example"), ("https://partner.example", ours)]:
        with pytest.raises(Forbidden, match="Origin"):
            check(asked(("host", "localhost"), *(("origin", one) for one in pair)), access)
    assert check(asked(("host", "localhost"), ("origin", ours)), access) == ("", "interactive")


def asked(*headers: tuple[str, str], version: str = "1.1") -> dict[str, Any]:
    """The scope of a request."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"type": "http", "http_version": version, "path": "/v1/models", "headers": encoded}


def test_settings_say_who_may_come_in(tmp_path):
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: []")
    given = Settings(api_keys_file=keys, metrics_need_key=True, allowed_origins="https://a.example, null")
    found = make_access(given, local_only=False)
    assert isinstance(found.authenticator, FileKeys)
    assert (found.allowed_origins, found.metrics_need_key) == (("https://a.example", "null"), True)
    assert not found.local_names_only
    unkeyed = make_access(Settings(), local_only=True)
    assert isinstance(unkeyed.authenticator, NullAuthenticator)
    assert unkeyed.local_names_only


def test_metadata_gives_the_call_of_an_rpc():
    metadata = [
        ("x-request-id", "mine"),
        ("authorization", f"Bearer {ALICE}"),
        ("wavescope-priority", "batch"),
        ("cache-control", "no-cache"),
    ]
    call = admit(FakeContext(metadata), KEYS, IngressLimits(), request_id="r")
    assert call == CallContext("r", "alice", "batch", fresh=True)
    assert admit(FakeContext([("x-api-key", BOB)]), KEYS, IngressLimits(), request_id="r") == CallContext(
        "r", "bob", "batch"
    )
    assert admit(FakeContext(), NullAuthenticator(), IngressLimits(), request_id="r") == CallContext("r")


def test_an_rpc_has_the_id_of_its_caller_else_that_of_the_proxy():
    proxied = FakeContext([("x-request-id", "mine")], trailing={"request_id": "the proxy's"})
    assert request_id_of(proxied) == "mine"
    assert request_id_of(FakeContext(trailing={"request_id": "the proxy's"})) == "the proxy's"
    assert len(request_id_of(FakeContext())) == 32


@pytest.mark.parametrize(
    ("context", "error", "message"),
    [
        (FakeContext(), Unauthenticated, "an API key is needed"),
        (FakeContext([("x-api-key", b"\xff")]), Unauthenticated, "an API key is needed"),
        (
            FakeContext([("x-api-key", ALICE), ("wavescope-priority", "x")]),
            InvalidRequest,
            "Wavescope-Priority",
        ),
        (FakeContext([("x-api-key", ALICE)], address="ipv4:10.0.0.1:1"), Forbidden, "only this host"),
    ],
)
def test_rpcs_are_refused_for_the_same_reasons(context, error, message):
    with pytest.raises(error, match=message):
        admit(context, KEYS, IngressLimits(loopback_only=True), request_id="r")
