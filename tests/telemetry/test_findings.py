"""What explanations found is counted once, of default parameters alone; what needed no scoring is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.figures.samples import (
    adaptive,
    compare_explanation,
    fam_explanation,
    profile_explanation,
    sufficient_explanation,
    wavelet_explanation,
)

from wavescope.engine.requests import PAPERS_ROWS, make_request
from wavescope.engine.types import Explanation
from wavescope.telemetry.counters import Counters
from wavescope.telemetry.findings import count_cached, count_findings

TIMES = {"plan_s": 0.5, "score_s": 2.0, "total_s": 3.0}


def counted(explanation: Explanation, *others: Explanation, **given: Any) -> dict[tuple[str, ...], float]:
    """Values by name and values of labels, of explanations with the default parameters but for those given."""
    counters = Counters()
    count_findings(counters, "m", make_request(kind=explanation.kind, **given), (explanation, *others))
    return values(counters)


def values(counters: Counters) -> dict[tuple[str, ...], float]:
    return {
        (name.removeprefix("wavescope_"), *(value for _, value in labels)): value
        for (name, labels), value in counters.snapshot().items()
    }


@pytest.mark.parametrize("make", [wavelet_explanation, profile_explanation], ids=["wcam", "profile"])
def test_shares_are_counted_by_scale(make: Any) -> None:
    explanation = make()
    found = counted(explanation)
    assert explanation.levels
    for level, scale in zip(explanation.levels, ("8px+", "4-8px", "2-4px", "1-2px"), strict=True):
        key = (explanation.kind, "m", scale)
        assert found["finding_share_ratio_count", *key] == 1
        assert found["finding_share_ratio_sum", *key] == level.share


def test_other_kinds_have_no_shares() -> None:
    assert not [key for key in counted(fam_explanation()) if key[0].startswith("finding_share")]


@pytest.mark.parametrize("given", [{"seed": 1}, {"nb_design": 16}, {"wavelet": "db4"}, {"score": "logit"}])
def test_findings_with_other_parameters_are_not_counted_but_their_time_is(given: dict[str, Any]) -> None:
    found = counted(profile_explanation(timing=TIMES), **given)
    assert not [key for key in found if key[0].startswith("finding_")]
    assert found["stage_duration_seconds_sum", "m", "score"] == 2.0


def test_the_class_that_is_explained_is_no_parameter() -> None:
    found = counted(profile_explanation(), target=3, against=4)
    assert found["finding_share_ratio_count", "profile", "m", "1-2px"] == 1


def test_partial_and_constant_explanations_found_nothing() -> None:
    constant = replace(profile_explanation(), outcome="constant_score", indices=None, levels=None, worth=None)
    for explanation in (profile_explanation(partial=True), constant):
        assert not [key for key in counted(explanation) if key[0].startswith("finding_")]


def test_depth_and_scale_shift_are_ratios() -> None:
    found = counted(sufficient_explanation(depth=37))
    assert found["finding_depth_ratio_sum", "m"] == pytest.approx(37 / 784)
    assert ("finding_depth_ratio_count", "m") not in counted(sufficient_explanation(depth=None))
    compared = compare_explanation()
    assert compared.comparison is not None
    assert counted(compared)["finding_scale_shift_ratio_sum", "m"] == compared.comparison.scale_shift


def test_split_half_is_counted_where_there_is_one() -> None:
    explanation = profile_explanation()
    assert explanation.worth is not None
    one = replace(explanation, worth=replace(explanation.worth, split_half=0.75))
    found = counted(one)
    assert [found["finding_split_half_bucket", "profile", bound, "m"] for bound in ("0.7", "0.8")] == [0, 1]
    none = replace(explanation, worth=replace(explanation.worth, split_half=None))
    assert ("finding_split_half_count", "profile", "m") not in counted(none)


def test_stages_of_one_sample_are_counted_once_though_it_has_two_targets() -> None:
    first = profile_explanation(timing=TIMES)
    found = counted(first, replace(first, reused=first.forwards))
    assert [found["stage_duration_seconds_count", "m", stage] for stage in ("plan", "score", "total")] == [
        1
    ] * 3
    assert found["stage_duration_seconds_sum", "m", "total"] == 3.0
    assert found["finding_share_ratio_count", "profile", "m", "1-2px"] == 2


def test_an_adaptive_plan_saves_what_the_full_one_would_have_scored_more() -> None:
    explanation = adaptive(wavelet_explanation())
    assert explanation.indices is not None
    assert explanation.screening is not None
    full = PAPERS_ROWS * (len(explanation.indices.total) + 2)
    cheap = replace(explanation, forwards=500, screening=replace(explanation.screening, gradients=10))
    assert counted(cheap)["forwards_saved_total", "m", "adaptive"] == full - 500 - 30
    dear = replace(explanation, forwards=10 * full)
    assert counted(dear)["forwards_saved_total", "m", "adaptive"] == 0
    assert ("forwards_saved_total", "m", "adaptive") not in counted(wavelet_explanation())


def test_a_cached_result_saves_what_it_had_scored_and_is_no_finding() -> None:
    one = replace(profile_explanation(), forwards=97)
    counters = Counters()
    count_cached(counters, "m", (one, replace(one, reused=97)))
    found = values(counters)
    assert found["forwards_saved_total", "m", "cached"] == 97
    assert not [key for key in found if key[0].startswith(("finding_", "stage_"))]
