"""Logs of the cluster's processes, as JSON lines on the standard error of the one that started them."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from ray._private import worker as ray_worker
from ray._private.ray_logging import global_worker_stdstream_dispatcher
from ray.exceptions import TaskCancelledError

from wavescope.errors import InternalError, WavescopeError
from wavescope.telemetry import logs

# Serve's controller ends by killing itself, which Ray then reports as a failure.
EVERY_STOP = "Task ServeController.graceful_shutdown failed"


class _HideRefusals(logging.Filter):
    """Ray Serve logs every raised error with its traceback; what the caller did wrong is no news of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, WavescopeError) or isinstance(error, InternalError)


_HIDE_REFUSALS = _HideRefusals()


def hide_cancelled(record: logging.LogRecord) -> bool:
    """Whether to log a record: not that of a call which its caller has given up, which Ray Serve awaits nowhere."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, TaskCancelledError)


def _at_least_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def configure_logs(level: str) -> None:
    """Logging of one replica: our loggers as JSON, Ray Serve's without the callers' mistakes."""
    logs.configure(level)
    logging.getLogger("ray.serve").addFilter(_HIDE_REFUSALS)  # once, however many parts share the process
    logging.getLogger("asyncio").addFilter(hide_cancelled)


def json_only() -> None:
    """Prints what other processes logged as it is, where Ray would put coloured prefixes before it.

    Lines that are no JSON (Ray's own, or a library's) are wrapped.
    """
    # Of this process: it reports its progress as text, whatever level it is given meanwhile.
    logging.getLogger("ray.serve").addFilter(_at_least_warning)
    global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
    global_worker_stdstream_dispatcher.add_handler("wavescope", _print)
    ray_worker.print_to_stdstream = _print  # what the raylet says goes past the dispatcher


def ours_only() -> None:
    """Drop Ray's own lines from now on: its controller logs every replica that is removed, with a traceback."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # Ray Serve has set it back meanwhile
    global_worker_stdstream_dispatcher.remove_handler("wavescope")
    global_worker_stdstream_dispatcher.add_handler("wavescope", _print_ours)


def _print_ours(batch: dict[str, Any]) -> None:
    _print({**batch, "lines": [line for line in batch["lines"] if str(line).strip().startswith("{")]})


def _print(batch: dict[str, Any], ignore_prefix: bool = True) -> None:  # called as Ray's own
    if batch.get("pid") == "autoscaler":
        return  # a report of the whole cluster every few seconds
    process = batch.get("actor_name") or batch.get("task_name") or "ray"
    for line in batch["lines"]:
        text = str(line).strip()
        if EVERY_STOP in text:
            continue
        if not (text.startswith("{") and text.endswith("}")):
            text = json.dumps({"level": "info", "logger": "ray", "message": text, "process": process})
        sys.stderr.write(text + "\n")
    sys.stderr.flush()
