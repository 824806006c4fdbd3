"""Renders and scores rows of a plan where the model is; images live for one device batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from wavescope.core import scores as core_scores
from wavescope.core.arrays import Array, namespace
from wavescope.core.render import Finish, Renderer
from wavescope.engine.plan import Plan
from wavescope.engine.protocols import Classifier, Recorder, Silent
from wavescope.errors import ModelFailure


class PlanScorer:
    """Scores rows of one plan with one classifier, one device batch at a time.

    Args:
        plan: what to render.
        classifier: what scores.
        recorder: told the images and seconds of rendering and of scoring.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        plan: Plan,
        classifier: Classifier,
        *,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._classifier = classifier
        self._details = classifier.details
        self._recorder = recorder or Silent()
        self._clock = clock
        spec = plan.spec
        preprocessing = self._details.preprocessing

        def per_channel(values: Sequence[float]) -> Array:
            return classifier.to_device(np.asarray(values, dtype=np.float32).reshape(-1, 1, 1))

        finish = Finish(spec.value_policy, per_channel(preprocessing.mean), per_channel(preprocessing.std))
        self._unchanged = Finish("none", finish.mean, finish.std)
        self._renderer = Renderer(
            plan.coefficients, spec.shape[1:], spec.wavelet, spec.levels, spec.make_partition(), finish
        )
        self._design = spec.make_design(plan.n_factors)
        shape = (self._details.batch_size, *self._renderer.shape)
        self._buffer = classifier.to_device(np.zeros(shape, dtype=np.float32))

    def image(self) -> Float[np.ndarray, "c h w"]:
        """The unperturbed crop in [0, 1]."""
        return to_numpy(self._renderer.clean())

    def predict(self) -> Float[np.ndarray, " classes"]:
        """Raw outputs of the model for the unperturbed image, float64.

        Raises:
            ModelFailure: the model returned something that is not a number.
        """
        image = self._unchanged(self._renderer.clean())
        outputs = to_numpy(self._forward(image[None, ...]))[0]
        if np.isnan(outputs).any():  # infinities may be meant: a class that is ruled out
            raise ModelFailure(
                f"model {self._details.name!r} returned something that is not a number for the unperturbed image"
            )
        return outputs

    def score(self, start: int, stop: int, score: str, targets: Sequence[int]) -> Float[np.ndarray, "n t"]:
        """Scores of rows start..stop, at most one device batch.

        Returns:
            (stop − start, len(targets)) float64.

        Raises:
            ModelFailure: the model returned something that is not a number.
        """
        began = self._clock()
        images = self._renderer.rows(self._design, start, stop, out=self._buffer)
        rendered = self._clock()
        outputs = self._forward(images)
        values = to_numpy(core_scores.scores(outputs, self._details.outputs, score, targets))
        scored = self._clock()
        self._recorder.rendered(self._details.name, stop - start, rendered - began)
        self._recorder.scored(self._details.name, stop - start, scored - rendered)
        if not np.isfinite(values).all():
            bad = start + int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise ModelFailure(
                f"model {self._details.name!r} returned a {score} that is not finite for perturbation {bad}",
                row=bad,
            )
        return values

    def batches(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Row ranges of one device batch each."""
        size = self._details.batch_size
        return [(at, min(at + size, stop)) for at in range(start, stop, size)]

    def _forward(self, images: Array) -> Array:
        outputs = self._classifier.forward(images)
        xp = namespace(outputs)
        return xp.astype(outputs, xp.float64)  # sums over a thousand classes keep float32's digits


def to_numpy(array: Array) -> np.ndarray:
    """The array in host memory."""
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)
