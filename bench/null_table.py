"""How often the tests of ``wavescope.core.monitoring`` raise an alarm on streams in which nothing changes.

    python bench/null_table.py [--streams 2000] [--observations 20000] [--output bench/results]

Every stream and its reference are drawn anew, with replacement, from the clean crops of photographs that ``make drift``
has measured. The streams run side by side; a test holds them to the folds of the service. Blocks of 200 streams are
kept in build/null-table, and run again only where the code or the bank has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import report
from bench.drift import bank as drift_bank
from bench.drift import baselines, detectors, features, side_by_side
from bench.drift.baselines import STREAMS_A_REFERENCE, cusum_firsts, earliest, ks_firsts, mmd_firsts
from bench.drift.detectors import gaussian_kernel
from bench.drift.side_by_side import THRESHOLDS, bounded_crossings, conformal_evidence, conformal_p, crossings
from bench.drift.streams import dense_ranks
from bench.screening.runs import version

from wavescope.core.monitoring import bounded_mean, conformal, evidence
from wavescope.core.monitoring.bounded_mean import upper_bound
from wavescope.core.monitoring.conformal import HISTORY, KAPPAS, log_bets
from wavescope.core.monitoring.evidence import change_point, grow

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "null-table"

INVENTED = 400  # images
BANDS = 10
FIT, REFERENCE = 100, 200  # images
BLOCK = 200  # streams
HORIZONS = (100, 1_000, 10_000)
RISK = 0.05  # of the bounded-mean test, over references
CONFIDENCE = 0.99  # of the one-sided limit that a share of streams is held to


# ---- what is watched -----------------------------------------------------------------------------
SIGNALS = ("input", "reliance", "confidence")


@dataclass(frozen=True)
class Bank:
    """A population of images.

    Attributes:
        scores: (images, 3) ranks of signals, the last of them two-sided.
        shares: (images, bands) of the importance.
        raw: (images,) scores of the first signal.
        vectors: (images, d) that the first signal is a distance of.
    """

    scores: np.ndarray
    shares: np.ndarray
    raw: np.ndarray
    vectors: np.ndarray


def make_bank(seed: int = 0) -> Bank:
    """The clean crops of photographs, by scores that are fitted to 100 of them."""
    kept = drift_bank.load()
    clean = {key: found[:, :1] for key, found in kept.items() if "/" not in key and key != "photograph"}
    values = features.prepared(clean, drift_bank.PARTITION)
    fitted = np.random.default_rng([seed, 19]).integers(len(kept["photograph"]), size=FIT)
    scores = [features.scores(features.FEATURES[name], values, fitted)[:, 0] for name in SIGNALS]
    return Bank(dense_ranks(np.array(scores)).T, values["shares"][:, 0], scores[0], values["energies"][:, 0])


def invented_bank(seed: int = 0, images: int = INVENTED) -> Bank:
    """A bank of invented images: log-normal shares, and signals that correlate with each other."""
    rng = np.random.default_rng([seed, 17])
    sizes = np.exp(rng.normal(np.linspace(1, -1, BANDS), 0.7, (images, BANDS)))
    shares = sizes / sizes.sum(axis=1, keepdims=True)
    common = rng.normal(size=images)
    signals = 0.6 * common[:, None] + 0.8 * rng.normal(size=(images, 3))
    return Bank(np.argsort(np.argsort(signals, axis=0), axis=0), shares, signals[:, 0], np.log(sizes))


def bounded(shares: np.ndarray) -> np.ndarray:
    """Every share up and down, (…, 20)."""
    return np.concatenate([shares, 1 - shares], axis=-1)


# ---- rows of the table ---------------------------------------------------------------------------
def conformal_block(
    bank: Bank, rng: np.random.Generator, streams: int, observations: int, *, frozen: bool = False
) -> np.ndarray:
    """One one-sided signal."""
    images = rng.integers(len(bank.scores), size=(streams, REFERENCE + observations))
    scores = bank.scores[images, 0]
    p = conformal_p(scores[:, :REFERENCE], scores[:, REFERENCE:], rng, levels=len(bank.scores), frozen=frozen)
    return crossings(conformal_evidence(p))


def several_block(bank: Bank, rng: np.random.Generator, streams: int, observations: int) -> np.ndarray:
    """Three signals of equal weight, the last two-sided: an alarm where one R is at least 3 c."""
    images = rng.integers(len(bank.scores), size=(streams, REFERENCE + observations))
    each: list[np.ndarray] = []
    for signal in range(3):
        scores = bank.scores[images, signal]
        p = conformal_p(scores[:, :REFERENCE], scores[:, REFERENCE:], rng, levels=len(bank.scores))
        each.append(crossings(conformal_evidence(p, two_sided=signal == 2), tuple(3 * c for c in THRESHOLDS)))
    return np.array([earliest(np.array([firsts[at] for firsts in each])) for at in range(len(THRESHOLDS))])


def ks_block(bank: Bank, rng: np.random.Generator, streams: int, observations: int) -> np.ndarray:
    """Three signals; the same whatever c."""
    images = rng.integers(len(bank.scores), size=(streams, REFERENCE + observations))
    reference, stream = np.split(np.moveaxis(bank.scores[images], 2, 0), [REFERENCE], axis=2)
    return np.tile(ks_firsts(reference, stream, levels=len(bank.scores)), (len(THRESHOLDS), 1))


def cusum_block(
    bank: Bank, rng: np.random.Generator, streams: int, observations: int, *, calibrated: bool
) -> np.ndarray:
    """One one-sided signal."""
    values = bank.raw[rng.integers(len(bank.raw), size=(streams, REFERENCE + observations))]
    return cusum_firsts(values[:, :REFERENCE], values[:, REFERENCE:], rng, calibrated=calibrated)


def mmd_block(bank: Bank, rng: np.random.Generator, streams: int, observations: int) -> np.ndarray:
    """The vectors of one signal."""
    kernel = gaussian_kernel(bank.vectors, bank.vectors)
    reference = rng.integers(len(kernel), size=(streams // STREAMS_A_REFERENCE, REFERENCE))
    return mmd_firsts(kernel, reference, rng.integers(len(kernel), size=(streams, observations)), rng)


def bounded_block(
    bank: Bank, rng: np.random.Generator, streams: int, observations: int, *, plug_in: bool = False
) -> np.ndarray:
    """Twenty signals; with ``plug_in`` u is the mean of the reference, as in a test that takes it for the truth."""
    reference = bounded(bank.shares[rng.integers(len(bank.shares), size=(streams, REFERENCE))])
    signals = reference.shape[2]
    if plug_in:
        bounds = reference.mean(axis=1)
    else:
        bounds = np.array(
            [
                [upper_bound(values, risk=RISK / signals) for values in stream.T]
                for stream in np.ascontiguousarray(reference)
            ]
        )
    images = rng.integers(len(bank.shares), size=(observations, streams))
    values = bounded(bank.shares)
    return bounded_crossings(bounds, lambda t: values[images[t]], observations)


@dataclass(frozen=True)
class Row:
    """A test: its name, whether its bound is proven, what the bound is, and a block of its streams."""

    name: str
    proven: bool
    extra: float
    block: Callable[[Bank, np.random.Generator, int, int], np.ndarray]


ROWS = {
    "conformal": Row("conformal, one signal", True, 0, conformal_block),
    "several": Row("conformal, three signals", True, 0, several_block),
    "bounded": Row("bounded mean, 20 signals, ε = 0", True, RISK, bounded_block),
    "frozen": Row(
        "conformal with a frozen reference",
        False,
        0,
        lambda *given: conformal_block(*given, frozen=True),
    ),
    "plug-in": Row(
        "bounded mean with the reference's mean for the true one",
        False,
        0,
        lambda *given: bounded_block(*given, plug_in=True),
    ),
    "ks": Row("Kolmogorov-Smirnov, three signals, p < 0.05 on every 100", False, 0, ks_block),
    "mmd": Row("online MMD, permuted thresholds", False, 0, mmd_block),
    "cusum": Row(
        "CUSUM calibrated on the reference", False, 0, lambda *given: cusum_block(*given, calibrated=True)
    ),
    "textbook": Row("CUSUM, k = 0.5, h = 5", False, 0, lambda *given: cusum_block(*given, calibrated=False)),
}
CODE = (
    conformal,
    bounded_mean,
    evidence,
    sys.modules[__name__],
    side_by_side,
    baselines,
    detectors,
    features,
)


def run_row(
    key: str,
    streams: int,
    observations: int,
    *,
    pool: ProcessPoolExecutor | None = None,
    kept: Path | None = KEPT,
) -> np.ndarray:
    """(thresholds, streams) first alarms; blocks that are kept are not run again."""
    numbers = range(math.ceil(streams / BLOCK))
    run = (pool.map if pool else map)(
        _block, [key] * len(numbers), numbers, [observations] * len(numbers), [kept] * len(numbers)
    )
    return np.concatenate(list(run), axis=1)[:, :streams]


def _block(key: str, number: int, observations: int, kept: Path | None) -> np.ndarray:
    measured = hashlib.sha256(drift_bank.BANK.read_bytes()).hexdigest()[:8]
    path = kept / f"{key}-{version(CODE)}-{measured}-{observations}-{number}.npy" if kept else None
    if path is not None and path.exists():
        return np.load(path)
    rng = np.random.default_rng([number, list(ROWS).index(key), observations])
    found = ROWS[key].block(make_bank(number), rng, BLOCK, observations)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npy")
        np.save(unfinished, found)
        unfinished.replace(path)
    return found


def summary(key: str, first: np.ndarray, observations: int) -> dict[str, Any]:
    """What the table has of a row: shares of streams with an alarm, the bound and its limit; the mean run length."""
    streams = first.shape[1]
    cells: list[dict[str, float]] = []
    for c, alarms in zip(THRESHOLDS, first, strict=True):
        for horizon in HORIZONS:
            if horizon > observations:
                continue
            bound = min(1.0, horizon / c + ROWS[key].extra)
            count = int(((alarms > 0) & (alarms <= horizon)).sum())
            limit = float(binom.ppf(CONFIDENCE, streams, bound)) / streams
            cells.append({"c": c, "T": horizon, "observed": count / streams, "bound": bound, "limit": limit})
    run_lengths = np.where(first > 0, first, observations).mean(axis=1)
    return {
        "test": ROWS[key].name,
        "proven": ROWS[key].proven,
        "streams": streams,
        "cells": cells,
        "mean_run_length_at_least": dict(
            zip(map(str, map(int, THRESHOLDS)), run_lengths.tolist(), strict=True)
        ),
    }


# ---- one reference, and a change -----------------------------------------------------------------
def given_reference(references: int, streams: int, *, c: float, horizon: int) -> dict[str, Any]:
    """Shares of streams of one reference that alarm: their mean and spread over references."""
    bank, rng = make_bank(), np.random.default_rng(31)
    images = rng.integers(len(bank.scores), size=(references, REFERENCE))
    reference = np.repeat(bank.scores[images, 0], streams, axis=0)
    stream = bank.scores[rng.integers(len(bank.scores), size=(len(reference), horizon)), 0]
    first = crossings(conformal_evidence(conformal_p(reference, stream, rng, levels=len(bank.scores))), (c,))
    shares = (first[0].reshape(references, streams) > 0).mean(axis=1)
    ends = np.quantile(shares, (0.5, 0.95, 1)).tolist()
    return {"c": c, "T": horizon, "references": references, "streams": streams} | {
        "mean": float(shares.mean()),
        **dict(zip(("median", "highest_of_20", "highest"), ends, strict=True)),
    }


def step(
    shift: float, streams: int, *, c: float = 1e6, before: int = 300, after: int = 1000
) -> dict[str, Any]:
    """Normal scores that move up by ``shift`` standard deviations: delay, and what is said of the moment."""
    rng = np.random.default_rng([41, round(shift * 100)])
    drawn = rng.normal(size=(streams, REFERENCE + before + after))
    drawn[:, REFERENCE + before :] += shift
    ranks = np.argsort(np.argsort(drawn, axis=1), axis=1)
    p = conformal_p(ranks[:, :REFERENCE], ranks[:, REFERENCE:], rng, levels=drawn.shape[1])
    first = crossings(conformal_evidence(p), (c,))[0]
    delays, held, widths, errors = list[float](), 0, list[int](), list[int]()
    for stream in np.flatnonzero(first > before):
        seen = slice(max(0, first[stream] - HISTORY), first[stream])
        earlier = log_bets(np.log(p[: seen.start, stream : stream + 1].T)) if seen.start else None
        past = np.full((1, len(KAPPAS)), -np.inf)
        for bets in [] if earlier is None else np.moveaxis(earlier, 1, 0):
            past = grow(past, bets)
        moment = change_point(
            np.arange(seen.start, seen.stop),
            np.stack([log_bets(np.log(now)) for now in p[seen, stream : stream + 1]]),
            past,
            np.full((1, len(KAPPAS)), 1 / len(KAPPAS)),
        )
        assert moment is not None
        delays.append(int(first[stream]) - before)
        held += moment.interval[0] <= before <= moment.interval[1]
        widths.append(moment.interval[1] - moment.interval[0] + 1)
        errors.append(abs(moment.seq - before))
    found = len(delays)
    return {
        "shift": shift,
        "c": c,
        "detected": found / streams,
        "delay": float(np.median(delays)) if found else None,
        "delay_90": float(np.quantile(delays, 0.9)) if found else None,
        "held": held / found if found else None,
        "width": float(np.median(widths)) if found else None,
        "error": float(np.median(errors)) if found else None,
    }


def share_step(
    shift: float, streams: int, *, c: float = 1e4, before: int = 300, after: int = 1000
) -> dict[str, Any]:
    """A share of mean 0.25 and standard deviation 0.144 that rises: both tests' median delays, and how many saw it."""
    rng = np.random.default_rng([43, round(shift * 100)])
    drawn = rng.beta(2, 6, size=(streams, REFERENCE + before + after))
    drawn[:, REFERENCE + before :] = np.minimum(drawn[:, REFERENCE + before :] + shift, 1)
    reference, stream = drawn[:, :REFERENCE], drawn[:, REFERENCE:]
    ranks = np.argsort(np.argsort(drawn, axis=1), axis=1)
    p = conformal_p(ranks[:, :REFERENCE], ranks[:, REFERENCE:], rng, levels=drawn.shape[1])
    bounds = np.array([[upper_bound(values, risk=RISK)] for values in reference])
    firsts = {"conformal": crossings(conformal_evidence(p), (c,))[0]} | {
        f"bounded, ε = {tolerance:g}": bounded_crossings(
            np.minimum(bounds + tolerance, 1), lambda t: stream[:, t, None], before + after, (c,)
        )[0]
        for tolerance in (0, 0.03)
    }
    return {"shift": shift, "c": c} | {
        name: {
            "detected": float((first > before).mean()),
            "delay": float(np.median(first[first > before])) - before if (first > before).any() else None,
        }
        for name, first in firsts.items()
    }


