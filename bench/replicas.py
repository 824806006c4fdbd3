"""Replicas of one thread each against one replica of as many threads: the same cores, the same explanation."""

from __future__ import annotations

from typing import Any

from bench.setup import MODEL, SINGLES, Setup, alternate, photograph, ratio, spread

NAME = "replicas"


def measure(setup: Setup) -> dict[str, Any]:
    """Through the service, alternating."""
    service, image = setup.service, photograph()
    fields: dict[str, Any] = {"plan": "full", "grid_size": 4 if setup.quick else 14}

    def explain(model: str, turn: int) -> int:
        return service.explain([image], model=model, seed=turn, **fields)["forwards"]

    forwards = [explain(model, 0) for model in (MODEL, SINGLES)]  # warm
    times = alternate(
        {"one": lambda turn: explain(MODEL, turn + 1), "many": lambda turn: explain(SINGLES, turn + 1)},
        setup.rounds,
    )
    return {
        "threads": setup.threads,
        "forwards": forwards[0],
        "seconds": times,
        "throughput_ratio": ratio(times, "one", "many"),
    }


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    threads, forwards = results["threads"], results["forwards"]
    lines = [
        f"## {threads} replicas of one thread each against one of {threads}, {forwards:,} forwards",
        "",
        "| | median s (min–max) | throughput ratio |",
        "|---|---|---|",
    ]
    names = {"one": f"one replica of {threads} threads", "many": f"{threads} replicas of one thread"}
    ratios = {"one": 1.0, "many": results["throughput_ratio"]}
    return lines + [
        f"| {names[side]} | {spread(results['seconds'][side])} | {ratios[side]:.2f} |" for side in names
    ]
