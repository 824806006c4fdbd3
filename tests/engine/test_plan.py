"""Plans: what they accept, refuse and warn of; their digest; their chunks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.classifiers import random_picture
from tests.fakes.requests import FIELDS, another_value

from wavescope.engine.checks import check_choice, check_request
from wavescope.engine.choices import CHOICES
from wavescope.engine.kinds import KINDS
from wavescope.engine.limits import MAX_SEED
from wavescope.engine.plan import Plan, chunks, make_plan
from wavescope.engine.requests import make_request
from wavescope.engine.types import ExplanationRequest
from wavescope.engine.warnings import of_plan
from wavescope.errors import CostLimitExceeded, InvalidRequest

PICTURE = random_picture((3, 32, 48), seed=0)
SMALL = ExplanationRequest(grid_size=4, nb_design=2, levels=2)


def plan(request: ExplanationRequest = SMALL, **fields: Any) -> Plan:
    return make_plan(PICTURE, replace(request, **fields), max_forwards=100_000)


def test_defaults_are_the_papers() -> None:
    papers = {
        "kind": "wcam",
        "plan": "full",
        "wavelet": "haar",
        "levels": 3,
        "partition": "grid",
        "grid_size": 28,
        "nb_design": 8,
        "sampler": "sobol",
        "estimator": "jansen",
        "approximation": "perturb",
        "value_policy": "clip",
        "seed": 0,
    }
    found = ExplanationRequest().parameters()
    assert found == found | papers
    assert make_request(plan="full") == ExplanationRequest()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "adaptive"),
        ({"kind": "compare", "partition": "aligned"}, "adaptive"),
        ({"partition": "subbands"}, "full"),
        ({"kind": "fam"}, "full"),
        ({"kind": "sobol"}, "full"),
        ({"kind": "profile"}, "full"),
        ({"kind": "zoom"}, "full"),
        ({"kind": "wam"}, "full"),
        ({"nb_design": 8}, "full"),
        ({"compat": "reference"}, "full"),
        ({"estimator": "homma"}, "full"),
        ({"sampler": "latin_hypercube"}, "full"),
        ({"grid_size": 8}, "full"),  # 528 forwards: no more than the adaptive plan takes
        ({"grid_size": 9}, "adaptive"),
        ({"grid_size": 65}, "full"),  # 4,225 factors: more than the adaptive plan holds
        ({"kind": "fam", "top_k": 5}, "adaptive"),
        ({"kind": "fam", "prior": "size"}, "adaptive"),
        ({"kind": "fam", "prior": "auto"}, "full"),
        ({"nb_design": 8, "max_forwards": 100}, "adaptive"),
        ({"plan": "full", "grid_size": 28}, "full"),
        ({"plan": "adaptive", "kind": "zoom"}, "adaptive"),
    ],
)
def test_a_request_that_names_no_plan_gets_the_one_that_suits_it(
    given: dict[str, Any], expected: str
) -> None:
    assert make_request(**given).plan == expected


def test_every_kind_has_its_own_defaults() -> None:
    found = {kind: make_request(kind=kind) for kind in KINDS}
    assert {kind: request.kind for kind, request in found.items()} == {kind: kind for kind in KINDS}
    assert {kind: request.partition for kind, request in found.items()} == {
        "wcam": "grid",
        "fam": "circle",
        "sobol": "grid",
        "sufficient-image": "grid",
        "profile": "subbands",
        "compare": "grid",
        "robustness": "grid",
        "zoom": "aligned",
        "wam": "grid",
    }
    assert (found["wam"].method, found["wam"].samples, found["wam"].noise) == ("smoothgrad", 25, 0.25)
    assert {kind for kind, request in found.items() if request.value_policy == "none"} == {"wam"}
    assert (found["sobol"].grid_size, found["sobol"].nb_design) == (8, 8)
    assert (found["zoom"].grid_size, found["zoom"].nb_design, found["zoom"].levels) == (32, 4, 3)


def test_compat_reference_sets_defaults_and_explicit_fields_win() -> None:
    found = make_request(compat="reference")
    assert (found.score, found.seed, found.value_policy) == ("logit", 42, "minmax")
    assert make_request(compat="reference", kind="zoom").partition == "grid"
    explicit = make_request(compat="reference", seed=0, score="margin", kind="zoom", partition="aligned")
    assert (explicit.seed, explicit.score, explicit.partition) == (0, "margin", "aligned")


def test_the_default_plan_of_the_default_image_needs_6288_forwards() -> None:
    picture = random_picture((3, 224, 224), seed=0)
    made = make_plan(picture, ExplanationRequest(), max_forwards=6288)
    assert (made.n_factors, made.rows) == (784, 6288)
    assert made.array.shape == (3, 224, 224)
    assert made.crop == picture.crop
    with pytest.raises(CostLimitExceeded, match="6288 forwards; at most 6287 are admitted"):
        make_plan(picture, ExplanationRequest(), max_forwards=6287)


def test_a_cost_beyond_the_limit_names_both_numbers() -> None:
    with pytest.raises(CostLimitExceeded, match="lower nb_design or grid_size") as caught:
        make_plan(PICTURE, SMALL, max_forwards=35)
    assert caught.value.limits == {"forwards": 36, "maximum": 35}
    assert caught.value.field == "nb_design"
    assert make_plan(PICTURE, SMALL, max_forwards=36).rows == 36


def test_an_absurd_cost_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(CostLimitExceeded, match=f"{2**16 * 1026} forwards"):
        plan(nb_design=2**16, grid_size=32)


@pytest.mark.parametrize(
    ("field", "value", "words", "limits"),
    [
        ("seed", -1, "seed is -1; it must be between 0 and 9007199254740991", {"minimum": 0}),
        ("levels", 0, "levels is 0; it must be between 1 and 16", {"minimum": 1}),
        ("grid_size", 0, "grid_size is 0; it must be between 1 and 1024", {"minimum": 1}),
        ("nb_design", -5, "nb_design is -5; it must be between 1 and 65536", {"minimum": 1}),
        ("nb_design", 10**4000, "nb_design is so large a number; it must be between", {"maximum": 65536}),
        ("accuracy", 1.0, "accuracy is 1; it must be at least 0.5 and below 1", {"exclusive_maximum": 1}),
        ("accuracy", float("nan"), "accuracy is nan; it must be at least 0.5", {"minimum": 0.5}),
        ("standard_error", 0.0, "is 0; it must be above 0 and at most 1", {"exclusive_minimum": 0}),
        ("standard_error", float("inf"), "is inf; it must be above 0 and at most 1", {"maximum": 1}),
        ("deadline_s", float("inf"), "deadline_s is inf; it must be above 0 and finite", {}),
        ("deadline_s", -1.0, "deadline_s is -1; it must be above 0$", {"exclusive_minimum": 0}),
        ("samples", 0, "samples is 0; it must be between 1 and 1000", {"minimum": 1}),
        ("noise", float("nan"), "noise is nan; it must be between 0 and 1", {"minimum": 0}),
    ],
)
@pytest.mark.parametrize("kind", ["wcam", "wam"])
def test_a_number_beyond_the_limits_of_its_field_is_refused_whatever_the_kind(
    kind: str, field: str, value: float, words: str, limits: dict[str, float]
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        plan(kind=kind, **{field: value})
    assert (caught.value.field, caught.value.limits) == (field, limits)


@pytest.mark.parametrize(
    "fields",
    [{"accuracy": 0.9}, {"max_forwards": 100}, {"top_k": 3}, {"standard_error": 0.1}, {"prior": "size"}],
)
def test_what_the_authors_design_has_not_is_refused_by_its_own_name(fields: dict[str, Any]) -> None:
    (field,) = fields
    with pytest.raises(
        InvalidRequest, match=f"^{field} .*, and compat 'reference' takes no other: leave one of them out$"
    ) as caught:
        check_request(make_request(compat="reference", **fields), (32, 32))
    assert caught.value.field == field


@pytest.mark.parametrize("field", sorted(CHOICES))
def test_an_unknown_choice_names_its_field_and_what_is_supported(field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{field} 'nonsense' is unknown") as caught:
        plan(**{field: "nonsense"})
    assert caught.value.field == field
    assert "supported" in caught.value.limits or "close" in caught.value.limits


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_partition_of_another_domain_is_refused_with_those_of_the_kind(kind: str) -> None:
    other = "circle" if KINDS[kind].transform == "wavelet" else "aligned"
    with pytest.raises(InvalidRequest, match=f"partition '{other}' does not suit kind '{kind}'") as caught:
        plan(make_request(kind=kind, grid_size=4), partition=other)
    assert caught.value.field == "partition"
    assert caught.value.limits == {"supported": list(KINDS[kind].partitions)}


def test_zoom_needs_a_level_more_than_it_is_asked_for() -> None:
    request = make_request(kind="zoom", grid_size=4)
    assert plan(request, levels=3).spec.levels == 3
    with pytest.raises(InvalidRequest, match="allows 1 to 3; kind 'zoom' needs one more"):
        plan(request, levels=4)


def test_levels_mean_nothing_outside_the_wavelet_domain() -> None:
    assert plan(make_request(kind="fam", levels=16)).n_factors == 28
    assert plan(make_request(kind="sobol", levels=16)).n_factors == 64


@pytest.mark.parametrize("estimator", ["janon", "glen"])
def test_estimators_that_correlate_rows_need_two(estimator: str) -> None:
    with pytest.raises(InvalidRequest, match="nb_design is 1; the estimator") as caught:
        plan(estimator=estimator, nb_design=1)
    assert caught.value.field == "nb_design"


@pytest.mark.parametrize("sampler", ["halton", "latin_hypercube", "monte_carlo"])
def test_only_sobol_asks_for_a_power_of_two(sampler: str) -> None:
    assert plan(sampler=sampler, nb_design=3).rows == 3 * 18


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 2 * 18),
        ({"kind": "profile", "partition": "subbands"}, 2 * 9),
        ({"kind": "sufficient-image"}, 2 * 18 + 17),
        ({"kind": "robustness"}, 2 * 18 + 17 + 95),
        ({"kind": "robustness", "compat": "reference"}, 2 * 18 + 17 + 84),
        ({"kind": "compare"}, 4 * 18),
        ({"faithfulness": True}, 2 * 18 + 2 * 51 + 200 + 2 * 17 + 200),
        ({"kind": "sobol", "faithfulness": True}, 2 * 18 + 2 * 51 + 200),
        ({"kind": "fam", "partition": "circle", "faithfulness": True}, 2 * 6 + 2 * 5 + 200),
    ],
)
def test_the_cost_limit_counts_all_that_a_kind_scores(fields: dict[str, Any], expected: int) -> None:
    request = replace(SMALL, **fields)
    make_plan(PICTURE, request, max_forwards=expected)
    with pytest.raises(CostLimitExceeded, match=f"needs {expected} forwards"):
        make_plan(PICTURE, request, max_forwards=expected - 1)


def test_a_mistyped_wavelet_is_told_its_neighbours() -> None:
    with pytest.raises(InvalidRequest, match="wavelet 'hear' is unknown; close to it: haar") as caught:
        plan(wavelet="hear")
    assert len(caught.value.limits["close"]) <= 5
    with pytest.raises(InvalidRequest, match="close to it"):
        check_choice("wavelet", "0123456789", CHOICES["wavelet"])


def test_continuous_wavelets_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="wavelet 'mexh' is unknown"):
        plan(wavelet="mexh")


@pytest.mark.parametrize("wavelet", ["haar", "db38", "bior6.8", "dmey"])
def test_every_discrete_wavelet_is_a_choice(wavelet: str) -> None:
    assert set(CHOICES["wavelet"]) == set(pywt.wavelist(kind="discrete"))
    assert plan(wavelet=wavelet).spec.wavelet == wavelet


@pytest.mark.parametrize("levels", [5, 16])
def test_levels_must_leave_two_pixels(levels: int) -> None:
    with pytest.raises(
        InvalidRequest, match=f"levels is {levels}; an image of 32 x 48 px allows 1 to 4"
    ) as caught:
        plan(levels=levels)
    assert caught.value.field == "levels"
    assert caught.value.limits == {"minimum": 1, "maximum": 4}
    assert plan(levels=4).spec.levels == 4


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_is_a_non_negative_63_bit_number(seed: int) -> None:
    with pytest.raises(InvalidRequest, match=f"seed is {seed}; it must be between 0 and") as caught:
        plan(seed=seed)
    assert caught.value.field == "seed"
    assert plan(seed=MAX_SEED).spec.seed == MAX_SEED


def test_a_grid_finer_than_the_image_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"grid_size is 33; .*between 1 and 32") as caught:
        plan(grid_size=33)
    assert caught.value.field == "grid_size"


@pytest.mark.parametrize("nb_design", [3, 12])
def test_n_must_be_a_power_of_two_for_sobol(nb_design: int) -> None:
    with pytest.raises(InvalidRequest, match=f"nb_design is {nb_design}; .*power of two") as caught:
        plan(nb_design=nb_design)
    assert caught.value.field == "nb_design"


def test_more_factors_than_sobol_supports_are_refused_before_the_cost() -> None:
    picture = random_picture((1, 128, 128), seed=0)
    request = ExplanationRequest(grid_size=128, nb_design=1)
    with pytest.raises(InvalidRequest, match=r"16384 factors; .*at most 10600") as caught:
        make_plan(picture, request, max_forwards=1)
    assert type(caught.value) is InvalidRequest


@pytest.mark.parametrize("partition", ["grid", "aligned", "subbands", "levels"])
def test_no_partition_is_left_without_a_factor(partition: str) -> None:
    assert plan(partition=partition, grid_size=1, approximation="keep").n_factors >= 1


def warned(made: Plan) -> tuple[str, ...]:
    return of_plan(made.spec, made.n_factors)


def test_rings_without_a_frequency_are_warned_of() -> None:
    request = make_request(kind="fam", partition="square")
    made = make_plan(random_picture((1, 32, 32), seed=0), request, max_forwards=10_000)
    assert made.n_factors == 17  # 0 to 16 periods across the image
    (found,) = warned(made)
    assert found.startswith("11 of the 28 rings hold no frequency of an image of 32 x 32 px")


def test_levels_beyond_what_the_filter_suits_are_warned_of() -> None:
    assert warned(plan(SMALL, nb_design=8)) == ()
    (found,) = warned(plan(wavelet="db8", levels=3, nb_design=8))
    assert f"filters of 'db8' outgrow the image beyond {pywt.dwt_max_level(32, 'db8')}" in found


def test_too_few_design_rows_for_standard_errors_are_warned_of() -> None:
    (found,) = warned(plan(nb_design=2))
    assert "standard errors need at least 4" in found
    assert warned(plan(nb_design=4)) == ()


def test_the_digest_is_stable() -> None:
    assert plan().digest == plan().digest
    assert plan().digest == plan(target=3, score="logit").digest  # which play no part in the perturbations


# These change what is made of the scores, or how many of them there are, but not a perturbation.
NOT_PERTURBING = {
    "target", "against", "score", "plan", "estimator", "faithfulness", "max_forwards", "deadline_s", "standard_error",
    "top_k", "accuracy", "prior", "method", "samples", "noise",
}  # fmt: skip
# Of a sample that a partition of its own size, a power of two or another kind allows.
VALID: dict[str, Any] = {"partition": "aligned", "nb_design": 4, "kind": "sobol"}


@pytest.mark.parametrize("field", sorted(set(FIELDS) - NOT_PERTURBING))
def test_the_digest_knows_every_parameter_of_the_perturbations(field: str) -> None:
    value = VALID.get(field, another_value(field, getattr(SMALL, field)))
    assert plan(**{field: value}).digest != plan().digest


def test_the_digest_knows_every_pixel_and_the_shape() -> None:
    pixels = PICTURE.pixels.copy()
    pixels[2, 31, 47] += 1e-3
    changed = make_plan(replace(PICTURE, pixels=pixels), SMALL, max_forwards=100_000)
    turned = make_plan(replace(PICTURE, pixels=pixels.reshape(3, 48, 32)), SMALL, max_forwards=100_000)
    assert len({plan().digest, changed.digest, turned.digest}) == 3


def test_the_digest_is_the_same_in_another_process() -> None:
    program = "from tests.engine.test_plan import plan; print(plan().digest)"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == plan().digest


@given(size=st.integers(1, 50))
def test_chunks_tile_the_rows_exactly_and_in_order(size: int) -> None:
    made = plan()
    found = list(chunks(made.rows, size))
    assert [row for start, stop in found for row in range(start, stop)] == list(range(made.rows))
    assert all(0 < stop - start <= size for start, stop in found)


def test_parameters_are_json_ready() -> None:
    assert json.loads(json.dumps(SMALL.parameters())) == SMALL.parameters()


def test_the_packed_shape_is_padded_to_a_multiple_of_two_to_the_levels() -> None:
    odd = make_plan(random_picture((1, 33, 47), seed=0), replace(SMALL, levels=3), max_forwards=10_000)
    assert odd.spec.packed_shape == (40, 48)
    assert odd.array.shape == (1, 40, 48)
