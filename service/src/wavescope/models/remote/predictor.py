"""A specification for a model that no registry names: that which KServe puts an explainer in front of."""

from __future__ import annotations

from wavescope.engine.types import Outputs, Preprocessing
from wavescope.models.remote.options import RemoteOptions
from wavescope.models.spec import REMOTE_NUM_CPUS, ModelSpec

# KServe's words for --predictor_protocol.
PROTOCOLS = ("v1", "v2", "grpc-v2")


def remote_spec(
    name: str,
    host: str,
    protocol: str,
    *,
    preprocessing: Preprocessing,
    outputs: Outputs,
    labels: tuple[str, ...] | None = None,
    secure: bool = False,
    remote: RemoteOptions | None = None,
) -> ModelSpec:
    """The model ``name`` on ``host``; the settings have to list the host all the same.

    Args:
        name: of the model, here and there.
        host: of ``--predictor_host``: a host with or without a port; for gRPC the port is 80 or 443 without one.
        protocol: of ``--predictor_protocol``, one of ``PROTOCOLS``.
        preprocessing, outputs, labels, remote: as of :class:`ModelSpec`.
        secure: with TLS.

    Raises:
        RegistryInvalid: the protocol is none of these, or a field is wrong.
    """
    tls = "s" if secure else ""
    if protocol == "grpc-v2" and ":" not in host.rpartition("]")[2]:
        host += ":443" if secure else ":80"
    sources = {
        "v1": f"kserve-v1:http{tls}://{host}/v1/models/{name}",
        "v2": f"oip:http{tls}://{host}/v2/models/{name}",
        "grpc-v2": f"oip:grpc{tls}://{host}/{name}",
    }
    return ModelSpec(
        name=name,
        source=sources.get(protocol, protocol),
        preprocessing=preprocessing,
        outputs=outputs,
        labels=labels,
        num_cpus=REMOTE_NUM_CPUS,
        remote=remote,
    )
