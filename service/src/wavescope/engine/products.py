"""Explanation from the scores of the pick-freeze sample: indices, maps, importance, and their reliability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from wavescope.core import maps, wavelets
from wavescope.core.adaptive.estimator import AdaptiveEstimator, Estimate
from wavescope.core.partition import Partition
from wavescope.core.reference import maps as reference_maps
from wavescope.core.scores import (
    Column,
    check_score,
    is_contrast,
    is_mirrored,
    possible_scores,
    predicted_classes,
    probabilities,
)
from wavescope.core.sobol import diagnostics
from wavescope.core.sobol.bootstrap import index_errors, share_errors
from wavescope.core.sobol.effects import effects
from wavescope.core.sobol.estimators import ESTIMATORS, Scores, VarianceRows, variance
from wavescope.engine.checks import check_against
from wavescope.engine.kinds import KINDS
from wavescope.engine.plan import Plan
from wavescope.engine.types import (
    Contrast,
    Explanation,
    ExplanationRequest,
    Indices,
    LevelImportance,
    Maps,
    ModelDetails,
    Prediction,
    ProfileBand,
    Ring,
    Screening,
    Worth,
)
from wavescope.engine.warnings import of_bounds, of_contrast, of_plan, of_scores
from wavescope.errors import ConstantScore

TOP = 5


@dataclass(frozen=True, slots=True, eq=False)
class CleanPrediction:
    """The model's view of the unperturbed image.

    Attributes:
        image: (c, h, w) float32 in [0, 1].
        likely: (classes,) probabilities.
        target: the class that is explained.
        runner_up: the most probable other class; ``None`` for a model of one class.
        against: the class that the target is contrasted with; ``None`` for no contrast.
        prediction: the most probable classes, best first.
    """

    image: Float32[np.ndarray, "c h w"]
    likely: Float[np.ndarray, " classes"]
    target: Prediction
    runner_up: Prediction | None
    against: Prediction | None
    prediction: tuple[Prediction, ...]

    @property
    def contrast(self) -> tuple[int, int] | None:
        """The target and the class against it, as a column of scores."""
        return None if self.against is None else (self.target.index, self.against.index)

    @property
    def bounded(self) -> Column | None:
        """The column of scores that says where a logit of the contrast is a bound alone."""
        return None if self.contrast is None else (*self.contrast, "bounded")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of scores that the target takes, its own first."""
        runner_up = None if self.runner_up is None else self.runner_up.index
        wanted = (self.target.index, runner_up, self.contrast, self.bounded)
        return tuple(column for column in wanted if column is not None)


@dataclass(frozen=True, slots=True, eq=False)
class SampleResult:
    """Indices and diagnostics of one class, from which every product is built.

    Attributes:
        indices: Sobol indices of the class that is explained.
        variance: V.
        split_half: see :class:`wavescope.engine.types.Worth`.
        runner_up: (K,) total indices of the runner-up; ``None`` where there is none, or its score does not vary.
        independent: (n,) scores of independent rows.
        interaction: see :func:`wavescope.core.sobol.diagnostics.interaction`; ``None`` where it was not measured.
        share_errors: (K,) of the indices' shares; ``None`` where they are not known.
        screening: rounds and end of the adaptive plan.
    """

    indices: Indices
    variance: float
    split_half: float | None
    runner_up: Float[np.ndarray, " k"] | None
    independent: Float[np.ndarray, " n"]
    interaction: float | None
    share_errors: Float[np.ndarray, " k"] | None
    screening: Screening | None = None


