"""What a request must satisfy, as far as it can be told from the image's size; and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from wavescope.core import wavelets
from wavescope.core.faithfulness import SAMPLES, STEPS, counts
from wavescope.engine.choices import CHOICES, KINDS, PARTITIONS_OF
from wavescope.engine.types import ExplanationRequest
from wavescope.errors import CostLimitExceeded, InvalidRequest

MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exactly
CORRUPTED_IMAGES = 19 * 5
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
    if KINDS[request.kind] == "wavelet":
        _check_levels(request, size)


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
    """Images of the pick-freeze sample, which serves every target of an image: N(K + 2)."""
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
    if needed > max_forwards:
        raise CostLimitExceeded(
            f"nb_design {request.nb_design} with {n_factors} factors needs {needed} forwards; "
            f"at most {max_forwards} are admitted: lower nb_design or grid_size",
            field="nb_design",
            forwards=needed,
            maximum=max_forwards,
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
