"""Content negotiation: the served representation that an ``Accept`` header asks for."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message

from wavescope.ingress.problems import NotAcceptable

JSON, PNG, NPZ, EVENTS = "application/json", "image/png", "application/x-npz", "text/event-stream"
# In order of preference where the caller has none.
RESULTS = (JSON, PNG, NPZ)
SERVED = (*RESULTS, EVENTS)


@dataclass(frozen=True, slots=True)
class Representation:
    """Form of a reply: its media type, with or without the figure.

    Attributes:
        media_type: one of :data:`SERVED`.
        figure: JSON with the figure inside, asked for by ``application/json; figure=png``.
    """

    media_type: str = JSON
    figure: bool = False


def negotiate(accept: str | None, *, served: tuple[str, ...] = SERVED, batch: bool = False) -> Representation:
    """The served representation that the caller likes best (RFC 9110, 12.5.1).

    Args:
        accept: the header.
        served: media types, in order of preference.
        batch: whether the reply holds several explanations, which no single figure shows.

    Raises:
        NotAcceptable: it likes none of them.
    """
    served = tuple(media_type for media_type in served if not (batch and media_type == PNG))
    ranges = [_parse(part) for part in (accept or "*/*").split(",") if part.strip()]
    liked: list[tuple[float, int, Representation]] = []
    for preference, media_type in enumerate(served):
        matching = [item for item in ranges if _matches(item.get_content_type(), media_type)]
        if not matching:
            continue
        # The most specific range that matches decides, whatever the quality of the others.
        best = max(matching, key=lambda item: (item.get_content_type().count("*") * -1, _quality(item)))
        if _quality(best) > 0:
            figure = media_type == JSON and best.get_param("figure") == "png"
            liked.append((_quality(best), -preference, Representation(media_type, figure)))
    if not liked:
        raise NotAcceptable(_refusal(served, batch), field="Accept", supported=list(served))
    return max(liked, key=lambda entry: entry[:2])[2]


def _refusal(served: tuple[str, ...], batch: bool) -> str:
    allowed = " or ".join((", ".join(served[:-1]), served[-1]) if len(served) > 1 else served)
    if batch:
        return (
            f"a batch has no single figure: Accept must allow {allowed} "
            f"({JSON}; figure=png puts a figure into each explanation)"
        )
    return f"Accept must allow {allowed}"


def _parse(media_range: str) -> Message:
    # The standard library's parser of media types with parameters.
    message = Message()
    message["Content-Type"] = media_range.strip()
    return message


def _matches(media_range: str, media_type: str) -> bool:
    if media_range in ("*/*", media_type):
        return True
    kind, _, subtype = media_range.partition("/")
    return subtype == "*" and kind == media_type.partition("/")[0]


def _quality(media_range: Message) -> float:
    try:
        return float(str(media_range.get_param("q", "1")))
    except ValueError:
        return 0.0
