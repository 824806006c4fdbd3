"""Samples of ``make scores``: what is kept of a full plan, held against the estimators of the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench import gradients, precision, scores
from bench.screening import tables
from bench.screening.samples import BLOCK, Sample, with_block
from bench.screening.subject import SCALARS, scalar
from scipy.stats import t as student

from wavescope.core import scores as core_scores
from wavescope.core.sobol.estimators import Scores, jansen

RNG = np.random.default_rng(0)
TARGET, AGAINST = 3, 7
LOGITS = RNG.normal(scale=2, size=(2 * BLOCK, 6, 20)).astype(np.float32)


def answers(logits: np.ndarray) -> np.ndarray:
    others = np.delete(logits, TARGET, axis=-1)
    parts = [
        logits[..., TARGET],
        logits[..., AGAINST],
        others.max(axis=-1),
        np.logaddexp.reduce(logits.astype(np.float64), axis=-1),
        logits.mean(axis=-1),
        np.median(logits, axis=-1),
    ]
    return np.stack(parts, axis=-1).astype(np.float32)


@pytest.mark.parametrize("score", core_scores.SCORES)
def test_every_score_follows_from_the_answers(score: str) -> None:
    flat = LOGITS.reshape(-1, 20).astype(np.float64)
    expected = core_scores.scores(flat, "logits", score, (TARGET,))[:, 0].reshape(LOGITS.shape[:2])
    np.testing.assert_allclose(scalar(answers(LOGITS), score), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("score", SCALARS)
def test_blocks_have_jansens_indices_and_are_kept(score: str, tmp_path: Path) -> None:
    values = answers(LOGITS)
    sample = None
    for block in range(2):
        sample = with_block(sample, values[block * BLOCK : (block + 1) * BLOCK], TARGET, AGAINST)
    assert sample is not None
    sample.save(tmp_path / "model" / "a.npz")
    kept = Sample.open(tmp_path / "model" / "a.npz")
    f = scalar(values, score)
    for blocks, rows in ((slice(None), slice(None)), (slice(1, 2), slice(BLOCK, None))):
        expected = np.asarray(jansen(Scores(f[rows, 0], f[rows, 1], f[rows, 2:].T)))
        np.testing.assert_allclose(sample.total(score, blocks), expected, rtol=1e-6)
        np.testing.assert_allclose(kept.total(score, blocks), expected, rtol=2e-3)
    assert (kept.target, kept.against, kept.blocks) == (TARGET, AGAINST, 2)


def test_a_truth_is_of_all_rows_and_its_reach_is_the_spread_of_means_over_blocks() -> None:
    values, sample = answers(LOGITS), None
    many = np.concatenate([values, values[::-1] * 1.1, values * 0.9])
    for block in range(6):
        sample = with_block(sample, many[block * BLOCK : (block + 1) * BLOCK], TARGET, AGAINST)
    assert sample is not None
    truth = sample.truth("logit")
    np.testing.assert_array_equal(truth.total, sample.total("logit"))
    f = scalar(many, "logit")
    left_out = []
    for block in range(6):
        rows = np.delete(np.arange(6 * BLOCK), slice(block * BLOCK, (block + 1) * BLOCK))
        left_out.append(np.log(np.asarray(jansen(Scores(f[rows, 0], f[rows, 1], f[rows, 2:].T)))))
    error = np.sqrt(5 / 6 * ((left_out - np.mean(left_out, axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(truth.reach, student.ppf(0.975, 5) * error, rtol=1e-4)


def test_halves_are_of_the_first_and_the_last_rows() -> None:
    values, sample = answers(LOGITS), None
    for block in range(2):
        sample = with_block(sample, values[block * BLOCK : (block + 1) * BLOCK], TARGET, AGAINST)
    assert sample is not None
    for half, block in zip(sample.halves("logit"), (slice(1), slice(1, 2)), strict=True):
        np.testing.assert_array_equal(half, sample.total("logit", block))


def test_a_plan_of_the_defaults_has_its_end_and_its_expected_accuracy_beside_the_real_one() -> None:
    row = {
        "photograph": "chelsea",
        "seed": 1,
        "spent": 1234,
        "stopped": "accuracy",
        "expected": [0.951, 0.04],
    }
    row |= {"correlation": 0.96, "levels": 0.0312, "covered50": 0.94, "warnings": ["one", "two"]}
    assert tables.defaults([row])[2:] == [
        "| chelsea | 1 | 1,234 | `accuracy` | 0.951, 0.960 | 0.040, 0.031 | 0.94 | 2 |"
    ]


def test_a_cell_is_the_median_over_photographs_of_their_medians_and_the_worst_of_these() -> None:
    rows = [
        {"what": "eight", "score": "logit", "photograph": name, "correlation": value, "levels": value}
        for name, value in (("a", 0.1), ("a", 0.2), ("a", 0.9), ("b", 0.4), ("c", 0.6))
    ]
    assert scores.table(rows, "eight", ("correlation", "levels"))[2:] == [
        "| `logit` | 0.40 (0.20) | 0.400 (0.600) |"
    ]


def test_a_row_of_priors_has_medians_and_seconds_over_those_of_sizes() -> None:
    rows = [
        {"budget": 100, "prior": prior, "part": "target", "photograph": name, "forwards": 76, "gradients": 8}
        | dict.fromkeys(gradients.COLUMNS, value)
        | {"seconds": 2 if prior == "size" else 3}
        for name, value in (("a", 0.1), ("a", 0.3), ("b", 0.4), ("c", 0.6))
        for prior in ("size", "gradients")
    ]
    assert gradients.table(rows, "target")[2:] == [
        "| 100 | `size` | 76 | 8 | 0.400 | 0.400 | 0.4 | 0.4 | 0.400 | 0.40 | 1.00 |",
        "| 100 | `gradients` | 76 | 8 | 0.400 | 0.400 | 0.4 | 0.4 | 0.400 | 0.40 | 1.50 |",
    ]


def test_a_precision_is_offered_by_the_photographs_on_which_few_factors_moved() -> None:
    rows = [
        {"candidate": "bfloat16", "score": "logit", "moved": moved, "moved50": 0.02, "correlation": 0.99}
        | {"top20": 19, "levels": 0.01}
        for moved in (0.03, 0.05, 0.2)
    ]
    assert precision.table(rows)[2:] == [
        "| bfloat16 | logit | 0.05 (0.20) | 0.02 (0.02) | 0.990 (0.990) | 19 (19) | 0.010 (0.010) | 2 of 3 |"
    ]
