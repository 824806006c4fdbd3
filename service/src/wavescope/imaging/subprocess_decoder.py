"""Decoding of expensive or dangerous images in a subprocess, which can be stopped, unlike a thread.

Starting Python takes 0.4 s of CPU time, so this is for images that take longer than that. The pixels are the same to
the bit. The process has limits of time and memory, and none of the service's environment: no passwords, no tokens. If
the decoder crashes, only its own image fails.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from wavescope.engine.types import CropBox, Picture, Preprocessing
from wavescope.errors import ImageTooLarge, InvalidRequest, NotAnImage, WavescopeError
from wavescope.imaging.decode_cost import DecodeCost
from wavescope.imaging.limits import ImageLimits

START_S: Final = 5.0  # CPU time for imports, on the slowest machine
SLACK: Final = 5.0  # multiple of the expected seconds that it may take
BASE_BYTES: Final = 2**29
BYTES_PER_PIXEL: Final = 64  # 20 to 32 of common files; 108 of JPEG 2000 in the smallest code blocks
COMMAND: Final[tuple[str, ...]] = (sys.executable, "-P", "-m", "wavescope.imaging.decoder_process")
_ERRORS: Final = {kind.__name__: kind for kind in (NotAnImage, ImageTooLarge, InvalidRequest)}
_INHERITED: Final = ("LD_LIBRARY_PATH", "PATH")  # variables that an interpreter may need to start


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """Task of a decoder process: arguments of :func:`wavescope.imaging.decode.decode`, and limits.

    Attributes:
        preprocessing: preprocessing of the model.
        limits, zoom: as for ``decode``.
        cpu_s: CPU time in seconds after which the system kills the process.
        memory_bytes: largest size of its private memory.
        parent: id of the process that waits for it; it ends with that process.
    """

    preprocessing: Preprocessing
    limits: ImageLimits
    zoom: int
    cpu_s: int
    memory_bytes: int
    parent: int

    @classmethod
    def for_cost(
        cls, preprocessing: Preprocessing, *, limits: ImageLimits, zoom: int, cost: DecodeCost
    ) -> DecodeTask:
        """Make the task of decoding an image of an estimated cost, which sets the limits."""
        return cls(
            preprocessing,
            limits,
            zoom,
            cpu_s=math.ceil(START_S + SLACK * cost.seconds),
            memory_bytes=BASE_BYTES + BYTES_PER_PIXEL * cost.pixels,
            parent=os.getpid(),
        )

    def to_line(self) -> bytes:
        """Encode the task as one line of JSON, as it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> DecodeTask:
        """Decode the line of :meth:`to_line`."""
        content = json.loads(line)
        preprocessing = content.pop("preprocessing")
        for name in ("size", "mean", "std"):
            preprocessing[name] = tuple(preprocessing[name])
        return cls(Preprocessing(**preprocessing), ImageLimits(**content.pop("limits")), **content)


class SubprocessDecoder:
    """Decoder of one image in a subprocess.

    Args:
        data: bytes of an image file.
        task: arguments and limits of the decoding.
        command: program that decodes, and its arguments.
    """

    def __init__(self, data: bytes, task: DecodeTask, *, command: Sequence[str] = COMMAND) -> None:
        self._data = data
        self._task = task
        self._command = command
        self._lock = threading.Lock()
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Id of the process; ``None`` before it is started."""
        return None if self._process is None else self._process.pid

    def run(self) -> Picture:
        """Decode the image; blocks until the process ends.

        Raises:
            WavescopeError: as :func:`wavescope.imaging.decode.decode`.
            NotAnImage: the decoder crashed, exceeded its limits or was stopped by :meth:`stop`.
        """
        with self._lock:
            if self._stopped:
                raise _not_decoded("it was stopped")
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_make_environment()
            )
        output, _ = self._process.communicate(self._task.to_line() + self._data)
        return self._parse(output, self._process.returncode)

    def stop(self) -> None:
        """Kill the process, or prevent its start; may be called from any thread."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()  # harmless if it has ended

    def _parse(self, output: bytes, code: int) -> Picture:
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            raise _not_decoded(
                f"it took more than {self._task.cpu_s} s of a processor, or more memory than there is"
            )
        if code < 0:
            raise _not_decoded(f"it crashed ({signal.Signals(-code).name})")
        head, _, pixels = output.partition(b"\n")
        if code or not head:
            raise _not_decoded(f"it ended with code {code}")
        return _decode_outcome(json.loads(head), pixels)


async def decode_in_subprocess(data: bytes, task: DecodeTask, *, command: Sequence[str] = COMMAND) -> Picture:
    """Decode an image file in a subprocess, which is killed if this is cancelled.

    Arguments as those of :class:`SubprocessDecoder`.

    Raises:
        WavescopeError: as :meth:`SubprocessDecoder.run`.
    """
    decoder = SubprocessDecoder(data, task, command=command)
    try:
        return await asyncio.to_thread(decoder.run)
    finally:
        decoder.stop()


def encode_outcome(outcome: Picture | WavescopeError) -> bytes:
    """Encode the outcome of a decoder process: a line of JSON, then the pixels."""
    if isinstance(outcome, WavescopeError):
        error = {"message": outcome.message, "field": outcome.field, "limits": outcome.limits}
        return json.dumps({"error": type(outcome).__name__} | error).encode() + b"\n"
    crop = asdict(outcome.crop)
    head = {
        "shape": outcome.pixels.shape,
        "crop": crop,
        "original_size": outcome.original_size,
        "assumptions": outcome.assumptions,
    }
    return json.dumps(head).encode() + b"\n" + np.ascontiguousarray(outcome.pixels, np.float32).tobytes()


def _decode_outcome(head: Mapping[str, Any], pixels: bytes) -> Picture:
    """Decode an outcome; no pickle, as a process that decodes hostile bytes is no more trusted than those."""
    if (name := head.get("error")) is not None:
        raise _ERRORS[name](head["message"], field=head["field"], **head["limits"])
    height, width = head["original_size"]
    return Picture(
        pixels=np.frombuffer(pixels, np.float32).reshape(head["shape"]).copy(),
        crop=CropBox(**head["crop"]),
        original_size=(height, width),
        assumptions=tuple(head["assumptions"]),
    )


def _not_decoded(why: str) -> NotAnImage:
    return NotAnImage(
        f"the image could not be decoded: the decoder was at work in a process of its own, and {why}",
        field="image",
    )


def _make_environment() -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
