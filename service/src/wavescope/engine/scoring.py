"""Renders and scores rows of a plan where the model is; images live for one device batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Float32

from wavescope.core import scores as core_scores
from wavescope.core.arrays import Array, namespace
from wavescope.core.fourier import FourierSynthesis
from wavescope.core.pixel import PixelSynthesis
from wavescope.core.reference import ReferenceRenderer
from wavescope.core.render import Finish, Renderer, Synthesis
from wavescope.core.wavelet_synthesis import WaveletSynthesis
from wavescope.engine.plan import Plan, Stack
from wavescope.engine.protocols import Classifier, Recorder, Rows, Silent
from wavescope.engine.scoreboard import Scored
from wavescope.engine.types import Preprocessing
from wavescope.errors import ModelFailure


def make_renderer(
    plan: Plan, preprocessing: Preprocessing, to_device: Callable[[np.ndarray], Array]
) -> Renderer | ReferenceRenderer:
    """What renders a plan, in the library and on the device of ``to_device``."""
    spec = plan.spec
    mean, std = (_per_channel(values, to_device) for values in (preprocessing.mean, preprocessing.std))
    factors = plan.make_partition()
    if spec.reference:
        assert spec.transform != "pixel"
        return ReferenceRenderer(
            plan.array, factors, spec.transform, spec.wavelet, spec.levels, spec.value_policy, mean, std
        )
    size = spec.shape[1:]
    synthesis: Synthesis
    if spec.transform == "fourier":
        synthesis = FourierSynthesis(plan.array, factors, mean)
    elif spec.transform == "pixel":
        synthesis = PixelSynthesis(plan.array, factors, spec.baseline, mean)
    else:
        synthesis = WaveletSynthesis(plan.array, size, spec.wavelet, spec.levels, factors, mean)
    return Renderer(synthesis, factors.n_factors, Finish(spec.value_policy, mean, std))


def render_images(
    plan: Plan, preprocessing: Preprocessing, masks: Sequence[Float[np.ndarray, " k"]]
) -> list[Float32[np.ndarray, "c h w"]]:
    """The images of mask rows as a viewer sees them: value policy applied, not normalised, in [0, 1]."""
    renderer = make_renderer(plan, preprocessing, np.asarray)
    return [np.clip(renderer.image(mask), 0.0, 1.0) for mask in masks]


class Scorer:
    """Scores rows of one plan, or the images of one stack, with one classifier, one device batch at a time.

    Args:
        work: what to render.
        classifier: what scores.
        recorder: told the images and seconds of rendering and of scoring.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        work: Plan | Stack,
        classifier: Classifier,
        *,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._work = work
        self._classifier = classifier
        self._details = classifier.details
        self._recorder = recorder or Silent()
        self._clock = clock
        preprocessing = self._details.preprocessing
        mean, std = (
            _per_channel(values, classifier.to_device) for values in (preprocessing.mean, preprocessing.std)
        )
        self._normalise = Finish("none", mean, std)
        shape = work.images.shape[1:] if isinstance(work, Stack) else work.spec.shape
        self._buffer = classifier.to_device(np.zeros((self._details.batch_size, *shape), dtype=np.float32))
        if isinstance(work, Plan):
            self._renderer = make_renderer(work, preprocessing, classifier.to_device)
            # Without design rows a plan is made for other masks.
            self._design = work.spec.make_design(work.n_factors) if work.spec.nb_design else None

    def image(self) -> Float32[np.ndarray, "c h w"]:
        """The unperturbed crop in [0, 1]."""
        return to_numpy(self._renderer.clean())

    def predict(self) -> Float[np.ndarray, " classes"]:
        """Raw outputs of the model for the unperturbed image, float64.

        Raises:
            ModelFailure: the model returned something that is not a number.
        """
        image = self._normalise(self._renderer.clean())
        outputs = to_numpy(self._forward(image[None, ...]))[0]
        if np.isnan(outputs).any():  # infinities may be meant: a class that is ruled out
            raise ModelFailure(
                f"model {self._details.name!r} returned something that is not a number for the unperturbed image"
            )
        return outputs

    def score(self, rows: Rows | None, start: int, stop: int, score: str, targets: Sequence[int]) -> Scored:
        """Scores of rows start..stop, at most one device batch.

        Args:
            rows: mask rows of a plan; ``None`` for its pick-freeze sample, and for a stack.
            start, stop: half-open row range.
            score: which scalar.
            targets: class indices.

        Raises:
            ModelFailure: the model returned something that is not a number.
        """
        began = self._clock()
        images = self._render(rows, start, stop)
        rendered = self._clock()
        outputs = self._forward(images)
        values = to_numpy(core_scores.scores(outputs, self._details.outputs, score, targets))
        xp = namespace(outputs)
        predicted = to_numpy(xp.argmax(outputs, axis=-1)).astype(np.int32)
        confidence = to_numpy(xp.max(core_scores.probabilities(outputs, self._details.outputs), axis=-1))
        scored = self._clock()
        self._recorder.rendered(self._details.name, stop - start, rendered - began)
        self._recorder.scored(self._details.name, stop - start, scored - rendered)
        if not np.isfinite(values).all():
            bad = start + int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise ModelFailure(
                f"model {self._details.name!r} returned a {score} that is not finite for perturbation {bad}",
                row=bad,
            )
        return Scored(values, predicted, confidence)

    def batches(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Row ranges of one device batch each."""
        size = self._details.batch_size
        return [(at, min(at + size, stop)) for at in range(start, stop, size)]

    def _render(self, rows: Rows | None, start: int, stop: int) -> Array:
        if isinstance(self._work, Stack):
            for place, levels in enumerate(self._work.images[start:stop]):
                image = self._classifier.to_device(levels.astype(np.float32) / np.float32(255))
                self._buffer[place, ...] = self._normalise(image)
            return self._buffer[: stop - start, ...]
        if rows is not None:
            return self._renderer.masks(rows.masks(start, stop), out=self._buffer)
        assert self._design is not None, "a plan without design rows has no pick-freeze sample"
        return self._renderer.rows(self._design, start, stop, out=self._buffer)

    def _forward(self, images: Array) -> Array:
        outputs = self._classifier.forward(images)
        xp = namespace(outputs)
        return xp.astype(outputs, xp.float64)  # sums over a thousand classes keep float32's digits


def to_numpy(array: Array) -> np.ndarray:
    """The array in host memory."""
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)


def _per_channel(values: Sequence[float], to_device: Callable[[np.ndarray], Array]) -> Array:
    return to_device(np.asarray(values, dtype=np.float32).reshape(-1, 1, 1))
