"""What a request must satisfy, as far as it can be told from the image's size; and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from wavescope.core import wavelets
from wavescope.core.faithfulness import SAMPLES, STEPS, counts
from wavescope.engine.choices import CHOICES, KINDS, MAX_ADAPTIVE_FACTORS, PARTITIONS_OF, STOPS
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import CostLimitExceeded, InvalidRequest

MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exactly
CORRUPTED_IMAGES = 19 * 5
LEAST_FORWARDS = 32  # of an adaptive plan: below, groups alone could be perturbed
REFERENCE_CORRUPTED_IMAGES = 14 * 6  # the authors count the strongest severity twice


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
    if request.partition not in PARTITIONS_OF[request.kind]:
        supported = PARTITIONS_OF[request.kind]
        raise InvalidRequest(
            f"partition {request.partition!r} does not suit kind {request.kind!r}; it takes: {', '.join(supported)}",
            field="partition",
            supported=list(supported),
        )
    if not 0 <= request.seed <= MAX_SEED:
        raise InvalidRequest(
            f"seed is {request.seed}; it must be between 0 and {MAX_SEED}",
            field="seed",
            minimum=0,
            maximum=MAX_SEED,
        )
    if request.deadline_s is not None and not request.deadline_s > 0:
        raise InvalidRequest(f"deadline_s is {request.deadline_s:g}; it must be above 0", field="deadline_s")
    if KINDS[request.kind] == "wavelet":
        _check_levels(request, size)
    _check_plan(request)


def check_choice(field: str, value: str | None, supported: Sequence[str | None]) -> None:
    """Refuses a value that is not one of the supported ones.

    Raises:
        InvalidRequest: names the field and what is supported (the closest ones, where there are many).
    """
    if value in supported:
        return
    names = [name for name in supported if name is not None]
    if len(names) > 12:
        shown = get_close_matches(str(value), names, n=5, cutoff=0.3) or names[:5]
        raise InvalidRequest(
            f"{field} {value!r} is unknown; close to it: {', '.join(shown)}", field=field, close=shown
        )
    raise InvalidRequest(
        f"{field} {value!r} is unknown; supported: {', '.join(names)}", field=field, supported=names
    )


def sample_forwards(request: ExplanationRequest, n_factors: int) -> int:
    """Images scored for the indices, which serve every target of an image: N(K + 2), or at most an adaptive plan's."""
    if request.max_forwards is not None:
        return request.max_forwards
    return request.nb_design * (n_factors + 2)


def product_forwards(request: ExplanationRequest, n_factors: int) -> int:
    """Images scored beyond the pick-freeze sample, for every target anew."""
    total = 0
    if request.kind in ("sufficient-image", "robustness"):
        total += n_factors + 1
    if request.kind == "robustness":
        total += REFERENCE_CORRUPTED_IMAGES if request.compat == "reference" else CORRUPTED_IMAGES
    if request.faithfulness:
        if KINDS[request.kind] != "fourier":  # over pixels
            total += 2 * (STEPS + 1) + SAMPLES
        if KINDS[request.kind] != "pixel":  # over factors
            total += 2 * len(counts(n_factors)) + SAMPLES
    return total


def check_cost(request: ExplanationRequest, n_factors: int, max_forwards: int) -> None:
    """Refuses a request that needs more forwards than admitted.

    Raises:
        CostLimitExceeded: names the field that lowers the cost.
    """
    images = 2 if request.kind in ("compare", "zoom") else 1
    needed = images * sample_forwards(request, n_factors) + product_forwards(request, n_factors)
    if needed > max_forwards and request.plan == "adaptive":
        raise CostLimitExceeded(
            f"max_forwards is {request.max_forwards}: {needed} forwards in all; at most {max_forwards} are admitted",
            field="max_forwards",
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
    """Refuses what a plan has no use for."""
    if request.plan == "full":
        for field in STOPS:
            if getattr(request, field) is not None:
                raise InvalidRequest(
                    f"{field} ends a plan 'adaptive'; plan {request.plan!r} scores its whole sample",
                    field=field,
                )
        return
    if request.sampler == "latin_hypercube":
        raise InvalidRequest(
            "sampler 'latin_hypercube' has no nested designs; plan 'adaptive' takes sobol, halton or monte_carlo",
            field="sampler",
            supported=["sobol", "halton", "monte_carlo"],
        )
    if request.estimator != "jansen":
        raise InvalidRequest(
            f"estimator {request.estimator!r} needs the rows of B; plan 'adaptive' takes jansen",
            field="estimator",
            supported=["jansen"],
        )
    if request.compat is not None:
        raise InvalidRequest("compat 'reference' is the authors' design: it takes plan 'full'", field="plan")
    _check_stops(request)


def _check_stops(request: ExplanationRequest) -> None:
    if request.max_forwards is None:
        raise InvalidRequest(
            "plan 'adaptive' needs max_forwards: the most it may score", field="max_forwards"
        )
    for field, least in (("max_forwards", LEAST_FORWARDS), ("top_k", 1)):
        value = getattr(request, field)
        if value is not None and value < least:
            raise InvalidRequest(
                f"{field} is {value}; it must be at least {least}", field=field, minimum=least
            )
    if request.standard_error is not None and not 0 < request.standard_error <= 1:
        raise InvalidRequest(
            f"standard_error is {request.standard_error:g}; it must be above 0 and at most 1",
            field="standard_error",
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
    extra = request.kind == "zoom"  # the enlarged image has one level more
    if 1 <= request.levels <= deepest - extra:
        return
    why = "; kind 'zoom' needs one more for the enlarged image" if extra else ""
    raise InvalidRequest(
        f"levels is {request.levels}; an image of {size[0]} x {size[1]} px allows 1 to {deepest - extra}{why}",
        field="levels",
        minimum=1,
        maximum=deepest - extra,
    )