def of_sample(
    request: ExplanationRequest,
    target: Scores,
    runner_up: Scores | None,
    steps: Float32[np.ndarray, "k n"],
) -> SampleResult:
    """Indices and diagnostics of a full pick-freeze sample.

    Args:
        target: scores of the class that is explained.
        runner_up: those of the runner-up; ``None`` where there is none.
        steps: a_jk − b_jk of the same design rows.

    Raises:
        ConstantScore: the score does not vary.
    """
    estimator, variance_rows = ESTIMATORS[request.estimator], _variance_rows(request)
    return SampleResult(
        indices=sample_indices(request, target, steps),
        variance=float(variance(target, variance_rows=variance_rows)),
        split_half=diagnostics.split_half(estimator, target, variance_rows=variance_rows),
        runner_up=None
        if runner_up is None
        else _varying(lambda: estimator.total(runner_up, variance_rows=variance_rows)),
        independent=np.concatenate([target.a, target.b]),
        interaction=diagnostics.interaction(target),
        share_errors=share_errors(estimator, target, seed=request.seed, variance_rows=variance_rows)
        if "profile" in KINDS[request.kind].sections
        else None,
    )


def sample_indices(request: ExplanationRequest, target: Scores, steps: Float32[np.ndarray, "k n"]) -> Indices:
    """The indices of a pick-freeze sample, whole or so far.

    Args:
        target: scores of the class that is explained.
        steps: a_jk − b_jk of the same design rows.

    Raises:
        ConstantScore: the score does not vary.
    """
    estimator, variance_rows = ESTIMATORS[request.estimator], _variance_rows(request)
    errors = index_errors(estimator, target, seed=request.seed, variance_rows=variance_rows)
    effect, effect_error = effects(target.a - target.c, steps)
    return Indices(
        total=estimator.total(target, variance_rows=variance_rows),
        first=estimator.first(target, variance_rows=variance_rows),
        standard_error=None if errors is None else errors[0],
        interval_95=None if errors is None else errors[1],
        effect=_known(effect),
        effect_error=None if errors is None else _known(effect_error),
    )


def of_adaptive_plan(
    estimator: AdaptiveEstimator, screening: Screening, target: int, runner_up: int | None
) -> SampleResult:
    """Indices and diagnostics of an adaptive plan.

    Args:
        estimator: with all scores.
        screening: how it ended.
        target, runner_up: columns of its scores.

    Raises:
        ConstantScore: the score does not vary.
    """
    estimate = estimator.estimate(target)
    *before, last = screening.rounds
    # The plan follows its first target; its last round is of this one.
    ended = replace(
        last,
        standard_error=float(estimate.standard_error.max()),
        correlation=estimate.correlation,
        level_error=estimate.level_error,
    )
    return SampleResult(
        indices=adaptive_indices(estimate),
        variance=estimator.variance(target),
        split_half=estimator.split_half(target),
        runner_up=None if runner_up is None else _varying(lambda: estimator.estimate(runner_up).total),
        independent=estimator.rows(target),
        interaction=None,
        share_errors=None,
        screening=replace(screening, rounds=(*before, ended)),
    )


def adaptive_indices(found: Estimate) -> Indices:
    """The indices of an adaptive plan so far."""
    return Indices(
        total=found.total,
        first=None,
        standard_error=found.standard_error,
        interval_95=found.interval_95,
        resolved=found.resolved,
        upper_bound=found.upper_bound,
        effect=_known(found.effect),
        effect_error=_known(found.effect_error),
    )


def _known(values: Float[np.ndarray, " k"]) -> tuple[float | None, ...]:
    """The values, ``None`` for those that are not known."""
    return tuple(
        None if unknown else value for value, unknown in zip(values.tolist(), np.isnan(values), strict=True)
    )


def _varying(total: Callable[[], Float[np.ndarray, " k"]]) -> Float[np.ndarray, " k"] | None:
    try:
        return total()
    except ConstantScore:
        return None


