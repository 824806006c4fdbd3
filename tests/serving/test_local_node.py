"""What is changed of Ray's node while it starts: it has time on a busy machine, and Ray's names are as we think."""

from __future__ import annotations

import inspect
import signal
import subprocess
import threading
from types import SimpleNamespace

import pytest
from ray._private import node, ray_constants, services, utils
from ray.serve._private import default_impl, grpc_util, replica

from wavescope.errors import StartFailed
from wavescope.serving.command import local_node


class Clock:
    """Passes while something sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(local_node, "time", clock)
    return clock


def test_node_that_registers_after_minutes_is_waited_for_and_told_of(clock, monkeypatch):
    def found(address: str, node_id: str) -> dict[str, str]:
        if clock.now < 200:
            raise RuntimeError("not there yet")
        return {"node": node_id}

    monkeypatch.setattr(services, "get_node", found)
    told: list[str] = []
    with local_node.loopback_node(told.append):
        assert services.get_node("127.0.0.1:1", "n") == {"node": "n"}
    assert len(told) == pytest.approx(20, abs=2)  # every ten seconds
    assert all(text.startswith("waiting for Ray's node") for text in told)


def test_node_that_never_registers_is_given_up_in_one_sentence(clock, monkeypatch):
    def missing(address: str, node_id: str) -> None:
        raise RuntimeError("not there yet")

    monkeypatch.setattr(services, "get_node", missing)
    with (
        local_node.loopback_node(lambda what: None),
        pytest.raises(StartFailed, match=r"has not come up within 300 s: is the machine overloaded\?$"),
    ):
        services.get_node("127.0.0.1:1", "n")


def test_process_that_dies_while_the_node_starts_is_told_at_once(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(services, "get_node", lambda address, node_id: never.wait(60))
    ended = SimpleNamespace(process=SimpleNamespace(poll=lambda: -6))
    monkeypatch.setattr(local_node.LocalNode, "starting", SimpleNamespace(all_processes={"raylet": [ended]}))
    with (
        local_node.loopback_node(lambda what: None),
        pytest.raises(StartFailed, match=r"^Ray's raylet has died while it started$"),
    ):
        services.get_node("127.0.0.1:1", "n")
    never.set()


def test_start_that_is_given_up_leaves_no_process(monkeypatch):
    with subprocess.Popen(["sleep", "60"]) as process:
        node = SimpleNamespace(all_processes={"raylet": [SimpleNamespace(process=process)]})
        monkeypatch.setattr(local_node.LocalNode, "starting", node)
        local_node.give_up_start()
        assert process.returncode == -signal.SIGKILL
    assert local_node.LocalNode.starting is None


def test_ray_is_as_before_afterwards():
    places = [
        (node, "Node"),
        (services, "get_node"),
        (ray_constants, "ENABLE_RAY_CLUSTER"),
        (utils, "set_sigterm_handler"),
        (utils, "get_dashboard_dependency_error"),
    ]
    before = [getattr(module, name) for module, name in places]
    with local_node.loopback_node(lambda what: None):
        assert node.Node is local_node.LocalNode
        assert not ray_constants.ENABLE_RAY_CLUSTER
    assert [getattr(module, name) for module, name in places] == before


@pytest.mark.parametrize(
    ("user", "used"),
    [
        (node.Node.start_head_processes, "self.start_monitor()"),
        (node.Node.start_head_processes, "self.start_api_server("),
        (node.Node.__init__, "ray._private.services.get_node("),
        (services.start_raylet, "ray._private.utils.get_dashboard_dependency_error()"),
        (services.get_node_ip_address, "ray_constants.ENABLE_RAY_CLUSTER"),
        (grpc_util.start_grpc_server, "from ray.serve._private.default_impl import add_grpc_address"),
        (replica, "self._internal_grpc_port = add_port_to_grpc_server("),
    ],
)
def test_ray_uses_what_is_replaced(user, used):
    assert used in inspect.getsource(user)


def test_ended_processes_are_those_without_which_nothing_works(monkeypatch):
    def process(ended: int | None) -> SimpleNamespace:
        return SimpleNamespace(process=SimpleNamespace(poll=lambda: ended))

    processes = {"gcs_server": [process(None)], "raylet": [process(1)], "log_monitor": [process(1)]}
    monkeypatch.setattr(local_node.worker, "_global_node", SimpleNamespace(all_processes=processes))
    assert local_node.ended_processes() == ["raylet"]


def test_servers_are_bound_where_it_is_said(monkeypatch):
    from wavescope.serving import process

    bound: list[str] = []
    server = SimpleNamespace(add_insecure_port=lambda where: bound.append(where) or 1)
    monkeypatch.setattr(default_impl, "add_grpc_address", default_impl.add_grpc_address)
    for host in ("127.0.0.1", "::1"):
        process.bind_grpc_proxy(host)
        default_impl.add_grpc_address(server, "[::]:9000")
    monkeypatch.setattr(replica, "add_port_to_grpc_server", lambda server, where: bound.append(where))
    monkeypatch.setattr(process.ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    process.bind_replica_to_loopback()
    process.bind_replica_to_loopback()  # by every part that shares the process
    getattr(replica, "add_port_to_grpc_server")(server, "[::]:0")  # noqa: B009  # which the module exports not
    assert bound == ["127.0.0.1:9000", "[::1]:9000", "127.0.0.1:0"]


def test_port_that_grpc_cannot_listen_on_is_an_error(monkeypatch):
    from wavescope.serving import process

    monkeypatch.setattr(default_impl, "add_grpc_address", default_impl.add_grpc_address)
    process.bind_grpc_proxy("127.0.0.1")
    with pytest.raises(OSError, match="cannot listen on port 9000"):
        default_impl.add_grpc_address(SimpleNamespace(add_insecure_port=lambda where: 0), "[::]:9000")
