"""The service on one machine: a Ray cluster of its own, started and taken down with the command."""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from wavescope.errors import InvalidRequest, ModelUnavailable
from wavescope.models.spec import ModelSpec
from wavescope.serving import names, proxy
from wavescope.settings import Settings, load_keys, load_registry
from wavescope.telemetry import logs

if TYPE_CHECKING:  # Ray reads its environment on import, which is set below
    from wavescope.serving.rollout import Rollout

log = logging.getLogger(__name__)

SETTLE_S = 0.1
OBJECT_STORE_BYTES = 512 * 2**20  # an explanation keeps about 3 MB of coefficients and maps in it


def serve(
    settings: Settings, models_file: Path | None, registry: tuple[ModelSpec, ...] | None = None
) -> None:
    """Serves until SIGTERM or SIGINT, then leaves nothing behind. The models follow their file; SIGHUP looks at once.

    Args:
        settings: address, limits, directories.
        models_file: the registry; ``None`` for the embedded default model.
        registry: the models, where they are of no file.

    Raises:
        InvalidRequest: a port is taken, an address other than loopback without keys or ``no_auth``, or a keys file that
            cannot be used.
        RegistryInvalid: names the model and the field at fault.
        ModelUnavailable: nothing could be started.
    """
    logs.configure(settings.log_level)
    registry = registry or load_registry(models_file)
    check_address(settings)
    if settings.api_keys_file is not None:
        load_keys(settings.api_keys_file)  # gateways would begin all the same, and let nobody in
    told: SimpleQueue[int] = SimpleQueue()  # may be put to while it is waited for, as signal handlers do
    with cluster():
        # Only now: starting Ray installs handlers of its own.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: told.put(number))
        deploy(settings, registry, models_file)
        log.info(
            "serving",
            extra={"url": f"http://{settings.host}:{settings.port}", "models": [s.name for s in registry]},
        )
        models = rollout(settings, registry, models_file)
        while True:
            try:
                number = told.get(timeout=settings.models_poll_s)
            except Empty:
                models.look()
                continue
            if number != signal.SIGHUP:
                break
            models.look(again=True)
        log.info("stopping")


def check_address(settings: Settings) -> None:
    """Refuses what cannot or should not be served.

    Raises:
        InvalidRequest: names the setting.
    """
    if not (settings.no_auth or settings.api_keys_file or _is_loopback(settings.host)):
        raise InvalidRequest(
            f"host is {settings.host!r}, which others can reach, and there are no API keys: "
            "serve 127.0.0.1, name a file of keys with --api-keys, or say --no-auth",
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
    for name, value in proxy.environment().items():
        os.environ.setdefault(name, value)
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


def deploy(settings: Settings, registry: tuple[ModelSpec, ...], models_file: Path | None = None) -> None:
    """Starts the proxies and every application on the running cluster, and waits until each is up or has failed.

    Args:
        settings: of the service.
        registry: the models.
        models_file: the file they are of, which the service looks at for changes.

    Raises:
        ModelUnavailable: neither the service nor one of its models came up; one that failed among others is logged.
    """
    from ray import serve as ray_serve
    from ray.serve.config import HTTPOptions, ProxyLocation, gRPCOptions

    from wavescope.serving import app

    ray_serve.start(
        logging_config=app.LOGGING,
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(host=settings.host, port=settings.port),
        grpc_options=gRPCOptions(
            port=settings.grpc_port or 9000,
            grpc_servicer_functions=list(proxy.SERVICERS) if settings.grpc_port else [],
        ),
    )
    models = [
        ray_serve.RunTarget(
            app.model(settings, spec), name=names.model_application(spec.name), route_prefix=None
        )
        for spec in registry
    ]
    loopback_only = not (settings.no_auth or settings.api_keys_file)
    service = ray_serve.RunTarget(
        app.service(settings, registry, models_file=models_file, loopback_only=loopback_only),
        name=names.APPLICATION,
        route_prefix="/",
    )
    ray_serve.run_many([*models, service], wait_for_applications_running=False)
    _settle(len(registry))


def rollout(settings: Settings, registry: tuple[ModelSpec, ...], models_file: Path | None) -> Rollout:
    """What keeps the deployed models as the file says.

    Args:
        settings, registry, models_file: as they were deployed.
    """
    from ray import serve as ray_serve

    from wavescope.serving import app, status
    from wavescope.serving.registry_file import RegistryFile
    from wavescope.serving.rollout import Rollout

    def start(spec: ModelSpec, attempt: int) -> None:
        target = ray_serve.RunTarget(
            app.model(settings, spec, attempt=attempt),
            name=names.model_application(spec.name),
            route_prefix=None,
        )
        ray_serve.run_many(
            [target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
        )

    return Rollout(
        RegistryFile(models_file, registry),
        deploy=start,
        delete=lambda name: ray_serve.delete(names.model_application(name), _blocking=False),
        status=status.deployed,
    )


def _settle(models: int) -> None:
    """Waits until every application is up or has failed."""
    from wavescope.serving import status

    while True:
        found = status.deployed()
        service, message = status.service()
        failed = [told for told in found.values() if told.phase == "failed"]
        if service == "failed" or len(failed) == models:
            why = message or failed[-1].message
            raise ModelUnavailable(f"the service did not start: {why}")
        if (
            service == "steady"
            and len(found) == models
            and all(t.phase != "changing" for t in found.values())
        ):
            break
        time.sleep(SETTLE_S)
    for application, told in found.items():
        if told.phase == "failed":
            log.error("the model failed", extra={"application": application, "reason": told.message})


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
