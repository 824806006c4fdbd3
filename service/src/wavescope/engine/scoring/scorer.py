"""Renders and scores rows of plans where the model is; images live for one device batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32

from wavescope.core import scores as core_scores
from wavescope.core.arrays import Array, namespace, to_numpy
from wavescope.core.gradients import GradientPath, GradientReducer, GradientSums
from wavescope.core.reference.renderer import ReferenceRenderer
from wavescope.core.rendering.fourier import FourierSynthesis
from wavescope.core.rendering.masks import DerivativeRows, PickFreezeRows
from wavescope.core.rendering.pixel import PixelSynthesis
from wavescope.core.rendering.renderer import Finish, Renderer, Synthesis
from wavescope.core.rendering.wavelet import WaveletSynthesis
from wavescope.core.scores import Column
from wavescope.engine.plan import Plan, Stack, chunks
from wavescope.engine.protocols import (
    AnyRows,
    Classifier,
    Differentiable,
    NullRecorder,
    Pipelined,
    Recorder,
    Rows,
)
from wavescope.engine.scoring.scoreboard import Scored
from wavescope.engine.types import Preprocessing
from wavescope.errors import InfiniteGradient, ModelFailure, NoGradients

# Samples of a path whose sums are one message: they are added in this order whatever the batches they were computed in.
GRADIENT_BLOCK = 8
_Fetched = Callable[[], np.ndarray]  # waits for results of the device


def make_renderer(
    plan: Plan, preprocessing: Preprocessing, to_device: Callable[[np.ndarray], Array]
) -> Renderer | ReferenceRenderer:
    """Make the renderer of a plan, in the library and on the device of ``to_device``."""
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


class Rendering:
    """Renders rows of one plan, or the images of one stack, finished for one model.

    Args:
        work: what to render.
        classifier: for which; decides the library and the device of every render.
    """

    def __init__(self, work: Plan | Stack, classifier: Classifier) -> None:
        self._work = work
        self._to_device = classifier.to_device
        self._within = classifier.rendering if isinstance(classifier, Pipelined) else nullcontext
        preprocessing = classifier.details.preprocessing
        with self._within():
            mean, std = (
                _per_channel(values, self._to_device) for values in (preprocessing.mean, preprocessing.std)
            )
            self._normalise = Finish("none", mean, std)
            if isinstance(work, Plan):
                self._renderer = make_renderer(work, preprocessing, self._to_device)
                # Without design rows a plan is made for other masks.
                self._design = work.spec.make_design(work.n_factors) if work.spec.nb_design else None

    def image(self) -> Float32[np.ndarray, "c h w"]:
        """The unperturbed crop in [0, 1]."""
        with self._within():
            return to_numpy(self._renderer.clean())

    def clean(self) -> Float32[Array, "c h w"]:
        """The unperturbed crop, normalised for the model."""
        with self._within():
            return self._normalise(self._renderer.clean())

    def derivatives(
        self,
        rows: DerivativeRows,
        start: int,
        stop: int,
        differentiate: Callable[[Float32[Array, "n c h w"]], Float32[Array, "n c h w"]],
    ) -> Float[np.ndarray, "n k"]:
        """Derivatives by every mask value at rows start..stop.

        Args:
            differentiate: derivatives of the score by the pixels in [0, 1], from images finished for the model.
        """
        assert self._design is not None
        assert isinstance(self._renderer, Renderer), "the authors' code has no adaptive plan"
        with self._within():
            plain, images = self._renderer.with_plain(self._design.a[rows.base[start:stop]])
        # Outside: where the model runs, and after it.
        return self._renderer.mask_derivatives(plain, differentiate(images))

    def reducer(self, path: GradientPath) -> GradientReducer:
        """Reducer of gradients by pixels to attributions of the plan's coefficients."""
        work = self._work
        assert isinstance(work, Plan), "a stack has no coefficients"
        spec = work.spec
        return GradientReducer(path, self.image(), spec.wavelet, spec.levels, work.make_partition())

    def steps(self) -> Float32[np.ndarray, "k n"]:
        """(K, N) a_jk − b_jk of the design of a plan that has one."""
        assert self._design is not None, "a plan without design rows has no steps"
        return np.ascontiguousarray((self._design.a - self._design.b).T, dtype=np.float32)

    def render(
        self, rows: Rows | PickFreezeRows | None, start: int, stop: int, out: Float32[Array, "n c h w"]
    ) -> None:
        """Writes rows start..stop to ``out``.

        Args:
            rows: mask rows of a plan; ``None`` for its pick-freeze sample, and for a stack.
            start, stop: half-open row range.
            out: (stop − start, c, h, w).
        """
        with self._within():
            self._render(rows, start, stop, out)

    def _render(
        self, rows: Rows | PickFreezeRows | None, start: int, stop: int, out: Float32[Array, "n c h w"]
    ) -> None:
        if isinstance(self._work, Stack):
            for place, levels in enumerate(self._work.images[start:stop]):
                # What is float32 is in [0, 1] already.
                image = levels if levels.dtype == np.float32 else levels.astype(np.float32) / np.float32(255)
                out[place, ...] = self._normalise(self._to_device(image))
        elif isinstance(rows, PickFreezeRows):
            assert self._design is not None
            assert isinstance(self._renderer, Renderer), "the authors' code has no adaptive plan"
            self._renderer.pick_freeze(self._design, rows, start, stop, out=out)
        elif rows is not None:
            self._renderer.masks(rows.masks(start, stop), out=out)
        else:
            assert self._design is not None, "a plan without design rows has no pick-freeze sample"
            self._renderer.rows(self._design, start, stop, out=out)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows that are wanted of one plan or stack.

    Attributes:
        rendering: of the plan or stack.
        rows: mask rows of a plan; ``None`` for its pick-freeze sample, and for a stack.
        start, stop: half-open row range.
        score: which scalar.
        targets: class indices, and pairs of them: see :func:`wavescope.core.scores.scores`.
    """

    rendering: Rendering
    rows: AnyRows | None
    start: int
    stop: int
    score: str
    targets: Sequence[Column]

    @property
    def count(self) -> int:
        """Rows wanted."""
        return self.stop - self.start


class DeviceBatches:
    """Scores device batches, each put together from rows of any plans; holds the images of one.

    A batch is launched, and its scores are waited for later: on a GPU the next one can be launched in between, so that
    the device never waits for the host. One thread only.

    Args:
        classifier: what scores.
        recorder: records the images and seconds of rendering and of scoring.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._classifier = classifier
        self._details = classifier.details
        self._recorder = recorder or NullRecorder()
        self._clock = clock
        # Asked once: a protocol's look at every method takes longer than the copy.
        self._fetch = classifier.fetch if isinstance(classifier, Pipelined) else _at_once
        shape = (self.size, *self._details.preprocessing.shape)
        self._buffer = classifier.to_device(np.zeros(shape, dtype=np.float32))

    @property
    def size(self) -> int:
        """Images of one device batch."""
        return self._details.batch_size

    def predict(self, rendering: Rendering) -> Float[np.ndarray, " classes"]:
        """Raw outputs of the model for the unperturbed image, float64.

        Raises:
            ModelFailure: the model returned something that is not a number.
        """
        outputs = to_numpy(self._forward(rendering.clean()[None, ...]))[0]
        if np.isnan(outputs).any():  # infinities may be meant: a class that is ruled out
            raise ModelFailure(
                f"model {self._details.name!r} returned something that is not a number for the unperturbed image"
            )
        return outputs

    def outputs(self, rendering: Rendering, start: int, stop: int) -> Float32[np.ndarray, "n classes"]:
        """Raw outputs of the model for images start..stop of a stack, batch after batch.

        Raises:
            ModelFailure: the model returned something that is not a number; names the image.
        """
        found: list[np.ndarray] = []
        for first in range(start, stop, self.size):
            last = min(first + self.size, stop)
            rendering.render(None, first, last, self._buffer[: last - first, ...])
            found.append(to_numpy(self._forward(self._buffer[: last - first, ...])).astype(np.float32))
        outputs = np.concatenate(found)
        bad = np.flatnonzero(np.isnan(outputs).any(axis=1))
        if len(bad):
            raise ModelFailure(
                f"model {self._details.name!r} returned something that is not a number for image {start + bad[0]}",
                row=start + int(bad[0]),
            )
        return outputs

    def gradients(
        self, rendering: Rendering, path: GradientPath, start: int, stop: int, score: str, target: int
    ) -> tuple[Float32[np.ndarray, "n c h w"], Float[np.ndarray, " n"]]:
        """Derivatives of a score by the pixels in [0, 1], and the score, at samples start..stop of a path.

        Args:
            rendering: of the image.
            path: of the samples.
            start, stop: at most ``size`` of them.
            score: which scalar.
            target: class index.

        Raises:
            NoGradients: the model has none.
            InfiniteGradient: a gradient is not finite; names the sample.
            ModelFailure: a score is not finite; names the sample.
        """
        model = self._differentiable()
        began = self._clock()
        images = path.images(rendering.image(), start, stop)
        mean, std = (
            np.asarray(values, np.float32)[:, None, None]
            for values in (self._details.preprocessing.mean, self._details.preprocessing.std)
        )
        given = model.to_device((images - mean) / std)
        rendered = self._clock()
        outputs, found, lengths, forward_s = self._differentiate(model, given, score, target)
        exact, gradients = to_numpy(outputs), to_numpy(found).astype(np.float32)
        if lengths is not None:
            gradients = gradients * lengths.astype(np.float32)[:, None, None, None]
        scores = core_scores.scores(
            exact, self._details.outputs, score, (target,), binary=self._details.binary
        )[:, 0]
        self._recorder.rendered(self._details.name, stop - start, rendered - began)
        self._recorder.differentiated(self._details.name, stop - start, self._clock() - rendered - forward_s)
        for what, values, failure in (
            (score, scores, ModelFailure),
            (f"gradient of its {score}", gradients, InfiniteGradient),
        ):
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            if len(bad):
                row = start + int(bad[0])
                raise failure(
                    f"model {self._details.name!r} returned a {what} that is not finite for sample {row}",
                    row=row,
                )
        return gradients, scores

    def _differentiable(self) -> Differentiable:
        """The classifier, which has gradients.

        Raises:
            NoGradients: it has none; says why.
        """
        model = self._classifier
        if isinstance(model, Differentiable):
            return model
        reason = self._details.no_gradients or "its runtime computes no gradients"
        raise NoGradients(f"model {self._details.name!r} has no gradients: {reason}", reason=reason)

    def _differentiate(
        self, model: Differentiable, images: Array, score: str, target: int
    ) -> tuple[Array, Array, Float[np.ndarray, " n"] | None, float]:
        """Derivatives of a class's score by the pixels of images that are finished for the model.

        Outputs that must be known first are forwarded, and recorded as scored.

        Returns:
            Outputs, float64; derivatives; by what those of each image are to be multiplied, ``None`` for nothing; and
            seconds that were recorded of outputs that had to be known first.
        """
        kind, binary, forward_s = self._details.outputs, self._details.binary, 0.0
        fixed = core_scores.has_fixed_direction(kind, score)
        xp = namespace(images)
        if fixed:
            # The length of the gradient by the outputs follows, in double precision.
            classes = xp.arange(len(self._details.labels), device=images.device)
            own = xp.astype(classes == target, xp.float32)
            weights = own[None, :] * xp.ones((images.shape[0], 1), dtype=xp.float32, device=images.device)
        else:
            began = self._clock()
            weights = xp.astype(
                core_scores.score_gradients(self._forward(images), kind, score, target, binary=binary),
                xp.float32,
            )
            to_numpy(weights[:1, :1])  # waits for a device that computes by itself
            forward_s = self._clock() - began
            self._recorder.scored(self._details.name, images.shape[0], forward_s)
        outputs, gradients = model.gradients(images, weights)
        exact = xp.astype(outputs, xp.float64)
        if not fixed:
            return exact, gradients, None, forward_s
        return (
            exact,
            gradients,
            core_scores.score_gradients(to_numpy(exact), kind, score, target, binary=binary)[:, target],
            0.0,
        )

    def launch(self, parts: Sequence[Part]) -> Callable[[], list[Scored]]:
        """Renders and forwards at most ``size`` rows in all, without waiting for a device that computes by itself.

        Derivatives are waited for before anything else of the batch is launched.

        Returns:
            A function that waits for the scores of each part. It raises ModelFailure where the model returned something
            that is not a number.

        Raises:
            ModelFailure: a part wants derivatives, and the model has none.
        """
        derived = {
            place: self._derive(part)
            for place, part in enumerate(parts)
            if isinstance(part.rows, DerivativeRows)
        }
        wait = self._launch([part for place, part in enumerate(parts) if place not in derived])

        def land() -> list[Scored]:
            forwarded = iter(wait())
            return [derived[place] if place in derived else next(forwarded) for place in range(len(parts))]

        return land if derived else wait

    def _launch(self, parts: Sequence[Part]) -> Callable[[], list[Scored]]:
        """Launches rows that are scored."""
        if not parts:
            return list
        began = self._clock()
        edges = np.cumsum([0, *(part.count for part in parts)]).tolist()
        for part, (first, last) in zip(parts, pairwise(edges), strict=True):
            assert not isinstance(part.rows, DerivativeRows), "derivatives have a way of their own"
            part.rendering.render(part.rows, part.start, part.stop, self._buffer[first:last, ...])
        rendered = self._clock()
        outputs = self._forward(self._buffer[: edges[-1], ...])
        kind, binary = self._details.outputs, self._details.binary
        values = [
            self._fetch(
                core_scores.scores(outputs[first:last, ...], kind, part.score, part.targets, binary=binary)
            )
            for part, (first, last) in zip(parts, pairwise(edges), strict=True)
        ]
        threshold = self._details.threshold
        predicted = self._fetch(core_scores.predicted_classes(outputs, kind, threshold))
        confidence = self._fetch(core_scores.confidence(outputs, kind, threshold))
        self._recorder.rendered(self._details.name, edges[-1], rendered - began)
        return partial(self._land, parts, values, predicted, confidence, self._clock() - rendered)

    def _derive(self, part: Part) -> Scored:
        """Derivatives of the score of a part's class by every mask value, (n, K) in the place of scores.

        Those that are not finite are left as they are: a prior can do without their rows.

        Raises:
            NoGradients: the model has none.
        """
        model, kind = self._differentiable(), self._details.outputs
        (target,) = part.targets
        assert isinstance(part.rows, DerivativeRows)
        assert isinstance(target, int), "derivatives are of a class"
        found: list[tuple[Array, Float[np.ndarray, " n"] | None, float]] = []

        def differentiate(images: Array) -> Array:
            outputs, gradients, lengths, forward_s = self._differentiate(model, images, part.score, target)
            found.append((outputs, lengths, forward_s))
            return gradients

        began = self._clock()
        by_mask = part.rendering.derivatives(part.rows, part.start, part.stop, differentiate)
        ((outputs, lengths, forward_s),) = found
        if lengths is not None:
            by_mask = by_mask * lengths[:, None]
        threshold = self._details.threshold
        classes = to_numpy(core_scores.predicted_classes(outputs, kind, threshold)).astype(np.int32)
        scored = Scored(by_mask, classes, to_numpy(core_scores.confidence(outputs, kind, threshold)))
        self._recorder.differentiated(self._details.name, part.count, self._clock() - began - forward_s)
        return scored

    def _land(
        self,
        parts: Sequence[Part],
        values: Sequence[_Fetched],
        predicted: _Fetched,
        confidence: _Fetched,
        forward_s: float,
    ) -> list[Scored]:
        """Scores of a launched batch: what is waited for is of each part, and of all rows."""
        began = self._clock()
        classes = predicted().astype(np.int32)
        probable = confidence()
        found = [wait() for wait in values]
        # Only what was spent here: between launch and landing the thread may have done other things.
        self._recorder.scored(self._details.name, len(classes), forward_s + self._clock() - began)
        scored: list[Scored] = []
        at = 0
        for part, own in zip(parts, found, strict=True):
            self._check(part, own)
            rows = slice(at, at + part.count)
            scored.append(Scored(own, classes[rows], probable[rows]))
            at = rows.stop
        return scored

    def _check(self, part: Part, values: Float[np.ndarray, "n t"]) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            bad = part.start + int(np.flatnonzero(~finite)[0])
            raise ModelFailure(
                f"model {self._details.name!r} returned a {part.score} that is not finite for perturbation {bad}",
                row=bad,
            )

    def _forward(self, images: Array) -> Array:
        outputs = self._classifier.forward(images)
        xp = namespace(outputs)
        return xp.astype(outputs, xp.float64)  # sums over a thousand classes keep float32's digits


