"""Hooks inside Ray Serve's proxies, which Ray Serve finds by the import paths below."""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final

from wavescope.auth import make_access
from wavescope.ingress.prefix import Prefix
from wavescope.ingress.ray_proxy import connections, http_guard
from wavescope.ingress.ray_proxy.connections import ConnectionLimits
from wavescope.ingress.ray_proxy.rpc_guard import RpcGuard, add_guarded
from wavescope.ingress.ray_proxy.uploads import UploadLimits, Uploads
from wavescope.serving.names import APPLICATION
from wavescope.settings import Settings, load_settings
from wavescope_proto.inference import open_inference_pb2, open_inference_pb2_grpc
from wavescope_proto.v1 import explanation_pb2_grpc

FORWARDED: Final = "FORWARDED_ALLOW_IPS"  # whose X-Forwarded-For uvicorn believes
CALLBACK: Final = f"{__name__}.middlewares"  # of RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH
# Of gRPCOptions.grpc_servicer_functions.
SERVICERS: Final = (f"{__name__}.add_explanation_service", f"{__name__}.add_inference_service")
# Replies may be larger than requests: a batch of explanations has every map of every image.
MESSAGES_PER_BODY: Final = 8
FIELDS_BYTES: Final = 2**20  # of a message, beside its images
CONCURRENT_RPCS: Final = 128  # of one connection
_PROBES: Final = frozenset(("/inference.GRPCInferenceService/ServerReady",))
_LIVE: Final = {
    "/inference.GRPCInferenceService/ServerLive": open_inference_pb2.ServerLiveResponse(
        live=True
    ).SerializeToString()
}


def environment() -> dict[str, str]:
    """Variables that every process of the cluster is to have before Ray is imported."""
    limit = load_settings().max_body_bytes
    return {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MESSAGES_PER_BODY * limit),
        # By default uvicorn believes whoever calls from loopback. Who stands in front is for the operator to say.
        FORWARDED: os.environ.get(FORWARDED, ""),
    }


def middlewares() -> list[Any]:
    """Called by the proxies' process as it starts, before they listen; all limits are those of its environment."""
    from wavescope.serving.process import (
        prepare_proxy,  # needs Ray, which other users of this module start later
    )

    settings = load_settings()
    prepare_proxy(settings)
    connections.install(
        ConnectionLimits(
            settings.max_connections,
            settings.max_header_bytes,
            settings.header_timeout_s,
            settings.reply_timeout_s,
        )
    )
    bound_rpcs(settings)
    local = make_access(settings, local_only=_local_only(settings))
    return http_guard.middlewares(
        settings.max_body_bytes,
        local,
        _uploads(),
        by_address=knows_addresses(settings),
        prefix=known_prefix(settings),
    )


def knows_addresses(settings: Settings) -> bool:
    """Whether addresses distinguish callers: behind a gateway all are its own, unless forwarded ones are trusted."""
    return not settings.no_auth or bool(os.environ.get(FORWARDED))


def known_prefix(settings: Settings) -> Prefix:
    """Rule for the path prefix of a gateway, which is believed where its addresses are."""
    return Prefix(settings.root_path, forwarded=bool(os.environ.get(FORWARDED)))


def bound_rpcs(settings: Settings) -> None:
    """Options that Ray Serve gives every gRPC server it starts in this process from now on; it takes none from us."""
    from ray.serve._private import constants

    ours = rpc_options(settings)
    known = constants.DEFAULT_GRPC_SERVER_OPTIONS
    known[:] = [*(option for option in known if option[0] not in ours), *ours.items()]


def rpc_options(settings: Settings) -> dict[str, int]:
    """gRPC's own names of what bounds its connections."""
    timeout_ms = round(1000 * settings.header_timeout_s)
    return {
        "grpc.max_receive_message_length": settings.max_body_bytes + FIELDS_BYTES,
        "grpc.max_concurrent_streams": CONCURRENT_RPCS,
        # It closes none that is idle for one more, so the number is far from what clients need.
        "grpc.max_allowed_incoming_connections": connections.open_files() // 4,
        "grpc.max_metadata_size": min(settings.max_header_bytes, 2**16),
        "grpc.absolute_max_metadata_size": settings.max_header_bytes,
        "grpc.server_handshake_timeout_ms": timeout_ms,  # for the first bytes of a connection
        "grpc.max_connection_idle_ms": round(1000 * settings.body_timeout_s),
        # A client that is gone, or reads nothing at all, does not answer.
        "grpc.keepalive_time_ms": round(1000 * settings.reply_timeout_s / 2),
        "grpc.keepalive_timeout_ms": round(1000 * settings.reply_timeout_s / 2),
        "grpc.keepalive_permit_without_calls": 1,
    }


def add_explanation_service(servicer: object, server: Any) -> None:
    """``wavescope.v1.ExplanationService``."""
    add_guarded(
        explanation_pb2_grpc.add_ExplanationServiceServicer_to_server, servicer, server, guard=_guard()
    )


def add_inference_service(servicer: object, server: Any) -> None:
    """``inference.GRPCInferenceService``, the Open Inference Protocol."""
    add_guarded(
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server, servicer, server, guard=_guard()
    )


@cache
def _guard() -> RpcGuard:
    settings = load_settings()
    local_only = _local_only(settings)
    authenticator = make_access(settings, local_only=local_only).authenticator
    return RpcGuard(
        APPLICATION,
        authenticator,
        local_only,
        _uploads(),
        settings.reply_timeout_s,
        _PROBES,
        _LIVE,
        by_address=not settings.no_auth,  # what a gateway says of addresses is not read in metadata
    )


@cache
def _uploads() -> Uploads:
    """Uploads of this process, HTTP and gRPC together."""
    settings = load_settings()
    return Uploads(
        UploadLimits(
            settings.body_timeout_s,
            settings.max_uploads,
            settings.max_uploads_per_caller,
            # Room for two bodies at least, or the largest could never be sent.
            max(settings.max_upload_bytes, 2 * (settings.max_body_bytes + FIELDS_BYTES)),
        )
    )


def _local_only(settings: Settings) -> bool:
    return not (settings.no_auth or settings.api_keys_file)
