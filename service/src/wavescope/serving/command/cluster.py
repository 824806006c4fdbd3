"""A Ray cluster of this process' own, on this host's loopback interface alone."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import resource
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from wavescope.errors import StartFailed, WavescopeError
from wavescope.serving import proxy
from wavescope.settings import Settings, as_environment

OBJECT_STORE_BYTES: Final = 512 * 2**20  # an explanation keeps about 3 MB of coefficients and maps in it
LEAST_STORE_BYTES: Final = 80 * 2**20  # that Ray takes
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # looked at, not written to
LOOPBACK: Final = "127.0.0.1"
PREFIX: Final = "wavescope-"
LOCK: Final = "lock"
WITHIN: Final = "r"  # what Ray is given, and opens to every user
# Ray's sockets lie 64 characters below the folder that it is given, and a path of one has at most 107.
LONGEST_FOLDER: Final = 40
SHORT_TMP: Final = Path("/tmp")  # noqa: S108  # only where TMPDIR is too long; the folder in it is made 0700
STARTS: Final = 3  # of Ray: on a busy machine its raylet may run into limits that nobody can set
OPEN_FILES: Final = 4096  # a service of eight processes has some 300 open in the busiest
FEWEST_OPEN_FILES: Final = 1024

# Every process of the cluster is to have these before it imports Ray; what the environment says already stays.
DEFAULTS: Final[Mapping[str, str]] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray would take the host's outer address for loopback: its name says where it does not.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Workers run at 15 otherwise, behind whatever else the host does, and each other.
    "RAY_worker_niceness": "0",
    # Of a busy machine: Ray gives up on its proxy after 15 s, on an agent after 100 s.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_SERVE_SLOW_STARTUP_WARNING_PERIOD_S": "3600",  # logged by us, once
    # What is left of a cluster whose head has died ends after this, not after 60 s.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
    # Nobody reads Ray's own metrics, events and task records here: the service has metrics of its own.
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    # Looks at what should run and is running, and at what the node has free: two a second, and one, for ten by default.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_raylet_check_gc_period_milliseconds": "1000",
    "RAY_metrics_report_interval_ms": "60000",
}
# What would lead Ray elsewhere than to the cluster that is started here.
MISLEADING: Final = ("RAY_ADDRESS", "RAY_NAMESPACE", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK")

log = logging.getLogger(__name__)


@contextmanager
def cluster(
    num_cpus: int | None = None,
    *,
    settings: Settings | None = None,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Iterator[None]:
    """Starts Ray, and takes it down with the body: nothing of it listens beyond loopback, nothing is left behind.

    Args:
        num_cpus: cores to hand out to replicas; ``None`` for the machine's.
        settings: those that differ from the environment's; every process of the cluster is to have them.
        folder: for Ray's sockets and logs, of :func:`private_folder`; ``None`` for one of its own.
        progress: called with what is being waited for, when that takes long.

    Raises:
        StartFailed: in one sentence, why Ray does not start.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(settings))
        raise_open_files()
        if folder is None:
            folder = stack.enter_context(private_folder())
        stack.enter_context(_ray(folder / WITHIN, num_cpus, progress))
        yield


@contextmanager
def _environment(settings: Settings | None) -> Iterator[None]:
    """Environment that Ray's processes inherit; this process gets its own back afterwards."""
    before = dict(os.environ)
    for name in MISLEADING:
        os.environ.pop(name, None)
    if settings is not None:
        os.environ.update(as_environment(settings))
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.update(proxy.environment())
    # Whatever the shell says for other clusters: this one's token is in no other memory.
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    # gRPC would send what is for this host to the proxy that the environment names.
    for name in ("no_proxy", "NO_PROXY"):
        exempt = [entry for entry in os.environ.get(name, "").split(",") if entry]
        os.environ[name] = ",".join(dict.fromkeys((*exempt, "localhost", LOOPBACK, "::1")))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def raise_open_files() -> None:
    """Raises this process' limit of open files, and its children's, as far as it may.

    Raises:
        StartFailed: it may not be raised far enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if max(soft, wanted) < FEWEST_OPEN_FILES:
        raise StartFailed(
            f"a process may have {hard} files open, and Ray needs {FEWEST_OPEN_FILES}: raise the limit (ulimit -n)"
        )


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for Ray's sockets and logs that other users cannot enter, whatever Ray makes of those within.

    Folders of earlier services that were killed are removed.

    Raises:
        StartFailed: there is no place for it.
    """
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) + 1 + len(PREFIX) + 8 > LONGEST_FOLDER:
        parent = SHORT_TMP
    try:
        remove_abandoned(parent)
        folder, handle = _locked_folder(parent)
    except OSError as error:
        raise StartFailed(
            f"no folder can be made in {parent} for Ray's sockets ({error.strerror}): set TMPDIR to a folder "
            f"of at most {LONGEST_FOLDER - 1 - len(PREFIX) - 8} characters that can be written to"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder, and its lock, which is held as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return folder, handle
        os.close(handle)  # another start took it for abandoned before it was locked


def object_store_bytes() -> int:
    """Size of the store of plans: within shared memory where that has room for Ray's least size."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return OBJECT_STORE_BYTES
    fitting = int(0.9 * free)
    # In less than that Ray takes files of its folder instead, which the system keeps in memory as well.
    return min(OBJECT_STORE_BYTES, fitting) if fitting >= LEAST_STORE_BYTES else OBJECT_STORE_BYTES


def remove_abandoned(parent: Path) -> None:
    """Removes folders whose service is gone: nobody holds their lock."""
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # another user's, or another service removes it at this moment
            handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(handle).st_uid != os.getuid():
                    continue
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(handle)


@contextmanager
def _ray(folder: Path, num_cpus: int | None, progress: Callable[[str], None]) -> Iterator[None]:
    progress("starting Ray")
    import ray  # after the environment is set, which Ray reads on import

    from wavescope.serving.command.local_node import give_up_start, loopback_node
    from wavescope.serving.logs import json_only

    with loopback_node(progress):
        try:
            for start in range(1, STARTS + 1):
                try:
                    with one_sentence("Ray does not start"):
                        ray.init(
                            address="local",
                            namespace="wavescope",
                            num_cpus=num_cpus,
                            include_dashboard=False,
                            object_store_memory=object_store_bytes(),
                            logging_level=logging.ERROR,  # warnings are in words of its own, and of its own options
                            _node_ip_address=LOOPBACK,
                            _temp_dir=str(folder),
                        )
                    break
                except StartFailed as failed:
                    give_up_start()
                    if start == STARTS:
                        raise
                    progress(f"starting Ray again: {failed.message}")
            json_only()
            yield
        finally:
            if ray.is_initialized():
                from wavescope.serving.command import ending

                ending.shutdown()
                ray.shutdown()


@contextmanager
def one_sentence(what: str) -> Iterator[None]:
    """Raise in one sentence why a part of Ray does not start; Ray would print its traceback.

    Raises:
        StartFailed: what failed, and the first line of the reason.
    """
    try:
        yield
    except WavescopeError:
        raise
    except Exception as error:
        log.debug("%s", what, exc_info=True)
        raise StartFailed(f"{what}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> Any:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
