"""Two explanations at once against one after the other: their chunks share the device batches of one replica."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.setup import Setup, alternate, photograph, ratio, spread

NAME = "concurrency"
IMAGES = ("chelsea", "coffee")


def measure(setup: Setup) -> dict[str, Any]:
    """Through the service, one replica, alternating; and whether the indices are the same numbers."""
    service = setup.service
    images = [photograph(name) for name in IMAGES]
    fields: dict[str, Any] = {"plan": "full", "grid_size": 4 if setup.quick else 14}
    replies: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def one_by_one(turn: int) -> None:
        replies["one_by_one", turn] = [service.explain([image], seed=turn, **fields) for image in images]

    def at_once(turn: int) -> None:
        with ThreadPoolExecutor(len(images)) as pool:
            replies["at_once", turn] = list(
                pool.map(lambda image: service.explain([image], seed=turn, **fields), images)
            )

    for image in images:
        service.explain([image], plan="full", grid_size=4)  # warm
    times = alternate({"one_by_one": one_by_one, "at_once": at_once}, setup.rounds)
    return {
        "forwards": replies["at_once", 0][0]["forwards"],
        "seconds": times,
        "ratio": ratio(times, "at_once", "one_by_one"),
        "same_numbers": all(
            one["indices"] == other["indices"]
            for turn in range(setup.rounds)
            for one, other in zip(replies["one_by_one", turn], replies["at_once", turn], strict=True)
        ),
    }


def markdown(results: dict[str, Any]) -> list[str]:
    """The section's table."""
    seconds = {name: spread(times) for name, times in results["seconds"].items()}
    same = "The same numbers, bit for bit." if results["same_numbers"] else "The numbers differ."
    return [
        f"## Two explanations of {results['forwards']:,} forwards each, one replica",
        "",
        "| | median s (min–max) | ratio |",
        "|---|---|---|",
        f"| one after the other | {seconds['one_by_one']} | 1 |",
        f"| at once | {seconds['at_once']} | {results['ratio']:.3f} |",
        "",
        same,
    ]
