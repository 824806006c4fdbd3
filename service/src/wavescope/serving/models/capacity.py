"""Resources of the cluster's nodes, total and free, and the replicas that wait for a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wavescope.models.spec import ModelSpec

REPLICA = "SERVE_REPLICA::"
EPSILON = 1e-6  # resources are sums of fractions

_NOUNS = {"CPU": ("CPU", "CPUs"), "GPU": ("GPU", "GPUs")}


@dataclass(frozen=True, slots=True)
class Node:
    """Resources of one node, by Ray's names of them.

    Attributes:
        total: that it was started with.
        free: that no replica holds.
    """

    total: Mapping[str, float]
    free: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Room:
    """The cluster as one look found it.

    Attributes:
        nodes: that are alive.
        demands: resources that processes wait for; what a process that is being started holds is none of it.
        waiting: names of applications with a replica that has no process yet.
    """

    nodes: tuple[Node, ...]
    demands: tuple[Mapping[str, float], ...] = ()
    waiting: frozenset[str] = frozenset()

    def never(self, spec: ModelSpec) -> str:
        """Reason why no node could hold a replica of the model, were all of them empty; empty where one could."""
        return _lacking(needs(spec), [node.total for node in self.nodes])

    def now(self, spec: ModelSpec) -> str:
        """Reason why no node has room for one more replica; empty where one has."""
        need = needs(spec)
        if any(_fits(need, node.free) for node in self.nodes):
            return ""
        free = {name: max((node.free.get(name, 0.0) for node in self.nodes), default=0.0) for name in need}
        amounts = " and ".join(_amount(name, value) for name, value in free.items())
        return f"needs {_amounts(need)} on one node; at most {amounts} of one are free, other replicas hold the rest"

    def waits(self, application: str, spec: ModelSpec) -> bool:
        """Whether a replica of the model waits for resources."""
        need = needs(spec)
        return application in self.waiting and any(
            all(abs(demand.get(name, 0.0) - need.get(name, 0.0)) < EPSILON for name in _NOUNS)
            for demand in self.demands
        )


def needs(spec: ModelSpec) -> dict[str, float]:
    """Resources that one replica of the model takes of its node."""
    wanted = {"CPU": spec.num_cpus, "GPU": spec.num_gpus}
    return {name: value for name, value in wanted.items() if value}


def room() -> Room:
    """Asks Ray's control plane and waits for it, about 3 ms.

    Raises:
        RayError: it does not answer.
    """
    # Ray Serve asks in the same ways; there are no public ones that need no dashboard.
    from ray.autoscaler.v2.sdk import get_cluster_resource_state

    found = get_cluster_resource_state(_control_plane())
    nodes = tuple(
        Node(dict(node.total_resources), dict(node.available_resources)) for node in found.node_states
    )
    demands = tuple(dict(demand.request.resources_bundle) for demand in found.pending_resource_requests)
    pending = pending_replicas() if demands else ()
    return Room(nodes, demands, frozenset(_application(name) for name in pending))


def pending_replicas() -> tuple[str, ...]:
    """Names of the actors of replicas that have no process yet.

    Raises:
        RayError: the control plane does not answer.
    """
    import ray._private.state as state

    names = [str(actor["Name"]) for actor in state.actors(actor_state_name="PENDING_CREATION").values()]
    return tuple(name for name in names if name.startswith(REPLICA))


def _control_plane() -> Any:
    import ray

    return _client(ray.get_runtime_context().gcs_address)


@lru_cache(maxsize=1)
def _client(address: str) -> Any:
    from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]  # a compiled module

    return GcsClient(address)


def _application(replica: str) -> str:
    """Application of an actor called ``SERVE_REPLICA::application#deployment#id``."""
    return replica.removeprefix(REPLICA).partition("#")[0]


def _fits(need: Mapping[str, float], there: Mapping[str, float]) -> bool:
    return all(there.get(name, 0.0) >= value - EPSILON for name, value in need.items())


def _lacking(need: Mapping[str, float], nodes: list[Mapping[str, float]]) -> str:
    if any(_fits(need, node) for node in nodes):
        return ""
    for name, value in need.items():
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if most < value - EPSILON:
            there = f"the largest node has {most:g}" if most else "no node has one"
            return f"needs {_amount(name, value)} on one node; {there}"
    return f"needs {_amounts(need)} on one node; no node has both"


def _amounts(need: Mapping[str, float]) -> str:
    return " and ".join(_amount(name, value) for name, value in need.items())


def _amount(name: str, value: float) -> str:
    one, many = _NOUNS[name]
    return f"{value:g} {one if value == 1 else many}"
