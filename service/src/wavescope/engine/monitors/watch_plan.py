"""Parameters of watching images in this process, and the monitor that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from wavescope.core.monitoring.conformal import MEAN_OBSERVATIONS, MIN_CALIBRATION
from wavescope.core.monitoring.covariance import IMAGES_A_DIMENSION
from wavescope.engine.monitors.config import (
    MonitorConfig,
    ReferencePlan,
    Sampling,
    TestPlan,
    check_config,
    profile_request,
)
from wavescope.engine.values import plain_value
from wavescope.errors import InvalidRequest

REFERENCE = 300  # images that are taken at most
REFERENCE_S = 30.0
PROFILE_RATE = 0.2
FIT_PART = 3  # one of so many images of the reference is for the fit


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """Parameters of watching; the defaults need no tuning.

    Attributes:
        mean_observations: mean number of images to a false alarm, at least this.
        profile_rate: share of the images that get a profile, and all of the reference; ``None`` for 0.2 where profiles
            of the reference take at most ``reference_s``, otherwise 0.
        reference_s: seconds that profiles of the reference may take.
        max_reference: images of the reference that are taken at most.
        seed: of the order in which a reference is read, and of all else that is drawn.
    """

    mean_observations: float = MEAN_OBSERVATIONS
    profile_rate: float | None = None
    reference_s: float = REFERENCE_S
    max_reference: int = REFERENCE
    seed: int = 0


def make_plan(given: Mapping[str, Any]) -> WatchPlan:
    """The plan with these fields; those that are ``None`` keep their defaults.

    Raises:
        InvalidRequest: there is no such field, or its value is no number.
    """
    known = {field.name: int if "int" in str(field.type) else float for field in fields(WatchPlan)}
    for name in given:
        if name not in known:
            raise InvalidRequest(f"unknown field {name!r}; known: {', '.join(known)}", field=name)
    return WatchPlan(
        **{name: plain_value(value, name, known[name]) for name, value in given.items() if value is not None}
    )


def configure(model: str, plan: WatchPlan, size: int, *, given: bool) -> MonitorConfig:
    """The configuration of a monitor.

    Args:
        model: name of the model.
        plan: parameters.
        size: images of the reference.
        given: whether they are given, or the first of the stream.

    Raises:
        InvalidRequest: they are too few, or a parameter is out of range; names the field of the plan.
    """
    if plan.max_reference < 1:
        raise InvalidRequest(
            f"max_reference is {plan.max_reference}; it must be at least 1", field="max_reference", minimum=1
        )
    if not 0 < plan.reference_s < float("inf"):
        raise InvalidRequest(
            f"reference_s is {plan.reference_s:g}; it must be above 0 and not without end",
            field="reference_s",
            minimum=0,
        )
    rate = PROFILE_RATE if plan.profile_rate is None else plan.profile_rate
    try:
        config = MonitorConfig(
            model=model,
            request=profile_request(seed=plan.seed),
            sample=Sampling(profile_rate=rate),
            reference=ReferencePlan(source="given" if given else "stream"),
            test=TestPlan(mean_observations=plan.mean_observations),
        )
        config = replace(config, reference=split_reference(config, size))
        check_config(config)
    except InvalidRequest as wrong:
        field = (wrong.field or "").rpartition(".")[2]
        message = wrong.message.replace(wrong.field or "", field)
        raise InvalidRequest(message, field=field, **wrong.limits) from None
    return config


def least_reference(config: MonitorConfig) -> int:
    """Images that a reference has at least.

    Example:
        >>> least_reference(MonitorConfig(model="birds"))
        130
    """
    return IMAGES_A_DIMENSION * config.bands + MIN_CALIBRATION


def split_reference(config: MonitorConfig, size: int) -> ReferencePlan:
    """The split of a reference of so many images: a third, and at least three for each dimension, for the fit.

    Args:
        config: of the monitor; its source stays.
        size: images.

    Raises:
        InvalidRequest: they are too few.

    Example:
        >>> split_reference(MonitorConfig(model="birds"), 300)
        ReferencePlan(fit=100, calibrate=200, source='stream')
    """
    least = least_reference(config)
    if size < least:
        raise InvalidRequest(
            f"there are {size} images for the reference; it must have at least {least}, {least - MIN_CALIBRATION} that "
            f"say what is usual and {MIN_CALIBRATION} that others are ranked among: give more images",
            field="reference",
            minimum=least,
        )
    fit = min(max(IMAGES_A_DIMENSION * config.bands, size // FIT_PART), size - MIN_CALIBRATION)
    return ReferencePlan(fit=fit, calibrate=size - fit, source=config.reference.source)
