"""Where a replica would fit, and what is told where it fits nowhere."""

from __future__ import annotations

import pytest

from wavescope.models.spec import ModelSpec
from wavescope.serving.models.capacity import Node, Room


def spec(num_cpus: float = 2.0, num_gpus: float = 0.0) -> ModelSpec:
    return ModelSpec(name="x", source="embedded:efficientnet-lite0", num_cpus=num_cpus, num_gpus=num_gpus)


def room(*nodes: dict[str, float]) -> Room:
    return Room(tuple(Node(node, node) for node in nodes))


@pytest.mark.parametrize(
    ("wanted", "nodes", "why"),
    [
        (spec(2), [{"CPU": 2.0}], ""),
        (spec(0.1), [{"CPU": 0.1 + 0.2 - 0.2}], ""),
        (spec(1, 0.5), [{"CPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}], ""),
        (spec(3), [{"CPU": 2.0}, {"CPU": 2.0}], "needs 3 CPUs on one node; the largest node has 2"),
        (spec(1, 1), [{"CPU": 2.0}], "needs 1 GPU on one node; no node has one"),
        (spec(1, 4), [{"CPU": 2.0, "GPU": 2.0}], "needs 4 GPUs on one node; the largest node has 2"),
        (
            spec(4, 1),
            [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}],
            "needs 4 CPUs and 1 GPU on one node; no node has both",
        ),
        (spec(0.5), [], "needs 0.5 CPUs on one node; no node has one"),
    ],
)
def test_what_fits_no_node_is_told_with_numbers(
    wanted: ModelSpec, nodes: list[dict[str, float]], why: str
) -> None:
    assert room(*nodes).never(wanted) == why


def test_what_is_free_is_of_one_node() -> None:
    two_halves = Room((Node({"CPU": 2.0}, {"CPU": 1.0}), Node({"CPU": 2.0}, {"CPU": 1.5})))
    assert two_halves.never(spec(2)) == ""
    assert two_halves.now(spec(2)).startswith("needs 2 CPUs on one node; at most 1.5 CPUs of one are free")
    assert two_halves.now(spec(1.5)) == ""


@pytest.mark.parametrize(
    ("demand", "waiting", "waits"),
    [
        ({"CPU": 2.0}, "model-x", True),
        ({"CPU": 2.0, "GPU": 0.0}, "model-x", True),
        ({"CPU": 2.0, "GPU": 1.0}, "model-x", False),  # another's
        ({"CPU": 2.0}, "model-y", False),
    ],
)
def test_a_replica_waits_where_what_it_needs_is_asked_for_and_it_has_no_process(
    demand: dict[str, float], waiting: str, waits: bool
) -> None:
    found = Room((), (demand,), frozenset({waiting}))
    assert found.waits("model-x", spec(2)) == waits
