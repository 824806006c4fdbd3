"""What ``make attribution`` measures is what a reply's faithfulness section says, and how its tables are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import attribution
from bench.screening import attributions, runs
from bench.screening.attributions import REPLIES
from bench.screening.samples import Sample
from bench.screening.subject import SCALARS, SCORE, Subject
from tests.fakes.classifiers import DifferentiableClassifier, details

import wavescope
from wavescope.engine.gradient_cost import GRADIENT_FORWARDS

SIDE = 32
WEIGHTS = np.random.default_rng(0).normal(scale=0.02, size=(3, SIDE, SIDE))


def outputs(image: np.ndarray) -> list[float]:
    value = float(np.tanh((WEIGHTS * image).sum()))
    return [value, -value]


def gradient(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (weights[0] - weights[1]) * (1 - outputs(image)[0] ** 2) * WEIGHTS


@pytest.fixture
def of() -> Subject:
    return Subject("chelsea", DifferentiableClassifier(outputs, gradient, details(WEIGHTS.shape)))


@pytest.mark.parametrize("fields", [{"plan": "full", "nb_design": 2}, {"kind": "wam", "samples": 2}])
def test_curves_over_pixels_and_fidelity_are_those_of_a_reply(of: Subject, fields: dict[str, Any]) -> None:
    reply = wavescope.explain(of.image, model=of.classifier, score=SCORE, faithfulness=True, **fields)
    assert reply.faithfulness is not None
    pixels, factors = reply.faithfulness
    spatial = reply.maps.spatial
    run, subsets = attributions.curves("chelsea", "fake", spatial), attributions.subsets("chelsea", "fake")
    areas, without = run.work(of, *run.arguments)["areas"], subsets.work(of)
    whole = float(without["whole"])
    np.testing.assert_allclose(areas * whole, [pixels.insertion, pixels.deletion], rtol=1e-5)
    found = runs.fidelity(attributions.cells(spatial), without)
    assert np.isclose(found, pixels.mu_fidelity_spearman, atol=0.01)
    if "kind" not in fields:  # wam leaves values beyond [0, 1] as they are, over factors
        run = runs.curves("chelsea", "fake", reply.importance)
        areas = run.work(of, *run.arguments)["areas"]
        np.testing.assert_allclose(areas * whole, [factors.insertion, factors.deletion], rtol=1e-5)


def test_a_map_of_indices_is_that_of_a_reply(of: Subject) -> None:
    reply = wavescope.explain(of.image, model=of.classifier, plan="full", nb_design=2)
    found = attributions.spatial(reply.indices.total, of.partition, (SIDE, SIDE))
    np.testing.assert_array_equal(found, reply.maps.spatial_wcam)


def test_replies_have_values_maps_and_cost_and_gradients_are_counted_apart(
    of: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, (fields, short) in list(REPLIES.items()):
        monkeypatch.setitem(REPLIES, name, (fields | short | {"grid_size": 4}, short))
    run = attributions.replies("chelsea", "fake", 0)
    arrays = run.work(of, *run.arguments)
    for name in REPLIES:
        assert arrays[f"{name}-total"].shape == (16,)
        assert arrays[f"{name}-spatial"].shape == (SIDE, SIDE)
        assert arrays[f"{name}-seconds"] > 0
    cost = {name: (int(arrays[f"{name}-forwards"]), int(arrays[f"{name}-gradients"])) for name in REPLIES}
    assert cost["smoothgrad"] == cost["integrated gradients"] == (0, 2)
    assert 0 < cost["adaptive"][0] <= 32
    assert cost["adaptive"][1] == 0
    forwards, differentiated = cost["adaptive, gradients"]
    assert forwards > 0
    assert differentiated > 0
    assert forwards + GRADIENT_FORWARDS * differentiated <= 32


def test_the_full_plan_is_not_held_against_its_own_rows(
    of: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, factors = np.random.default_rng(1), of.partition.n_factors
    kept = tmp_path / "sample.npz"
    Sample(rng.normal(size=(24, 2, 6)), rng.random((3, len(SCALARS), factors)), 0, 1).save(kept)
    monkeypatch.setattr(attribution.samples, "path_of", lambda *_: kept)
    monkeypatch.setattr(attribution, "subject", lambda *_: of)
    case = attribution.Case("chelsea", "fake", tmp_path)

    def leave(run: runs.Run, arrays: dict[str, Any]) -> None:
        run.path(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        np.savez(run.path(tmp_path), **arrays)

    for seed in attribution.SEEDS:
        arrays: dict[str, Any] = {}
        for name in REPLIES:
            arrays |= {f"{name}-total": rng.random(factors), f"{name}-spatial": rng.random((SIDE, SIDE))}
            arrays |= {f"{name}-forwards": 30, f"{name}-gradients": 0, f"{name}-seconds": 2}
        leave(attributions.replies("chelsea", "fake", seed), arrays)
    for subsets in (runs.subsets, attributions.subsets):
        leave(subsets("chelsea", "fake"), {"whole": 0.5, "probabilities": rng.random(200)})
    for run in case.curves():
        leave(run, {"areas": [0.5, 0.25]})

    rows = list(case.rows())
    full = [row for row in rows if row["method"] == "full"]
    assert [row["rows"] for row in full] == [16, 16]
    first, later = case.sample.total(SCORE, slice(1)), case.sample.total(SCORE, slice(1, None))
    assert full[0]["correlation"] == pytest.approx(np.corrcoef(first, later)[0, 1])
    second = case.sample.total(SCORE, slice(1, 2))
    assert full[1]["again_correlation"] == pytest.approx(np.corrcoef(first, second)[0, 1])
    alone = {method for method in attribution.METHODS if sum(row["method"] == method for row in rows) == 1}
    assert alone == set(attribution.WITHOUT_SEED)


def test_a_cell_is_the_median_over_photographs_of_means_over_seeds_with_the_worst_of_these() -> None:
    rows = [
        {"method": "smoothgrad", "photograph": name, "seconds": 2, "correlation": value, "levels": value}
        for name, value in (("a", 0.1), ("a", 0.3), ("b", 0.4), ("c", 0.6))
    ]
    columns = attribution.COST | {name: attribution.QUALITY[name] for name in ("correlation", "levels")}
    lines = dict(zip(attribution.METHODS, attribution.table(rows, columns)[2:], strict=True))
    name = attribution.METHODS["smoothgrad"]
    assert lines["smoothgrad"] == f"| {name} | – | – | 2.00 | 0.400 (0.200) | 0.400 (0.600) |"
    assert lines["sizes"].endswith("| – | – | – | – | – |")


def test_photographs_are_counted_on_which_a_method_beats_the_default_or_loses_to_it() -> None:
    values = {"adaptive": {"a": 0.2, "b": 0.4, "c": 0.6}, "full": {"a": 0.3, "b": 0.4, "c": 0.5}}
    values["smoothgrad"] = {"a": 0.1, "b": 0.1, "c": 0.7}
    rows = [
        {"method": method, "photograph": name, "correlation": value, "levels": value}
        for method, each in values.items()
        for name, value in each.items()
    ]
    lines = attribution.wins(rows, {name: attribution.QUALITY[name] for name in ("correlation", "levels")})
    assert f"| {attribution.METHODS['full']} | 1 / 1 | 1 / 1 |" in lines
    assert f"| {attribution.METHODS['smoothgrad']} | 1 / 2 | 2 / 1 |" in lines
    assert not any(line.startswith(f"| {attribution.METHODS['adaptive']} |") for line in lines)
