"""A Ray node for one host: on loopback alone, and without those of Ray's own processes that nothing here uses.

``ray.init`` has no options for this: the class that it starts a node with is replaced while it runs. The names below
are Ray's; ``tests/serving/test_local_node.py`` says when a version of Ray has changed them.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from ray._private import node as ray_node
from ray._private import ray_constants, services, utils, worker

from wavescope.errors import StartFailed

REGISTERED_S = 300.0  # Ray gives up after 30 s, which a busy machine can take
POLL_S = 0.2
PROGRESS_S = 10.0  # between two messages about what is still waited for
AGENT_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
# Without these the node does not work; each ends with the process that started it.
NEEDED = ("gcs_server", "raylet")


class LocalNode(ray_node.Node):
    """A node without dashboard and without autoscaler: a fixed host has nothing to scale."""

    starting: ClassVar[LocalNode | None] = None

    def __init__(self, ray_params: Any, **given: Any) -> None:
        LocalNode.starting = self
        self.all_processes: dict[str, list[Any]] = {}
        # Of ports that are not given the raylet waits for its agents to report them, for 15 s, and aborts.
        for name, port in zip(AGENT_PORTS, free_ports(len(AGENT_PORTS)), strict=True):
            setattr(ray_params, name, port)
        super().__init__(ray_params, **given)
        LocalNode.starting = None

    def start_monitor(self) -> None:
        """Starts no autoscaler."""

    def start_api_server(self, *, include_dashboard: bool | None, raise_on_failure: bool) -> None:
        """Starts no dashboard, nor what stands in for it where it is not wanted."""
        self._webui_url = ""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def give_up_start() -> None:
    """Ends the processes of a node that did not come up, so that another can be started."""
    node, LocalNode.starting = LocalNode.starting, None
    if node is not None:
        for info in [info for infos in node.all_processes.values() for info in infos]:
            info.process.kill()
            info.process.wait()


@contextmanager
def loopback_node(progress: Callable[[str], None]) -> Iterator[None]:
    """Make ``ray.init`` start a :class:`LocalNode` while the body runs, and wait as long as a busy machine needs.

    Args:
        progress: called with what is being waited for, when that takes long.
    """
    get_node = services.get_node

    def registered(gcs_address: str, node_id: str) -> Any:
        """The node, once it has registered; Ray asks again and again itself, for 30 s."""
        began = reported_at = time.monotonic()
        while True:
            # In a thread: it may wait for half a minute, in which no signal would be heard.
            found = _in_thread(lambda: get_node(gcs_address, node_id))
            while True:
                if LocalNode.starting is not None and (ended := ended_processes(LocalNode.starting)):
                    raise StartFailed(f"Ray's {ended[0]} has died while it started")
                now = time.monotonic()
                if now - began > REGISTERED_S:
                    raise StartFailed(
                        f"Ray's node has not come up within {REGISTERED_S:.0f} s: is the machine overloaded?"
                    )
                if now - reported_at > PROGRESS_S:
                    reported_at = now
                    progress(f"waiting for Ray's node, {now - began:.0f} s so far")
                if futures.wait((found,), POLL_S).done:
                    break
            try:
                return found.result()
            except RuntimeError:  # not there yet
                time.sleep(POLL_S)

    replaced: tuple[tuple[Any, str, Any], ...] = (
        (ray_node, "Node", LocalNode),
        (services, "get_node", registered),
        (ray_constants, "ENABLE_RAY_CLUSTER", False),  # else loopback is taken for the outer address
        (utils, "set_sigterm_handler", lambda handler: None),  # signals are the command's
        # The agent of a node runs without its HTTP server, as in an installation without a dashboard.
        (utils, "get_dashboard_dependency_error", lambda: ImportError("not wanted")),
    )
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    for module, name, value in replaced:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def own_processes() -> set[int]:
    """Processes that Ray has started from this one, and waits for itself."""
    node: Any = worker._global_node  # noqa: SLF001  # Ray has no public way
    infos = [] if node is None else [info for infos in node.all_processes.values() for info in infos]
    return {info.process.pid for info in infos}


def ended_processes(node: Any = None) -> list[str]:
    """Processes that have ended, of those without which a node does not work.

    Args:
        node: that is being started; ``None`` for the one that runs.
    """
    node = node or worker._global_node  # noqa: SLF001  # Ray reports to nobody that its processes have died
    if node is None:
        return list(NEEDED)
    return [
        name
        for name in NEEDED
        for info in node.all_processes.get(name, ())
        if info.process.poll() is not None
    ]


def _in_thread(call: Callable[[], Any]) -> Future[Any]:
    """Future result of a call in a thread that does not outlive the process."""
    found: Future[Any] = Future()

    def run() -> None:
        try:
            found.set_result(call())
        except Exception as error:  # noqa: BLE001  # handed on
            found.set_exception(error)

    threading.Thread(target=run, name="ray-node", daemon=True).start()
    return found
