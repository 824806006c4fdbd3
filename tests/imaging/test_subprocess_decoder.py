"""Decoding in a process of its own: the same bits, and an end whatever happens."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from tests.polling import eventually, until

from wavescope.engine.types import Preprocessing
from wavescope.errors import ImageTooLarge, NotAnImage, WavescopeError
from wavescope.imaging.decode import decode
from wavescope.imaging.decode_cost import DecodeCost
from wavescope.imaging.limits import ImageLimits
from wavescope.imaging.subprocess_decoder import DecodeTask, SubprocessDecoder, decode_in_subprocess

LIMITS = ImageLimits(max_pixels=1_000_000, max_frames=10)
COST = DecodeCost(1.0, 1_000_000, in_subprocess=True)
WAITS = "import sys, time; sys.stdin.buffer.readline(); time.sleep(600)"
CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
# As the real one, but for the decoder, which never ends.
NEVER_ENDS = """
import sys
from wavescope.imaging import subprocess_decoder
from wavescope.imaging import decoder_process
decoder_process._limit_resources(subprocess_decoder.DecodeTask.from_line(sys.stdin.buffer.readline()))
while True:
    pass
"""


def task(
    preprocessing: Preprocessing | None = None, *, zoom: int = 1, limits: ImageLimits = LIMITS
) -> DecodeTask:
    made = DecodeTask.for_cost(preprocessing or Preprocessing(), zoom=zoom, cost=COST, limits=limits)
    assert DecodeTask.from_line(made.to_line()) == made
    return made


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def python(program: str) -> tuple[str, ...]:
    """Command of a program of the test's that is started instead of the decoder."""
    return (sys.executable, "-c", program)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "JPEG2000", "AVIF"])
def test_numbers_are_the_same_to_the_bit(name: str, chelsea: Image.Image) -> None:
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    preprocessing = Preprocessing(size=(96, 80), resize=101, interpolation="bicubic")
    data = encoded(chelsea, name)
    here, there = (
        decode(data, preprocessing, zoom=2),
        SubprocessDecoder(data, task(preprocessing, zoom=2)).run(),
    )
    assert here.pixels.tobytes() == there.pixels.tobytes()
    assert (here.crop, here.original_size) == (there.crop, there.original_size)
    assert (there.pixels.dtype, there.pixels.flags.writeable) == (np.float32, True)


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (b"GIF89a, and no more", LIMITS),
        (encoded(Image.new("RGB", (300, 200)), "PNG"), ImageLimits(max_pixels=100)),
    ],
)
def test_errors_are_the_same(data: bytes, limits: ImageLimits) -> None:
    told = []
    for run in (
        lambda: decode(data, Preprocessing(), limits=limits),
        lambda: SubprocessDecoder(data, task(limits=limits)).run(),
    ):
        with pytest.raises((NotAnImage, ImageTooLarge)) as caught:
            run()
        told.append((type(caught.value), caught.value.message, caught.value.field, caught.value.limits))
    assert told[0] == told[1]


def test_a_decoder_that_crashes_costs_its_own_image_alone() -> None:
    with pytest.raises(NotAnImage, match=r"in a process of its own, and it crashed \(SIGSEGV\)"):
        SubprocessDecoder(b"x", task(), command=python(CRASHES)).run()


def test_a_decoder_that_never_ends_is_ended() -> None:
    bounded = DecodeTask(Preprocessing(), LIMITS, zoom=1, cpu_s=1, memory_bytes=2**30, parent=task().parent)
    with pytest.raises(NotAnImage, match="it took more than 1 s of a processor"):
        SubprocessDecoder(b"x", bounded, command=python(NEVER_ENDS)).run()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound a process's data")
def test_memory_is_bounded() -> None:
    data = encoded(Image.new("RGBA", (4000, 4000)), "PNG")
    bounded = DecodeTask(
        Preprocessing(),
        ImageLimits(max_pixels=10**9, max_frames=1),
        zoom=1,
        cpu_s=60,
        memory_bytes=150 * 2**20,
        parent=task().parent,
    )
    with pytest.raises(NotAnImage, match="not enough memory to decode the image"):
        SubprocessDecoder(data, bounded).run()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes")
def test_who_leaves_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[SubprocessDecoder] = []
    begin = SubprocessDecoder.run
    monkeypatch.setattr(SubprocessDecoder, "run", lambda self: made.append(self) or begin(self))

    async def run() -> None:
        working = asyncio.create_task(decode_in_subprocess(b"x", task(), command=python(WAITS)))
        await until(lambda: bool(made) and made[0].pid is not None)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(run())
    eventually(lambda: not Path(f"/proc/{made[0].pid}").exists())


def test_what_was_stopped_before_it_began_is_not_started() -> None:
    stopped = SubprocessDecoder(b"x", task())
    stopped.stop()
    with pytest.raises(NotAnImage, match="it was stopped"):
        stopped.run()
    assert stopped.pid is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end children with their parent")
def test_it_ends_with_the_process_that_waits_for_it() -> None:
    """A parent that is killed, and so cannot stop anything."""
    parent = f"""
import sys, threading, time
from wavescope.imaging import subprocess_decoder
from wavescope.engine.types import Preprocessing
from wavescope.imaging.decode_cost import DecodeCost
from wavescope.imaging.limits import DEFAULT_LIMITS
cost = DecodeCost(20.0, 1, True)
task = subprocess_decoder.DecodeTask.for_cost(Preprocessing(), limits=DEFAULT_LIMITS, zoom=1, cost=cost)
one = subprocess_decoder.SubprocessDecoder(b"x", task, command=(sys.executable, "-c", {NEVER_ENDS!r}))
threading.Thread(target=one.run, daemon=True).start()
while one.pid is None:
    time.sleep(0.01)
print(one.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    eventually(lambda: not Path(f"/proc/{child}").exists())


def test_it_is_told_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAVESCOPE_STORE_URL", "redis://:secret@host/0")
    found = tmp_path / "environment"
    program = f"import json, os; open({str(found)!r}, 'w').write(json.dumps(dict(os.environ)))"
    with pytest.raises(WavescopeError, match="ended with code 0"):
        SubprocessDecoder(b"x", task(), command=python(program)).run()
    assert "secret" not in found.read_text()
    assert "WAVESCOPE_STORE_URL" not in json.loads(found.read_text())


def test_many_may_be_at_work_in_threads(chelsea: Image.Image) -> None:
    data, found = encoded(chelsea, "PNG"), []
    threads = [
        threading.Thread(target=lambda: found.append(SubprocessDecoder(data, task()).run())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({picture.pixels.tobytes() for picture in found}) == 1
