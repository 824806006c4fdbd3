"""Warnings of an explanation, in plain language; every figure is of this very explanation."""

from __future__ import annotations

import numpy as np
import pywt
from jaxtyping import Float

from wavescope.core.sobol.diagnostics import saturation_of_ends, unresolved_share
from wavescope.engine.plan import PlanSpec
from wavescope.engine.types import Attributions, Explanation, ExplanationRequest, Indices, Screening, Stop

# Below these a map is called doubtful; they decide only whether there is a sentence, never its figures.
LEAST_SPLIT_HALF = 0.7
LEAST_CONTRAST = 0.2
MOST_UNRESOLVED = 0.5
MOST_SATURATED = 0.5
MOST_INTERACTION = 0.5
MOST_INCOMPLETE = 0.05
TOP = 20
# Scores that an end of their range bounds, and those that go on there. Near 1 a logarithm is as flat as p itself.
_WIDER: dict[tuple[str, str], tuple[str, ...]] = {
    ("probability", "lower"): ("logit", "log_probability"),
    ("probability", "upper"): ("logit", "margin"),
    ("log_probability", "upper"): ("logit", "margin"),
}


def of_plan(spec: PlanSpec, n_factors: int) -> tuple[str, ...]:
    """Warnings that follow from the plan alone."""
    found: list[str] = []
    if spec.transform == "wavelet":
        deepest = pywt.dwt_max_level(min(spec.packed_shape), spec.wavelet)
        if spec.levels > deepest:
            found.append(
                f"levels is {spec.levels}, but filters of {spec.wavelet!r} outgrow the image beyond {deepest}: "
                "coefficients of the coarser levels all see its border"
            )
    if spec.transform == "fourier" and spec.partition != "grid" and n_factors < spec.grid_size:
        found.append(
            f"{spec.grid_size - n_factors} of the {spec.grid_size} rings hold no frequency of an image of "
            f"{spec.shape[1]} x {spec.shape[2]} px and are no factors"
        )
    if 0 < spec.nb_design < 4:
        found.append(f"nb_design is {spec.nb_design}: standard errors need at least 4 design rows")
    return tuple(found)


def of_ended_sample(complete: int, rows: int) -> str:
    """Warning of a full plan that its deadline ended after so many of its design rows."""
    errors = ", and standard errors need at least 4" if complete < 4 else ""
    return f"ended after {complete} of {rows} design rows by deadline_s{errors}"


def of_ended_screening(rounds: int, forwards: int, most: int) -> str:
    """Warning of an adaptive plan that its deadline ended."""
    counted = "1 round" if rounds == 1 else f"{rounds} rounds"
    return f"ended after {counted} and {forwards} of {most} forwards by deadline_s"


def of_ended_samples(done: int, samples: int) -> str:
    """Warning of a mean over noisy images that its deadline ended after so many of them."""
    return f"ended after {done} of {samples} samples by deadline_s"


def of_no_gradient(score: str, samples: int) -> str:
    """Warning of a gradient that is 0 at all samples."""
    return (
        f"the gradient of the {score} is 0 at all {samples} samples: it is flat there, or rounded to a constant; try "
        "another score, or kind 'wcam'"
    )


