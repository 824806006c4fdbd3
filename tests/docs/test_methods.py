"""docs/methods.md says what the code does: its tables are computed anew, its names and links looked up."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
import pytest
from tools.pictures import NAMES

from wavescope.core.adaptive import estimator, factor_features, gaussian_process, importance_sampling
from wavescope.core.faithfulness import GRID, SAMPLES, STEPS, SUBSET
from wavescope.core.partition import FOURIER_PARTITIONS, PARTITIONS
from wavescope.core.scores import AUTO_SCORES, possible_scores
from wavescope.core.sobol.design import SAMPLERS
from wavescope.core.sobol.estimators import ESTIMATORS
from wavescope.engine import adaptive, warnings
from wavescope.engine.checks import product_forwards, sample_forwards
from wavescope.engine.choices import ADAPTIVE_ACCURACY, ADAPTIVE_FORWARDS, CHOICES, PRIORS, STOPS
from wavescope.engine.docstrings import attribute_texts
from wavescope.engine.gradient_cost import GRADIENT_FORWARDS, gradient_forwards
from wavescope.engine.kinds import KINDS
from wavescope.engine.limits import LEAST_FORWARDS, MAX_ADAPTIVE_FACTORS
from wavescope.engine.plan import make_plan
from wavescope.engine.requests import make_request
from wavescope.engine.types import CropBox, ExplanationRequest, Indices, Outputs, Picture, Screening, Stop
from wavescope.imaging.corruptions import CORRUPTIONS
from wavescope.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "methods.md"
TEXT = DOCUMENT.read_text("utf-8")
CLEAN = Picture(np.full((3, 224, 224), 0.5, dtype=np.float32), CropBox(0, 0, 224, 224), (224, 224))
DOCUMENTS = tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))
LISTED = sorted(set(CHOICES) - {"wavelet", "compat"})
COVERED = ("± 1.96 SE", "bootstrap-t, log scale", "log scale, pooled (ours)")


def rows_below(heading: str) -> list[list[str]]:
    """The cells of the first table whose heading row begins with ``heading``."""
    table = TEXT[TEXT.index(f"\n| {heading} |") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table[2:]]


def address(doi: str) -> str:
    return f"https://doi.org/{quote(doi, safe='/')}"


def shown(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def test_the_table_of_defaults_is_that_of_the_code() -> None:
    fields = list(make_request().parameters())
    assert fields.pop(0) == "kind"
    expected: list[list[str]] = []
    for field in fields:
        # What an adaptive plan settles is told in words.
        plan = {} if field == "plan" else {"plan": "full"}
        usual = getattr(make_request(**plan), field)
        by_kind = {kind: getattr(make_request(kind=kind, **plan), field) for kind in KINDS}
        reference = {kind: getattr(make_request(kind=kind, compat="reference"), field) for kind in KINDS}
        changed = {kind: value for kind, value in reference.items() if value != by_kind[kind]}
        others = "; ".join(f"{kind}: {value}" for kind, value in by_kind.items() if value != usual)
        same = len(changed) == len(KINDS) and len(set(changed.values())) == 1
        compat = (
            shown(changed["wcam"])
            if same
            else "; ".join(f"{kind}: {value}" for kind, value in changed.items())
        )
        expected.append([f"`{field}`", shown(usual), others, compat])
    assert sorted([name, *rest] for name, _, *rest in rows_below("field")) == sorted(expected)


def test_the_table_of_kinds_has_the_codes_transforms_factors_and_forwards() -> None:
    expected: list[list[str]] = []
    for kind, record in KINDS.items():
        images = 1 if record.second_image is None else 2
        told = [f"`{kind}`", record.transform]
        logit = AUTO_SCORES["logits"]
        for request in (
            make_request(kind=kind, plan="full", score=logit),
            make_request(kind=kind, score=logit),
        ):
            factors = make_plan(CLEAN, request, max_forwards=10**6).n_factors
            forwards = images * sample_forwards(request, factors) + product_forwards(
                request, factors, "logits"
            )
            told += [str(factors), f"{forwards:,}"]
        expected.append([*told[:4], told[5]])
    assert [[row[0], row[1], row[3], row[5], row[6]] for row in rows_below("kind")] == expected


def test_the_table_of_partitions_has_the_codes_numbers_of_factors() -> None:
    transform, told = "", {}
    for kinds, names, _, count in rows_below("kinds"):
        transform = kinds or transform
        numbers = map(int, count.split(", "))
        told |= {(transform, name): next(numbers) for name in re.findall(r"`(\w+)`", names)}
    asked = {
        "wavelet kinds but `profile`": "wcam",
        "`profile`": "profile",
        "`fam`": "fam",
        "`sobol`": "sobol",
    }
    wanted = {
        (words, name): make_plan(CLEAN, make_request(kind=kind, partition=name), max_forwards=10**6).n_factors
        for words, kind in asked.items()
        for name in KINDS[kind].partitions
    }
    assert told == wanted


@pytest.mark.parametrize("field", LISTED)
def test_every_choice_is_named(field: str) -> None:
    missing = [value for value in CHOICES[field] if f"`{value}`" not in TEXT and f'"{value}"' not in TEXT]
    assert not missing


def test_what_auto_stands_for_is_said_as_it_is_resolved() -> None:
    """On this page, in the help texts of all protocols, and in README."""
    (auto,) = [row for row in rows_below("`score` | of the target class") if row[0] == "`auto`"]
    assert auto[2:] == [f"`{AUTO_SCORES[outputs]}`" for outputs in ("logits", "probabilities", "sigmoid")]
    text = " ".join(attribute_texts(ExplanationRequest)["score"].split())
    said = ", ".join(f"``{score}`` from {outputs}" for outputs, score in AUTO_SCORES.items())
    assert f"``auto`` is {said} outputs" in text
    (usual,) = {AUTO_SCORES["logits"], AUTO_SCORES["sigmoid"]}
    told = f"`auto` (`{usual}`; of softmax outputs `{AUTO_SCORES['probabilities']}`)"
    assert told in (ROOT / "README.md").read_text()


def test_estimators_and_samplers_are_cited_as_their_records_say() -> None:
    cited = {row[0].strip("`"): row[-1] for row in rows_below("`estimator` | total index $S_{T_k}$")}
    samplers = {row[0].strip("`"): row for row in rows_below("`sampler` | what")}
    for name, record in ESTIMATORS.items():
        assert f"[{record.source}]({address(record.doi)})" in cited[name]
    for name, sampler in SAMPLERS.items():
        _, scheme, limits, nested = samplers[name]
        assert nested == ("yes" if sampler.nested else "no")
        assert ("power of two" in limits) == sampler.power_of_two
        if sampler.max_dimension is not None:
            assert f"{sampler.max_dimension:,}".replace(",", "{,}") in limits
        if sampler.doi:
            assert f"[{sampler.source}]({address(sampler.doi)})" in scheme


def test_every_kind_has_a_section_and_every_partition_a_row() -> None:
    headings = set(re.findall(r"^## (.+)$", TEXT, flags=re.MULTILINE))
    assert set(KINDS) <= headings
    named = " ".join(row[1] for row in rows_below("kinds"))
    assert all(f"`{name}`" in named for name in (*PARTITIONS, *FOURIER_PARTITIONS))


def test_thresholds_are_those_that_the_warnings_have() -> None:
    thresholds = {name: value for name, value in vars(warnings).items() if re.fullmatch("[A-Z][A-Z_]+", name)}
    told = dict(re.findall(r"`([A-Z_]+)` = ([\d.]+)", TEXT))
    assert told == {name: str(value) for name, value in thresholds.items() if isinstance(value, int | float)}


def test_limits_are_those_of_the_settings() -> None:
    settings = Settings()
    told = dict(re.findall(r"`WAVESCOPE_(\w+)`, ([\d,]+)", TEXT))
    assert told == {name: f"{getattr(settings, name.lower()):,}" for name in told}
    assert set(told) == {"MAX_FORWARDS", "MAX_IMAGES", "MAX_TARGETS"}


def test_the_table_of_the_prior_is_that_of_the_field() -> None:
    told = {row[0]: float(row[2]) for row in rows_below(r"part of $\ln S_{T_k}$")}
    names = {
        "scale": gaussian_process.SCALE_SD,
        "slope": gaussian_process.SLOPE_SD,
        "level": gaussian_process.LEVEL_SD,
        "sub-band": gaussian_process.BAND_SD,
        "place": gaussian_process.PLACE_SD,
        "place in the sub-band": gaussian_process.BAND_PLACE_SD,
        "own": gaussian_process.OWN_SD,
    }
    assert told == names
    for words in (
        f"grows by {gaussian_process.SLOPE} for each unit",
        "shifted by −{:.1f} on the finest level, {} on the next and {} on all coarser ones".format(
            -gaussian_process.LEVEL_MEANS[0], *gaussian_process.LEVEL_MEANS[1:]
        ),
        f"$\\ell$ = {gaussian_process.PLACE_LENGTH} of its side",
        f"$\\ell$ = {gaussian_process.BAND_PLACE_LENGTH} |",
        f"shifted by −{-gaussian_process.TOGETHER} ± {gaussian_process.TOGETHER_SD}",
    ):
        assert words in TEXT


def test_the_gradient_prior_is_told_with_the_codes_numbers() -> None:
    constants = gaussian_process.GRADIENT_PRIOR
    assert constants.slope_sd == constants.steepness_slope_sd
    text = " ".join(TEXT.split())
    for words in (
        f"grows by {constants.steepness_slope} for each unit of $\\ln \\sqrt{{\\nu_k}}$",
        f"and by {constants.slope} for each of $\\ln e_k$",
        f"{constants.slope_sd} for both slopes, {constants.level_sd} (level), {constants.band_sd} (sub-band), "
        f"{constants.place_sd} and {constants.band_place_sd} (place, $\\ell$ = {constants.place_length} and "
        f"{constants.band_place_length}), {constants.own_sd} (own)",
        "the levels are shifted by −{}, {} and {}".format(
            -constants.level_means[0], *constants.level_means[1:]
        ),
        f"at most {adaptive.MOST_GRADIENTS} and a quarter of the budget",
        f"at least $e^{{-{2 * factor_features.STEEPNESS_REACH:.0f}}}$ of the largest",
    ):
        assert words in text
    assert (adaptive.GRADIENT_SHARE, GRADIENT_FORWARDS) == (1 / 4, 3)
    assert "of logits for every score but `logit`, of others for `margin`" in text
    for outputs in get_args(Outputs):
        for score in possible_scores(outputs, classes=3):
            four = score != "logit" if outputs == "logits" else score == "margin"
            assert gradient_forwards(outputs, score) == (4 if four else 3)
    assert {name for name, _ in rows_below("`prior` of a request")} == {f"`{name}`" for name in PRIORS}


def test_the_adaptive_plan_is_told_with_the_codes_numbers_and_limits() -> None:
    told = [re.findall(r"`(\w+)`", row[0])[0] for row in rows_below("`screening.stopped`")]
    assert sorted(told) == sorted(get_args(Stop))
    assert set(STOPS) < set(told)
    sections = {"indices": Indices, "screening": Screening}
    for name, _ in rows_below("field of the reply"):
        section, attribute = name.strip("`").split(".")
        assert attribute in sections[section].__dataclass_fields__
    for words in (
        f"(there {ADAPTIVE_FORWARDS})",
        f"(there {ADAPTIVE_ACCURACY}, unless another limit is given)",
        f"up to {MAX_ADAPTIVE_FACTORS:,} factors",
        f"{MAX_ADAPTIVE_FACTORS:,} with plan `adaptive`",
        f"| `max_forwards` | {LEAST_FORWARDS} or more |",
        f"A round takes {estimator.ROUND} forwards, or half of those",
        f"\\max(|a_{{jk}} - b_{{jk}}|, {importance_sampling.LEAST_STEP})^{{{importance_sampling.STEP_POWER}}}",
    ):
        assert words in TEXT
    assert (
        estimator.ROUND_SHARE,
        estimator.QUARTERS_SHARE,
        importance_sampling.EVEN,
        importance_sampling.FIRST,
    ) == (0.5, 1 / 4, 0.25, 4)


def test_the_parameters_of_faithfulness_and_robustness_are_those_of_the_code() -> None:
    told = {row[0].split()[0]: row[2] for row in rows_below("measure")}
    assert told["`insertion`"] == told["`deletion`"] == f"{STEPS} steps"
    assert f"{SAMPLES} subsets of {SUBSET:.0%}".replace("%", " %") in told["`mu_fidelity`"]
    assert f"{GRID} × {GRID} cells" in told["`mu_fidelity`"]
    assert f"{len(CORRUPTIONS)} corruptions" in TEXT


def test_the_table_of_coverage_is_that_of_the_benchmark() -> None:
    published = (ROOT / "bench" / "results" / "coverage.md").read_text("utf-8")
    table = published[published.index("| model | N |") :].split("\n\n")[0].splitlines()
    heading, _, *rows = ([cell.strip() for cell in row.split("|")[1:-1]] for row in table)
    columns = [heading.index(method) for method in COVERED]
    expected = [
        [row[0], *(row[column].split(" / ")[0] for column in columns)] for row in rows if row[1] == "8"
    ]
    assert rows_below("score | ± 1.96 standard errors") == expected


def test_the_table_of_attributions_is_that_of_the_benchmark() -> None:
    published = (ROOT / "bench" / "results" / "attribution.md").read_text("utf-8")
    blocks = published[published.index("never fitted to") :].split("\n\n")
    found: dict[tuple[str, str], str] = {}
    for block in (each for each in blocks if each.startswith("| method |")):
        heading, _, *rows = ([cell.strip() for cell in row.split("|")[1:-1]] for row in block.splitlines())
        for row in rows:
            found |= {
                (row[0], name): cell for name, cell in reversed([*zip(heading, row, strict=True)])
            } | found
    heading = next(line for line in TEXT.splitlines() if line.startswith("| method of attribution |"))
    _, *columns = (cell.strip() for cell in heading.split("|")[1:-1])
    shown = rows_below("method of attribution")
    methods = list(dict.fromkeys(method for method, _ in found))
    assert shown == [[method, *(found[method, column] for column in columns)] for method in methods]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *DOCUMENTS])
def test_every_link_leads_somewhere(name: str) -> None:
    document = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), flags=re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            }, target


def test_every_picture_is_one_that_the_command_draws_and_none_is_large() -> None:
    linked = set(re.findall(r"\]\(images/([\w-]+)\.png\)", TEXT))
    assert linked == set(NAMES)
    assert all((ROOT / "docs" / "images" / f"{name}.png").stat().st_size <= 250_000 for name in linked)


def test_every_command_and_file_that_is_named_exists() -> None:
    spans = re.findall(r"`([^`\n]+)`", TEXT)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    named = {words[1] for span in spans if (words := span.split())[0] == "make"}
    assert {"pictures", "bench", "test"} <= named <= targets
    paths = {path for span in spans for path in re.findall(r"\b(?:tests|tools|bench|service)/[\w/.]+", span)}
    assert len(paths) > 5
    assert not [path for path in paths if not (ROOT / path).exists()]
