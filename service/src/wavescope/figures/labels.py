"""The words of a figure: scales, classes, the caption. Without matplotlib: the terminal shares them."""

from __future__ import annotations

from typing import Any

from wavescope.engine.types import Explanation, Prediction

_VALUE_POLICIES = {
    "clip": "values clipped to [0, 1]",
    "minmax": "values rescaled to [0, 1]",
    "none": "values not limited",
}
_APPROXIMATIONS = {"keep": "approximation kept", "drop": "approximation dropped"}


def scale_label(scale_px: tuple[int, int | None]) -> str:
    """A scale in words: ``2-4 px``, or ``> 8 px`` for the approximation, whose upper end is open."""
    start, end = scale_px
    return f"> {start} px" if end is None else f"{start}-{end} px"


def shorten(text: str, limit: int) -> str:
    """``text`` on one line of at most ``limit`` characters; what is cut away becomes an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def probability_label(prediction: Prediction) -> str:
    """The probability to three digits; empty where the model has none."""
    return "" if prediction.probability is None else f"{prediction.probability:.3f}"


def heading(explanation: Explanation) -> str:
    """One line that says which class of which model is explained, with its probability."""
    target = explanation.target
    line = f"{shorten(explanation.model, 48)}: “{shorten(target.label, 60)}” (class {target.index})"
    return line if target.probability is None else f"{line}, probability {probability_label(target)}"


def constant_sentence(explanation: Explanation) -> str:
    """Why an explanation of outcome ``constant_score`` has no maps."""
    score = str(explanation.parameters.get("score", "score")).replace("_", " ")
    return (
        f"No map: the {score} of “{shorten(explanation.target.label, 60)}” did not vary over the "
        f"{explanation.forwards:,} perturbed images, so that Sobol indices are undefined."
    )


def caption(explanation: Explanation) -> str:
    """The parameters a reader needs to make the figure again, as one paragraph."""
    given = explanation.parameters
    parts = [
        _transform_words(given),
        _partition_words(explanation),
        f"N = {given['nb_design']}" if "nb_design" in given else "",
        f"{explanation.forwards:,} forwards",
        f"seed {given['seed']}" if "seed" in given else "",
        _estimator_words(given),
        _VALUE_POLICIES.get(str(given.get("value_policy")), ""),
        _APPROXIMATIONS.get(str(given.get("approximation")), ""),
    ]
    return "; ".join(part for part in parts if part) + "."


def _transform_words(given: dict[str, Any]) -> str:
    if "wavelet" not in given or "levels" not in given:
        return ""
    levels = given["levels"]
    return f"Wavelet {given['wavelet']}, {levels} {'level' if levels == 1 else 'levels'}"


def _partition_words(explanation: Explanation) -> str:
    given = explanation.parameters
    partition = given.get("partition")
    if partition is None:
        return ""
    words = f"partition {partition}"
    if partition in ("grid", "aligned") and "grid_size" in given:
        words += f" {given['grid_size']}×{given['grid_size']}"
    if explanation.indices is not None:
        words += f", {len(explanation.indices.total):,} factors"
    return words


def _estimator_words(given: dict[str, Any]) -> str:
    if "estimator" not in given or "score" not in given:
        return ""
    score = str(given["score"]).replace("_", " ")
    sampler = str(given.get("sampler", "")).replace("_", " ").capitalize()
    return f"{str(given['estimator']).capitalize()} estimator of the {score}, {sampler} design".rstrip()
