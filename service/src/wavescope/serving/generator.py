"""PerturbationGenerator: from image bytes to a plan of perturbations, on a CPU."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from jaxtyping import UInt8

from wavescope.engine.local import corrupt
from wavescope.engine.plan import Plan, Stack, make_plan, make_stack
from wavescope.engine.types import ExplanationRequest, Outputs, Picture, Preprocessing
from wavescope.errors import WavescopeError
from wavescope.imaging.decode import decode_or_estimate
from wavescope.imaging.source import iterate_corruptions
from wavescope.imaging.subprocess_decoder import COMMAND, DecodeTask, decode_in_subprocess
from wavescope.serving import names
from wavescope.serving.calls.local_handle import LocalHandle
from wavescope.serving.process import prepare_process
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class PerturbationGenerator:
    """Decodes and preprocesses an image, transforms it, and plans its perturbations.

    The plan is returned, not put: the caller owns the object, so that it outlives this process.

    Args:
        settings: of the service.
        hub: of the metrics, where it is in this process.
        decoder_command: program that decodes expensive images, and its arguments.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        hub: LocalHandle | None = None,
        decoder_command: Sequence[str] = COMMAND,
    ) -> None:
        prepare_process(settings)
        self._settings = settings
        self._decoder_command = decoder_command
        self._reporter = Reporter(names.GENERATOR, hub=hub)
        # The desk lets no more in, but counts nobody who has left, whose thread goes on.
        self._places = asyncio.Semaphore(settings.max_planning)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()

    async def plan(
        self,
        image: bytes,
        request: ExplanationRequest,
        zoom: int,
        preprocessing: Preprocessing,
        outputs: Outputs,
    ) -> Plan:
        """The plan of one image, enlarged ``zoom`` times.

        Raises:
            NotAnImage, ImageTooLarge, InvalidRequest, CostLimitExceeded: nothing has been scored yet.
        """
        self._reporter.start_once()
        picture = await self._picture(image, preprocessing, zoom)
        return await self._in_thread(
            make_plan, picture, request, max_forwards=self._settings.max_forwards, outputs=outputs
        )

    async def corrupt(
        self, image: bytes, request: ExplanationRequest, preprocessing: Preprocessing
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        """(corruption, severity) of every corrupted image, and the images; errors as :meth:`plan`."""
        self._reporter.start_once()
        source = _Abandonable(await self._picture(image, preprocessing))
        try:
            return await self._in_thread(corrupt, source, request)
        finally:
            source.abandoned = True

    async def stack(
        self, images: tuple[bytes, ...], image_names: tuple[str, ...], preprocessing: Preprocessing
    ) -> Stack:
        """Stack of every preprocessed image, float32 in [0, 1]; errors as :meth:`plan`, under the image's name."""
        self._reporter.start_once()
        seen: list[Picture] = []
        for image, name in zip(images, image_names, strict=True):
            try:
                seen.append(await self._picture(image, preprocessing))
            except WavescopeError as error:
                from wavescope.engine.explain import rename_image  # here: all else of it is the aggregator's

                raise rename_image(error, name) from None
        assumptions = tuple(picture.assumptions for picture in seen)
        return await self._in_thread(
            lambda: make_stack(np.stack([picture.pixels for picture in seen]), assumptions)
        )

    async def _picture(self, image: bytes, preprocessing: Preprocessing, zoom: int = 1) -> Picture:
        """Decoded in a thread, or in a process of its own where that takes long: left alone, that ends at once."""
        limits = self._settings.image_limits
        found = await self._in_thread(decode_or_estimate, image, preprocessing, limits=limits, zoom=zoom)
        if isinstance(found, Picture):
            return found
        async with self._places:
            task = DecodeTask.for_cost(preprocessing, limits=limits, zoom=zoom, cost=found)
            return await decode_in_subprocess(image, task, command=self._decoder_command)

    async def _in_thread(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Runs ``work`` in a thread, which has a place until it ends: later than a call that is cancelled."""
        await self._places.acquire()
        working = asyncio.ensure_future(asyncio.to_thread(work, *args, **named))
        working.add_done_callback(self._ended)
        return await asyncio.shield(working)

    def _ended(self, working: asyncio.Future[Any]) -> None:
        self._places.release()
        if not working.cancelled():
            working.exception()  # raised in whoever waits; nobody has to


class _Abandonable:
    """A picture whose corruptions end when nobody waits for them any more; a :class:`.Source`."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self.abandoned = False

    def picture(self, zoom: int) -> Picture:
        return self._picture

    def corrupted(
        self, seed: int, *, reference: bool
    ) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
        for found in iterate_corruptions(self._picture.pixels, seed, reference=reference):
            if self.abandoned:
                return
            yield found
