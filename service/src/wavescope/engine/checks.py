"""Validation of a request against the size of its image, and its cost in forwards."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Final

from wavescope.core import wavelets
from wavescope.core.faithfulness import SAMPLES, STEPS, counts
from wavescope.core.scores import AUTO
from wavescope.core.sobol.design import SAMPLERS
from wavescope.core.sobol.estimators import ESTIMATORS
from wavescope.engine.choices import CHOICES, MANY_CHOICES, OF_DESIGN, OF_GRADIENTS, STOPS
from wavescope.engine.gradient_cost import gradient_forwards
from wavescope.engine.kinds import KINDS, PERTURBING, find_kind
from wavescope.engine.kinds.kind import Kind
from wavescope.engine.limits import LEAST_PATH, MAX_ADAPTIVE_FACTORS
from wavescope.engine.types import ExplanationRequest, ModelDetails, Outputs
from wavescope.engine.values import shown_number
from wavescope.errors import CostLimitExceeded, InfiniteGradient, InvalidRequest

# Limits of a field by their names in its metadata: the words, the name of the limit in errors, and what must hold.
BOUNDS: Final[Mapping[str, tuple[str, str, Callable[[float, float], bool]]]] = {
    "ge": ("at least", "minimum", operator.ge),
    "gt": ("above", "exclusive_minimum", operator.gt),
    "le": ("at most", "maximum", operator.le),
    "lt": ("below", "exclusive_maximum", operator.lt),
}


_DEFAULTS: Final = ExplanationRequest()
_DIFFERENTIATING: Final = tuple(name for name, kind in KINDS.items() if kind.gradients)


def check_request(request: ExplanationRequest, size: tuple[int, int]) -> None:
    """Refuses values that are unknown, or do not suit the kind or the image.

    Args:
        request: every parameter.
        size: (height, width) of the image, px.

    Raises:
        InvalidRequest: names the field and what is supported.
    """
    for field, supported in CHOICES.items():
        check_choice(field, getattr(request, field), supported)
    check_limits(request)
    kind = KINDS[request.kind]
    _check_fixed(request, kind)
    if request.partition not in kind.partitions:
        supported = kind.partitions
        raise InvalidRequest(
            f"partition {request.partition!r} does not suit kind {kind.name!r}; it takes: {', '.join(supported)}",
            field="partition",
            supported=list(supported),
        )
    if request.against is not None and "contrast" not in kind.sections:
        supported = [name for name, record in KINDS.items() if "contrast" in record.sections]
        raise InvalidRequest(
            f"against is for kinds {', '.join(supported)}, not for kind {kind.name}: leave it out",
            field="against",
            supported=supported,
        )
    if kind.transform == "wavelet":
        _check_levels(request, size)
    _check_plan(request)


def check_gradients(request: ExplanationRequest, details: ModelDetails) -> None:
    """Refuses a kind that differentiates the model where the model has no gradients.

    Raises:
        InvalidRequest: says why it has none, and which kind needs none.
    """
    if find_kind(request.kind).gradients and details.no_gradients is not None:
        raise without_gradients(request.kind, details.name, details.no_gradients)


def without_gradients(kind: str, model: str, reason: str) -> InvalidRequest:
    """Error of a kind that needs gradients, for a model that has none."""
    scored = _kinds_of_scores(kind)
    return InvalidRequest(
        f"kind {kind!r} needs gradients, and model {model!r} has none: {reason}. Take kind {scored[0]!r}, which needs "
        "scores alone, or a model that GET /v1/models lists with gradients",
        field="kind",
        supported=scored,
    )


def with_infinite_gradient(kind: str, error: InfiniteGradient) -> InvalidRequest:
    """Error of a kind that needs gradients, where one of them is not finite."""
    scored = _kinds_of_scores(kind)
    return InvalidRequest(
        f"kind {kind!r} needs gradients that are finite: {error.message}. Take kind {scored[0]!r}, which needs scores "
        "alone",
        field="kind",
        supported=scored,
        **error.limits,
    )


def _kinds_of_scores(kind: str) -> list[str]:
    """Kinds over the same coefficients that need scores alone."""
    return [name for name, record in PERTURBING.items() if record.transform == KINDS[kind].transform]


def _check_fixed(request: ExplanationRequest, kind: Kind) -> None:
    """Refuses fields that have one value alone with this kind, and the limits of a plan that it has not."""
    for field, only in kind.fixed.items():
        value = getattr(request, field)
        if value != only:
            remedy = "leave it out" if only is None else f"leave it out, or write {only!r}"
            raise InvalidRequest(
                f"{field} {value!r} has no meaning for kind {kind.name!r}, which differentiates the model and perturbs "
                f"no factors: {remedy}",
                field=field,
                supported=[only],
            )
    for field in (*STOPS, "prior") if kind.fixed else ():
        if getattr(request, field) not in (None, AUTO):
            raise InvalidRequest(
                f"{field} is of plans that perturb factors; kind {kind.name!r} differentiates the model: leave it out",
                field=field,
            )
    for field in () if kind.gradients else OF_GRADIENTS:
        usual = getattr(_DEFAULTS, field)
        if getattr(request, field) != usual:
            raise InvalidRequest(
                f"{field} is of kinds that differentiate the model ({', '.join(_DIFFERENTIATING)}); kind {kind.name!r} "
                f"perturbs factors: leave it out, or write {usual!r}",
                field=field,
                supported=[usual],
            )
    if kind.gradients and request.method == "integrated_gradients" and request.samples < LEAST_PATH:
        raise InvalidRequest(
            f"samples is {request.samples}; method 'integrated_gradients' needs {LEAST_PATH} at least, the ends of its "
            "path",
            field="samples",
            minimum=LEAST_PATH,
        )


def check_limits(request: ExplanationRequest) -> None:
    """Refuses numbers beyond the limits of their fields, whatever the kind: those that bodies over HTTP have too.

    Raises:
        InvalidRequest: names the field and the limit that is crossed.
    """
    for field in fields(ExplanationRequest):
        value = getattr(request, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            _check_number(field.name, value, field.metadata)


def _check_number(field: str, value: float, limits: Mapping[str, Any]) -> None:
    bounds = [
        (limits[key], words, name, holds) for key, (words, name, holds) in BOUNDS.items() if key in limits
    ]
    # Neither holds of what is not a number.
    crossed = {name: limit for limit, _, name, holds in bounds if not holds(value, limit)}
    finite = limits.get("allow_inf_nan", True) or math.isfinite(value)
    if finite and not crossed:
        return
    if {"ge", "le"} <= limits.keys():
        wanted = f"between {limits['ge']} and {limits['le']}"
    else:
        wanted = " and ".join(f"{words} {limit}" for limit, words, *_ in bounds)
    raise InvalidRequest(
        f"{field} is {shown_number(value)}; it must be {wanted}{'' if finite else ' and finite'}",
        field=field,
        **dict(list(crossed.items())[:1] if finite else ()),
    )


def check_choice(field: str, value: str | None, supported: Sequence[str | None]) -> None:
    """Refuses a value that is not one of the supported ones.

    Raises:
        InvalidRequest: names the field and what is supported (the closest ones, where there are many).
    """
    if value in supported:
        return
    names = [name for name in supported if name is not None]
    if len(names) > MANY_CHOICES:
        shown = get_close_matches(str(value), names, n=5, cutoff=0.3) or names[:5]
        raise InvalidRequest(
            f"{field} {value!r} is unknown; close to it: {', '.join(shown)}", field=field, close=shown
        )
    raise InvalidRequest(
        f"{field} {value!r} is unknown; supported: {', '.join(names)}", field=field, supported=names
    )


def sample_forwards(request: ExplanationRequest, n_factors: int) -> int:
    """Images scored for the indices, which serve every target of an image: N(K + 2), or at most an adaptive plan's."""
    if KINDS[request.kind].gradients:
        return 0
    if request.max_forwards is not None:
        return request.max_forwards
    return request.nb_design * (n_factors + 2)


