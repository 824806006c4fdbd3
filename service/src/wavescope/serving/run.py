"""The service on one machine: a Ray cluster of its own, started and taken down with the command."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wavescope.errors import InvalidRequest, ModelUnavailable
from wavescope.models.spec import ModelSpec
from wavescope.serving import names
from wavescope.settings import Settings
from wavescope.telemetry import logs

log = logging.getLogger(__name__)

SERVICER = "wavescope_proto.v1.explanation_pb2_grpc.add_ExplanationServiceServicer_to_server"
OBJECT_STORE_BYTES = 512 * 2**20  # an explanation keeps about 3 MB of coefficients and maps in it


def serve(settings: Settings, registry: tuple[ModelSpec, ...]) -> None:
    """Serves until SIGTERM or SIGINT, then leaves nothing behind.

    Args:
        settings: address, limits, directories.
        registry: the models.

    Raises:
        InvalidRequest: a port is taken, or an address other than loopback without ``no_auth``.
    """
    logs.configure(settings.log_level)
    check_address(settings)
    stop = threading.Event()
    with cluster():
        for number in (signal.SIGTERM, signal.SIGINT):  # only now: starting Ray installs handlers of its own
            signal.signal(number, lambda *_: stop.set())
        deploy(settings, registry)
        log.info(
            "serving",
            extra={"url": f"http://{settings.host}:{settings.port}", "models": [s.name for s in registry]},
        )
        stop.wait()
        log.info("stopping")


def check_address(settings: Settings) -> None:
    """Refuses what cannot or should not be served.

    Raises:
        InvalidRequest: names the setting.
    """
    if not settings.no_auth and not _is_loopback(settings.host):
        raise InvalidRequest(
            f"host is {settings.host!r}, which others can reach, and there are no API keys: "
            "serve 127.0.0.1, or say --no-auth",
            field="host",
        )
    for field, port in (("port", settings.port), ("grpc_port", settings.grpc_port)):
        if port and _taken(settings.host, port):
            raise InvalidRequest(f"{field} {port} is taken on {settings.host}: choose another", field=field)


@contextmanager
def cluster(num_cpus: int | None = None) -> Iterator[None]:
    """A Ray cluster of this process' own, on loopback, behind a token that exists in memory only.

    Args:
        num_cpus: cores to hand out to replicas; ``None`` for the machine's.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Sockets live here and their paths may be 107 characters long at most: hence no nested directory.
    directory = Path(tempfile.mkdtemp(prefix="wavescope-"))
    import ray  # after the environment is set, which Ray reads on import

    from wavescope.serving.logs import json_only

    try:
        ray.init(
            address="local",
            namespace="wavescope",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(directory),
        )
        json_only()
        yield
    finally:
        if ray.is_initialized():
            from ray import serve as ray_serve

            ray_serve.shutdown()
            ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def deploy(settings: Settings, registry: tuple[ModelSpec, ...]) -> None:
    """Starts the proxies and every application on the running cluster, and waits until they are up."""
    from ray import serve as ray_serve
    from ray.serve.config import HTTPOptions, ProxyLocation, gRPCOptions

    from wavescope.serving import app

    ray_serve.start(
        logging_config=app.LOGGING,
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(host=settings.host, port=settings.port),
        grpc_options=gRPCOptions(
            port=settings.grpc_port or 9000,
            grpc_servicer_functions=[SERVICER] if settings.grpc_port else [],
        ),
    )
    models = [
        ray_serve.RunTarget(
            app.model(settings, spec), name=names.model_application(spec.name), route_prefix=None
        )
        for spec in registry
    ]
    service = ray_serve.RunTarget(
        app.service(settings, registry, loopback_only=not settings.no_auth),
        name=names.APPLICATION,
        route_prefix="/",
    )
    try:
        ray_serve.run_many([*models, service])
    except RuntimeError as failed:  # Ray Serve's own: an application did not come up
        raise ModelUnavailable(f"the service did not start: {_reason(failed)}") from failed


def _reason(failed: RuntimeError) -> str:
    """What our own code said, out of the tracebacks that Ray Serve puts around it."""
    from ray import serve as ray_serve

    told = [
        deployment.message
        for application in ray_serve.status().applications.values()
        for deployment in application.deployments.values()
    ]
    for text in told:
        ours = re.findall(r"wavescope\.errors\.\w+: (.+)", text)
        if ours:
            return ours[-1]
    return str(failed).strip().splitlines()[-1]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False
