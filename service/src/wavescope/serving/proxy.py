"""What runs inside Ray Serve's proxies, which Ray Serve finds by the import paths below."""

from __future__ import annotations

from typing import Any, Final

from wavescope.ingress import edge
from wavescope.serving.names import APPLICATION
from wavescope.settings import load_settings
from wavescope_proto.inference import open_inference_pb2_grpc
from wavescope_proto.v1 import explanation_pb2_grpc

CALLBACK: Final = f"{__name__}.middlewares"  # of RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH
# Of gRPCOptions.grpc_servicer_functions.
SERVICERS: Final = (f"{__name__}.add_explanation_service", f"{__name__}.add_inference_service")
# Replies may be larger than requests: a batch of explanations has every map of every image.
MESSAGES_PER_BODY: Final = 8


def environment() -> dict[str, str]:
    """Variables that every process of the cluster is to have before Ray is imported."""
    limit = load_settings().max_body_bytes
    return {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MESSAGES_PER_BODY * limit),
    }


def middlewares() -> list[Any]:
    """Called by the HTTP proxy as it starts; the limit is the environment's ``WAVESCOPE_MAX_BODY_BYTES``."""
    return edge.middlewares(load_settings().max_body_bytes)


def add_explanation_service(servicer: object, server: Any) -> None:
    """``wavescope.v1.ExplanationService``."""
    edge.add_guarded(
        explanation_pb2_grpc.add_ExplanationServiceServicer_to_server,
        servicer,
        server,
        application=APPLICATION,
    )


def add_inference_service(servicer: object, server: Any) -> None:
    """``inference.GRPCInferenceService``, the Open Inference Protocol."""
    edge.add_guarded(
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server,
        servicer,
        server,
        application=APPLICATION,
    )
