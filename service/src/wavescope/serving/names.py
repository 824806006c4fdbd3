"""Names of the Ray Serve application and its deployments; serve configs and the chart use the same."""

from __future__ import annotations

APPLICATION = "wavescope"
GATEWAY = "Gateway"
GENERATOR = "PerturbationGenerator"
AGGREGATOR = "EstimatorAggregator"
ADMISSION = "AdmissionDesk"
HUB = "MetricsHub"  # adds up the counts of all processes
MODEL_REPLICA = "ModelReplica"
DEPLOYMENTS = (GATEWAY, GENERATOR, AGGREGATOR, ADMISSION, HUB)


def model_application(model: str) -> str:
    """The application that serves one model; it comes, goes and scales alone."""
    return f"model-{model}"
