"""Why this class and not that: on models whose answer follows by hand, from the images that are scored anyway."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.fakes.classifiers import FunctionClassifier, details, random_picture
from tests.fakes.listeners import Listening

from wavescope.core.maps import factor_map, spatial_map
from wavescope.core.sobol.estimators import ESTIMATORS
from wavescope.engine.explain import ResolvedRequest
from wavescope.engine.kinds import KINDS, PERTURBING
from wavescope.engine.requests import make_request
from wavescope.engine.run import explain, explain_many
from wavescope.engine.types import Explanation, ExplanationRequest, Outputs
from wavescope.errors import InvalidRequest

SHAPE = (2, 16, 16)
PICTURE = random_picture(SHAPE, seed=0)
CONTRASTED = [name for name, kind in KINDS.items() if "contrast" in kind.sections]
FEW: dict[str, Any] = {"grid_size": 4, "levels": 2, "nb_design": 8}
ADAPTIVE: dict[str, Any] = {
    "plan": "adaptive",
    "grid_size": 4,
    "levels": 2,
    "max_forwards": 150,
    "nb_design": 16,
}
WEIGHTS = np.random.default_rng(1).normal(size=(4, *SHAPE)) / 4


def softmax(logits: np.ndarray) -> np.ndarray:
    likely = np.exp(logits - logits.max())
    return likely / likely.sum()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


RETURNED: dict[Outputs, Any] = {"logits": lambda z: z, "probabilities": softmax, "sigmoid": sigmoid}


def classifier(outputs: Outputs = "logits", weights: np.ndarray = WEIGHTS) -> FunctionClassifier:
    """Classes of linear logits, whose order at the picture is 3, 0, 2, 1 or so; each of its own places."""
    of = details(SHAPE, classes=len(weights), outputs=outputs)
    return FunctionClassifier(lambda image: RETURNED[outputs](np.tensordot(weights, image, 3)), of)


def clean_logits() -> np.ndarray:
    return np.tensordot(WEIGHTS, (PICTURE.pixels - 0.4) / 0.25, 3)


def run(request: ExplanationRequest, model: FunctionClassifier | None = None, **options: Any) -> Explanation:
    return explain(PICTURE, request, model or classifier(), identity="", max_forwards=10**6, **options)


def difference(target: int, against: int) -> FunctionClassifier:
    """The contrast as a logit of its own: that of class 0."""
    weights = np.stack([WEIGHTS[target] - WEIGHTS[against], np.zeros(SHAPE)])
    return classifier(weights=weights)


def assert_same(contrast: Any, whole: Explanation) -> None:
    """The contrast is the explanation of the difference by itself."""
    assert contrast.outcome == whole.outcome == "explained"
    for name in ("total", "first", "standard_error", "interval_95", "resolved", "upper_bound"):
        one, two = getattr(contrast.indices, name), getattr(whole.indices, name)
        assert (one is None) == (two is None), name
        if one is not None:
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(
        np.array(contrast.indices.effect, float), np.array(whole.indices.effect, float), rtol=1e-6, atol=1e-9
    )
    assert (contrast.levels is None) == (whole.levels is None)
    for one, two in zip(contrast.levels or (), whole.levels or (), strict=True):
        assert one.share == pytest.approx(two.share, rel=1e-6)
    maps = whole.maps
    assert maps is not None
    np.testing.assert_allclose(contrast.map, maps.fam if maps.fam is not None else maps.spatial, rtol=1e-5)
    for one, two in zip(contrast.radial or (), whole.radial or (), strict=True):
        assert one.share == pytest.approx(two.share, rel=1e-6)


@pytest.mark.parametrize("score", ["probability", "logit", "log_probability", "margin"])
@pytest.mark.parametrize("kind", CONTRASTED)
def test_a_contrast_is_the_explanation_of_the_difference_of_two_logits(kind: str, score: str) -> None:
    request = make_request(kind=kind, target=1, against=3, score=score, **FEW)
    found = run(request).contrast
    assert found is not None
    assert (found.against.index, found.against.label) == (3, "class 3")
    assert found.against.probability == pytest.approx(softmax(clean_logits())[3])
    alone = make_request(kind=kind, target=0, score="logit", **FEW)
    assert_same(found, run(alone, difference(1, 3)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_it_is_estimated_as_the_explanation_is(estimator: str) -> None:
    given = {"kind": "sobol", "target": 1, "estimator": estimator, **FEW}
    found = run(make_request(against=3, score="probability", **given)).contrast
    assert_same(found, run(make_request(**given | {"target": 0, "score": "logit"}), difference(1, 3)))


def test_an_adaptive_plan_has_the_contrast_of_the_rows_that_it_scored() -> None:
    """All factors have every row, so that the order in which the score of the target asks for them is no matter."""
    given = ADAPTIVE | {"max_forwards": 4000, "score": "logit"}
    found = run(make_request(target=1, against=3, **given))
    alone = run(make_request(target=0, **given), difference(1, 3))
    assert found.screening is not None
    assert alone.screening is not None
    assert found.screening.stopped == alone.screening.stopped == "all_resolved"
    assert_same(found.contrast, alone)


def test_in_an_adaptive_plan_the_contrast_is_known_of_the_same_factors() -> None:
    found = run(make_request(**ADAPTIVE))
    assert found.contrast is not None
    assert found.contrast.indices is not None
    assert found.indices is not None
    np.testing.assert_array_equal(found.contrast.indices.resolved, found.indices.resolved)
    assert found.forwards <= 150
    assert found.maps is not None
    packed = factor_map(found.maps.factors, found.contrast.indices.total)
    np.testing.assert_allclose(found.contrast.map, spatial_map(packed, 2, (16, 16)))


def test_the_difference_of_the_authors_computation_is_theirs_too() -> None:
    given = {"kind": "wcam", "compat": "reference", **FEW}
    found = run(make_request(target=1, against=3, **given)).contrast
    assert_same(found, run(make_request(target=0, **given), difference(1, 3)))


@pytest.mark.parametrize("plan", [FEW | {"plan": "full"}, ADAPTIVE], ids=["full", "adaptive"])
def test_a_contrast_costs_no_forward(plan: dict[str, Any]) -> None:
    counts: list[int] = []
    for kind in ("wcam", "sufficient-image"):  # the latter has none
        model, listening = classifier(), Listening()
        done = run(make_request(kind=kind, **plan), model, listener=listening)
        assert (done.contrast is not None) == (kind == "wcam")
        rebuilt = 17 if kind == "sufficient-image" else 0
        assert sum(model.batches) == done.forwards + 1  # the clean prediction
        counts.append(done.forwards - rebuilt)
    assert counts[0] == counts[1]


def test_the_other_class_is_the_runner_up_unless_it_is_named() -> None:
    order = np.argsort(-clean_logits())
    done = run(make_request(kind="sobol", **FEW))
    assert (done.target.index, done.contrast.against) == (order[0], done.worth.runner_up)
    assert done.parameters["against"] == order[1]
    done = run(make_request(kind="sobol", target=int(order[2]), **FEW))
    assert done.contrast.against.index == order[0]
    again = run(make_request(**done.parameters))
    np.testing.assert_array_equal(again.contrast.indices.total, done.contrast.indices.total)


@pytest.mark.parametrize("plan", [FEW | {"plan": "full"}, ADAPTIVE], ids=["full", "adaptive"])
def test_every_target_has_a_contrast_of_its_own_as_if_it_were_alone(plan: dict[str, Any]) -> None:
    for against in (None, 3):
        request = make_request(against=against, **plan)
        resolved = ResolvedRequest(request, ((0, 1),), ("a", "b"))
        found = explain_many([PICTURE], resolved, classifier(), max_forwards=10**6)
        order = np.argsort(-clean_logits()).tolist()
        expected = [against if against is not None else next(c for c in order if c != t) for t in (0, 1)]
        assert [one.contrast.against.index for one in found] == expected
        alone = run(replace(request, target=0))
        np.testing.assert_array_equal(found[0].contrast.indices.total, alone.contrast.indices.total)
    assert not np.allclose(found[0].contrast.indices.total, found[1].contrast.indices.total)


def test_swapping_the_classes_turns_the_signs_and_nothing_else() -> None:
    one = run(make_request(kind="sobol", target=1, against=3, **FEW)).contrast.indices
    two = run(make_request(kind="sobol", target=3, against=1, **FEW)).contrast.indices
    np.testing.assert_allclose(one.total, two.total)
    np.testing.assert_allclose(one.effect, -np.array(two.effect))


# ---- what models have ----------------------------------------------------------------------------


def test_softmax_probabilities_have_a_contrast_where_it_is_asked_for() -> None:
    model = classifier("probabilities")
    assert run(make_request(kind="sobol", **FEW), model).contrast is None
    given = make_request(kind="sobol", target=1, against=3, **FEW)
    found, expected = (run(given, each).contrast.indices for each in (model, classifier()))
    np.testing.assert_allclose(found.total, expected.total, rtol=1e-4)
    np.testing.assert_allclose(found.effect, expected.effect, rtol=1e-4, atol=1e-6)


def test_independent_probabilities_have_that_of_their_log_odds() -> None:
    found = run(
        make_request(kind="sobol", target=1, against=3, **FEW), classifier("sigmoid")
    ).contrast.indices
    expected = run(make_request(kind="sobol", target=1, against=3, **FEW)).contrast.indices
    np.testing.assert_allclose(found.total, expected.total, rtol=1e-4)
    assert run(make_request(kind="sobol", **FEW), classifier("sigmoid")).contrast is not None


def binary() -> FunctionClassifier:
    logit = np.random.default_rng(3).normal(size=SHAPE) / 4
    of = replace(details(SHAPE), threshold=0.5)
    return FunctionClassifier(lambda image: (-(logit * image).sum() / 2, (logit * image).sum() / 2), of)


def test_a_model_of_one_output_says_it_by_its_logit_and_nothing_twice() -> None:
    done = run(make_request(kind="sobol", **FEW), binary())
    assert (done.contrast, done.parameters["against"]) == (None, None)
    with pytest.raises(InvalidRequest, match="leave it out, and take score 'logit'") as caught:
        run(make_request(kind="sobol", target=1, against=0, **FEW), binary())
    assert caught.value.field == "against"


def test_the_margin_of_two_classes_is_their_difference_already() -> None:
    two = classifier(weights=WEIGHTS[:2])
    assert run(make_request(kind="sobol", score="margin", **FEW), two).contrast is None
    done = run(make_request(kind="sobol", score="margin", target=0, against=1, **FEW), two)
    np.testing.assert_allclose(done.contrast.indices.total, done.indices.total)
    assert run(make_request(kind="sobol", score="logit", **FEW), two).contrast is not None


def test_a_model_of_one_class_has_none() -> None:
    one = classifier(weights=WEIGHTS[:1])
    assert run(make_request(kind="sobol", score="logit", **FEW), one).contrast is None
    with pytest.raises(InvalidRequest, match="this model has a single one") as caught:
        run(make_request(kind="sobol", score="logit", against=0, **FEW), one)
    assert caught.value.field == "against"


@pytest.mark.parametrize("plan", [FEW | {"plan": "full"}, ADAPTIVE], ids=["full", "adaptive"])
def test_a_difference_that_does_not_vary_is_an_outcome_of_the_contrast_alone(plan: dict[str, Any]) -> None:
    shifted = FunctionClassifier(
        lambda image: np.tensordot(WEIGHTS[[0, 0, 1]], image, 3) + np.array([0.5, 0, -50]),
        details(SHAPE, classes=3),
    )
    done = run(make_request(score="logit", **plan), shifted)
    assert done.outcome == "explained"
    assert done.contrast.outcome == "constant_score"
    assert done.contrast.against.index == 1
    assert done.contrast.indices is done.contrast.map is done.contrast.levels is None
    assert "does not vary" in done.contrast.warnings[0]
    assert not any("does not vary" in warning for warning in done.warnings)


def test_where_the_score_is_constant_there_is_no_contrast() -> None:
    constant = FunctionClassifier(lambda image: (2.0, 1.0 + image.mean() / 9), details(SHAPE))
    done = run(make_request(kind="sobol", score="logit", target=0, **FEW), constant)
    assert (done.outcome, done.contrast) == ("constant_score", None)


def test_a_class_that_is_ruled_out_on_some_images_does_not_end_the_explanation() -> None:
    def outputs(image: np.ndarray) -> np.ndarray:
        logits = np.tensordot(WEIGHTS[:3], image, 3)
        return np.where(np.arange(3) == 1, np.where(image.mean() > -0.8, -np.inf, logits), logits)

    model = FunctionClassifier(outputs, details(SHAPE, classes=3))
    done = run(make_request(kind="sobol", target=0, against=1, score="probability", **FEW), model)
    assert done.outcome == "explained"
    assert np.isfinite(done.contrast.indices.total).all()


def test_few_rows_are_warned_of_in_the_contrast() -> None:
    done = run(make_request(kind="wcam", **FEW | {"nb_design": 4}))
    assert any("standard error of more than half" in warning for warning in done.contrast.warnings)


def test_a_map_like_the_runner_ups_points_to_the_contrast() -> None:
    near = np.stack([WEIGHTS[0], WEIGHTS[0] + WEIGHTS[1] / 50, WEIGHTS[2]])
    model = FunctionClassifier(
        lambda image: np.tensordot(near, image, 3) - np.array([0, 0, 50]), details(SHAPE, classes=3)
    )
    for against, pointed in ((None, True), (1, True), (2, False)):
        done = run(make_request(kind="sobol", target=0, against=against, score="logit", **FEW), model)
        assert done.worth.class_contrast < 0.2
        (said,) = [warning for warning in done.warnings if "and not 'class 1'" in warning]
        assert said.endswith(", which the section contrast explains") == pointed


# ---- what is refused -----------------------------------------------------------------------------


def test_the_target_is_not_contrasted_with_itself() -> None:
    for given in ({"target": 1, "against": 1}, {"against": int(np.argmax(clean_logits()))}):
        model = classifier()
        with pytest.raises(
            InvalidRequest, match=r"against and target are the same class, \d \('class \d'\)"
        ) as caught:
            run(make_request(kind="sobol", **given, **FEW), model)
        assert caught.value.field == "against"
        assert sum(model.batches) <= 1
    resolved = ResolvedRequest(make_request(against=1, **FEW), ((0, 1),), ("a", "b"))
    with pytest.raises(InvalidRequest, match="against and target are the same class, 1"):
        explain_many([PICTURE], resolved, classifier(), max_forwards=10**6)


def test_an_image_of_a_batch_that_is_predicted_to_be_the_other_class_is_named_before_anything_is_scored() -> (
    None
):
    first, second = int(np.argmax(clean_logits())), random_picture(SHAPE, seed=1)
    flipped = np.tensordot(WEIGHTS, (second.pixels - 0.4) / 0.25, 3)
    other = int(np.argmax(flipped))
    assert first != other
    resolved = ResolvedRequest(
        make_request(against=other, **FEW), ((None,), (None,)), ("a", "b"), ("images[0]", "images[1]")
    )
    model = classifier()
    with pytest.raises(InvalidRequest, match=r"^images\[1\]: against and target are the same class"):
        explain_many([PICTURE, second], resolved, model, max_forwards=10**6)
    assert sum(model.batches) == 2


@pytest.mark.parametrize("kind", sorted(set(PERTURBING) - set(CONTRASTED)))
def test_other_kinds_refuse_it_and_name_those_that_take_it(kind: str) -> None:
    with pytest.raises(InvalidRequest, match=f"against is for kinds wcam, .*, not for kind {kind}") as caught:
        explain(
            PICTURE,
            make_request(kind=kind, target=0, against=1, **FEW),
            classifier(),
            identity="",
            max_forwards=10**6,
            other=PICTURE if KINDS[kind].takes_other else None,
        )
    assert caught.value.field == "against"
    assert caught.value.limits["supported"] == CONTRASTED


@pytest.mark.parametrize("kind", CONTRASTED)
def test_no_contrasts_bits_depend_on_the_batch_size(kind: str) -> None:
    def found(size: int) -> Any:
        of = details(SHAPE, classes=4, batch_size=size)
        model = FunctionClassifier(lambda image: np.tensordot(WEIGHTS, image, 3), of)
        return run(make_request(kind=kind, **FEW), model).contrast

    np.testing.assert_array_equal(found(5).indices.total, found(64).indices.total)
    assert found(5).indices.effect == found(64).indices.effect


@pytest.mark.parametrize("fields", [FEW, ADAPTIVE])
def test_a_contrast_has_the_signs_of_logits_that_are_thousands_apart(fields: dict[str, Any]) -> None:
    """Both far below the predicted class."""
    weights = 1000 * WEIGHTS
    found = run(
        make_request(target=1, against=0, score="logit", **fields), classifier(weights=weights)
    ).contrast
    alone = classifier(weights=np.stack([weights[1] - weights[0], np.zeros(SHAPE)]))
    whole = run(
        make_request(target=0, score="logit", plan="full", grid_size=4, levels=2, nb_design=16), alone
    )
    assert found is not None
    assert whole.indices is not None
    effects = [
        (a, b) for a, b in zip(found.indices.effect, whole.indices.effect, strict=True) if a is not None
    ]
    assert np.corrcoef(np.array(effects, float).T)[0, 1] > 0.9
    assert not any("bound" in sentence for sentence in found.warnings)


@pytest.mark.parametrize("fields", [FEW, ADAPTIVE])
def test_a_contrast_says_in_how_many_images_a_logit_was_a_bound_alone(fields: dict[str, Any]) -> None:
    """The class is ruled out where the image is darker than some."""
    bright = WEIGHTS[:3].copy()

    def outputs(image: np.ndarray) -> np.ndarray:
        logits = np.tensordot(bright, image, 3)
        return np.where([False, logits[2] < 0, False], -np.inf, logits)

    model = FunctionClassifier(outputs, details(SHAPE, classes=3))
    found = run(make_request(target=0, against=1, score="logit", **fields), model).contrast
    assert found is not None
    assert found.warnings[0].startswith("in ")
    assert "% of the scored images a logit of the two classes is known as a bound alone" in found.warnings[0]
    other = run(make_request(target=0, against=2, score="logit", **fields), model).contrast
    assert other is not None
    assert not any("bound" in sentence for sentence in other.warnings)


@pytest.mark.parametrize("fields", [FEW, ADAPTIVE])
def test_the_first_class_of_several_is_explained_as_if_alone_and_by_a_full_plan_all_are(
    fields: dict[str, Any],
) -> None:
    request = make_request(score="logit", **fields)
    resolved = ResolvedRequest(request, ((3, 1),), ("first", "second"))
    both = explain_many([PICTURE], resolved, classifier(), max_forwards=10**6)
    alone = [run(make_request(target=target, score="logit", **fields)) for target in (3, 1)]
    same = [
        bool((one.indices.total == other.indices.total).all())
        for one, other in zip(both, alone, strict=True)
        if one.indices is not None and other.indices is not None
    ]
    assert same == [True, request.plan == "full"]
