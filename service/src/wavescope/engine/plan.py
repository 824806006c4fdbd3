"""From a preprocessed image and a request to a plan: coefficients once, and what reproduces every perturbation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches

import numpy as np
import pywt
from jaxtyping import Float32

from wavescope.core import design, wavelets
from wavescope.core.partition import Approximation, Partition, partition
from wavescope.core.render import ValuePolicy
from wavescope.engine.choices import CHOICES
from wavescope.engine.types import CropBox, ExplanationRequest, Picture
from wavescope.errors import CostLimitExceeded, InvalidRequest

MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exactly


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """All that determines the perturbations of one image, but its coefficients."""

    shape: tuple[int, int, int]
    wavelet: str
    levels: int
    partition: str
    grid_size: int
    approximation: Approximation
    value_policy: ValuePolicy
    sampler: str
    nb_design: int
    seed: int

    @property
    def packed_shape(self) -> tuple[int, int]:
        """Sides of the packed array: the image's, padded to a multiple of 2^levels."""
        return wavelets.padded_size(*self.shape[1:], self.levels)

    def make_partition(self) -> Partition:
        return partition(
            self.partition,
            *self.packed_shape,
            self.levels,
            grid_size=self.grid_size,
            approximation=self.approximation,
        )

    def make_design(self, n_factors: int) -> design.Design:
        return design.sobol(n_factors, self.nb_design, self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One image's explanation, ready to be scored anywhere.

    Attributes:
        digest: of the spec and the coefficients; equal digests mean equal perturbations, bit for bit.
        coefficients: (c, H, W) packed wavelet coefficients. The only array that travels.
        n_factors: K.
        crop: the part of the original that is explained.
    """

    digest: str
    spec: PlanSpec
    coefficients: Float32[np.ndarray, "c H W"]
    n_factors: int
    crop: CropBox

    @property
    def rows(self) -> int:
        """Forwards of the full plan: N(K + 2)."""
        return self.spec.nb_design * (self.n_factors + 2)

    def chunks(self, size: int) -> Iterator[tuple[int, int]]:
        """Row ranges of at most ``size`` rows, in order; a range is all a replica needs to know."""
        for start in range(0, self.rows, size):
            yield start, min(start + size, self.rows)


def make_plan(picture: Picture, request: ExplanationRequest, *, max_forwards: int) -> Plan:
    """Validates the request against the image and computes the coefficients.

    Args:
        picture: the model's preprocessed crop in [0, 1].
        request: every parameter; its target plays no part here.
        max_forwards: the most N(K + 2) admitted.

    Raises:
        InvalidRequest: a value that is unknown or does not suit the image; names the field.
        CostLimitExceeded: more forwards than admitted.
    """
    shape = picture.pixels.shape
    _check(request, (shape[1], shape[2]))
    spec = PlanSpec(
        shape=(shape[0], shape[1], shape[2]),
        wavelet=request.wavelet,
        levels=request.levels,
        partition=request.partition,
        grid_size=request.grid_size,
        approximation=request.approximation,  # type: ignore[arg-type]  # one of the choices, checked above
        value_policy=request.value_policy,  # type: ignore[arg-type]
        sampler=request.sampler,
        nb_design=request.nb_design,
        seed=request.seed,
    )
    factors = spec.make_partition().n_factors
    design.check_sobol(factors, request.nb_design)
    _check_cost(request.nb_design, factors, max_forwards)
    coefficients = wavelets.analyse(picture.pixels, spec.wavelet, spec.levels)
    return Plan(_digest(spec, coefficients), spec, coefficients, factors, picture.crop)


def warnings(spec: PlanSpec) -> tuple[str, ...]:
    """What the caller should know about the plan, in plain language."""
    found: list[str] = []
    deepest = pywt.dwt_max_level(min(spec.packed_shape), spec.wavelet)
    if spec.levels > deepest:
        found.append(
            f"levels is {spec.levels}, but filters of {spec.wavelet!r} outgrow the image beyond {deepest}: "
            "coefficients of the coarser levels all see its border"
        )
    if spec.nb_design < 4:
        found.append(f"nb_design is {spec.nb_design}: standard errors need at least 4 design rows")
    return tuple(found)


def _check(request: ExplanationRequest, size: tuple[int, int]) -> None:
    for field, supported in CHOICES.items():
        check_choice(field, getattr(request, field), supported)
    if not 0 <= request.seed <= MAX_SEED:
        raise InvalidRequest(
            f"seed is {request.seed}; it must be between 0 and {MAX_SEED}",
            field="seed",
            minimum=0,
            maximum=MAX_SEED,
        )
    deepest = wavelets.max_levels(*size)
    if not 1 <= request.levels <= deepest:
        raise InvalidRequest(
            f"levels is {request.levels}; an image of {size[0]} x {size[1]} px allows 1 to {deepest}",
            field="levels",
            minimum=1,
            maximum=deepest,
        )


def check_choice(field: str, value: str, supported: tuple[str, ...]) -> None:
    """Refuses a value that is not one of the supported ones.

    Raises:
        InvalidRequest: names the field and what is supported (the closest ones, where there are many).
    """
    if value in supported:
        return
    if len(supported) > 12:
        shown = get_close_matches(str(value), supported, n=5, cutoff=0.3) or list(supported[:5])
        raise InvalidRequest(
            f"{field} {value!r} is unknown; close to it: {', '.join(shown)}", field=field, close=shown
        )
    raise InvalidRequest(
        f"{field} {value!r} is unknown; supported: {', '.join(supported)}",
        field=field,
        supported=list(supported),
    )


def _check_cost(nb_design: int, factors: int, max_forwards: int) -> None:
    forwards = nb_design * (factors + 2)
    if forwards > max_forwards:
        raise CostLimitExceeded(
            f"nb_design {nb_design} with {factors} factors needs {forwards} forwards; "
            f"at most {max_forwards} are admitted: lower nb_design or grid_size",
            field="nb_design",
            forwards=forwards,
            maximum=max_forwards,
        )


def _digest(spec: PlanSpec, coefficients: Float32[np.ndarray, "c H W"]) -> str:
    digest = hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode())
    digest.update(np.ascontiguousarray(coefficients).data)
    return digest.hexdigest()
