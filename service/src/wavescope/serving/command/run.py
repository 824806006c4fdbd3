"""The service on one machine: a Ray cluster of its own, started and taken down with the command."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wavescope.auth import load_keys
from wavescope.errors import InvalidRequest, ModelUnavailable, StoreUnavailable
from wavescope.models.cores import usable_cores
from wavescope.models.spec import ModelSpec
from wavescope.serving import names, proxy
from wavescope.serving.command.address import check_address, is_ready, reserved_ports, url_of
from wavescope.serving.command.cluster import cluster, one_sentence, private_folder
from wavescope.serving.command.lifetime import (
    ENDING,
    EXIT_DIED,
    Signals,
    adopt_orphans,
    end_at_once,
    reap_orphans,
    watched_cluster,
)
from wavescope.settings import Settings, load_registry
from wavescope.store import open_store
from wavescope.telemetry import logs

if TYPE_CHECKING:  # Ray reads its environment on import, which ``cluster`` sets
    from wavescope.serving.models.rollout import Rollout

log = logging.getLogger(__name__)

SETTLE_S = 0.25  # between looks at what has started
PROGRESS_S = 10.0  # between two messages about what is still waited for
SMALL_CORES = 4  # on more the parts of the service have a process each
END_S = 15.0  # for Ray to leave, beyond the time that model replicas have for their chunks
PROXY_START_S = 300  # of a busy machine; Ray Serve gives up on its proxy after 60
LOOK_S = 1.0  # between looks at processes that have ended


def serve(
    settings: Settings, models_file: Path | None, registry: tuple[ModelSpec, ...] | None = None
) -> None:
    """Serves until SIGTERM or SIGINT, then leaves nothing behind. The models follow their file; SIGHUP looks at once.

    Args:
        settings: address, limits, directories.
        models_file: the registry; ``None`` for the embedded default model.
        registry: the models, where they are of no file.

    Raises:
        InvalidRequest: a port is taken, an address other than loopback without keys or ``no_auth``, or a keys file or
            store that cannot be used.
        StoreUnavailable: the store does not answer.
        RegistryInvalid: names the model and the field at fault.
        ModelUnavailable: nothing could be started.
        StartFailed: Ray does not start, or has died.
    """
    logs.configure(settings.log_level)
    registry = registry or load_registry(models_file)
    check_address(settings)
    if settings.api_keys_file is not None:
        load_keys(settings.api_keys_file)  # gateways would begin all the same, and let nobody in
    check_store(settings)
    cores = usable_cores()
    settings = settings.model_copy(update={"one_process": shares_process(settings, cores)})
    adopt_orphans()
    with reserved_ports(settings), Signals() as signals, private_folder() as folder:
        signals.folder = folder
        running = cluster(max(1, int(cores)), settings=settings, folder=folder, progress=_progress)
        with _bounded_end(settings.drain_s + END_S, folder, running):
            signals.install()  # again: starting Ray installs handlers of its own
            # Asked as a signal comes: the controller is the last to hear that a model is ready.
            signals.answering = partial(is_ready, settings.host, settings.port)
            with watched_cluster(folder):
                # From before it is deployed: a file that is replaced while a replica loads it is noticed.
                models = rollout(settings, registry, models_file)
                deploy(settings, registry, models_file, go_on=partial(_go_on, signals))
                signals.answering = lambda: True
                if not signals.ending:
                    where = {"url": url_of(settings.host, settings.port), "grpc_port": settings.grpc_port}
                    log.info("serving", extra={**where, "models": [spec.name for spec in registry]})
                _watch(signals, models, settings.models_poll_s)
            log.info("stopping")


def _go_on(signals: Signals, pause_s: float, up: bool) -> bool:
    """Pauses while the service comes up; false where it is to end, and a model answers already."""
    if up:
        signals.answering = lambda: True
    reap_orphans()
    return not signals.wait_for_end(timeout_s=pause_s)


def _pause(pause_s: float, up: bool) -> bool:
    del up
    time.sleep(pause_s)
    return True


def _watch(signals: Signals, models: Rollout, poll_s: float) -> None:
    """Looks at the models until a signal ends the service."""
    looked = time.monotonic()
    while (number := signals.next(timeout_s=min(LOOK_S, poll_s))) not in ENDING:
        reap_orphans()
        if number is not None or time.monotonic() - looked >= poll_s:
            looked = time.monotonic()
            models.look(again=number is not None)


@contextmanager
def _bounded_end(limit_s: float, folder: Path, running: AbstractContextManager[None]) -> Iterator[None]:
    """The cluster around the body; the command is ended where Ray does not leave in time.

    Args:
        limit_s: from the end of the body.
        folder: of Ray's sockets and logs.
        running: the cluster.
    """
    status = 0
    ending = threading.Timer(
        limit_s, lambda: end_at_once("wavescope: Ray did not leave in time", status, folder)
    )
    ending.daemon = True
    try:
        with running:
            try:
                yield
            except BaseException:
                status = EXIT_DIED
                raise
            finally:
                ending.start()
    finally:
        ending.cancel()


def _progress(what: str) -> None:
    log.info("%s", what)


def check_store(settings: Settings) -> None:
    """Check the store: refuse one that would refuse every job, and log what it lacks.

    Raises:
        InvalidRequest, StoreUnavailable: why it cannot be used.
    """
    store = open_store(
        settings.store_url,
        state_dir=settings.state_dir,
        result_bytes=settings.result_cache_bytes,
        timeout_s=settings.store_timeout_s,
    )
    try:
        for lack in store.check():
            log.warning("%s", lack)
    except StoreUnavailable as error:
        if settings.store_url:  # which may hold a password
            raise
        raise StoreUnavailable(f"{error.message} (WAVESCOPE_STATE_DIR is {settings.state_dir})") from error
    finally:
        store.close()


def deploy(
    settings: Settings,
    registry: tuple[ModelSpec, ...],
    models_file: Path | None = None,
    *,
    go_on: Callable[[float, bool], bool] = _pause,
) -> None:
    """Starts the proxies and every application on the running cluster, and waits until each is up or has failed.

    Args:
        settings: of the service.
        registry: the models.
        models_file: the file they are of, which the service looks at for changes.
        go_on: pauses for so many seconds, called with whether a model answers already; false ends the waiting.

    Raises:
        ModelUnavailable: neither the service nor one of its models came up, or none has room on this
            cluster; one that failed among others is logged by the rollout.
        StartFailed: Ray Serve does not start.
    """
    _progress("starting the service")
    from ray import serve as ray_serve
    from ray.serve._private import api
    from ray.serve.config import HTTPOptions, ProxyLocation, gRPCOptions

    from wavescope.serving import app

    _check_room(registry)
    api.HTTP_PROXY_TIMEOUT = PROXY_START_S  # pyright: ignore[reportPrivateImportUsage]  # it is no setting of Ray Serve's
    with one_sentence("Ray Serve does not start"):
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
    with one_sentence("the service does not start"):
        ray_serve.run_many([*models, service], wait_for_applications_running=False)
    _settle(registry, go_on)


def rollout(settings: Settings, registry: tuple[ModelSpec, ...], models_file: Path | None) -> Rollout:
    """Rollout that keeps the deployed models as the file says.

    Args:
        settings, registry, models_file: as they were deployed, or will be.
    """
    from ray import serve as ray_serve

    from wavescope.serving import app
    from wavescope.serving.models import attempts, status
    from wavescope.serving.models.capacity import room
    from wavescope.serving.models.file_watch import BackgroundReader, FileWatch
    from wavescope.serving.models.registry_file import RegistryFile
    from wavescope.serving.models.rollout import Rollout

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
        room=room,
        postpone=attempts.postpone,
        watch=partial(FileWatch, read=BackgroundReader()),
        note=attempts.note,
    )


def _check_room(registry: tuple[ModelSpec, ...]) -> None:
    """Refuses to start a service none of whose models could ever be placed on this cluster.

    Raises:
        ModelUnavailable: with what the first one needs.
    """
    from wavescope.serving.models.capacity import room

    nodes = room()
    lacking = [f"model {spec.name!r} {why}" for spec in registry if (why := nodes.never(spec))]
    if len(lacking) == len(registry):
        raise ModelUnavailable(f"the service did not start: {lacking[0]}")


def _settle(registry: tuple[ModelSpec, ...], go_on: Callable[[float, bool], bool]) -> None:
    """Wait until every application is up, has failed, or finds no room, and log what it waits for.

    Raises:
        ModelUnavailable: the service failed, or none of its models will ever come up on this cluster; one
            that failed among others is logged by the rollout.
    """
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    from wavescope.serving.models import status
    from wavescope.serving.models.capacity import room
    from wavescope.serving.models.placement import Placement

    placement = Placement(0.0)  # a cluster of one's own has no autoscaler
    said, said_at, up = "", -math.inf, False
    while True:
        try:
            applications, nodes = status.applications(), room()
        except (RayError, RayServeException, TimeoutError):  # the controller is being restarted
            if not go_on(SETTLE_S, up):
                return
            continue
        found, (service, message) = status.models_of(applications), status.service_of(applications)
        now = time.monotonic()
        placement.look(registry, found, nodes, now)
        short = {spec.name: shortage for spec in registry if (shortage := placement.shortage(spec.name, now))}
        states = {spec.name: found.get(names.model_application(spec.name)) for spec in registry}
        failed = {name: state.message for name, state in states.items() if state and state.phase == "failed"}
        never = {
            name: f"model {name!r} {shortage.reason}"
            for name, shortage in short.items()
            if shortage.never and name not in failed
        }
        if service == "failed" or len(failed) + len(never) == len(registry):
            why = message if service == "failed" else [*never.values(), *failed.values()][0]
            raise ModelUnavailable(f"the service did not start: {why}")
        waiting = [
            f"model {name!r}"
            for name, state in states.items()
            if not state or (state.phase == "changing" and name not in short)
        ]
        if service != "steady":
            waiting.append("the service")
        if not waiting:
            return
        text = ", ".join(waiting)
        if text != said or now - said_at >= PROGRESS_S:
            said, said_at = text, now
            _progress(f"waiting for {text}")
        up = service == "steady" and any(state.running for state in states.values() if state)
        if not go_on(SETTLE_S, up):
            return


def shares_process(settings: Settings, cores: float) -> bool:
    """Whether a service on one host of so many cores is to run in one process.

    Raises:
        InvalidRequest: it is set to, and to run several of its parts.
    """
    counts = {
        name: getattr(settings, name)
        for name in ("gateway_replicas", "aggregator_replicas", "generator_replicas")
    }
    several = [name for name, count in counts.items() if count > 1]
    if settings.one_process and several:
        raise InvalidRequest(
            f"one_process is for one gateway, aggregator and generator, and {several[0]} is {counts[several[0]]}",
            field="one_process",
        )
    if settings.one_process is None:
        return cores <= SMALL_CORES and not several
    return settings.one_process
