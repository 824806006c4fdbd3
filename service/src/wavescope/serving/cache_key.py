"""Cache keys of explain requests."""

from __future__ import annotations

from wavescope._version import __version__
from wavescope.ingress.plane import ExplainRequest
from wavescope.store.result_key import result_key


def cache_key(request: ExplainRequest, revision: str, owner: str = "") -> str:
    """Digest of a request, under which its result is cached.

    Args:
        request: its ids, and whether it is computed anew, are left out.
        revision: of the model; empty for any.
        owner: name of the API key that alone may read the result; empty for every caller.
    """
    return result_key(
        request.images,
        request.model,
        revision,
        request.request.parameters(),
        request.targets,
        __version__,
        owner=owner,
    )
