"""PerturbationGenerator: from image bytes to a plan of perturbations, on a CPU."""

from __future__ import annotations

import asyncio

import numpy as np

from wavescope.engine.kinds import named
from wavescope.engine.local import corrupted
from wavescope.engine.plan import Plan, Stack, make_plan, make_stack
from wavescope.engine.types import ExplanationRequest, Preprocessing
from wavescope.errors import WavescopeError
from wavescope.imaging.source import ImageSource
from wavescope.serving import names
from wavescope.serving.logs import configure_logs
from wavescope.serving.reporting import Reporter
from wavescope.settings import Settings


class PerturbationGenerator:
    """Decodes and preprocesses an image, transforms it, and plans its perturbations.

    The plan is returned, not put: the caller owns the object, so that it outlives this process.
    """

    def __init__(self, settings: Settings) -> None:
        configure_logs(settings.log_level)
        self._settings = settings
        self._reporter = Reporter(names.GENERATOR)

    async def check_health(self) -> None:
        """Answers while the replica's event loop turns; Ray Serve does not notice a blocked one by itself."""
        self._reporter.start_once()

    async def plan(
        self, image: bytes, request: ExplanationRequest, zoom: int, preprocessing: Preprocessing
    ) -> Plan:
        """The plan of one image, enlarged ``zoom`` times.

        Raises:
            NotAnImage, ImageTooLarge, InvalidRequest, CostLimitExceeded: nothing has been scored yet.
        """
        self._reporter.start_once()
        return await asyncio.to_thread(self._plan, image, request, zoom, preprocessing)

    async def corrupt(
        self, image: bytes, request: ExplanationRequest, preprocessing: Preprocessing
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        """(corruption, severity) of every corrupted image, and the images; errors as :meth:`plan`."""
        self._reporter.start_once()
        return await asyncio.to_thread(self._corrupt, image, request, preprocessing)

    async def stack(
        self, images: tuple[bytes, ...], image_names: tuple[str, ...], preprocessing: Preprocessing
    ) -> Stack:
        """What the model sees of every image, float32 in [0, 1]; errors as :meth:`plan`, under the image's name."""
        self._reporter.start_once()
        return await asyncio.to_thread(self._stack, images, image_names, preprocessing)

    def _plan(
        self, image: bytes, request: ExplanationRequest, zoom: int, preprocessing: Preprocessing
    ) -> Plan:
        picture = self._source(image, preprocessing).picture(zoom)
        return make_plan(picture, request, max_forwards=self._settings.max_forwards)

    def _corrupt(
        self, image: bytes, request: ExplanationRequest, preprocessing: Preprocessing
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        return corrupted(self._source(image, preprocessing), request)

    def _stack(
        self, images: tuple[bytes, ...], image_names: tuple[str, ...], preprocessing: Preprocessing
    ) -> Stack:
        seen: list[np.ndarray] = []
        for image, name in zip(images, image_names, strict=True):
            try:
                seen.append(self._source(image, preprocessing).picture(1).pixels)
            except WavescopeError as error:
                raise named(error, name) from None
        return make_stack(np.stack(seen))

    def _source(self, image: bytes, preprocessing: Preprocessing) -> ImageSource:
        limits = self._settings
        return ImageSource(image, preprocessing, max_pixels=limits.max_pixels, max_frames=limits.max_frames)