def product_forwards(request: ExplanationRequest, n_factors: int, outputs: Outputs) -> int:
    """Images scored beyond the pick-freeze sample, for every target anew."""
    kind = KINDS[request.kind]
    total = kind.extra_forwards(request, n_factors, outputs)
    if request.faithfulness:
        if kind.transform != "fourier":  # over pixels
            total += 2 * (STEPS + 1) + SAMPLES
        if kind.transform != "pixel":  # over factors
            total += 2 * len(counts(n_factors)) + SAMPLES
    return total


def check_cost(request: ExplanationRequest, n_factors: int, outputs: Outputs, max_forwards: int) -> None:
    """Refuses a request that needs more forwards than admitted.

    Raises:
        CostLimitExceeded: names the field that lowers the cost.
    """
    images = 1 if KINDS[request.kind].second_image is None else 2
    needed = images * sample_forwards(request, n_factors) + product_forwards(request, n_factors, outputs)
    if needed > max_forwards and request.plan == "adaptive":
        raise CostLimitExceeded(
            f"max_forwards is {request.max_forwards}: {needed} forwards in all; at most {max_forwards} are admitted",
            field="max_forwards",
            forwards=needed,
            maximum=max_forwards,
        )
    if needed > max_forwards and KINDS[request.kind].gradients:
        raise CostLimitExceeded(
            f"samples {request.samples} needs {needed} forwards, of which a gradient counts as "
            f"{gradient_forwards(outputs, request.score)}; at most {max_forwards} are admitted: lower samples",
            field="samples",
            forwards=needed,
            maximum=max_forwards,
        )
    if needed > max_forwards:
        raise CostLimitExceeded(
            f"nb_design {request.nb_design} with {n_factors} factors needs {needed} forwards; "
            f"at most {max_forwards} are admitted: lower nb_design or grid_size",
            field="nb_design",
            forwards=needed,
            maximum=max_forwards,
        )