def read_clean(
    image: Float32[np.ndarray, "c h w"],
    outputs: Float[np.ndarray, " classes"],
    details: ModelDetails,
    request: ExplanationRequest,
    target: int | None,
) -> CleanPrediction:
    """Settles the target, the runner-up, the contrast and the top classes from the outputs for the unperturbed image.

    Args:
        outputs: raw outputs of the model.
        request: with the score, and an index as the class to be contrasted with.
        target: an index within the model's classes, or ``None`` for the predicted class.

    Raises:
        InvalidRequest: a score the model cannot give; or the class to be contrasted with is the target.
    """
    check_score(request.score, details.outputs, classes=len(details.labels))
    likely = probabilities(outputs[None, :], details.outputs)[0]

    def entry(index: int) -> Prediction:
        return Prediction(index, details.labels[index], float(likely[index]))

    ranked = _rank_classes(outputs, likely, details, TOP + 1)
    index = ranked[0] if target is None else int(target)
    given = None if request.against is None else int(request.against)
    check_against(given, (index,), details)
    others = [entry(other) for other in ranked if other != index]
    best = tuple(entry(index) for index in ranked[:TOP])
    runner_up = others[0] if others else None
    against = None if runner_up is None else _against(given, runner_up.index, request, details)
    return CleanPrediction(
        image, likely, entry(index), runner_up, None if against is None else entry(against), best
    )


def _against(
    given: int | None, runner_up: int, request: ExplanationRequest, details: ModelDetails
) -> int | None:
    """The class to contrast with; ``None`` where the kind has no contrast, or it is not asked for and not certain."""
    if "contrast" not in KINDS[request.kind].sections:
        return None
    if given is not None:
        return given
    said = is_contrast(request.score, classes=len(details.labels), binary=details.binary)
    # Softmax probabilities that are rounded to 0 or 1 have no logarithm to speak of.
    return None if said or details.outputs == "probabilities" else runner_up


def most_probable(
    outputs: Float[np.ndarray, " classes"], details: ModelDetails, count: int
) -> tuple[Prediction, ...]:
    """The ``count`` most probable classes of one image, best first."""
    likely = probabilities(outputs[None, :], details.outputs)[0]
    ranked = _rank_classes(outputs, likely, details, count)
    return tuple(Prediction(index, details.labels[index], float(likely[index])) for index in ranked)


def _rank_classes(
    outputs: Float[np.ndarray, " classes"],
    likely: Float[np.ndarray, " classes"],
    details: ModelDetails,
    count: int,
) -> list[int]:
    """Indices of at most ``count`` classes: the predicted one, then the others by their probability."""
    order = [int(index) for index in np.argsort(-likely, kind="stable")[:count]]
    if details.threshold is None:
        return order
    first = int(predicted_classes(outputs[None, :], details.outputs, details.threshold)[0])
    return [first, 1 - first][:count]


def build(
    plan: Plan,
    request: ExplanationRequest,
    details: ModelDetails,
    clean: CleanPrediction,
    find: Callable[[], SampleResult],
    find_contrast: Callable[[], SampleResult] | None = None,
    bounded: float = 0.0,
    *,
    forwards: int,
    timing: dict[str, float],
) -> Explanation:
    """The explanation of a scored plan, without an id; a constant score is an outcome, not an error.

    Args:
        find: what the scores say, or ConstantScore.
        find_contrast: the same of the contrast; ``None`` for none.
        bounded: share of the scored images of which a logit of the contrast is known as a bound alone.
        forwards: images scored for it.
        timing: seconds by stage.
    """
    explanation = base_explanation(plan, request, details, clean, forwards=forwards, timing=timing)
    try:
        found = find()
    except ConstantScore as constant:
        return replace(explanation, warnings=(*explanation.warnings, constant.message))
    factors = plan.make_partition()
    drawn = _maps(plan, factors, found.indices)
    transform = plan.spec.transform
    explained = replace(
        explanation,
        outcome="explained",
        indices=found.indices,
        maps=drawn,
        worth=_worth(clean, found, request, details),
        contrast=_contrast(plan, factors, clean.against, find_contrast, bounded),
        levels=_levels(plan, factors, drawn, found.indices) if transform == "wavelet" else None,
        radial=_radial(plan, found.indices, drawn) if transform == "fourier" else None,
        profile=_profile(plan, factors, found) if "profile" in KINDS[request.kind].sections else None,
        screening=found.screening,
    )
    possible = possible_scores(details.outputs, classes=len(details.labels))
    further = of_scores(explained, found.independent, found.interaction, possible)
    return replace(explained, warnings=(*explanation.warnings, *further))


