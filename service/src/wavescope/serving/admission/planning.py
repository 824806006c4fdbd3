"""Planning before a request's forwards: expected seconds of decoding, charges, and turns."""

from __future__ import annotations

import asyncio
import math
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from wavescope.admission.policy import AdmissionRequest
from wavescope.engine.explain import rename_image
from wavescope.engine.kinds import KINDS
from wavescope.engine.types import ExplanationRequest, Preprocessing
from wavescope.errors import WavescopeError
from wavescope.imaging.decode import estimate_decode_cost
from wavescope.imaging.decode_cost import SUBPROCESS_S
from wavescope.settings import Settings

if TYPE_CHECKING:
    from wavescope.admission.wait_estimate import Priority
    from wavescope.serving.admission.desk import AdmissionClient

FORWARD_S: Final = 0.1  # one forward is charged for every started so many seconds
READ_S: Final = 0.005  # of reading one image's header
READ_FORWARDS: Final = 1  # charged for reading all headers of a request, as a part of its planning
PLAN_S: Final = 0.02  # of transforming and partitioning a crop
CORRUPT_S: Final = 2.0  # of all corruptions of a crop of so many pixels
CORRUPT_PIXELS: Final = 224 * 224
# Images whose decoding takes less together are decoded in one turn; others go first before the next ones.
TURN_S: Final = 0.5


def decode_seconds(
    images: Sequence[bytes],
    names: Sequence[str],
    settings: Settings,
    abandoned: Callable[[], bool] = lambda: False,
) -> tuple[float, ...]:
    """Seconds of a processor that decoding each image is expected to take, from its header.

    The start of a process is part of it, for images that are decoded in one of their own.

    Args:
        images: the encoded files.
        names: what the caller calls each, for errors.
        settings: what takes longer, or is larger, is refused.
        abandoned: whether nobody waits any more: then it ends before the next image.

    Raises:
        NotAnImage, ImageTooLarge, InvalidRequest: as far as a header shows; names the image.
    """
    found: list[float] = []
    for image, name in zip(images, names, strict=True):
        if abandoned():
            break
        try:
            cost = estimate_decode_cost(image, limits=settings.image_limits)
        except WavescopeError as error:
            raise rename_image(error, name) from None
        found.append(cost.seconds + (SUBPROCESS_S if cost.in_subprocess else 0.0))
    return tuple(found)


def planning_seconds(
    request: ExplanationRequest, decode_s: Sequence[float], preprocessing: Preprocessing
) -> float:
    """Seconds of a processor that all planning of a request is expected to take, its corrupted images included."""
    once = sum(decode_s) + PLAN_S * len(decode_s)
    kind = KINDS[request.kind]
    if kind.enlarges:
        return 2 * once
    if kind.corrupts:
        return once + sum(decode_s) + len(decode_s) * corrupt_seconds(preprocessing)
    return once


def corrupt_seconds(preprocessing: Preprocessing) -> float:
    """Seconds of a processor that the corruptions of one crop are expected to take."""
    height, width = preprocessing.size
    return CORRUPT_S * height * width / CORRUPT_PIXELS


def as_forwards(seconds: float) -> int:
    """Forwards that seconds of planning are charged as."""
    return math.ceil(seconds / FORWARD_S)


class Planning:
    """The turns of one request to have its images decoded.

    Args:
        admission: client of the desk.
        caller: of the request.
        priority: of the request.
        decode_s: expected of each image.
        forwards: charged with the first turn.
        patient: whether it waits however long that takes.
    """

    def __init__(
        self,
        admission: AdmissionClient,
        caller: str,
        priority: Priority,
        decode_s: Sequence[float],
        *,
        forwards: int,
        patient: bool,
    ) -> None:
        self.decode_s = decode_s
        self._owed = forwards
        self._paid = 0
        self._admission = admission
        self._caller = caller
        self._priority: Priority = priority
        self._patient = patient
        self._begun = False

    @property
    def forwards(self) -> int:
        """Charged for all turns."""
        return self._paid + self._owed

    async def read(
        self,
        images: Sequence[bytes],
        names: Sequence[str],
        settings: Settings,
        forwards: Callable[[Sequence[float]], int],
    ) -> None:
        """Reads the expected seconds of decoding from the headers: a turn of its own, which is charged.

        Args:
            images: the encoded files.
            names: what the caller calls each, for errors.
            settings: what takes longer, or is larger, is refused.
            forwards: charged for all turns, by the seconds of every image; what is more than was charged for this one
                is charged with the next.

        Raises:
            QuotaExceeded, QueueFull: before anything is read.
            NotAnImage, ImageTooLarge, InvalidRequest: as :func:`decode_seconds`.
        """
        async with self.turn(READ_S * len(images)):
            self.decode_s = await _read(images, names, settings)
        self._owed = max(0, forwards(self.decode_s) - self._paid)

    @asynccontextmanager
    async def turn(self, seconds: float) -> AsyncIterator[None]:
        """The body runs when it is the request's turn.

        A request that was let in once is not refused for want of room any more: what was planned of it would be lost.

        Args:
            seconds: of a processor that the body is expected to take.

        Raises:
            QueueFull: at the first turn.
            QuotaExceeded: the same, and where it is charged for more than the caller has left.
        """
        owed, self._owed = self._owed, 0
        ask = AdmissionRequest(
            id=uuid.uuid4().hex,
            caller=self._caller,
            priority=self._priority,
            forwards=owed,
            seconds=seconds,
            patient=self._patient or self._begun,
            charged_forwards=self._paid,
            lane="planning",
        )
        async with self._admission.through(ask):
            self._begun = True
            self._paid += owed
            yield


async def _read(images: Sequence[bytes], names: Sequence[str], settings: Settings) -> tuple[float, ...]:
    """Call :func:`decode_seconds` in a thread; cancelled, it ends with the thread, after one image at most."""
    abandoned = threading.Event()
    reading = asyncio.ensure_future(
        asyncio.to_thread(decode_seconds, images, names, settings, abandoned.is_set)
    )
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        abandoned.set()
        await asyncio.wait((reading,))
        if not reading.cancelled():
            reading.exception()  # nobody waits for it
        raise


def groups(decode_s: Sequence[float]) -> list[range]:
    """Images that are decoded in one turn, in order."""
    found: list[range] = []
    start, sum_s = 0, 0.0
    for place, seconds in enumerate(decode_s):
        if place > start and sum_s + seconds > TURN_S:
            found.append(range(start, place))
            start, sum_s = place, 0.0
        sum_s += seconds
    return [*found, range(start, len(decode_s))]
