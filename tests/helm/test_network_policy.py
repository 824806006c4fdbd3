"""The NetworkPolicy as a network plugin would apply it: who reaches which port of a pod."""

from __future__ import annotations

from typing import Any

import pytest

HTTP, GRPC, DASHBOARD, METRICS = 8000, 9000, 8265, 8080
# The control plane, the client server, the agents, the object manager, a raylet; workers take any number.
RAYS = (6379, 10001, 52365, 8076, 8077, 10002, 19999, 44217, 60000)
ALL = (HTTP, GRPC, DASHBOARD, METRICS, *RAYS)

OWN = "science"
STRANGER = {"app.kubernetes.io/name": "anything"}
OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector, of ``matchLabels`` alone, takes what is labelled so."""
    assert set(selector) <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def takes(peer: dict[str, Any], labels: dict[str, str], namespace: str) -> bool:
    """Whether a peer of a rule is the pod; without a selector of namespaces it is of the policy's own."""
    there = {"kubernetes.io/metadata.name": namespace}
    inside = selects(peer["namespaceSelector"], there) if "namespaceSelector" in peer else namespace == OWN
    return inside and selects(peer.get("podSelector", {}), labels)


def reached(policy: dict[str, Any], labels: dict[str, str], namespace: str) -> set[int]:
    """Ports of a pod of the release that another pod reaches."""
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    open_to_it = [
        {port["port"] for port in rule.get("ports", [])}
        for rule in policy["spec"]["ingress"]
        if "from" not in rule or any(takes(peer, labels, namespace) for peer in rule["from"])
    ]
    return {port for port in ALL if any(not ports or port in ports for ports in open_to_it)}


@pytest.fixture
def policy(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == "NetworkPolicy"]
    return found


@pytest.fixture
def anybody(scenario: dict[str, Any]) -> set[int]:
    """Ports that are open to every pod."""
    return set() if scenario["networkPolicy"]["clients"] else {HTTP, GRPC}


@pytest.mark.parametrize("namespace", [OWN, "other"])
@pytest.mark.parametrize(
    "labels",
    [
        STRANGER,
        {},
        {"app.kubernetes.io/part-of": "wavescope", "app.kubernetes.io/instance": "another"},
        {"ray.io/cluster": "another", "ray.io/node-type": "worker"},
    ],
)
def test_rays_ports_are_closed_to_strangers(
    policy: dict[str, Any], anybody: set[int], labels: dict[str, str], namespace: str
) -> None:
    assert reached(policy, labels, namespace) == anybody


def test_rays_nodes_reach_each_other(
    policy: dict[str, Any], anybody: set[int], pods: dict[str, dict[str, Any]]
) -> None:
    for template in pods.values():
        labels = template["metadata"]["labels"]
        assert reached(policy, labels, OWN) == set(ALL)
        assert reached(policy, labels, "other") == anybody  # the same labels, somewhere else


def test_the_operator_reaches_the_dashboard_and_no_other_port_of_rays(
    policy: dict[str, Any], anybody: set[int]
) -> None:
    assert reached(policy, OPERATOR, "kuberay-system") == anybody | {HTTP, DASHBOARD}


def test_prometheus_reaches_the_metrics_where_they_are_scraped(
    policy: dict[str, Any], anybody: set[int], scenario: dict[str, Any]
) -> None:
    scraped = {HTTP, METRICS} if scenario["monitoring"]["enabled"] else set()
    assert reached(policy, PROMETHEUS, "monitoring") == anybody | scraped


def test_the_ports_that_the_policy_names_are_those_that_ray_is_told(
    policy: dict[str, Any], rayservice: dict[str, Any], pods: dict[str, dict[str, Any]]
) -> None:
    cluster = rayservice["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert {group["rayStartParams"]["metrics-export-port"] for group in groups} == {str(METRICS)}
    assert cluster["headGroupSpec"]["rayStartParams"]["dashboard-port"] == str(DASHBOARD)
    named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", [])}
    declared = {
        port["containerPort"]
        for template in pods.values()
        for container in template["spec"]["containers"]
        for port in container["ports"]
    }
    assert named <= declared