def check_adaptive(request: ExplanationRequest, n_factors: int) -> None:
    """Refuses an adaptive plan over more factors than it can hold, or fewer than it is to settle.

    Raises:
        InvalidRequest: names the limit.
    """
    if request.plan == "adaptive" and n_factors > MAX_ADAPTIVE_FACTORS:
        raise InvalidRequest(
            f"this partition has {n_factors} factors; plan 'adaptive' holds at most {MAX_ADAPTIVE_FACTORS}: "
            "lower grid_size, or take plan 'full'",
            field="grid_size",
            maximum_factors=MAX_ADAPTIVE_FACTORS,
        )
    if request.top_k is not None and request.top_k >= n_factors:
        raise InvalidRequest(
            f"top_k is {request.top_k}; this partition has {n_factors} factors, and it must be fewer",
            field="top_k",
            maximum=n_factors - 1,
        )


def _check_plan(request: ExplanationRequest) -> None:
    """Refuses fields and values that the plan has no use for."""
    if request.plan == "full":
        for field in STOPS:
            if getattr(request, field) is not None:
                raise InvalidRequest(
                    f"{field} ends a plan 'adaptive'; plan {request.plan!r} scores its whole sample{_alone(request)}",
                    field=field,
                )
        if request.prior != AUTO:
            raise InvalidRequest(
                f"prior {request.prior!r} is what a plan 'adaptive' predicts indices from; plan {request.plan!r} "
                f"measures all of them{_alone(request) or ': leave prior out, or take plan ' + repr('adaptive')}",
                field="prior",
            )
        return
    if not SAMPLERS[request.sampler].nested:
        *others, last = supported = [name for name, sampler in SAMPLERS.items() if sampler.nested]
        raise InvalidRequest(
            f"sampler {request.sampler!r} has no nested designs; plan 'adaptive' takes {', '.join(others)} or {last}",
            field="sampler",
            supported=supported,
        )
    if not ESTIMATORS[request.estimator].adaptive:
        supported = [name for name, estimator in ESTIMATORS.items() if estimator.adaptive]
        raise InvalidRequest(
            f"estimator {request.estimator!r} needs the rows of B; plan 'adaptive' takes {', '.join(supported)}",
            field="estimator",
            supported=supported,
        )
    if request.compat is not None:
        raise InvalidRequest("compat 'reference' is the authors' design: it takes plan 'full'", field="plan")
    _check_stops(request)


