"""Which hosts and addresses may be asked, and what is no way around the list."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavescope.engine.types import Preprocessing
from wavescope.errors import RegistryInvalid
from wavescope.models.load import load
from wavescope.models.remote.address import parse
from wavescope.models.remote.hosts import allowed_hosts, host_of
from wavescope.models.spec import ModelSpec

METADATA = "169.254.169.254"
# The same address, as C libraries, browsers and IPv6 spell it.
OTHER_SPELLINGS = (
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "169.254.169.254.",
    "0169.254.169.254",
)


def resolver(*addresses: str) -> Any:
    """A name service that knows one answer."""
    return lambda host, port, **_: [(None, None, None, "", (address, port)) for address in addresses]


def test_nothing_is_reached_without_a_list() -> None:
    hosts = allowed_hosts(())
    for host in ("models.example.org", "127.0.0.1", "localhost", "::1"):
        assert not hosts.admits(host, 80)
        with pytest.raises(PermissionError, match="is not among the hosts"):
            hosts.resolve(host, 80, getaddrinfo=resolver("10.0.0.1"))


@pytest.mark.parametrize(
    ("entry", "host", "port", "admitted"),
    [
        ("models.example.org", "models.example.org", 80, True),
        ("Models.Example.ORG.", "models.example.org", 9000, True),
        ("models.example.org", "evil.models.example.org", 80, False),
        ("models.example.org", "models.example.org.evil.org", 80, False),
        ("models.example.org", "xmodels.example.org", 80, False),
        ("models.example.org:9000", "models.example.org", 9000, True),
        ("models.example.org:9000", "models.example.org", 9001, False),
        ("*.example.org", "a.example.org", 80, True),
        ("*.example.org", "a.b.example.org", 80, True),
        ("*.example.org", "example.org", 80, False),
        ("*.example.org", "evilexample.org", 80, False),
        ("*.example.org:9000", "a.example.org", 80, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.1", "127.0.0.2", 80, False),
        ("localhost", "127.0.0.1", 80, False),
        ("127.0.0.1", "localhost", 80, False),
        ("[::1]:9000", "::1", 9000, True),
        ("::1", "::1", 80, True),
        ("0:0:0:0:0:0:0:1", "::1", 80, True),
    ],
)
def test_an_entry_admits_what_it_names(entry: str, host: str, port: int, admitted: bool) -> None:
    assert allowed_hosts([entry]).admits(host, port) is admitted


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.", "*.10.0.0.1", "a b", "http://a", "a:0", "a:70000", "a:b", "a/b", "u@a", "0x7f.1", "[::1"],
)
def test_an_entry_of_another_form_is_refused(entry: str) -> None:
    with pytest.raises(
        RegistryInvalid, match=r"setting remote_hosts: .* is not host, host:port or"
    ) as caught:
        allowed_hosts([entry])
    assert caught.value.field == "remote_hosts"


@pytest.mark.parametrize("spelling", OTHER_SPELLINGS)
def test_an_address_has_one_spelling(spelling: str) -> None:
    with pytest.raises(ValueError, match="neither the name of a host nor an IP address"):
        host_of(spelling)


@pytest.mark.parametrize(
    "spelling", ["::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "0:0:0:0:0:ffff:169.254.169.254"]
)
def test_ipv4_within_ipv6_is_that_ipv4_address(spelling: str) -> None:
    assert host_of(spelling) == METADATA


def test_addresses_with_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        host_of("fe80::1%eth0")


@given(st.integers(0, 2**32 - 1))
def test_what_the_c_library_reads_as_an_address_is_one_or_is_refused(number: int) -> None:
    """No number, in any of its bases, passes as a name that then resolves to itself."""
    for text in (str(number), hex(number), f"{number >> 24}.{number & 0xFFFFFF}", f"0{number:o}"):
        try:
            host = host_of(text)
        except ValueError:
            continue
        assert host == socket.inet_ntoa(socket.inet_aton(text))


@pytest.mark.parametrize(
    "address",
    [
        METADATA,
        "169.254.0.1",
        "fe80::1",
        "::ffff:169.254.169.254",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_a_listed_name_is_no_way_to_delicate_addresses(address: str) -> None:
    hosts = allowed_hosts(["models.example.org"])
    with pytest.raises(PermissionError, match="which the setting remote_hosts has to list by itself"):
        hosts.resolve("models.example.org", 80, getaddrinfo=resolver("10.0.0.1", address))


def test_addresses_of_a_private_network_are_what_names_are_for() -> None:
    hosts = allowed_hosts(["*.models.svc"])
    found = hosts.resolve("birds.models.svc", 80, getaddrinfo=resolver("10.0.0.1", "fd00::1", "10.0.0.1"))
    assert found == ["10.0.0.1", "fd00::1"]


def test_a_delicate_address_that_is_listed_is_meant() -> None:
    hosts = allowed_hosts(["models.example.org", METADATA])
    assert hosts.resolve("models.example.org", 80, getaddrinfo=resolver(METADATA)) == [METADATA]
    assert hosts.resolve(METADATA, 80) == [METADATA]


def test_localhost_is_loopback_alone() -> None:
    hosts = allowed_hosts(["localhost"])
    assert hosts.resolve("localhost", 80, getaddrinfo=resolver("127.0.0.1")) == ["127.0.0.1"]
    with pytest.raises(PermissionError):
        hosts.resolve("localhost", 80, getaddrinfo=resolver(METADATA))


@pytest.mark.parametrize(
    ("kind", "url", "authority", "path"),
    [
        ("oip", "http://h/v2/models/m", "h:80", "/v2/models/m"),
        ("oip", "https://h/v2/models/m/versions/3", "h:443", "/v2/models/m/versions/3"),
        ("oip", "https://H.Example:8443/gate/way/v2/models/m/", "h.example:8443", "/gate/way/v2/models/m"),
        ("oip", "grpc://h:9000/m", "h:9000", "/m"),
        ("oip", "grpcs://[2001:db8::1]:9000/m/3", "[2001:db8::1]:9000", "/m/3"),
        ("kserve-v1", "http://h:8080/v1/models/m:predict", "h:8080", "/v1/models/m"),
        ("kserve-v1", "http://h/v1/models/m.onnx", "h:80", "/v1/models/m.onnx"),
    ],
)
def test_a_url_says_host_port_model_and_version(kind: str, url: str, authority: str, path: str) -> None:
    address = parse(kind, url)
    assert (address.authority, address.path) == (authority, path)
    assert parse(kind, str(address)) == address


@pytest.mark.parametrize(
    ("kind", "url", "message"),
    [
        ("oip", "http://user:secret@h/v2/models/m", "holds no user or password"),
        ("oip", "http://127.0.0.1:80\\@h/v2/models/m", "without blanks and backslashes"),
        ("oip", "http://h#@127.0.0.1/v2/models/m", "is not of the form"),
        ("oip", "http://h/v2/models/m?x=1", "is not of the form"),
        ("oip", "http://h/v2/models/m?", "is not of the form"),
        ("oip", "http://h/v2/models/../m", "is not of the form"),
        ("oip", "http://h/../v2/models/m", "is not of the form"),
        ("oip", "http://h/v2/models/%2e%2e", "is not of the form"),
        ("oip", "http://h/v2/models/m/infer", "is not of the form"),
        ("oip", "http://h/v2/models/m n", "without blanks"),
        ("oip", "http://h/v2/models/m\r\nHost: x", "without blanks"),
        ("oip", "http://h\u3002evil/v2/models/m", "printable ASCII"),
        ("oip", "file:///v2/models/m", "is not of the form"),
        ("oip", "unix:/run/m", "is not of the form"),
        ("oip", "http://h:0/v2/models/m", "port 0"),
        ("oip", "http://h:/v2/models/m", "no port"),
        ("oip", "http://h:99999/v2/models/m", "Port out of range"),
        ("oip", "grpc://h/m", "names no port"),
        ("oip", "grpc://h:9000/m/3/x", "is not of the form"),
        ("oip", "http://2130706433/v2/models/m", "neither the name"),
        ("oip", "http://0x7f.1/v2/models/m", "neither the name"),
        ("oip", "http://[fe80::1%25eth0]/v2/models/m", "neither the name"),
        ("oip", "http:///v2/models/m", "neither the name"),
        ("kserve-v1", "grpc://h:9000/m", "is not of the form"),
        ("kserve-v1", "http://h/v1/models/m:explain", "is not of the form"),
        ("kserve-v1", "http://h/v2/models/m", "is not of the form"),
    ],
)
def test_other_urls_are_refused_without_repeating_them(kind: str, url: str, message: str) -> None:
    with pytest.raises(RegistryInvalid, match=message) as caught:
        ModelSpec(name="m", source=f"{kind}:{url}", preprocessing=Preprocessing(), outputs="logits")
    assert caught.value.field == "source"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("listed", [(), ("other.example.org",), ("127.0.0.1:81",), ("*.0.0.1.example",)])
def test_a_host_that_is_not_listed_is_refused_before_anything_is_sent(
    listed: tuple[str, ...], tmp_path
) -> None:
    spec = ModelSpec(
        name="m",
        source="oip:http://127.0.0.1:80/v2/models/m",
        preprocessing=Preprocessing(),
        outputs="logits",
    )
    with pytest.raises(
        RegistryInvalid, match=r"127\.0\.0\.1:80 is not among the hosts .*WAVESCOPE_REMOTE_HOSTS"
    ):
        load(spec, cache_dir=tmp_path, remote_hosts=listed)
