"""The record of a kind of explanation: everything that depends on the kind is derived from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from wavescope.engine.types import ExplanationRequest, Outputs

Transform = Literal["wavelet", "fourier", "pixel"]

# Maps of total indices, by the transform.
_MAPS = {"wavelet": ("wcam", "spatial_wcam"), "fourier": ("fam",), "pixel": ("sobol",)}
WAVELET_PARTITIONS = ("grid", "aligned", "subbands", "levels")


def no_forwards(request: ExplanationRequest, n_factors: int, outputs: Outputs) -> int:
    """Images that a kind scores beyond its sample where it scores none."""
    del request, n_factors, outputs
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondImage:
    """The second image of a kind, which is explained beside the first one.

    Attributes:
        given: whether the caller sends it as ``other``; otherwise it is the first image, enlarged.
        enlargement: factor that the image is enlarged by before the crop; 1 for as it is.
        extra_levels: wavelet levels that it has beyond those of the first image.
        same_class: whether it is explained for the class of the first image, not for its own predicted class.
        planned_as: kind of its plan; ``None`` for that of the request.
    """

    given: bool = False
    enlargement: int = 1
    extra_levels: int = 0
    same_class: bool = False
    planned_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of explanation.

    Attributes:
        name: as requests name it.
        summary: a line of documentation in Markdown: the question that the kind answers.
        transform: domain that is perturbed.
        partitions: that suit it; the first one is its default.
        defaults: of the request's fields, where they differ from those of ``wcam``.
        reference_defaults: the same under ``compat: "reference"``.
        fixed: fields of the request that can have one value alone, as others would have no meaning.
        gradients: whether it differentiates the model, and perturbs no design: then it has attributions, no indices.
        adaptive: whether the adaptive plan was measured to be as good as the full one (``make adaptive``), so that it
            is the default.
        sections: fields of an :class:`Explanation` that this kind has beyond those of its transform, in the order in
            which they are computed.
        second_image: the one that is explained beside the first; ``None`` for none.
        corrupts: whether corrupted copies of the original image are made and scored.
        extra_forwards: (request, number of factors, what the model returns) to the images scored beyond the sample, for
            every target anew; a gradient counts as in :mod:`wavescope.engine.gradient_cost`.
    """

    name: str
    summary: str
    transform: Transform
    partitions: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reference_defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    gradients: bool = False
    adaptive: bool = False
    sections: tuple[str, ...] = ()
    second_image: SecondImage | None = None
    corrupts: bool = False
    extra_forwards: Callable[[ExplanationRequest, int, Outputs], int] = no_forwards

    @property
    def maps(self) -> tuple[str, ...]:
        """Maps that an explanation of this kind has, beside the factors."""
        return ("wam", "spatial_wam") if self.gradients else _MAPS[self.transform]

    @property
    def takes_other(self) -> bool:
        """Whether a request needs ``other``, a second image of the caller's."""
        return self.second_image is not None and self.second_image.given

    @property
    def enlarges(self) -> bool:
        """Whether every image is decoded a second time, to be enlarged."""
        return self.second_image is not None and self.second_image.enlargement > 1