def of_ignored(request: ExplanationRequest, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Warning of fields that were given and play no part; none without them."""
    if not fields:
        return ()
    verb = "plays" if len(fields) == 1 else "play"
    return (f"{' and '.join(fields)} {verb} no part in kind {request.kind!r} with method {request.method!r}",)


def of_no_path(baseline: str) -> str:
    """Warning of a path that ends where it begins."""
    return (
        f"the image is its own baseline {baseline!r}: the path from one to the other has no length, and nothing to "
        "attribute; take another baseline, or method 'smoothgrad'"
    )


def of_flat_rows(score: str, rows: int, infinite: int) -> str:
    """Warning of an adaptive plan whose gradients are 0 wherever they are finite, and so no prior."""
    values = f"0 or (at {infinite}) not finite" if infinite else "0"
    return (
        f"derivatives of the {score} by every factor are {values} at all {rows} rows: it is flat there, or rounded to "
        "a constant; prior 'size' was used"
    )


def of_infinite_rows(score: str, infinite: int, rows: int) -> str:
    """Warning of an adaptive plan some of whose gradients are not finite, and no part of its prior."""
    if infinite == rows:
        return f"derivatives of the {score} are not finite at any of {rows} rows; prior 'size' was used"
    return (
        f"derivatives of the {score} are not finite at {infinite} of {rows} rows; prior 'gradients' was made of the "
        "others"
    )


def of_no_gradients(reason: str) -> str:
    """Warning of an adaptive plan for whose model gradients were expected, and were found wanting."""
    return f"the model has no gradients, which showed only now: {reason}; prior 'size' was used"


def of_attributions(found: Attributions, request: ExplanationRequest, varied: bool) -> tuple[str, ...]:
    """Warnings of gradient attributions: how far they can be relied on.

    Args:
        found: the attributions.
        request: with the noise.
        varied: whether the image has values that differ, of whose range noise is a share; true of a path.
    """
    sentences: list[str] = []
    if found.split_half is not None and found.split_half < LEAST_SPLIT_HALF:
        sentences.append(
            f"attributions from odd and from even samples rank the factors alike to {_below(found.split_half)} only (1 "
            "would be the same order): another seed would give another map; raise samples"
        )
    if found.method == "smoothgrad" and found.samples > 1 and (request.noise == 0 or not varied):
        why = (
            "noise is 0"
            if request.noise == 0
            else "the image is of one value, and noise a share of its range"
        )
        sentences.append(f"{why}: all {found.samples} samples are the image itself, and one would do")
    if found.completeness_error is not None and found.baseline_score is not None:
        difference = found.score - found.baseline_score
        if abs(found.completeness_error) > MOST_INCOMPLETE * abs(difference):
            sentences.append(
                f"the attributions add up to {difference + found.completeness_error:.3g}, and the score of the image "
                f"less that of the baseline is {difference:.3g}: the path has too few samples; raise samples"
            )
    return tuple(sentences)


def of_late_gradients() -> str:
    """Warning of an adaptive plan whose deadline left no time for gradients."""
    return "deadline_s was over before gradients were computed; prior 'size' was used"


def of_left_out(step: str) -> str:
    """Warning of a step that a deadline left no time for."""
    return f"{step} left out: deadline_s was over before all of it was scored"


def of_scores(
    explanation: Explanation,
    independent: Float[np.ndarray, " n"],
    interaction: float | None,
    possible: tuple[str, ...],
) -> tuple[str, ...]:
    """Warnings that follow from the scores: how far the map can be relied on.

    Args:
        explanation: explained, with its worth.
        independent: scores of the target for independent rows.
        interaction: see :func:`wavescope.core.sobol.diagnostics.interaction`; ``None`` where it was not measured.
        possible: scores that the model can give.
    """
    assert explanation.indices is not None
    assert explanation.worth is not None
    more = _further(explanation.screening)
    found = [
        _inaccurate(explanation),
        _split_half(explanation.worth.split_half, more),
        _contrast(explanation),
        _unresolved(explanation.indices, more),
        _saturated(explanation, independent, possible, more),
        _interacting(interaction),
    ]
    return tuple(sentence for sentence in found if sentence is not None)


def of_contrast(
    indices: Indices, split_half: float | None, interaction: float | None, screening: Screening | None
) -> tuple[str, ...]:
    """Warnings of a contrast: how far its map can be relied on.

    Args:
        indices: of the difference of logits.
        split_half: as of :class:`wavescope.engine.types.Worth`.
        interaction: as of :func:`of_scores`.
        screening: of an adaptive plan.
    """
    more = _further(screening)
    found = [_split_half(split_half, more), _unresolved(indices, more), _interacting(interaction)]
    return tuple(sentence for sentence in found if sentence is not None)


def of_two_classes(explanation: Explanation, other: Explanation) -> tuple[str, ...]:
    """Warning of two explanations that are compared and are of different classes; none where they are of one."""
    if explanation.target.index == other.target.index:
        return ()
    return (
        f"the image is explained for {explanation.target.label!r} and the other for {other.target.label!r}, each for "
        "what the model sees: the shifts hold the change of class as well; name a target to compare one class",
    )


def of_bounds(share: float) -> tuple[str, ...]:
    """Warning of a contrast of which logits are known as bounds alone in a share of the scored images; none for 0."""
    if not share:
        return ()
    return (
        f"in {100 * share:.2g} % of the scored images a logit of the two classes is known as a bound alone: it is "
        "-inf, or of a probability that is rounded to 0 or 1; there the difference is larger than it was taken for",
    )


# What makes an adaptive plan go on, by what ended it.
_FURTHER: dict[Stop, str] = {
    "max_forwards": "raise max_forwards",
    "deadline_s": "raise deadline_s",
    "standard_error": "lower standard_error",
    "top_k": "raise top_k",
    "accuracy": "raise accuracy, and max_forwards",
    "all_resolved": "raise nb_design",
}


def _further(screening: Screening | None) -> str:
    """Advice that makes the errors smaller."""
    return "raise nb_design" if screening is None else _FURTHER[screening.stopped]


def _split_half(split_half: float | None, more: str) -> str | None:
    if split_half is None or split_half >= LEAST_SPLIT_HALF:
        return None
    return (
        f"indices from odd and from even design rows rank the factors alike to {_below(split_half)} only "
        f"(1 would be the same order): another seed would give another map; {more}"
    )


def _below(reliability: float) -> str:
    """Two digits, rounded down: what is below a threshold reads as below it."""
    return f"{np.floor(100 * reliability + 1e-9) / 100:.2f}"


def _inaccurate(explanation: Explanation) -> str | None:
    """An adaptive plan that ended before it was as accurate as was wanted."""
    screening, wanted = explanation.screening, explanation.parameters.get("accuracy")
    if screening is None or wanted is None:
        return None
    last = screening.rounds[-1]
    if last.accurate(wanted):
        return None
    return (
        f"accuracy {wanted:g} was not reached: the indices are expected to correlate with the true ones at "
        f"{last.correlation:.3f}, and the shares of levels to err by {last.level_error:.3f}; {_further(screening)}"
    )


def _contrast(explanation: Explanation) -> str | None:
    assert explanation.worth is not None
    worth = explanation.worth
    if worth.class_contrast is None or worth.runner_up is None or worth.class_contrast >= LEAST_CONTRAST:
        return None
    contrasted = explanation.contrast is not None and explanation.contrast.against == worth.runner_up
    return (
        f"the map of the runner-up, {worth.runner_up.label!r}, ranks the factors alike to "
        f"{1 - worth.class_contrast:.2f}: this map tells what the model looks at, hardly why it says "
        f"{explanation.target.label!r} and not {worth.runner_up.label!r}"
        f"{', which the section contrast explains' if contrasted else ''}"
    )


def _unresolved(indices: Indices, more: str) -> str | None:
    """The largest factors whose standard error is more than half of their index."""
    if indices.standard_error is None:
        return None
    top = np.argsort(-indices.total, kind="stable")[:TOP]
    share = unresolved_share(indices.total[top], indices.standard_error[top])
    if share is None or share <= MOST_UNRESOLVED:
        return None
    return (
        f"{100 * share:.0f} % of the {len(top)} largest indices have a standard error of more than half their size: "
        f"read them as an order at best, not as sizes; {more}"
    )


def _saturated(
    explanation: Explanation, independent: Float[np.ndarray, " n"], possible: tuple[str, ...], more: str
) -> str | None:
    ends = saturation_of_ends(independent)
    share = max(ends)
    if share < MOST_SATURATED:
        return None
    end = "upper" if ends[1] >= ends[0] else "lower"
    score = str(explanation.parameters["score"])
    offered = [f"score {name!r}" for name in _WIDER.get((score, end), ()) if name in possible]
    remedy = f"try {' or '.join(offered)}, or {more}" if offered else more
    # A score without bounds has no end to stay at: there it is the others that are far off.
    why = "is saturated" if (score, end) in _WIDER else "varies over a few perturbations alone"
    return (
        f"{100 * share:.0f} % of the independent perturbations score within 1 % of the range from its {end} end: score "
        f"{score!r} of {explanation.target.label!r} {why} and few rows decide the indices; {remedy}"
    )


def _interacting(missed: float | None) -> str | None:
    if missed is None or missed <= MOST_INTERACTION:
        return None
    return (
        f"added up, the effects of single factors miss the effect of all of them by {missed:.2g} times its size: "
        "factors act together, which total indices count once for every one that takes part"
    )
