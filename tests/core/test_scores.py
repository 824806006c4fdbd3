"""The explained scalar against SciPy and brute force, for logits, probabilities and sigmoid outputs."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from wavescope.core.scores import (
    AUTO,
    AUTO_SCORES,
    RULED_OUT,
    SCORES,
    check_score,
    is_contrast,
    probabilities,
    resolve_score,
    score_gradients,
    scores,
)
from wavescope.engine.types import Outputs
from wavescope.errors import InvalidRequest

TARGETS = [2, 0, 6]


def logits(seed: int = 0, scale: float = 3.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(5, 7))


def brute_margin(values: np.ndarray, targets: list[int]) -> np.ndarray:
    """Target − largest other, image by image."""
    return np.array(
        [[row[t] - max(v for c, v in enumerate(row) if c != t) for t in targets] for row in values.tolist()]
    )


@given(seed=st.integers(0, 999), scale=st.floats(0.01, 300))
def test_scores_of_logits_equal_scipy(seed: int, scale: float) -> None:
    raw = logits(seed, scale)
    expected = {
        "probability": special.softmax(raw, axis=1)[:, TARGETS],
        "logit": raw[:, TARGETS],
        "log_probability": special.log_softmax(raw, axis=1)[:, TARGETS],
        "margin": brute_margin(raw, TARGETS),
    }
    for score in SCORES:
        found = scores(raw, "logits", score, TARGETS)
        np.testing.assert_allclose(found, expected[score], rtol=1e-9, atol=1e-300)


def test_scores_of_softmax_probabilities() -> None:
    raw = special.softmax(logits(), axis=1)
    np.testing.assert_array_equal(scores(raw, "probabilities", "probability", TARGETS), raw[:, TARGETS])
    np.testing.assert_allclose(
        scores(raw, "probabilities", "log_probability", TARGETS),
        special.log_softmax(logits(), axis=1)[:, TARGETS],
    )
    # Logarithms of probabilities are logits up to a constant per image, which no margin depends on.
    np.testing.assert_allclose(
        scores(raw, "probabilities", "margin", TARGETS), brute_margin(logits(), TARGETS)
    )


def test_scores_of_sigmoid_outputs() -> None:
    raw = special.expit(logits())
    np.testing.assert_array_equal(scores(raw, "sigmoid", "probability", TARGETS), raw[:, TARGETS])
    np.testing.assert_allclose(scores(raw, "sigmoid", "log_probability", TARGETS), np.log(raw)[:, TARGETS])
    np.testing.assert_allclose(scores(raw, "sigmoid", "logit", TARGETS), logits()[:, TARGETS])
    np.testing.assert_allclose(scores(raw, "sigmoid", "margin", TARGETS), brute_margin(logits(), TARGETS))


def test_a_margin_is_against_the_runner_up_of_each_image_and_negative_for_others() -> None:
    raw = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    assert scores(raw, "logits", "margin", [0]).tolist() == [[1.0], [-5.0]]
    assert scores(raw, "logits", "margin", [1]).tolist() == [[-2.0], [1.0]]


def test_a_logit_cannot_be_had_from_softmax_probabilities() -> None:
    raw = special.softmax(logits(), axis=1)
    with pytest.raises(
        InvalidRequest, match="this model returns probabilities; ask for probability"
    ) as caught:
        scores(raw, "probabilities", "logit", TARGETS)
    assert caught.value.field == "score"
    assert caught.value.limits["supported"] == ["probability", "log_probability", "margin"]


def test_every_other_score_can_be_had_from_every_output() -> None:
    for outputs in ("logits", "probabilities", "sigmoid"):
        for score in SCORES:
            if (outputs, score) != ("probabilities", "logit"):
                check_score(score, outputs, classes=2)


@pytest.mark.parametrize("outputs", get_args(Outputs))
def test_auto_is_a_score_that_every_model_of_such_outputs_can_give(outputs: str) -> None:
    for classes in (1, 2, 1000):
        check_score(resolve_score(AUTO, outputs), outputs, classes=classes)
    assert resolve_score(AUTO, outputs) in SCORES


def test_a_score_that_is_named_is_itself_and_auto_is_never_computed() -> None:
    assert set(AUTO_SCORES) == set(get_args(Outputs))
    for score in SCORES:
        assert {resolve_score(score, outputs) for outputs in AUTO_SCORES} == {score}
    with pytest.raises(InvalidRequest, match="score 'auto' cannot be computed; these can: probability"):
        scores(logits(), "logits", AUTO, TARGETS)


@pytest.mark.parametrize("outputs", ["logits", "probabilities", "sigmoid"])
def test_a_margin_needs_another_class(outputs: str) -> None:
    with pytest.raises(
        InvalidRequest, match="score is 'margin', but this model has a single class"
    ) as caught:
        check_score("margin", outputs, classes=1)
    assert caught.value.field == "score"
    with pytest.raises(InvalidRequest, match="single class"):
        scores(np.zeros((3, 1)), outputs, "margin", [0])


def test_an_underflowed_probability_has_a_finite_logarithm_and_margin() -> None:
    raw = np.array([[1.0, 0.0]])
    for outputs in ("probabilities", "sigmoid"):
        for score in ("log_probability", "margin"):
            assert np.isfinite(scores(raw, outputs, score, [0, 1])).all()
    assert np.isfinite(scores(np.array([[0.0, -5000.0]]), "logits", "log_probability", [1])).all()


@given(st.floats(-300, 300))
def test_what_float32_rounds_to_0_or_1_has_log_odds_beside_those_of_its_neighbours(z: float) -> None:
    """The log-odds of a float32 sigmoid are z to its rounding, and end where it does: no jump, and no sign lost."""
    p = np.float64(np.float32(special.expit(z)))
    (log_odds,), (mirrored,) = scores(np.array([[p, 1 - p]]), "sigmoid", "logit", [0, 1]).T
    assert abs(log_odds) <= 25 * np.log(2)
    assert mirrored == pytest.approx(-log_odds, abs=1e-12)
    if abs(z) <= 10:
        assert log_odds == pytest.approx(z, abs=2e-3)
    if abs(z) >= 18:
        assert log_odds == pytest.approx(np.sign(z) * 25 * np.log(2), abs=1e-6)


def test_the_logarithm_of_what_underflows_ends_at_the_smallest_float32() -> None:
    smallest = np.finfo(np.float32).tiny
    raw = np.array([[0.0, 1.0], [smallest, 1 - smallest], [2 * smallest, 1.0]])
    found = scores(raw, "probabilities", "log_probability", [0])[:, 0]
    np.testing.assert_allclose(found, np.log([smallest, smallest, 2 * smallest]))


def test_enormous_logits_do_not_overflow() -> None:
    assert scores(np.array([[1e4, 0.0]]), "logits", "probability", [0, 1]).tolist() == [[1.0, 0.0]]


def test_probabilities_of_logits_add_up_to_one_and_others_are_themselves() -> None:
    np.testing.assert_allclose(probabilities(logits(), "logits").sum(axis=1), 1.0)
    raw = special.expit(logits())
    assert (probabilities(raw, "sigmoid") == raw).all()


def test_every_target_has_its_own_column() -> None:
    """A class index beyond 255 is itself: the authors' labels wrapped around at uint8."""
    raw = np.random.default_rng(0).normal(size=(2, 300))
    for score in SCORES:
        together = scores(raw, "logits", score, [278, 22])
        assert together.shape == (2, 2)
        assert (together[:, :1] == scores(raw, "logits", score, [278])).all()
        assert (together[:, 0] != together[:, 1]).all()