def _alone(request: ExplanationRequest) -> str:
    """Clause about ``compat``, which takes no plan but the full one; empty without it."""
    if request.compat is None:
        return ""
    return f", and compat {request.compat!r} takes no other: leave one of them out"


def ignored_fields(request: ExplanationRequest) -> tuple[str, ...]:
    """Fields with another value than their default that play no part in a kind that differentiates the model."""
    unused = [*OF_DESIGN, "baseline" if request.method == "smoothgrad" else "noise"]
    return tuple(name for name in unused if getattr(request, name) != getattr(_DEFAULTS, name))


def _check_stops(request: ExplanationRequest) -> None:
    if request.max_forwards is None:
        raise InvalidRequest(
            "plan 'adaptive' needs max_forwards: the most it may score", field="max_forwards"
        )
    if not 4 <= request.nb_design <= request.max_forwards // 2:
        raise InvalidRequest(
            f"nb_design is {request.nb_design}; with plan 'adaptive' and max_forwards {request.max_forwards} it must "
            f"be between 4 and {request.max_forwards // 2}: the rest goes to the factors",
            field="nb_design",
            minimum=4,
            maximum=request.max_forwards // 2,
        )


def _check_levels(request: ExplanationRequest, size: tuple[int, int]) -> None:
    deepest = wavelets.max_levels(*size)
    second = KINDS[request.kind].second_image
    extra = 0 if second is None else second.extra_levels
    if 1 <= request.levels <= deepest - extra:
        return
    why = f"; kind {request.kind!r} needs one more for the enlarged image" if extra else ""
    raise InvalidRequest(
        f"levels is {request.levels}; an image of {size[0]} x {size[1]} px allows 1 to {deepest - extra}{why}",
        field="levels",
        minimum=1,
        maximum=deepest - extra,
    )


def resolve_prior(request: ExplanationRequest, details: ModelDetails) -> str:
    """Prior of the adaptive plan's indices: the one asked for, or for ``auto`` the one that suits the model.

    Args:
        request: every parameter; ``prior`` of a full plan plays no part and stays ``auto``.
        details: of the model.

    Raises:
        InvalidRequest: gradients asked of a model that has none; says why.
    """
    if request.plan != "adaptive":
        return request.prior
    if request.prior == "gradients" and details.no_gradients is not None:
        raise InvalidRequest(
            f"prior is 'gradients', but model {details.name!r} has no gradients: {details.no_gradients}; "
            "take prior 'size', or 'auto'",
            field="prior",
            supported=["auto", "size"],
        )
    if request.prior == AUTO:
        return "gradients" if details.gradients else "size"
    return request.prior


def check_against(against: int | None, targets: Sequence[int | None], details: ModelDetails) -> None:
    """Refuses a class to be contrasted with where it is one that is explained, or where the model has no contrast.

    Args:
        against: index of the class; ``None`` for the runner-up.
        targets: indices of the classes that are explained; ``None`` for the predicted one, which is not known yet.
        details: of the model.

    Raises:
        InvalidRequest: names the field, and the class.
    """
    if against is None:
        return
    if len(details.labels) < 2:
        raise InvalidRequest(
            "against is a class to be contrasted with, and this model has a single one: leave it out",
            field="against",
        )
    if details.threshold is not None:
        raise InvalidRequest(
            "against is for models of several outputs; the one output of this model is the logit of its positive class "
            "against its negative one: leave it out, and take score 'logit'",
            field="against",
        )
    if against in targets:
        raise InvalidRequest(
            f"against and target are the same class, {against} ({details.labels[against]!r}): name another one, or "
            "leave against out for the runner-up",
            field="against",
        )
