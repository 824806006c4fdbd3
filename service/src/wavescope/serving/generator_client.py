"""Typed client of the generator: plans and stacks, each with the object that it is in the object store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import ObjectRef
from ray.serve.handle import DeploymentHandle

from wavescope.engine.plan import Plan, Stack
from wavescope.engine.types import ExplanationRequest, Outputs, Preprocessing
from wavescope.retries import RetryPolicy
from wavescope.serving.calls.dispatch import call
from wavescope.serving.calls.local_handle import LocalHandle, LocalResponse
from wavescope.serving.calls.retries import PLANNING


class GeneratorClient:
    """Calls :class:`wavescope.serving.generator.PerturbationGenerator`; the methods have the same names there.

    A call is sent again when its generator dies, and one that is cancelled stops the work. All of them raise:

        ModelUnavailable: generator after generator died.
        WavescopeError: what was raised there.

    A generator in this process puts nothing into the object store: ``None`` stands for the object.

    Args:
        handle: of the generator.
        retries: of calls whose generator dies.
    """

    def __init__(self, handle: DeploymentHandle | LocalHandle, *, retries: RetryPolicy = PLANNING) -> None:
        self._handle = handle
        self._retries = retries

    async def plan(
        self,
        image: bytes,
        request: ExplanationRequest,
        zoom: int,
        preprocessing: Preprocessing,
        outputs: Outputs,
    ) -> tuple[Plan, ObjectRef[Plan] | None]:
        """The plan of one image, enlarged ``zoom`` times."""
        return await self._call(
            "plan", lambda: self._handle.plan.remote(image, request, zoom, preprocessing, outputs)
        )

    async def corrupt(
        self, image: bytes, request: ExplanationRequest, preprocessing: Preprocessing
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        """(corruption, severity) of every corrupted image, and the images."""
        found, _ = await self._call(
            "corrupt", lambda: self._handle.corrupt.remote(image, request, preprocessing)
        )
        return found

    async def stack(
        self, images: tuple[bytes, ...], image_names: tuple[str, ...], preprocessing: Preprocessing
    ) -> tuple[Stack, ObjectRef[Stack] | None]:
        """Stack of every preprocessed image."""
        return await self._call(
            "stack", lambda: self._handle.stack.remote(images, image_names, preprocessing)
        )

    async def _call(self, name: str, send: Callable[[], Any]) -> tuple[Any, ObjectRef[Any] | None]:
        return await call(send, what=f"generator's {name}", policy=self._retries, receive=_with_object)


async def _with_object(response: Any) -> tuple[Any, ObjectRef[Any] | None]:
    """The result of a call, and the object it is."""
    if isinstance(response, LocalResponse):
        return await response, None
    reference = await response._to_object_ref()  # noqa: SLF001  # Ray Serve has no public way
    return await response, reference
