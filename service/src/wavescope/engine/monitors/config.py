"""Configuration of a monitor, and its checks."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wavescope.core.monitoring.bounded_mean import TOLERANCE
from wavescope.core.monitoring.conformal import MEAN_OBSERVATIONS, MIN_CALIBRATION
from wavescope.core.monitoring.covariance import IMAGES_A_DIMENSION
from wavescope.core.monitoring.scores import SIGNALS
from wavescope.engine.checks import check_limits
from wavescope.engine.kinds.profile import KIND
from wavescope.engine.requests import make_request
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import InvalidRequest

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
METHODS = ("conformal", "bounded-mean")
SOURCES = ("stream", "given")
VALUES = ("pixels", "unit", "normalized")
ALL_SIGNALS = "all"  # name of the bounded-mean test's evidence, which is of all signals together
PROFILE_SIGNALS = ("reliance", "fineness")
PROFILE_FIELDS = ("partition", "nb_design", "seed", "wavelet", "levels", "score")
MAX_REFERENCE = 10_000
MAX_KEPT_IMAGES = 100
MAX_MEAN_OBSERVATIONS = 1e12
MAX_THIN_S = 86_400.0

Values = Literal["pixels", "unit", "normalized"]
Method = Literal["conformal", "bounded-mean"]
Origin = Literal["stream", "given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMatch:
    """Attributes that an event must have to be of a monitor; ``None`` matches all.

    Attributes:
        namespace, inferenceservice, component: those of KServe's logger.
    """

    namespace: str | None = None
    inferenceservice: str | None = None
    component: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling of the images, and the share of the model that it may take.

    Attributes:
        rate: share of the events that are observed, by a hash of their id, above 0, at most 1.
        thin_s: least time between two observations, s; 0 for no limit.
        profile_rate: share of the observations that get a profile, 0 to 1; all of the reference do.
        max_share_of_model: share of the model's measured speed that the monitor takes at most, above 0, at most 1.
    """

    rate: float = 1.0
    thin_s: float = 0.0
    profile_rate: float = 0.2
    max_share_of_model: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePlan:
    """Reference that the stream is held against.

    Attributes:
        fit: images that the scores are fitted to.
        calibrate: images after these that the stream is ranked among.
        source: ``stream`` takes the first observations of the stream, ``given`` those sent as ``reference`` alone.
    """

    fit: int = 100
    calibrate: int = 200
    source: Origin = "stream"

    @property
    def size(self) -> int:
        """Images in all."""
        return self.fit + self.calibrate


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPlan:
    """Test for change.

    Attributes:
        method: ``conformal`` or ``bounded-mean``.
        mean_observations: mean number of observations to a false alarm, at least this.
        tolerance: rise of a mean that is no change, of ``bounded-mean`` alone; ``None`` for its default.
        weights: of the signals in the false alarms, with the sum 1; empty for equal ones of all that are measured.
    """

    __test__ = False  # no test of pytest's

    method: Method = "conformal"
    mean_observations: float = MEAN_OBSERVATIONS
    tolerance: float | None = None
    weights: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmHook:
    """Webhook that alarms are sent to.

    Attributes:
        url: of the receiver.
        secret: key of the signature: ``{"file": PATH}`` or ``{"env": NAME}``.
    """

    url: str
    secret: dict[str, str]


def profile_request(**given: Any) -> ExplanationRequest:
    """The profile that is made of images.

    Args:
        **given: fields of :class:`wavescope.engine.types.ExplanationRequest` among ``partition``, ``nb_design``,
            ``seed``, ``wavelet``, ``levels`` and ``score``.

    Raises:
        InvalidRequest: another field, another kind, or a number out of range.
    """
    kind = given.pop("kind", KIND.name)
    if kind != KIND.name:
        raise InvalidRequest(
            f"request.kind is {str(kind)[:32]!r}; monitors make profiles: profile",
            field="request.kind",
            supported=["profile"],
        )
    for name in given:
        if name not in PROFILE_FIELDS:
            raise InvalidRequest(
                f"request.{name[:32]} is no field of a monitor's profile; fields are {', '.join(PROFILE_FIELDS)}",
                field=f"request.{name[:32]}",
                supported=list(PROFILE_FIELDS),
            )
    request = make_request(**{"kind": KIND.name, "nb_design": NB_DESIGN, **given})
    try:
        check_limits(request)
    except InvalidRequest as wrong:
        raise InvalidRequest(
            f"request.{wrong.message}", field=f"request.{wrong.field}", **wrong.limits
        ) from None
    return request


