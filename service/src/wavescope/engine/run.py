"""Explanations in one process, with one classifier."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wavescope.engine.events import NULL_LISTENER, Listener
from wavescope.engine.explain import ResolvedRequest, explain_all
from wavescope.engine.local import LocalRunner, Preprocessed, drive
from wavescope.engine.protocols import Classifier, Recorder, Source
from wavescope.engine.threads import one_thread
from wavescope.engine.types import Explanation, ExplanationRequest, Picture


def explain(
    image: Picture | Source,
    request: ExplanationRequest,
    classifier: Classifier,
    *,
    identity: str,
    max_forwards: int,
    other: Picture | Source | None = None,
    listener: Listener = NULL_LISTENER,
    recorder: Recorder | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Explanation:
    """Explains one image with one classifier.

    Args:
        image: the model's preprocessed crop in [0, 1]; or a source, which kinds ``zoom`` and ``robustness`` need.
        request: every parameter; classes given by name must have been turned into indices.
        classifier: the model.
        identity: the explanation's id.
        max_forwards: the most forwards admitted.
        other: the image that kind ``compare`` compares with.
        listener: hears of the forwards in all, of every device batch and of the indices so far.
        recorder: counts rendered and scored images.
        clock: seconds, monotonic.

    Raises:
        InvalidRequest: names the field that does not suit the image or the model.
        ModelFailure: the model returned something that is not a number.
        DeadlineExceeded: the deadline came before there were any indices.
    """
    target = None if request.target is None else int(request.target)
    images = [image] if other is None else [image, other]
    resolved = ResolvedRequest(request, ((target,),), (identity,), ("image", "other")[: len(images)])
    return explain_many(
        images,
        resolved,
        classifier,
        max_forwards=max_forwards,
        listener=listener,
        recorder=recorder,
        clock=clock,
    )[0]


def explain_many(
    images: Sequence[Picture | Source],
    resolved: ResolvedRequest,
    classifier: Classifier,
    *,
    max_forwards: int,
    listener: Listener = NULL_LISTENER,
    recorder: Recorder | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Explanation, ...]:
    """Explains several images, each for one or more classes. Arguments and errors as :func:`explain`.

    While it runs, OpenBLAS has one thread in the whole process (:mod:`wavescope.engine.threads`).
    """
    sources = [Preprocessed(image) if isinstance(image, Picture) else image for image in images]
    runner = LocalRunner(sources, classifier, max_forwards=max_forwards, recorder=recorder, clock=clock)
    with one_thread():
        return drive(explain_all(runner, resolved, listener=listener, clock=clock))
