"""Plan of a preprocessed image and a request: one array, and the data that reproduces every perturbation of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from wavescope.core import wavelets
from wavescope.core.partition import Approximation, Partition, fourier_partition, partition, pixel_partition
from wavescope.core.reference.renderer import reference_partition
from wavescope.core.rendering.pixel import Baseline
from wavescope.core.rendering.renderer import ValuePolicy
from wavescope.core.sobol import design
from wavescope.core.sobol.estimators import check_estimator
from wavescope.engine.checks import check_adaptive, check_cost, check_request
from wavescope.engine.kinds import KINDS
from wavescope.engine.kinds.kind import Transform
from wavescope.engine.types import CropBox, ExplanationRequest, Outputs, Picture


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """Parameters that determine the perturbations of one image, beside its array.

    The defaults are those of a plan over pixels with factors of the caller's.

    Attributes:
        shape: (channels, height, width) of the image.
        transform: whose coefficients are perturbed.
        reference: render as the authors' code does.
        wavelet, levels, partition, grid_size, approximation, value_policy, baseline, sampler, nb_design, seed: as those
            of :class:`wavescope.engine.types.ExplanationRequest`.
    """

    shape: tuple[int, int, int]
    transform: Transform
    reference: bool = False
    # Fields of the request, by their names.
    wavelet: str = ""
    levels: int = 0
    partition: str = "given"
    grid_size: int = 0
    approximation: Approximation = "perturb"
    value_policy: ValuePolicy = "clip"
    baseline: Baseline = "zero"
    sampler: str = ""
    nb_design: int = 0
    seed: int = 0

    @classmethod
    def of_request(
        cls, request: ExplanationRequest, shape: tuple[int, int, int], transform: Transform
    ) -> PlanSpec:
        """The specification of a request that was checked."""
        parameters = request.parameters()
        named = {field.name: parameters[field.name] for field in fields(cls) if field.name in parameters}
        # The authors' code has no pixel domain.
        return cls(shape, transform, request.compat == "reference" and transform != "pixel", **named)

    @property
    def packed_shape(self) -> tuple[int, int]:
        """Sides of the packed wavelet array: the image's, padded to a multiple of 2^levels."""
        return wavelets.padded_size(*self.shape[1:], self.levels)

    def analyse(self, image: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c H W"]:
        """The packed wavelet coefficients of an image."""
        return wavelets.analyse(image, self.wavelet, self.levels)

    def make_partition(self) -> Partition:
        """The factors of the named partition."""
        height, width = self.shape[1:]
        if self.reference:
            assert self.transform != "pixel"
            return reference_partition(
                self.transform,
                self.partition,
                height,
                width,
                self.levels,
                grid_size=self.grid_size,
                approximation=self.approximation,
            )
        if self.transform == "fourier":
            return fourier_partition(self.partition, height, width, grid_size=self.grid_size)
        if self.transform == "pixel":
            return pixel_partition(height, width, self.grid_size)
        return partition(
            self.partition,
            *self.packed_shape,
            self.levels,
            grid_size=self.grid_size,
            approximation=self.approximation,
        )

    def make_design(self, n_factors: int) -> design.Design:
        """The design of the named sampler."""
        return design.make_design(self.sampler, n_factors, self.nb_design, self.seed)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One image's perturbations, ready to be scored anywhere.

    Attributes:
        digest: digest of all that decides the perturbations; equal digests mean equal perturbations, bit for bit.
        array: (c, H, W), the only array that travels: packed wavelet coefficients, or the image in [0, 1].
        n_factors: K.
        crop: the part of the original that is explained.
        original_size: (height, width) of the original, px.
        given: (h, w) factors that no name stands for; ``None`` for those of the spec.
        assumptions: sentences about what was assumed of the image's file.
    """

    digest: str
    spec: PlanSpec
    array: Float32[np.ndarray, "c H W"]
    n_factors: int
    crop: CropBox
    original_size: tuple[int, int]
    given: Int32[np.ndarray, "h w"] | None = None
    assumptions: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Forwards of the full plan: N(K + 2); 0 of a plan without a design."""
        return self.spec.nb_design * (self.n_factors + 2)

    def make_partition(self) -> Partition:
        """The factors: those given, or those of the spec."""
        return self.spec.make_partition() if self.given is None else Partition(self.given, self.n_factors)


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Finished images to be scored as they are, such as corrupted ones.

    Attributes:
        digest: of the images.
        images: (n, c, h, w) uint8, or float32 in [0, 1].
        assumptions: per image, sentences about what was assumed of its file; empty of images that come from none.
    """

    digest: str
    images: UInt8[np.ndarray, "n c h w"] | Float32[np.ndarray, "n c h w"]
    assumptions: tuple[tuple[str, ...], ...] = ()

    @property
    def rows(self) -> int:
        """Number of images."""
        return len(self.images)


def chunks(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Row ranges of at most ``size`` rows, in order; a range is all a replica needs to know."""
    for start in range(0, rows, size):
        yield start, min(start + size, rows)


def make_plan(
    picture: Picture, request: ExplanationRequest, *, max_forwards: int, outputs: Outputs = "logits"
) -> Plan:
    """Validates the request against the image and computes the array that travels.

    Args:
        picture: the model's preprocessed crop in [0, 1].
        request: every parameter; its target plays no part here.
        max_forwards: the most forwards admitted.
        outputs: what the model returns: the cost of gradients depends on it. By ``logits`` none costs less.

    Raises:
        InvalidRequest: a value that is unknown or does not suit the image; names the field.
        CostLimitExceeded: more forwards than admitted.
    """
    shape = picture.pixels.shape
    check_request(request, (shape[1], shape[2]))
    transform = KINDS[request.kind].transform
    spec = PlanSpec.of_request(request, (shape[0], shape[1], shape[2]), transform)
    factors = spec.make_partition().n_factors
    if KINDS[request.kind].gradients:
        spec = replace(spec, nb_design=0)
    else:
        design.check_design(request.sampler, factors, request.nb_design)
        check_estimator(request.estimator, request.nb_design)
        check_adaptive(request, factors)
    check_cost(request, factors, outputs, max_forwards)
    travels = spec.transform == "wavelet" and not spec.reference
    array = spec.analyse(picture.pixels) if travels else picture.pixels
    return Plan(
        _digest(spec, array),
        spec,
        array,
        factors,
        picture.crop,
        picture.original_size,
        assumptions=picture.assumptions,
    )


def pixel_plan(plan: Plan, image: Float32[np.ndarray, "c h w"], factors: Int32[np.ndarray, "h w"]) -> Plan:
    """A plan over the pixels of the same image with factors of the caller's; removed pixels are 0, as in the paper.

    Args:
        plan: of the image.
        image: the unperturbed crop in [0, 1].
        factors: 0..K−1, every one present.
    """
    spec = PlanSpec(plan.spec.shape, "pixel")
    array = np.ascontiguousarray(image, dtype=np.float32)
    factors = np.ascontiguousarray(factors, dtype=np.int32)
    digest = _digest(spec, array, factors)
    return Plan(digest, spec, array, int(factors.max()) + 1, plan.crop, plan.original_size, factors)


def make_stack(
    images: UInt8[np.ndarray, "n c h w"] | Float32[np.ndarray, "n c h w"],
    assumptions: tuple[tuple[str, ...], ...] = (),
) -> Stack:
    """The images with their digest."""
    images = np.ascontiguousarray(images)
    return Stack(hashlib.sha256(images.data).hexdigest(), images, assumptions)


def _digest(spec: PlanSpec, *arrays: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps(asdict(spec), sort_keys=True).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