def base_explanation(
    plan: Plan,
    request: ExplanationRequest,
    details: ModelDetails,
    clean: CleanPrediction,
    *,
    forwards: int,
    timing: dict[str, float],
) -> Explanation:
    """An explanation without an id whose score did not vary, or before it is known; arguments as of :func:`build`."""
    return Explanation(
        id="",
        kind=request.kind,
        model=details.name,
        precision=details.precision,
        outcome="constant_score",
        target=clean.target,
        prediction=clean.prediction,
        indices=None,
        maps=None,
        levels=None,
        crop=plan.crop,
        forwards=forwards,
        timing=timing,
        parameters=replace(
            request,
            target=clean.target.index,
            against=None if clean.against is None else clean.against.index,
        ).parameters(),
        image=clean.image,
        warnings=(*plan.assumptions, *details.warnings, *of_plan(plan.spec, plan.n_factors)),
    )


def _contrast(
    plan: Plan,
    factors: Partition,
    against: Prediction | None,
    find: Callable[[], SampleResult] | None,
    bounded: float,
) -> Contrast | None:
    if against is None or find is None:
        return None
    cut_off = of_bounds(bounded)
    try:
        found = find()
    except ConstantScore as constant:
        return Contrast(against, "constant_score", None, None, None, None, (constant.message, *cut_off))
    drawn, transform = _maps(plan, factors, found.indices), plan.spec.transform
    return Contrast(
        against=against,
        outcome="explained",
        indices=found.indices,
        map=drawn.fam if transform == "fourier" else drawn.spatial,
        levels=_levels(plan, factors, drawn, found.indices) if transform == "wavelet" else None,
        radial=_radial(plan, found.indices, drawn) if transform == "fourier" else None,
        warnings=(
            *cut_off,
            *of_contrast(found.indices, found.split_half, found.interaction, found.screening),
        ),
    )


def _variance_rows(request: ExplanationRequest) -> VarianceRows:
    return "a" if request.compat == "reference" else "ab"  # paper, below equation 7: V over A alone


def _worth(
    clean: CleanPrediction, found: SampleResult, request: ExplanationRequest, details: ModelDetails
) -> Worth:
    contrast = None
    own = found.indices.resolved
    mirrored = is_mirrored(
        request.score,
        details.outputs,
        classes=len(details.labels),
        binary=details.binary,
    )
    if found.runner_up is not None and not mirrored and (own is None or own.any()):
        # Factors that were not perturbed by themselves are alike for all classes: they have the same traits.
        which = slice(None) if own is None else own
        contrast = diagnostics.class_contrast(found.indices.total[which], found.runner_up[which])
    return Worth(
        variance=found.variance,
        split_half=found.split_half,
        runner_up=clean.runner_up,
        class_contrast=contrast,
    )


def _maps(plan: Plan, factors: Partition, indices: Indices) -> Maps:
    spec = plan.spec
    if spec.transform == "pixel":
        return Maps(factors.factors, sobol=maps.factor_map(factors.factors, indices.total))
    if spec.transform == "fourier":
        if spec.reference:
            projected = reference_maps.reference_fam_map(spec.partition, factors, indices.total)
            return Maps(factors.factors, fam=projected)
        return Maps(factors.factors, fam=maps.factor_map(factors.factors, indices.total))
    if spec.reference:
        packed, spatial = reference_maps.reference_maps(
            spec.partition, factors, indices.total, spec.levels, spec.grid_size, spec.shape[1:]
        )
    else:
        packed = maps.factor_map(factors.factors, indices.total)
        spatial = maps.spatial_map(packed, spec.levels, spec.shape[1:])
    return Maps(factors.factors, wcam=packed, spatial_wcam=spatial)