NB_DESIGN = 4  # by the table of docs/monitoring.md


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """Configuration of a monitor.

    Attributes:
        model: name of the model whose stream it is.
        request: of the profiles.
        match: events that are its own, where they are not sent to its own address; ``None`` for none.
        values: of tensors in events: ``pixels`` of 0 to 255, ``unit`` of 0 to 1, or ``normalized`` as the model takes
            them.
        sample, reference, test: see there.
        keep_images: images of the most shifted observations that are kept, for a diagnosis; and ten times as many of
            the reference.
        webhook: where alarms are sent; ``None`` for nowhere.
    """

    model: str
    request: ExplanationRequest = field(default_factory=profile_request)
    match: EventMatch | None = None
    values: Values = "pixels"
    sample: Sampling = field(default_factory=Sampling)
    reference: ReferencePlan = field(default_factory=ReferencePlan)
    test: TestPlan = field(default_factory=TestPlan)
    keep_images: int = 0
    webhook: AlarmHook | None = None

    @property
    def bands(self) -> int:
        """Sub-bands of the wavelet transform: 3 · levels + 1."""
        return 3 * self.request.levels + 1

    @property
    def shares(self) -> int:
        """Factors of a profile: its sub-bands, or its levels."""
        return self.bands if self.request.partition == "subbands" else self.request.levels + 1

    @property
    def signals(self) -> tuple[str, ...]:
        """Signals that are measured, in order."""
        return tuple(name for name in SIGNALS if self.sample.profile_rate > 0 or name not in PROFILE_SIGNALS)

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the signals that are watched: those given, or equal ones."""
        given = self.test.weights or {name: 1 / len(self.signals) for name in self.signals}
        return {name: given[name] for name in SIGNALS if given.get(name, 0) > 0}

    @property
    def evidences(self) -> tuple[str, ...]:
        """Names of the evidences: of each signal that is watched, or ``all`` of the bounded-mean test."""
        return tuple(self.weights) if self.test.method == "conformal" else (ALL_SIGNALS,)

    @property
    def of_reference(self) -> tuple[Any, ...]:
        """Parts that the reference depends on: with another value its measurements are not comparable."""
        return self.model, self.request, self.values, self.reference, self.sample.profile_rate > 0


def check_name(name: str) -> str:
    """The name of a monitor, if it is one.

    Raises:
        InvalidRequest: it is not 1 to 40 of a-z, 0-9 and hyphens, which neither begin nor end it.
    """
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            f"a monitor's name is 1 to 40 of a-z, 0-9 and hyphens within, not {name[:64]!r}", field="name"
        )
    return name


def check_config(config: MonitorConfig) -> None:
    """Refuses a configuration that cannot be.

    Raises:
        InvalidRequest: names the field, the limit and the remedy.
    """
    sample, reference, test = config.sample, config.reference, config.test
    _within("sample.rate", sample.rate, 0, 1, open_low=True)
    _within("sample.thin_s", sample.thin_s, 0, MAX_THIN_S)
    _within("sample.profile_rate", sample.profile_rate, 0, 1)
    _within("sample.max_share_of_model", sample.max_share_of_model, 0, 1, open_low=True)
    _within("keep_images", config.keep_images, 0, MAX_KEPT_IMAGES)
    _one_of("values", config.values, VALUES)
    _one_of("request.partition", config.request.partition, ("subbands", "levels"))
    _one_of("reference.source", reference.source, SOURCES)
    _one_of("test.method", test.method, METHODS)
    _within("test.false_alarm.mean_observations", test.mean_observations, 1, MAX_MEAN_OBSERVATIONS)
    dimension = max(config.bands, config.shares - 1 if config.sample.profile_rate > 0 else 0)
    _within("reference.fit", reference.fit, IMAGES_A_DIMENSION * dimension, MAX_REFERENCE)
    _within("reference.calibrate", reference.calibrate, MIN_CALIBRATION, MAX_REFERENCE)
    if test.tolerance is not None:
        if test.method != "bounded-mean":
            raise InvalidRequest(
                "test.tolerance is of test.method bounded-mean alone: give that, or leave tolerance out",
                field="test.tolerance",
            )
        _within("test.tolerance", test.tolerance, 0, 1, open_high=True)
    _check_weights(config)


def tolerance(test: TestPlan) -> float:
    """Tolerance of the bounded-mean test, its default where none is given."""
    return TOLERANCE if test.tolerance is None else test.tolerance


def _check_weights(config: MonitorConfig) -> None:
    weights = config.test.weights
    for name, weight in weights.items():
        where = f"test.weights.{name[:32]}"
        if name not in config.signals:
            reason = "needs sample.profile_rate above 0" if name in SIGNALS else "is no signal"
            raise InvalidRequest(
                f"{where} {reason}; signals are {', '.join(config.signals)}",
                field=where,
                supported=list(config.signals),
            )
        _within(where, weight, 0, 1)
    if weights and config.test.method == "bounded-mean":
        _check_bounded_weights(config)
    total = math.fsum(weights.values())
    if weights and not math.isclose(total, 1, abs_tol=1e-9):
        raise InvalidRequest(
            f"test.weights add up to {total:g}; their sum must be 1: divide each by their sum",
            field="test.weights",
            sum=1,
        )


def _check_bounded_weights(config: MonitorConfig) -> None:
    """The bounded-mean test watches the confidence and the shares, not the energies."""
    given = config.test.weights
    shares = config.sample.profile_rate > 0
    watched = ("confidence", "reliance") if shares else ("confidence",)
    parts = {
        "confidence": given.get("confidence", 0),
        "reliance": sum(given.get(name, 0) for name in PROFILE_SIGNALS),
    }
    wrong = [name for name in watched if parts[name] <= 0] + ["input"] * (given.get("input", 0) > 0)
    if wrong:
        raise InvalidRequest(
            f"test.weights.{wrong[0]} is {given.get(wrong[0], 0):g}; test.method bounded-mean watches "
            f"{' and '.join(watched)}, each with a weight above 0, and not input: leave test.weights out for equal "
            "ones",
            field=f"test.weights.{wrong[0]}",
            supported=list(watched),
        )


def _within(
    name: str, value: float, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> None:
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (math.isfinite(value) and above and below):
        least = f"above {low:g}" if open_low else f"at least {low:g}"
        most = f"below {high:g}" if open_high else f"at most {high:g}"
        raise InvalidRequest(
            f"{name} is {value:g}; it must be {least} and {most}", field=name, minimum=low, maximum=high
        )


def _one_of(name: str, value: str, supported: tuple[str, ...]) -> None:
    if value not in supported:
        raise InvalidRequest(
            f"{name} is {str(value)[:32]!r}; it must be one of {', '.join(supported)}",
            field=name,
            supported=list(supported),
        )


def routes(
    matches: Mapping[str, EventMatch | None], namespace: str, inferenceservice: str, component: str
) -> list[str]:
    """Names of the monitors that an event is of, those of the most specific match alone.

    Args:
        matches: of every monitor, by its name.
        namespace, inferenceservice, component: of the event.

    Example:
        >>> routes({"a": EventMatch(namespace="prod"), "b": EventMatch(namespace="prod", inferenceservice="birds")},
        ...        "prod", "birds", "predictor")
        ['b']
    """
    found: dict[str, int] = {}
    for name, match in matches.items():
        if match is None:
            continue
        wanted = (match.namespace, match.inferenceservice, match.component)
        given = (namespace, inferenceservice, component)
        if all(one is None or one == other for one, other in zip(wanted, given, strict=True)):
            found[name] = sum(one is not None for one in wanted)
    most = max(found.values(), default=0)
    return [name for name, fields in found.items() if fields == most and most > 0]