# ---- report --------------------------------------------------------------------------------------
def markdown(results: dict[str, Any]) -> list[str]:
    """The tables."""
    columns = [(cell["c"], cell["T"]) for cell in results["rows"][0]["cells"]]
    lines = [
        "# False alarms of the monitoring tests on streams in which nothing changes",
        "",
        report.made_by(results["environment"], results["command"]),
        "",
        f"Per test {results['streams']:,} streams of {results['observations']:,} observations, each with a reference "
        f"of {REFERENCE} images of its own, all drawn with replacement from a bank of {results['images']} crops of "
        f"{results['photographs']} photographs. The one signal is `input`, the three are "
        f"{', '.join(f'`{name}`' for name in SIGNALS)}; scores are fitted to {FIT} images, for every {BLOCK} streams "
        "anew. "
        "Shares of streams with an alarm within T observations, at threshold c; in bold what is above the bound by "
        f"more than chance ({CONFIDENCE:.0%} one-sided). The bound is T / c"
        f", for the bounded mean T / c + {RISK:g}.",
        "",
        "| test | " + " | ".join(f"c = {c:,.0f}, T = {t:,}" for c, t in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        "| bound T / c | " + " | ".join(f"{min(1, t / c):.3g}" for c, t in columns) + " |",
    ]
    for row in results["rows"]:
        cells = [
            f"**{cell['observed']:.4f}**" if cell["observed"] > cell["limit"] else f"{cell['observed']:.4f}"
            for cell in row["cells"]
        ]
        lines.append(f"| {row['test']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Mean number of observations to the first alarm, where a stream without one counts as "
        f"{results['observations']:,}, so that the true mean is at least this:",
        "",
        "| test | " + " | ".join(f"c = {c:,.0f}" for c in THRESHOLDS) + " |",
        "|---" * (len(THRESHOLDS) + 1) + "|",
    ]
    for row in results["rows"]:
        lengths = row["mean_run_length_at_least"].values()
        lines.append(f"| {row['test']} | " + " | ".join(f"{length:,.0f}" for length in lengths) + " |")
    one, steps = results["given_reference"], results["steps"]
    lines += [
        "",
        f"The guarantee is of the mean over references. Of {one['references']} references with {one['streams']} "
        f"streams each, at c = {one['c']:,.0f} within {one['T']:,} observations of the conformal test of one signal, "
        f"the share of streams with an alarm is {one['mean']:.3f} on average, {one['median']:.2f} in the median, above "
        f"{one['highest_of_20']:.2f} in one of twenty, and {one['highest']:.2f} in the highest.",
        "",
        "## When something changes",
        "",
        f"The conformal test of one signal at c = {steps[0]['c']:,.0f}: normal scores that move up after 300 "
        f"observations, with {REFERENCE} images of reference. Delay: observations from the change to the alarm. "
        "Interval: of the moment of the change, as it was said with the alarm, at a nominal 95 %.",
        "",
        "| shift, standard deviations | detected within 1,000 | median delay | 90 % | interval holds the moment "
        "| median width | median error of the estimate |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in steps:
        cells = [
            "–" if row[key] is None else format(row[key], kind)
            for key, kind in [
                ("detected", ".3f"),
                ("delay", ".0f"),
                ("delay_90", ".0f"),
                ("held", ".2f"),
                ("width", ".0f"),
                ("error", ".0f"),
            ]
        ]
        lines.append(f"| {row['shift']:g} | " + " | ".join(cells) + " |")
    shares = results["share_steps"]
    names = [key for key in shares[0] if key not in ("shift", "c")]
    lines += [
        "",
        "Both tests of one share with mean 0.25 and standard deviation 0.144, at "
        f"c = {shares[0]['c']:,.0f}: median delay, and in brackets the part of the streams that alarmed after the "
        "change, within 1,000.",
        "",
        "| rise of the share | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for row in shares:
        found = [(row[name]["delay"], row[name]["detected"]) for name in names]
        cells = [f"{'–' if delay is None else format(delay, '.0f')} ({part:.2f})" for delay, part in found]
        lines.append(f"| +{row['shift']:g} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Measures, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--observations", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--output", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for key in ROWS:
            began = time.monotonic()
            first = run_row(key, arguments.streams, arguments.observations, pool=pool)
            rows.append(summary(key, first, arguments.observations))
            print(f"{ROWS[key].name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    photographs = drift_bank.load()["photograph"]
    results = {
        "environment": report.environment(1),
        "command": report.command(),
        "streams": arguments.streams,
        "observations": arguments.observations,
        "images": len(photographs),
        "photographs": len(set(photographs.tolist())),
        "rows": rows,
        "given_reference": given_reference(200, 50, c=1e4, horizon=1000),
        "steps": [step(shift, 500) for shift in (0.25, 0.5, 1.0, 2.0, 3.0)],
        "share_steps": [share_step(shift, 500) for shift in (0.02, 0.05, 0.1, 0.2)],
    }
    report.write(arguments.output, "null-table", results, markdown(results))


if __name__ == "__main__":
    main()
