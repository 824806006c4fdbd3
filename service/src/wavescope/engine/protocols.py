"""Ports of the engine: classifiers, images, the runner of its steps, and who records them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from wavescope.core.arrays import Array
from wavescope.core.gradients import GradientPath, GradientSums
from wavescope.core.rendering.masks import DerivativeRows, PickFreezeRows
from wavescope.core.scores import Column
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.types import ExplanationRequest, ModelDetails, Picture

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@runtime_checkable
class Classifier(Protocol):
    """A loaded image classifier."""

    @property
    def details(self) -> ModelDetails:
        """Name, shapes, labels and speed of the model."""
        ...

    def to_device(self, array: np.ndarray) -> Array:
        """``array`` in the library and on the device that ``forward`` takes; its dtype is kept."""
        ...

    def forward(self, images: Array) -> Array:
        """(n, classes) raw outputs of (n, c, h, w) float32 images that are normalised by ``(x - mean) / std``.

        Any n ≥ 1; at most ``details.batch_size`` are on the device at once.
        """
        ...


@runtime_checkable
class Differentiable(Classifier, Protocol):
    """A classifier that has gradients by its input; the first that is asked for shows whether its graph has them."""

    def gradients(self, images: Array, weights: Array) -> tuple[Array, Array]:
        """Raw outputs of images, and derivatives of a weighted sum of them by the pixels.

        Args:
            images: (n, c, h, w) float32, normalised as for ``forward``; any n ≥ 1, of which so many are on the device
                at once as its memory is for.
            weights: (n, classes) float32, for each image the weight of each output: 1 for one class and 0 for the
                others has the derivatives of that class's output.

        Returns:
            (n, classes) outputs, those of ``forward`` to the last digits of float32, and (n, c, h, w) derivatives by
            the pixels in [0, 1], before mean and standard deviation.

        Raises:
            NoGradients: it has none; says why.
            ModelFailure: it failed to compute them.
        """
        ...


@runtime_checkable
class Pipelined(Protocol):
    """A classifier whose device renders the next batch and copies results while it scores."""

    def rendering(self) -> AbstractContextManager[None]:
        """Context in which everything that renders belongs, building the renderer too."""
        ...

    def fetch(self, array: Array) -> Callable[[], np.ndarray]:
        """Starts the copy of results to the host; the function returned waits for it alone."""
        ...


@runtime_checkable
class Rows(Protocol):
    """Mask rows that are no pick-freeze sample, such as :class:`wavescope.core.rendering.masks.NestedMasks`."""

    @property
    def count(self) -> int: ...

    def masks(self, start: int, stop: int) -> Float32[np.ndarray, "n k"]:
        """Rows start..stop, the same bits whatever the range."""
        ...


# Rows of a plan, other than its full pick-freeze sample.
AnyRows = Rows | PickFreezeRows | DerivativeRows


@runtime_checkable
class Source(Protocol):
    """An image before the model's preprocessing."""

    def picture(self, zoom: int) -> Picture:
        """The part of the image that the model sees, enlarged ``zoom`` times."""
        ...

    def corrupted(
        self, seed: int, *, reference: bool
    ) -> Iterator[tuple[str, int, UInt8[np.ndarray, "c h w"]]]:
        """(corruption, severity 1..5, image) of every corruption of what the model sees.

        Args:
            seed: of the noise.
            reference: those that the authors count, the strongest severity twice.
        """
        ...


@runtime_checkable
class Runner(Protocol):
    """Carries out the steps of an explanation: in this process, or on replicas."""

    @property
    def details(self) -> ModelDetails:
        """Name, shapes, labels and speed of the model."""
        ...

    async def plan(self, position: int, request: ExplanationRequest, zoom: int) -> Plan:
        """The plan of one image of the request.

        Args:
            position: of the image among those of the request.
            request: every parameter; errors about the image or a field are its own.
            zoom: 1, or 2 for the image enlarged twice.
        """
        ...

    async def corrupt(
        self, position: int, request: ExplanationRequest
    ) -> tuple[tuple[tuple[str, int], ...], Stack]:
        """(corruption, severity) of every corrupted image, and the images."""
        ...

    async def clean(self, plan: Plan) -> tuple[Float32[np.ndarray, "c h w"], Float[np.ndarray, " classes"]]:
        """The unperturbed image in [0, 1], and the model's raw outputs for it."""
        ...

    async def steps(self, plan: Plan) -> Float32[np.ndarray, "k n"]:
        """(K, N) a_jk − b_jk of the plan's design, which is made where the plan is rendered, and there alone."""
        ...

    async def score(
        self,
        work: Plan | Stack,
        rows: AnyRows | None,
        score: str,
        targets: tuple[Column, ...],
        *,
        on_scores: Callable[[Scored], bool] | None = None,
    ) -> Scored:
        """Scores of all rows in order: ``rows`` of a plan, or for ``None`` its pick-freeze sample; or of a stack.

        Args:
            work, rows: what to score.
            score: which scalar.
            targets: class indices, and pairs of them: see :func:`wavescope.core.scores.scores`. Of ``DerivativeRows``
                one class; the derivatives of its score by every mask value are in the place of scores.
            on_scores: called with the scores so far whenever there are more. Where it returns ``False``, what was not
                begun is left out, and has no score in what is returned.
        """
        ...

    async def gradients(
        self,
        plan: Plan,
        path: GradientPath,
        score: str,
        target: int,
        *,
        on_samples: Callable[[int], bool] | None = None,
    ) -> GradientSums | None:
        """Sums of the attributions of wavelet coefficients over the samples of a path.

        Args:
            plan: of the image, in the wavelet domain.
            path: images at which the model is differentiated.
            score: which scalar; resolved, not ``auto``.
            target: class index.
            on_samples: called with the number of samples so far whenever there are more. Where it returns ``False``,
                what was not begun is left out.

        Returns:
            Sums over the first samples, added block by block in their order, the same bits however the blocks were
            scored; ``None`` of none.

        Raises:
            ModelFailure: the model has no gradients, or returned something that is not a number.
        """
        ...

    async def compute(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Runs ``work``, which may take seconds of a processor, and returns its result."""
        ...


@runtime_checkable
class Recorder(Protocol):
    """Counts rendered, scored and differentiated images, and the seconds of each."""

    def rendered(self, model: str, image_count: int, seconds: float) -> None: ...

    def scored(self, model: str, image_count: int, seconds: float) -> None: ...

    def differentiated(self, model: str, image_count: int, seconds: float) -> None: ...


class NullRecorder:
    """Records nothing."""

    def rendered(self, model: str, image_count: int, seconds: float) -> None:
        return None

    def scored(self, model: str, image_count: int, seconds: float) -> None:
        return None

    def differentiated(self, model: str, image_count: int, seconds: float) -> None:
        return None
