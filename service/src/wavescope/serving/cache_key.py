"""Cache keys of explain requests."""

from __future__ import annotations

from wavescope._version import __version__
from wavescope.core.scores import resolve_score
from wavescope.engine.types import Outputs
from wavescope.ingress.plane import ExplainRequest
from wavescope.store.result_key import result_key


def cache_key(
    request: ExplainRequest, outputs: Outputs, revision: str, owner: str = "", *, prior: str | None = None
) -> str:
    """Digest of a request, under which its result is cached; score and prior count, not whether they were named.

    Args:
        request: its ids, and whether it is computed anew, are left out.
        outputs: of the model.
        revision: of the model; empty for any.
        owner: name of the API key that alone may read the result; empty for every caller.
        prior: of the adaptive plan; ``None`` for the one of the request, where the model is not known yet.
    """
    parameters = request.request.parameters()
    if prior is not None:
        parameters["prior"] = prior
    return result_key(
        request.images,
        request.model,
        revision,
        parameters | {"score": resolve_score(request.request.score, outputs)},
        request.targets,
        __version__,
        owner=owner,
    )
