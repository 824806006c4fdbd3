"""Responses with explanations, in the representation that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response

from wavescope.engine.types import Explanation
from wavescope.ingress.replies import encode_batch_json, encode_batch_npz, encode_json, encode_npz
from wavescope.ingress.rest.negotiation import JSON, PNG, Representation

Draw = Callable[[Explanation], bytes]


async def represent(
    explanations: tuple[Explanation, ...], representation: Representation, *, batch: bool, draw: Draw
) -> Response:
    """The reply; made in a thread, because drawing takes up to a second.

    Args:
        explanations: one where it is no batch.
        representation: JSON, a figure or an archive; no figure of a batch.
        batch: whether the reply is a list.
        draw: from an explanation to a PNG file.
    """
    if batch:
        return await asyncio.to_thread(_several, explanations, representation, draw)
    (explanation,) = explanations
    return await asyncio.to_thread(_one, explanation, representation, draw)


def _one(explanation: Explanation, representation: Representation, draw: Draw) -> Response:
    if representation.media_type == PNG:
        return Response(draw(explanation), media_type=PNG)
    if representation.media_type == JSON:
        figure = draw(explanation) if representation.figure else None
        return Response(encode_json(explanation, figure), media_type=JSON)
    return Response(encode_npz(explanation), media_type=representation.media_type)


def _several(explanations: tuple[Explanation, ...], representation: Representation, draw: Draw) -> Response:
    if representation.media_type == JSON:
        figures = [draw(explanation) for explanation in explanations] if representation.figure else None
        return Response(encode_batch_json(explanations, figures), media_type=JSON)
    return Response(encode_batch_npz(explanations), media_type=representation.media_type)