@pytest.mark.parametrize("outputs", ["logits", "probabilities", "sigmoid"])
@pytest.mark.parametrize("score", SCORES)
def test_torch_agrees_with_numpy(outputs: Any, score: str) -> None:
    torch = pytest.importorskip("torch")
    if (outputs, score) == ("probabilities", "logit"):
        return
    raw = {
        "logits": logits(),
        "probabilities": special.softmax(logits(), axis=1),
        "sigmoid": special.expit(logits()),
    }[outputs]
    found = scores(torch.asarray(raw), outputs, score, TARGETS).numpy()
    np.testing.assert_allclose(found, scores(raw, outputs, score, TARGETS), rtol=1e-9)


@given(seed=st.integers(0, 99), score=st.sampled_from(SCORES))
def test_a_pair_is_the_difference_of_two_logits_whatever_is_scored_and_returned(
    seed: int, score: str
) -> None:
    logits = np.random.default_rng(seed).normal(size=(5, 4)) * 3
    expected = logits[:, 2] - logits[:, 0]
    kinds = {
        "logits": logits,
        "probabilities": np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
        "sigmoid": 1 / (1 + np.exp(-logits)),
    }
    for kind, outputs in kinds.items():
        if kind == "probabilities" and score == "logit":
            continue
        found = scores(outputs, kind, score, [1, (2, 0)])
        np.testing.assert_allclose(found[:, 1], expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(found[:, :1], scores(outputs, kind, score, [1]))


def test_a_pair_with_a_class_that_is_ruled_out_is_finite() -> None:
    outputs = np.array([[3.0, -np.inf, 1.0], [-np.inf, -np.inf, 0.0]])
    found = scores(outputs, "logits", "probability", [(0, 1), (0, 2)])
    assert found.tolist() == [[3.0 - (3.0 + RULED_OUT), 2.0], [0.0, RULED_OUT]]
    zeros = scores(np.array([[1.0, 0.0]]), "probabilities", "probability", [(0, 1)])
    assert np.isfinite(zeros).all()


def test_finite_logits_are_never_cut_off_however_far_apart() -> None:
    outputs = np.array([[3.0, -2000.0, 1.0], [5e3, 4e3, -1e30], [-np.inf, 0.0, -5000.0]])
    found = scores(outputs, "logits", "logit", [(1, 2), (0, 2), (0, 1, "bounded")])
    assert found[:, 0].tolist() == [-2001.0, 4e3 + 1e30, 5000.0]
    # A class that is ruled out is no likelier than any other.
    assert found[:, 1].tolist() == [2.0, 5e3 + 1e30, 0.0]
    assert found[:, 2].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("kind", "known", "bounded"),
    [
        ("logits", [-1e30, 3.0, 0.0], [-np.inf, 3.0, 0.0]),
        ("probabilities", [1e-30, 0.5, 0.5], [0.0, 0.5, 0.5]),
        ("sigmoid", [1e-7, 0.5, 0.0], [1.0, 0.5, 0.0]),
    ],
)
def test_a_pair_says_where_a_logit_is_a_bound_alone(
    kind: str, known: list[float], bounded: list[float]
) -> None:
    found = scores(
        np.array([known, bounded]), kind, "log_probability", [(0, 1, "bounded"), (1, 0, "bounded")]
    )
    assert found.tolist() == [[0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("score", "classes", "binary", "said"),
    [
        ("margin", 2, False, True),
        ("margin", 3, False, False),
        ("logit", 2, False, False),
        ("logit", 2, True, True),
    ],
)
def test_what_says_the_contrast_already(score: str, classes: int, binary: bool, said: bool) -> None:
    assert is_contrast(score, classes=classes, binary=binary) == said


@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("score", SCORES)
def test_gradients_of_scores_are_their_slopes(outputs: Outputs, score: str) -> None:
    if (outputs, score) == ("probabilities", "logit"):
        return
    raw = logits()
    given = {
        "logits": raw,
        "probabilities": special.softmax(raw, axis=1),
        "sigmoid": special.expit(raw),
    }[outputs]
    kept, step = given.copy(), 1e-6
    for target in TARGETS:
        found = score_gradients(given, outputs, score, target)
        for place in range(given.shape[1]):
            move = step * np.eye(given.shape[1])[place]
            ends = [scores(given + sign * move, outputs, score, [target])[:, 0] for sign in (1, -1)]
            np.testing.assert_allclose(
                found[:, place], (ends[0] - ends[1]) / (2 * step), rtol=1e-3, atol=1e-6
            )
    np.testing.assert_array_equal(given, kept)


def test_a_score_at_the_end_of_its_range_has_no_slope() -> None:
    zero = np.array([[0.0, 1.0]])
    assert score_gradients(zero, "probabilities", "log_probability", 0).tolist() == [[0.0, 0.0]]
    assert score_gradients(np.array([[1.0, 0.5]]), "sigmoid", "logit", 0).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("score", ["logit", "margin"])
@pytest.mark.parametrize("kind", ["logits", "sigmoid"])
def test_of_one_output_logit_and_margin_are_z_and_have_a_slope_of_1_by_it(kind: str, score: str) -> None:
    z = np.array([-4.0, 0.3, 2.0])

    def classes(z: np.ndarray) -> np.ndarray:
        likely = 1 / (1 + np.exp(-z))
        return np.stack([-z / 2, z / 2] if kind == "logits" else [1 - likely, likely], axis=1)

    found = scores(classes(z), kind, score, [0, 1], binary=True)
    np.testing.assert_allclose(found, np.stack([-z, z], axis=1), rtol=1e-12)
    by_z = (classes(z + 1e-6) - classes(z - 1e-6)) / 2e-6
    for target, sign in ((0, -1), (1, 1)):
        # Classes of one output move together: of a slope by one class alone, this is what the output makes of it.
        slopes = (score_gradients(classes(z), kind, score, target, binary=True) * by_z).sum(axis=1)
        np.testing.assert_allclose(slopes, sign, rtol=1e-6)
