"""PerturbationGenerator: from image bytes to a plan of perturbations, on a CPU."""

from __future__ import annotations

import asyncio

from wavescope.engine.plan import Plan, make_plan
from wavescope.engine.types import ExplanationRequest, Preprocessing
from wavescope.imaging.decode import decode
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

    async def __call__(self, image: bytes, preprocessing: Preprocessing, request: ExplanationRequest) -> Plan:
        """The plan of one image.

        Raises:
            NotAnImage, ImageTooLarge, InvalidRequest, CostLimitExceeded: nothing has been scored yet.
        """
        self._reporter.start_once()
        return await asyncio.to_thread(self._plan, image, preprocessing, request)

    def _plan(self, image: bytes, preprocessing: Preprocessing, request: ExplanationRequest) -> Plan:
        picture = decode(image, preprocessing, max_pixels=self._settings.max_pixels)
        return make_plan(picture, request, max_forwards=self._settings.max_forwards)
