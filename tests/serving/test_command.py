"""The process of ``wavescope serve``: signals at any moment, and what it finds below itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.ports import free_port

from wavescope.errors import InvalidRequest
from wavescope.models.cores import usable_cores
from wavescope.serving.command import address, run
from wavescope.serving.command.lifetime import ENDING, Signals, descendants, reap_orphans
from wavescope.settings import Settings


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as signals:
        yield signals


def test_signals_are_queued_while_it_serves(signals):
    signals.answering = lambda: True
    assert not signals.wait_for_end(timeout_s=0.001)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.raise_signal(number)
    assert signals.wait_for_end(timeout_s=60)
    assert signals.wait_for_end(timeout_s=60), "and still"
    assert [signals.next(timeout_s=0) for _ in range(3)] == [signal.SIGHUP, signal.SIGTERM, None]


@pytest.mark.parametrize(("answering", "sent"), [(False, 1), (True, 2)])
def test_signal_ends_it_at_once_while_nobody_is_answered_and_a_second_one_always(answering, sent):
    """Wherever the thread that serves is: it need not look."""
    code = """
import signal, sys
from wavescope.serving.command.lifetime import Signals
with Signals() as signals:
    signals.answering = lambda: sys.argv[1] == "True"
    for _ in range(int(sys.argv[2])):
        signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(answering), str(sent)], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, b"wavescope: interrupted\n")


def test_sighup_does_not_end_its_start(signals):
    signal.raise_signal(signal.SIGHUP)
    assert signals.next(timeout_s=0) == signal.SIGHUP


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in ENDING]
    with Signals():
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before


def test_adopted_process_that_ended_is_reaped_and_those_of_ray_are_left(monkeypatch):
    true = "/bin/true"
    theirs, adopted = (os.posix_spawn(true, [true], {}) for _ in range(2))
    for pid in (theirs, adopted):  # both have ended, and nobody has taken note
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr("wavescope.serving.command.local_node.own_processes", lambda: {theirs})
    reap_orphans()
    with pytest.raises(ChildProcessError, match="No child processes"):
        os.waitpid(adopted, os.WNOHANG)
    assert os.waitpid(theirs, os.WNOHANG)[0] == theirs


def test_descendants_are_found_to_any_depth():
    code = (
        "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        grandchild = int(child.stdout.readline())
        assert {child.pid, grandchild} <= set(descendants(os.getpid()))
        os.kill(grandchild, signal.SIGKILL)
        child.stdin.close()


@pytest.mark.parametrize(
    ("given", "cores", "shared"),
    [
        ({}, 2, True),
        ({}, 4, True),
        ({}, 8, False),
        ({"one_process": True}, 64, True),
        ({"one_process": False}, 2, False),
        ({"generator_replicas": 2}, 2, False),
    ],
)
def test_small_machines_have_the_service_in_one_process(given, cores, shared):
    assert run.shares_process(Settings(**given), cores) is shared


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 1.5), ("max 100000", None), (None, None)])
def test_cores_are_those_that_a_container_may_use(quota, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path / "cpu.max") == (cores or 16)


def test_one_process_has_one_part_of_each():
    with pytest.raises(InvalidRequest, match=r"one_process is for one gateway.*aggregator_replicas is 2"):
        run.shares_process(Settings(one_process=True, aggregator_replicas=2), 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"port": 8555, "grpc_port": 8555}, "port and grpc_port are both 8555"),
        ({"port": 0}, "port is 0"),
        ({"host": "localhost.invalid", "no_auth": True}, "cannot be listened on at localhost.invalid"),
        ({"host": "192.0.2.77", "no_auth": True}, "cannot be listened on at 192.0.2.77"),
    ],
)
def test_address_that_cannot_be_served_is_refused_in_one_sentence(given, message):
    def reserve():
        settings = Settings(**{"port": free_port(), "grpc_port": 0} | given)
        address.check_address(settings)
        with address.reserved_ports(settings):
            pass

    with pytest.raises(InvalidRequest, match=message) as refused:
        reserve()
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("field", ["port", "grpc_port"])
def test_ports_are_one_commands_from_its_start_on_and_its_proxys_too(field):
    """Ray's proxies let other sockets of the user listen at their ports: two services would share connections."""
    port = free_port()
    first = Settings(**{"port": free_port(), "grpc_port": 0, field: port})
    with address.reserved_ports(first), socket.socket() as proxy:
        with (
            pytest.raises(InvalidRequest, match=f"{field} {port} is taken"),
            address.reserved_ports(Settings(**{"port": free_port(), "grpc_port": 0, field: port})),
        ):
            pass
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # as Ray Serve's does
            proxy.setsockopt(socket.SOL_SOCKET, option, 1)
        proxy.bind(("127.0.0.1", port))
        proxy.listen()
        with socket.create_connection(("127.0.0.1", port), 10):
            accepted, _ = proxy.accept()
            accepted.close()
        with (
            pytest.raises(InvalidRequest, match=f"{field} {port} is taken"),
            address.reserved_ports(Settings(**{"port": free_port(), "grpc_port": 0, field: port})),
        ):
            pass
    with address.reserved_ports(first):
        pass  # free again, though a connection of it was closed a moment ago


def test_ipv6_address_is_told_as_a_url_has_it():
    assert address.url_of("::1", 8000) == "http://[::1]:8000"
    assert address.url_of("127.0.0.1", 8000) == "http://127.0.0.1:8000"
