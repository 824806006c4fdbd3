"""Behind a gateway's path prefix, links, ``Location`` and the documentation lead back through the gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.ingress.fakes import IMAGE, FakePlane, draw

from wavescope.errors import Unauthenticated
from wavescope.ingress.access import Access
from wavescope.ingress.app import build_app
from wavescope.ingress.plane import IngressLimits, NullAuthenticator
from wavescope.ingress.prefix import Prefix, route_path
from wavescope.ingress.ray_proxy.http_guard import Edge
from wavescope.serving import proxy
from wavescope.settings import Settings, load_settings


class Strict(NullAuthenticator):
    """Knows no key."""

    def caller(self, key: str | None) -> str:
        raise Unauthenticated("an API key is needed", field="Authorization")


def ask(
    plane: FakePlane, method: str, path: str, prefix: Prefix, *, access: Access | None = None, **options: Any
) -> httpx.Response:
    """The reply to one request, by way of what stands before the proxy."""

    async def run() -> httpx.Response:
        app = Edge(
            build_app(plane, limits=IngressLimits(), draw=draw, access=access),
            max_body_bytes=10**6,
            access=access,
            prefix=prefix,
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


FILES = {"image": ("a.png", IMAGE)}
SET, FORWARDED = Prefix("/a/b"), Prefix(forwarded=True)
TOLD = {"X-Forwarded-Prefix": "/a/b"}
WAYS = [
    pytest.param("", SET, {}, id="set, taken away"),
    pytest.param("/a/b", SET, {}, id="set, passed on"),
    pytest.param("", FORWARDED, TOLD, id="told, taken away"),
    pytest.param("/a/b", FORWARDED, TOLD, id="told, passed on"),
    pytest.param("", FORWARDED, {"X-Forwarded-Prefix": "/a/, /b"}, id="told by two"),
    pytest.param("", Prefix("/other", forwarded=True), TOLD, id="told and set"),
]


@pytest.mark.parametrize(("sent", "prefix", "headers"), WAYS)
def test_links_and_location_have_the_prefix(
    plane: FakePlane, sent: str, prefix: Prefix, headers: dict[str, str]
) -> None:
    made = ask(plane, "POST", f"{sent}/v1/jobs", prefix, files=FILES, headers=headers)
    assert made.status_code == 202, made.text
    job = made.json()
    assert made.headers["location"] == job["links"]["self"] == f"/a/b/v1/jobs/{job['id']}"
    assert job["links"]["result"] == f"/a/b/v1/jobs/{job['id']}/result"
    found = ask(plane, "GET", f"{sent}/v1/jobs/{job['id']}", prefix, headers=headers)
    assert found.json()["links"] == job["links"]
    events = ask(plane, "GET", f"{sent}/v1/jobs/{job['id']}/events", prefix, headers=headers)
    state = next(line for line in events.text.splitlines() if line.startswith("data: "))
    assert json.loads(state.removeprefix("data: "))["links"] == job["links"]


@pytest.mark.parametrize(("sent", "prefix", "headers"), WAYS)
def test_the_documentation_calls_through_the_gateway(
    plane: FakePlane, sent: str, prefix: Prefix, headers: dict[str, str]
) -> None:
    document = ask(plane, "GET", f"{sent}/openapi.json", prefix, headers=headers).json()
    assert document["servers"] == [{"url": "/a/b"}]
    page = ask(plane, "GET", f"{sent}/docs", prefix, headers=headers)
    assert page.status_code == 200
    assert '"/' not in page.text.replace("https://", "")  # all addresses are relative
    assert ask(plane, "GET", f"{sent}/docs/swagger-ui.css", prefix, headers=headers).status_code == 200


@pytest.mark.parametrize(("sent", "prefix", "headers"), WAYS)
@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/readyz", 200), ("/docs", 200), ("/metrics", 200), ("/v1/models", 401), ("", 401)],
)
def test_what_is_open_without_a_key_is_open_behind_a_prefix(
    plane: FakePlane, sent: str, prefix: Prefix, headers: dict[str, str], path: str, status: int
) -> None:
    access = Access(authenticator=Strict())
    assert ask(plane, "GET", f"{sent}{path}", prefix, headers=headers, access=access).status_code == status


def test_probes_need_no_prefix(plane: FakePlane) -> None:
    assert ask(plane, "GET", "/readyz", SET).status_code == 200
    assert ask(plane, "GET", "/", SET).json() == ask(plane, "GET", "/a/b", SET).json() == {"status": "alive"}
    assert ask(plane, "GET", "/a/bc/readyz", SET).status_code == 404


@pytest.mark.parametrize(
    "told",
    [
        "//example.org",
        "https://example.org",
        "/a b",
        "/../x",
        "/a?b",
        "a",
        "/v1",
        "/docs/x",
        "/" + 300 * "a",
        "",
    ],
)
def test_what_is_no_prefix_is_not_told_on(plane: FakePlane, told: str) -> None:
    made = ask(plane, "POST", "/v1/jobs", FORWARDED, files=FILES, headers={"X-Forwarded-Prefix": told})
    assert made.headers["location"].startswith("/v1/jobs/")


def test_a_prefix_is_believed_where_forwarded_addresses_are(
    plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(proxy.FORWARDED, raising=False)
    made = ask(plane, "POST", "/v1/jobs", proxy.known_prefix(Settings()), files=FILES, headers=TOLD)
    assert made.headers["location"].startswith("/v1/jobs/")
    monkeypatch.setenv(proxy.FORWARDED, "10.0.0.1")
    made = ask(plane, "POST", "/v1/jobs", proxy.known_prefix(Settings()), files=FILES, headers=TOLD)
    assert made.headers["location"].startswith("/a/b/v1/jobs/")


@pytest.mark.parametrize(("given", "kept"), [("/a/b/", "/a/b"), ("/", ""), ("", ""), ("/v10", "/v10")])
def test_the_setting_is_a_path(given: str, kept: str) -> None:
    assert load_settings(root_path=given).root_path == kept


@pytest.mark.parametrize(
    "given", ["a", "//a", "/a//b", "/v1", "/v2/x", "/docs", "/a b", "http://host/a", "/.."]
)
def test_a_setting_that_is_no_prefix_is_refused(given: str) -> None:
    with pytest.raises(
        Exception, match=r"root_path \(WAVESCOPE_ROOT_PATH\): .* must be a path such as /wavescope"
    ):
        load_settings(root_path=given)


def test_a_scope_of_another_server_keeps_its_own_prefix() -> None:
    scope = {"type": "http", "path": "/x/v1/jobs", "root_path": "/x", "headers": []}
    SET.apply(scope)
    assert (scope["path"], scope["root_path"], route_path(scope)) == ("/x/v1/jobs", "/x", "/v1/jobs")
