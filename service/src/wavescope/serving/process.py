"""Set-up of every process of the service."""

from __future__ import annotations

import ipaddress
import logging
import os
import threading
import time
from typing import Any

import ray
from ray.serve._private import default_impl, replica

from wavescope.engine.threads import bound_for_good
from wavescope.serving.logs import configure_logs, hide_cancelled
from wavescope.settings import Settings

PARENT_LOOK_S = 2.0
END_WITH_PARENT = "end-with-parent"


def prepare_process(settings: Settings) -> None:
    """Logs as JSON, and linear algebra on one thread.

    On a cluster of this host alone also no listener beyond loopback, and an end when Ray's node ends.

    Args:
        settings: of the service.
    """
    configure_logs(settings.log_level)
    bound_for_good()  # Ray gives OpenBLAS as many threads as the replica has cores, beside the model's own
    if on_loopback():
        bind_replica_to_loopback()
        end_with_parent()


def prepare_proxy(settings: Settings) -> None:
    """Prepare the process of Ray Serve's proxies, whose gRPC server is bound as the setting ``host`` says."""
    logging.getLogger("asyncio").addFilter(hide_cancelled)
    if on_loopback():
        bind_grpc_proxy(settings.host)
        end_with_parent()


def on_loopback() -> bool:
    """Whether the cluster is one of this host alone, as ``wavescope serve`` starts it."""
    return ray.is_initialized() and ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback


def bind_grpc_proxy(host: str) -> None:
    """Binds Ray Serve's gRPC proxy, which listens on all interfaces by itself.

    Args:
        host: name or address.
    """
    module: Any = default_impl

    def add_bound(server: Any, where: str) -> None:
        port = int(where.rsplit(":", 1)[1])
        if not server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"):
            raise OSError(f"gRPC cannot listen on port {port} of {host}")

    module.add_grpc_address = add_bound


def end_with_parent() -> None:
    """Ends this process within seconds when Ray's node, which started it, has died: its own check takes a minute."""
    parent = os.getppid()
    if any(thread.name == END_WITH_PARENT for thread in threading.enumerate()):
        return  # several parts of the service may share a process

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, name=END_WITH_PARENT, daemon=True).start()


def bind_replica_to_loopback() -> None:
    """Binds the server that Ray Serve starts in every replica, after its constructor, on all interfaces.

    It takes no token. Deployments that choose gRPC between each other use it; ours do not.
    """
    address = ray.util.get_node_ip_address()
    module: Any = replica  # which exports none of this
    add = getattr(module.add_port_to_grpc_server, "unbound", module.add_port_to_grpc_server)

    def add_bound(server: Any, where: str) -> int:
        return add(server, f"{address}:{where.rsplit(':', 1)[1]}")

    add_bound.unbound = add  # type: ignore[attr-defined]  # replaced once, however often this is called
    module.add_port_to_grpc_server = add_bound