def block_sums(
    rendering: Rendering,
    path: GradientPath,
    start: int,
    stop: int,
    batches: Sequence[tuple[Float32[np.ndarray, "_ c h w"], Float[np.ndarray, " _"]]],
) -> GradientSums:
    """Sums over samples start..stop, from gradients and scores of :meth:`DeviceBatches.gradients`, batch by batch."""
    rows = [
        (gradient, float(score))
        for gradients, scores in batches
        for gradient, score in zip(gradients, scores, strict=True)
    ]
    numbered = ((start + place, gradient, score) for place, (gradient, score) in enumerate(rows))
    return rendering.reducer(path).sums(numbered, start, stop)


class Scorer:
    """Scores rows of one plan, or the images of one stack, with one classifier, one device batch at a time.

    Args:
        work: what to render.
        classifier: what scores.
        recorder: records the images and seconds of rendering and of scoring.
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
        self._device = DeviceBatches(classifier, recorder=recorder, clock=clock)
        self._rendering = Rendering(work, classifier)

    def image(self) -> Float32[np.ndarray, "c h w"]:
        """The unperturbed crop in [0, 1]."""
        return self._rendering.image()

    def steps(self) -> Float32[np.ndarray, "k n"]:
        """Steps as :meth:`Rendering.steps`."""
        return self._rendering.steps()

    def predict(self) -> Float[np.ndarray, " classes"]:
        """Predict as :meth:`DeviceBatches.predict`."""
        return self._device.predict(self._rendering)

    def gradients(self, path: GradientPath, start: int, stop: int, score: str, target: int) -> GradientSums:
        """Sums over samples start..stop of a path; arguments and errors as of :meth:`DeviceBatches.gradients`."""
        batches = [
            self._device.gradients(self._rendering, path, start + first, start + last, score, target)
            for first, last in chunks(stop - start, self._device.size)
        ]
        return block_sums(self._rendering, path, start, stop, batches)

    def score(
        self, rows: AnyRows | None, start: int, stop: int, score: str, targets: Sequence[Column]
    ) -> Scored:
        """Scores of rows start..stop, at most one device batch; arguments as :class:`Part`.

        Raises:
            ModelFailure: the model returned something that is not a number.
        """
        part = Part(self._rendering, rows, start, stop, score, targets)
        return self._device.launch([part])()[0]

    def batches(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Row ranges of one device batch each."""
        size = self._device.size
        return [(at, min(at + size, stop)) for at in range(start, stop, size)]


def _at_once(array: Array) -> _Fetched:
    return partial(to_numpy, array)


def _per_channel(values: Sequence[float], to_device: Callable[[np.ndarray], Array]) -> Array:
    return to_device(np.asarray(values, dtype=np.float32).reshape(-1, 1, 1))
