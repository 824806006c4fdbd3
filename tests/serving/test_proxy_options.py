"""Options that the gRPC servers of Ray Serve's proxies are given."""

from __future__ import annotations

import pytest
from ray.serve._private import constants, grpc_util

from wavescope.serving import proxy
from wavescope.settings import Settings


def test_grpc_servers_of_a_proxy_are_given_our_options_once(monkeypatch: pytest.MonkeyPatch):
    # Ray Serve's server takes this list, and no other is given to it.
    assert vars(grpc_util)["DEFAULT_GRPC_SERVER_OPTIONS"] is constants.DEFAULT_GRPC_SERVER_OPTIONS
    known = list(constants.DEFAULT_GRPC_SERVER_OPTIONS)
    monkeypatch.setattr(constants, "DEFAULT_GRPC_SERVER_OPTIONS", known)
    settings = Settings(max_body_bytes=2000, header_timeout_s=2.5)
    for _ in range(2):
        proxy.bound_rpcs(settings)
    found = dict(known)
    assert len(found) == len(known)
    assert found["grpc.max_receive_message_length"] == 2000 + proxy.FIELDS_BYTES
    assert found["grpc.server_handshake_timeout_ms"] == 2500
    assert found["grpc.max_send_message_length"] > 2**20, "replies may be larger"