def _levels(plan: Plan, factors: Partition, drawn: Maps, indices: Indices) -> tuple[LevelImportance, ...]:
    spec = plan.spec
    found = maps.importance(factors, indices.total, spec.levels)
    if spec.reference:
        assert drawn.wcam is not None
        shares = reference_maps.reference_level_shares(drawn.wcam, spec.levels)
        found = [_reference_means(level, row) for level, row in zip(found, shares, strict=True)]
    return level_importance(found, spec.levels)


def level_importance(
    found: list[tuple[maps.Importance, dict[str, maps.Importance]]], levels: int
) -> tuple[LevelImportance, ...]:
    """Importance per level of :func:`wavescope.core.maps.importance`, with the scales of the levels."""
    return tuple(
        LevelImportance(
            level=level,
            scale_px=wavelets.scale_px(level, levels),
            sum=whole.sum,
            share=whole.share,
            mean_share=whole.mean_share,
            horizontal=oriented.get("horizontal"),
            vertical=oriented.get("vertical"),
            diagonal=oriented.get("diagonal"),
        )
        for level, (whole, oriented) in enumerate(found)
    )


def _reference_means(
    level: tuple[maps.Importance, dict[str, maps.Importance]], means: Float[np.ndarray, " 3"]
) -> tuple[maps.Importance, dict[str, maps.Importance]]:
    """The level with the authors' means in place of ours; sums, which they do not have, stay."""
    whole, oriented = level
    parts = zip(oriented.items(), means, strict=False)  # the approximation has no orientations
    return replace(whole, mean_share=float(means.sum())), {
        name: replace(part, mean_share=float(mean)) for (name, part), mean in parts
    }


def _profile(plan: Plan, factors: Partition, found: SampleResult) -> tuple[ProfileBand, ...]:
    spec, indices, errors = plan.spec, found.indices, found.share_errors
    whole = float(indices.total.sum())
    return tuple(
        ProfileBand(
            level=level,
            orientation=orientation,
            scale_px=wavelets.scale_px(level, spec.levels),
            total=float(indices.total[k]),
            standard_error=None if indices.standard_error is None else float(indices.standard_error[k]),
            interval_95=None if indices.interval_95 is None else _pair(indices.interval_95[k]),
            share=float(indices.total[k]) / whole if whole else 0.0,
            share_standard_error=None if errors is None else float(errors[k]),
        )
        for k, (level, orientation) in enumerate(_factor_bands(spec.partition, factors, spec.levels))
    )


def _pair(values: Float[np.ndarray, " 2"]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _factor_bands(name: str, factors: Partition, levels: int) -> list[tuple[int, str | None]]:
    """(level, orientation) of every factor of partition ``subbands`` or ``levels``, in factor order."""
    found: dict[int, tuple[int, str | None]] = {}
    height, width = factors.factors.shape
    for band in wavelets.bands(height, width, levels):
        factor = int(factors.factors[band.slices][0, 0])
        whole = name == "levels" and band.level > 0
        found[factor] = (band.level, None if whole else band.orientation)
    return [found[k] for k in range(factors.n_factors)]


def _radial(plan: Plan, indices: Indices, drawn: Maps) -> tuple[Ring, ...]:
    spec = plan.spec
    if spec.reference and spec.partition != "grid":
        rings = reference_maps.reference_radial(spec.partition, indices.total)
    else:
        exact = maps.factor_map(drawn.factors, indices.total)
        rings = maps.radial_profile(exact, spec.grid_size)
    return tuple(Ring((ring.low, ring.high), ring.mean, ring.share) for ring in rings)
