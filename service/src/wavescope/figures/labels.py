"""The words of a figure: scales, classes, the caption. Without matplotlib: the terminal shares them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wavescope.engine.kinds import find_kind
from wavescope.engine.types import (
    Attributions,
    Explanation,
    Faithfulness,
    Indices,
    Kept,
    Prediction,
    Screening,
    Sufficiency,
)

_VALUE_POLICIES = {
    "clip": "values clipped to [0, 1]",
    "minmax": "values rescaled to [0, 1]",
    "none": "values not limited",
}
_APPROXIMATIONS = {"keep": "approximation kept", "drop": "approximation dropped"}
_BASELINES = {
    "zero": "masked pixels black",
    "mean": "masked pixels of the mean colour",
    "blur": "masked pixels blurred",
}
# Of an attribution: for pixels of 1 from black to white.
ATTRIBUTION_UNITS = {
    "smoothgrad": "mean size of the gradient",
    "integrated_gradients": "size of the integrated gradient",
}
KNOWN_SIGN = 2.0  # standard errors from which an effect has a sign
DOMAINS = {"pixel": "pixels", "wavelet": "wavelet factors", "fourier": "Fourier factors"}


def scale_label(scale_px: tuple[float, float | None]) -> str:
    """A scale in words: ``2-4 px``, or ``> 8 px`` for the approximation, whose upper end is open."""
    start, end = scale_px
    return f"> {start:g} px" if end is None else f"{start:g}-{end:g} px"


def shorten(text: str, limit: int) -> str:
    """``text`` on one line of at most ``limit`` characters; what is cut away becomes an ellipsis.

    What is not to be seen, such as what a terminal obeys, or what turns the direction of writing, is shown as �.
    """
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def probability_label(prediction: Prediction) -> str:
    """The probability to three digits; empty where the model has none."""
    return "" if prediction.probability is None else f"{prediction.probability:.3f}"


def percent(share: float) -> str:
    """A share to a tenth of a percent."""
    return f"{100 * share:.1f} %"


def bytes_label(count: int) -> str:
    """A number of bytes in kB, as a file manager shows it."""
    return f"{count:,} bytes" if count < 1000 else f"{count / 1000:,.1f} kB"


def corruption_label(name: str) -> str:
    """``gaussian_noise`` as ``gaussian noise``."""
    return name.replace("_", " ")


def band_label(level: int, orientation: str | None, scale_px: tuple[int, int | None]) -> str:
    """A factor of the scale profile: ``2-4 px horizontal``, or the scale alone where it is a whole level."""
    return (
        scale_label(scale_px)
        if level == 0 or orientation is None
        else f"{scale_label(scale_px)} {orientation}"
    )


def heading(explanation: Explanation) -> str:
    """One line that says which class of which model is explained, with its probability."""
    target = explanation.target
    line = f"{shorten(explanation.model, 48)}: “{shorten(target.label, 60)}” (class {target.index})"
    return line if target.probability is None else f"{line}, probability {probability_label(target)}"


def constant_sentence(explanation: Explanation) -> str:
    """Reason why an explanation of outcome ``constant_score`` has no maps, in one sentence."""
    score = str(explanation.parameters.get("score", "score")).replace("_", " ")
    if find_kind(explanation.kind).gradients:
        return f"No map: the gradient of the {score} of “{shorten(explanation.target.label, 60)}” is 0 everywhere."
    return (
        f"No map: the {score} of “{shorten(explanation.target.label, 60)}” did not vary over the "
        f"{explanation.forwards:,} perturbed images, so that Sobol indices are undefined."
    )


def worth_words(explanation: Explanation) -> str:
    """Reliability of the map, in one paragraph; empty where nothing was measured."""
    worth = explanation.worth
    if explanation.attributions is not None:
        return _attribution_words(explanation.attributions)
    if worth is None:
        return ""
    parts: list[str] = []
    if worth.split_half is not None:
        parts.append(
            f"split-half reliability {worth.split_half:.2f} (1: both halves of the design rank alike)"
        )
    if worth.class_contrast is not None and worth.runner_up is not None:
        other = shorten(worth.runner_up.label, 40)
        parts.append(
            f"difference from the map of “{other}” {worth.class_contrast:.2f} (0: the same map, 1: an unrelated one)"
        )
    return f"Worth of the map: {'; '.join(parts)}." if parts else ""


def _attribution_words(found: Attributions) -> str:
    """Reliability of attributions: of noise by halves of the samples, of a path by how well they add up."""
    if found.completeness_error is not None and found.baseline_score is not None:
        whole = found.score - found.baseline_score
        return (
            f"Worth of the map: the attributions add up to {whole + found.completeness_error:.3g}, the score of the "
            f"image less that of the baseline is {whole:.3g}."
        )
    if found.split_half is None:
        return ""
    return (
        f"Worth of the map: split-half reliability {found.split_half:.2f} (1: both halves of the samples rank alike). "
        "It says that another seed gives the same map: not that the model relies on these coefficients, which "
        "gradients by themselves do not measure."
    )


def contrast_sentence(explanation: Explanation) -> str:
    """The question that a contrast answers, in one sentence, and why it has no map; empty without a contrast."""
    found = explanation.contrast
    if found is None:
        return ""
    target, other = shorten(explanation.target.label, 40), shorten(found.against.label, 40)
    why = f"Why “{target}” and not “{other}”"
    if found.outcome == "constant_score":
        return f"{why}: the difference of their logits did not vary, so that its Sobol indices are undefined."
    sides = "" if found.indices is None else f" {side_words(found.indices, target, other)}"
    return f"{why}: Sobol indices of the difference of their logits.{sides}"


def side_words(indices: Indices, target: str, other: str) -> str:
    """Shares of a contrast's importance that speak for either class, as far as the signs of effects are known.

    A sign is known where the effect is more than twice its standard error.
    """
    total = float(indices.total.sum())
    if indices.effect is None or indices.effect_error is None or not total > 0:
        return ""
    shares = {"+": 0.0, "-": 0.0}
    for index, effect, error in zip(indices.total, indices.effect, indices.effect_error, strict=True):
        if known := sign_of(effect, error):
            shares[known] += max(float(index), 0.0) / total
    return (
        f"Factors with {percent(shares['+'])} of its importance speak for “{target}”, with {percent(shares['-'])} for "
        f"“{other}”; of the others the sign is not known."
    )


def sign_of(effect: float | None, error: float | None) -> str:
    """``+`` or ``-`` of an effect of more than twice its standard error; empty for any other."""
    if effect is None or error is None or not abs(effect) > KNOWN_SIGN * error:
        return ""
    return "+" if effect > 0 else "-"


def screening_words(explanation: Explanation) -> str:
    """Summary of an adaptive plan, on one line; empty for the full plan and a constant score."""
    screening, indices = explanation.screening, explanation.indices
    if screening is None or indices is None or indices.resolved is None:
        return ""
    last = screening.rounds[-1] if screening.rounds else None
    forwards = last.forwards if last else explanation.forwards
    resolved, factors = int(indices.resolved.sum()), len(indices.resolved)
    words = (
        f"Adaptive: {forwards:,} forwards, {_gradients(screening)}{resolved:,} of {factors:,} factors resolved "
        f"(perturbed by themselves), {screening.groups:,} {'group' if screening.groups == 1 else 'groups'}, "
        f"stopped: {screening.stopped}"
    )
    if last is None:
        return f"{words}."
    return (
        f"{words}; expected correlation with the true indices {last.correlation:.2f}, error of level shares "
        f"{last.level_error:.2f}, largest standard error {last.standard_error:.2g}."
    )


def _gradients(screening: Screening) -> str:
    if not screening.gradients:
        return ""
    return f"{screening.gradients:,} {'gradient' if screening.gradients == 1 else 'gradients'}, "


def depth_words(sufficiency: Sufficiency) -> str:
    """The reconstruction depth: ``37 of 784 factors``, or why there is none."""
    factors = len(sufficiency.order)
    if sufficiency.outcome == "empty_suffices":
        return f"0 of {factors:,} factors"
    if sufficiency.depth is None:
        return f"none of 1 to {factors:,} factors"
    return f"{sufficiency.depth:,} of {factors:,} {'factor' if factors == 1 else 'factors'}"


def sufficiency_sentence(sufficiency: Sufficiency, target: Prediction) -> str:
    """Meaning of the reconstruction depth for this image, in one sentence."""
    factors, label = len(sufficiency.order), shorten(target.label, 60)
    if sufficiency.outcome == "empty_suffices":
        return f"The empty image, rebuilt from no factor, is already called “{label}”: the depth is 0."
    if sufficiency.depth is None:
        return f"No number of factors from 1 to {factors:,} rebuilds an image called “{label}”: there is no depth."
    few = (
        "The top factor alone is" if sufficiency.depth == 1 else f"The {sufficiency.depth:,} top factors are"
    )
    return f"{few} enough for “{label}”: reconstruction depth {sufficiency.depth:,} of {factors:,} factors."


def kept_words(kept: Kept) -> str:
    """Share of the transform that the sufficient image keeps, in words."""
    share = kept.coefficients / kept.coefficients_total if kept.coefficients_total else 0.0
    return (
        f"Kept: {kept.coefficients:,} of {kept.coefficients_total:,} coefficients ({percent(share)}) with "
        f"{percent(kept.energy_share)} of the energy: {bytes_label(kept.compressed_bytes)} compressed, "
        f"of {bytes_label(kept.compressed_bytes_total)}."
    )


def fidelity_words(entry: Faithfulness) -> str:
    """µ-fidelity by values and by ranks."""
    values = [("Pearson", entry.mu_fidelity), ("by ranks", entry.mu_fidelity_spearman)]
    known = [f"{name} {value:.2f}" for name, value in values if value is not None]
    return f"µ-fidelity: {', '.join(known)}" if known else "µ-fidelity: undefined"


def caption(explanation: Explanation) -> str:
    """The parameters a reader needs to make the figure again, as one paragraph."""
    given = explanation.parameters
    kind = find_kind(explanation.kind)
    transform = _TRANSFORM_WORDS[kind.transform]
    if kind.gradients:
        parts = [
            transform(given),
            _partition_words(explanation),
            *_gradient_words(explanation),
            f"gradients that count as {explanation.forwards:,} forwards",
            f"seed {given['seed']}" if "seed" in given else "",
        ]
        return "; ".join(part for part in parts if part) + "."
    parts = [
        transform(given),
        _partition_words(explanation),
        f"N = {given['nb_design']}" if "nb_design" in given else "",
        f"{explanation.forwards:,} forwards",
        f"seed {given['seed']}" if "seed" in given else "",
        _estimator_words(given),
        _VALUE_POLICIES.get(str(given.get("value_policy")), ""),
        _APPROXIMATIONS.get(str(given.get("approximation")), "") if transform is _wavelet_words else "",
        "computed as the authors' code does" if given.get("compat") == "reference" else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _gradient_words(explanation: Explanation) -> Iterator[str]:
    """The method of a kind of gradients, with its own parameters, and the score."""
    given = explanation.parameters
    samples = given["samples"] if explanation.attributions is None else explanation.attributions.samples
    if given["method"] == "smoothgrad":
        yield f"SmoothGrad over {samples} images with noise of {given['noise']:g}"
    else:
        yield f"integrated gradients over {samples} images from baseline {given['baseline']}"
    yield f"gradients of the {str(given['score']).replace('_', ' ')}"


def _wavelet_words(given: dict[str, Any]) -> str:
    if "wavelet" not in given or "levels" not in given:
        return ""
    levels = given["levels"]
    return f"Wavelet {given['wavelet']}, {levels} {'level' if levels == 1 else 'levels'}"


def _fourier_words(given: dict[str, Any]) -> str:
    return "Fourier magnitudes, phases kept"


def _pixel_words(given: dict[str, Any]) -> str:
    return "; ".join(["Pixels", *filter(None, [_BASELINES.get(str(given.get("baseline")), "")])])


_TRANSFORM_WORDS = {"wavelet": _wavelet_words, "fourier": _fourier_words, "pixel": _pixel_words}


def _partition_words(explanation: Explanation) -> str:
    given = explanation.parameters
    partition = given.get("partition")
    if partition is None:
        return ""
    words = f"partition {partition}"
    if partition in ("grid", "aligned") and "grid_size" in given:
        words += f" {given['grid_size']}×{given['grid_size']}"
    if explanation.importance is not None:
        factors = len(explanation.importance)
        words += f", {factors:,} {'factor' if factors == 1 else 'factors'}"
    return words


def _estimator_words(given: dict[str, Any]) -> str:
    if "estimator" not in given or "score" not in given:
        return ""
    score = str(given["score"]).replace("_", " ")
    sampler = str(given.get("sampler", "")).replace("_", " ").capitalize()
    return f"{str(given['estimator']).capitalize()} estimator of the {score}, {sampler} design".rstrip()
