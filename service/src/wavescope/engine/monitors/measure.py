"""Measurement of one image: energies of its sub-bands, the model's confidence, and a profile where it is asked for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from wavescope.core.monitoring.scores import band_energies
from wavescope.engine.explain import PlannedRequest, ResolvedRequest, explain_planned, plan_request
from wavescope.engine.monitors.observation import Observed, revision_of
from wavescope.engine.products import most_probable
from wavescope.engine.protocols import Runner
from wavescope.engine.types import ExplanationRequest, ProfileBand
from wavescope.errors import (
    ConstantScore,
    ImageTooLarge,
    InvalidRequest,
    ModelFailure,
    NotAnImage,
    UnknownTarget,
    WavescopeError,
)

UNDECODABLE = (NotAnImage, ImageTooLarge)
FAILED = (ModelFailure, UnknownTarget)  # what another try of the same image would come to again


async def plan_measurement(runner: Runner, request: ExplanationRequest) -> PlannedRequest | Observed:
    """Plans the measurement of the runner's only image; the measurement where it cannot be decoded.

    Raises:
        WavescopeError: for another reason than the image's.
    """
    try:
        return await plan_request(runner, ResolvedRequest(request, ((None,),), ("observation",)))
    except UNDECODABLE as unread:
        return undecodable(runner, request, unread)
    except InvalidRequest as unfit:
        if unfit.field in (None, "image"):
            return undecodable(runner, request, unfit)
        raise


async def measure(planned: PlannedRequest, request: ExplanationRequest, *, profile: bool) -> Observed:
    """Measures the image of a plan.

    Args:
        planned: see :func:`plan_measurement`.
        request: that it was planned for.
        profile: whether a profile is made, of N(K + 2) forwards, beside the one of the clean prediction.

    Raises:
        WavescopeError: for another reason than the image or what the model makes of it.
    """
    context = planned.contexts[0]
    runner, plan = context.runner, context.plan
    energies = await runner.compute(band_energies, plan.array, plan.spec.levels)
    revision = revision_of(runner.details, request)
    if profile:
        try:
            (found,) = await explain_planned(planned)
        except (ConstantScore, *FAILED) as failure:
            return _failed(failure, revision, energies, planned.forwards + 1)
        best, forwards = found.prediction[0], found.forwards + 1
        shares = None if found.profile is None else _shares(found.profile)
        outcome = "observed" if shares is not None else "constant_score"
        reason = (
            ""
            if shares is not None
            else "the score does not vary over perturbed images: there are no indices"
        )
    else:
        try:
            _, outputs = await runner.clean(plan)
        except FAILED as failure:
            return _failed(failure, revision, energies, 1, profiled=False)
        best, forwards = most_probable(outputs, runner.details, 1)[0], 1
        shares, outcome, reason = None, "observed", ""
    return Observed(
        outcome,
        revision,
        profiled=profile,
        energies=energies,
        confidence=best.probability,
        predicted=best.index,
        shares=shares,
        forwards=forwards,
        reason=reason,
    )


def undecodable(runner: Runner, request: ExplanationRequest, error: WavescopeError) -> Observed:
    """The measurement of an image that cannot be decoded."""
    return Observed("undecodable", revision_of(runner.details, request), profiled=True, reason=error.message)


def expired(revision: str, reason: str) -> Observed:
    """The measurement that was not made in time, which says nothing of the image."""
    return Observed("expired", revision, profiled=False, reason=reason)


def _failed(
    error: WavescopeError,
    revision: str,
    energies: Float64[np.ndarray, " b"],
    forwards: int,
    *,
    profiled: bool = True,
) -> Observed:
    outcome = "constant_score" if isinstance(error, ConstantScore) else "failed"
    return Observed(
        outcome, revision, profiled=profiled, energies=energies, forwards=forwards, reason=error.message
    )


def _shares(profile: tuple[ProfileBand, ...]) -> Float64[np.ndarray, " k"]:
    """Shares that add up to 1; indices below 0, which are noise about 0, count as 0."""
    values = np.maximum([band.share for band in profile], 0.0)
    total = float(values.sum())
    return values / total if total > 0 else np.full(len(values), 1 / len(values))
