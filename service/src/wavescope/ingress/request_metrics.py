"""Records how each request that is computed ended, whichever protocol it came by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect

from wavescope.errors import UnknownModel, WavescopeError
from wavescope.ingress.plane import ExplainRequest, RequestRecorder, Transport

# Kinds of requests that are for no product; an estimate is not recorded.
PREDICTION: Final = "prediction"
JOB: Final = "job"


@dataclass(slots=True)
class Labels:
    """Kind and model of a request; empty until it is valid."""

    kind: str = ""
    model: str = ""

    def learn(self, explain_request: ExplainRequest) -> None:
        """Take the labels of a valid request."""
        self.kind, self.model = explain_request.request.kind, explain_request.model


@contextmanager
def recording(
    recorder: RequestRecorder, protocol: Transport, *, kserve_explain: bool = False
) -> Iterator[Labels]:
    """Time what runs inside, and record it by the error that leaves it (``ok`` without one).

    Args:
        recorder: counts it.
        protocol: how the request came.
        kserve_explain: whether it is one that KServe's own metric counts, of a known model.
    """
    labels, code, started_s = Labels(), "internal", time.monotonic()
    try:
        yield labels
        code = "ok"
    except WavescopeError as error:
        code = error.code
        if isinstance(error, UnknownModel):
            labels.model = ""  # the name is the caller's to choose: as a label it would grow without bound
        raise
    except (asyncio.CancelledError, ClientDisconnect, GeneratorExit):
        code = "cancelled"
        raise
    finally:
        elapsed_s = time.monotonic() - started_s
        recorder.request(
            kind=labels.kind, model=labels.model, protocol=protocol, code=code, duration_s=elapsed_s
        )
        if kserve_explain and labels.model:
            recorder.kserve_explain(model=labels.model, duration_s=elapsed_s)
