"""Decoder process: reads a task and an image file, writes a picture or an error; see :mod:`.subprocess_decoder`."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress

from wavescope.errors import WavescopeError
from wavescope.imaging.decode import decode
from wavescope.imaging.subprocess_decoder import DecodeTask, encode_outcome

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Decode the image of standard input; return the exit code."""
    task = DecodeTask.from_line(sys.stdin.buffer.readline())
    _limit_resources(task)
    try:
        outcome = decode(sys.stdin.buffer.read(), task.preprocessing, limits=task.limits, zoom=task.zoom)
    except WavescopeError as error:
        outcome = error
    sys.stdout.buffer.write(encode_outcome(outcome))
    sys.stdout.buffer.flush()
    return 0


def _limit_resources(task: DecodeTask) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (task.cpu_s, task.cpu_s + 1))
    # Not the address space: threads of a decoder reserve much of it and use little.
    resource.setrlimit(resource.RLIMIT_DATA, (task.memory_bytes, task.memory_bytes))
    with suppress(OSError, AttributeError):  # other systems have no such call: there the limits end it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != task.parent:  # the parent ended before the call
        raise SystemExit(1)


if __name__ == "__main__":
    raise SystemExit(main())
