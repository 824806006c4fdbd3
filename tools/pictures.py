"""Draws the pictures of docs/methods.md: real photographs, explained by the default model in this process.

    python tools/pictures.py [NAME ...] [--out docs/images] [--threads N] [--quick]

Without a NAME all of them are drawn. The photographs are those of scikit-image that are free of any restriction.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageFilter
from scipy.spatial import cKDTree

import wavescope
from wavescope.core.partition import (
    FOURIER_PARTITIONS,
    PARTITIONS,
    fourier_partition,
    partition,
    pixel_partition,
)
from wavescope.core.sobol.design import SAMPLERS, make_design
from wavescope.core.wavelets import bands, scale_px
from wavescope.engine.plan import make_plan
from wavescope.engine.protocols import Classifier
from wavescope.engine.requests import make_request
from wavescope.engine.scoring.scorer import render_images
from wavescope.figures.draw import draw_png
from wavescope.imaging.limits import ImageLimits
from wavescope.imaging.source import ImageSource
from wavescope.models.spec import DEFAULT_MODEL
from wavescope.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
DPI = 80  # a figure is 12 inches wide
MOST_BYTES = 250_000
SIDE = 224  # of the schematic pictures, px

Draw = Callable[[Classifier], bytes]


@dataclass(frozen=True, slots=True)
class Example:
    """One explanation to be drawn: a photograph and the fields of a request."""

    photograph: str
    fields: dict[str, Any] = field(default_factory=dict)
    other: Callable[[Image.Image], Image.Image] | None = None


EXAMPLES: dict[str, Example] = {
    "wcam": Example("chelsea"),
    "fam": Example("coffee", {"kind": "fam", "nb_design": 16}),
    "sobol": Example("chelsea", {"kind": "sobol", "nb_design": 32, "baseline": "blur"}),
    "sufficient-image": Example(
        "coffee", {"kind": "sufficient-image", "partition": "aligned", "grid_size": 16}
    ),
    "profile": Example("coffee", {"kind": "profile", "nb_design": 64, "levels": 5}),
    "compare": Example(
        "chelsea",
        {"kind": "compare", "approximation": "keep"},
        other=lambda image: image.filter(ImageFilter.GaussianBlur(3)),
    ),
    "robustness": Example("rocket", {"kind": "robustness", "partition": "aligned", "grid_size": 16}),
    "zoom": Example("camera", {"kind": "zoom"}),
    "wam": Example("chelsea", {"kind": "wam"}),
    "faithfulness": Example("coffee", {"grid_size": 8, "nb_design": 16, "faithfulness": True}),
}


def photograph(name: str) -> Image.Image:
    """One of scikit-image's photographs."""
    return Image.fromarray(np.asarray(getattr(skimage.data, name)()))


def explained(example: Example, classifier: Classifier, *, quick: bool) -> bytes:
    """The figure of an example."""
    image = photograph(example.photograph)
    other = None if example.other is None else example.other(image)
    fields: dict[str, Any] = example.fields | ({"grid_size": 8, "nb_design": 4} if quick else {})
    return draw_png(wavescope.explain(image, other=other, model=classifier, **fields), dpi=DPI)


# ---- schematic pictures ----------------------------------------------------------------------------------------------
def partitions(classifier: Classifier) -> bytes:
    """How the packed coefficients, the centred spectrum and the pixels are cut into factors."""
    del classifier
    levels, cells = 3, 14
    figure = Figure(figsize=(12, 6.4))
    grid = figure.subplots(2, 4)
    for axes, name in zip(grid[0], PARTITIONS, strict=True):
        made = partition(name, SIDE, SIDE, levels, grid_size=cells, approximation="perturb")
        _factors(axes, made.factors, f"{name}: K = {made.n_factors}")
        _outline(axes, levels, labelled=name == "levels")
    for axes, name in zip(grid[1], FOURIER_PARTITIONS, strict=False):
        found = fourier_partition(name, SIDE, SIDE, grid_size=cells)
        _factors(axes, found.factors, f"{name} (fam): K = {found.n_factors}", extent=(-0.5, 0.5, -0.5, 0.5))
        axes.set_xlabel("cycles per pixel")
        axes.set_xticks([-0.5, 0, 0.5])
        axes.set_yticks([-0.5, 0, 0.5])
    pixels = pixel_partition(SIDE, SIDE, 8)
    _factors(grid[1][3], pixels.factors, f"grid (sobol): K = {pixels.n_factors}")
    figure.tight_layout()
    return _png(figure)


def _factors(
    axes: Axes, factors: np.ndarray, title: str, extent: tuple[float, float, float, float] | None = None
) -> None:
    """Factors in colours that only tell neighbours apart."""
    rng = np.random.default_rng(3)
    shades = rng.uniform(0.35, 0.95, (int(factors.max()) + 1, 1)) * np.array([[0.86, 0.95, 1.0]])
    axes.imshow(shades[factors], interpolation="nearest", extent=extent)
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])


def _outline(axes: Axes, levels: int, *, labelled: bool) -> None:
    letters = {"approximation": "a", "horizontal": "h", "vertical": "v", "diagonal": "d"}
    for band in bands(SIDE, SIDE, levels):
        (top, bottom), (left, right) = band.rows, band.columns
        edge = Rectangle(
            (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec="#b03000", lw=1.2
        )
        axes.add_patch(edge)
        if labelled:
            low, high = scale_px(band.level, levels)
            scale = f"> {low}" if high is None else f"{low}-{high}"
            words = letters[band.orientation]
            if right - left >= SIDE // 4:  # smaller ones have no room
                words = f"{band.orientation if right - left == SIDE // 2 else words}\n{scale} px"
            axes.text((left + right) / 2, (top + bottom) / 2, words, ha="center", va="center", fontsize=9)


def designs(classifier: Classifier) -> bytes:
    """The matrices A, B and C⁽ᵏ⁾ of a small design, and how each sampler fills two of its columns."""
    del classifier
    rows, factors, picked = 4, 12, 4
    design = make_design("sobol", factors, rows, seed=0)
    c = design.a.copy()
    c[:, picked] = design.b[:, picked]
    figure = Figure(figsize=(12, 4.6))
    halves: Any = figure.subfigures(2, 1, height_ratios=(1, 2))  # an array, whatever its stub says
    upper, lower = halves
    for axes, values, name in zip(
        upper.subplots(1, 3, gridspec_kw={"left": 0.04, "right": 0.98, "bottom": 0.08, "top": 0.78}),
        (design.a, design.b, c),
        ("A", "B", "C⁽⁵⁾"),
        strict=True,
    ):
        axes.imshow(values, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        axes.set_title(f"{name}: {rows} design rows of {factors} mask values", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        if values is not design.a:
            axes.add_patch(Rectangle((picked - 0.5, -0.5), 1, rows, fill=False, ec="#b03000", lw=2))
    for axes, name in zip(
        lower.subplots(1, 4, gridspec_kw={"left": 0.04, "right": 0.98, "bottom": 0.2, "top": 0.9}),
        SAMPLERS,
        strict=True,
    ):
        found = make_design(name, 100, 64, seed=0)
        axes.plot(found.a[:, 0], found.a[:, 1], "o", ms=3, color="#00386c", label="columns 1 and 2")
        axes.plot(found.a[:, 98], found.a[:, 99], "x", ms=4, color="#d9730d", label="columns 99 and 100")
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
        axes.set_title(name, fontsize=10)
    lower.legend(
        *lower.axes[0].get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=9, frameon=False
    )
    return _png(figure)


def perturbations(classifier: Classifier) -> bytes:
    """One row of a design as an image, by transform and value policy."""
    preprocessing = classifier.details.preprocessing
    source = ImageSource(
        np.asarray(photograph("chelsea")), preprocessing, limits=ImageLimits(max_pixels=SIDE**2 * 100)
    )
    picture = source.picture(1)
    drawn = [("what the model sees", picture.pixels)]
    for title, fields in (
        ("wcam, clip", {}),
        ("wcam, minmax", {"value_policy": "minmax"}),
        ('wcam, compat: "reference"', {"compat": "reference", "seed": 0}),
        ("fam, clip", {"kind": "fam"}),
        ("sobol, baseline zero", {"kind": "sobol"}),
        ("sobol, baseline blur", {"kind": "sobol", "baseline": "blur"}),
    ):
        plan = make_plan(picture, make_request(**fields), max_forwards=load_settings().max_forwards)
        mask = plan.spec.make_design(plan.n_factors).a[0]
        drawn.append((title, render_images(plan, preprocessing, [mask])[0]))
    figure = Figure(figsize=(12, 2.05))
    for axes, (title, pixels) in zip(figure.subplots(1, len(drawn)), drawn, strict=True):
        axes.imshow(pixels.transpose(1, 2, 0))
        axes.set_title(title, fontsize=8)
        axes.axis("off")
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.88, wspace=0.04)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


SCHEMATIC: dict[str, Draw] = {"partitions": partitions, "designs": designs, "perturbations": perturbations}
NAMES = (*SCHEMATIC, *EXAMPLES)


# ---- files -----------------------------------------------------------------------------------------------------------
def small(png: bytes) -> bytes:
    """The picture in 256 colours, a third of the size.

    Raises:
        SystemExit: it does not fit the repository.
    """
    image = Image.open(io.BytesIO(png)).convert("RGB")
    # Those of most pixels, and the farthest apart: the first alone forget colour bars, the second alone photographs.
    palette = np.concatenate(
        [_palette(image, 191, Image.Quantize.MEDIANCUT), _palette(image, 64, Image.Quantize.MAXCOVERAGE)]
    )
    palette = np.concatenate([palette, [[255, 255, 255]]]).astype(np.uint8)
    pixels = np.asarray(image)
    nearest = cKDTree(palette).query(pixels.reshape(-1, 3))[1]
    reduced = Image.fromarray(np.asarray(nearest, dtype=np.uint8).reshape(pixels.shape[:2]), "P")
    reduced.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True)
    if buffer.tell() > MOST_BYTES:
        raise SystemExit(f"a picture has {buffer.tell()} bytes, more than {MOST_BYTES}: draw it smaller")
    return buffer.getvalue()


def _palette(image: Image.Image, colours: int, method: Image.Quantize) -> np.ndarray:
    found = image.quantize(colours, method=method).getpalette() or []
    return np.array(found, dtype=np.uint8).reshape(-1, 3)[:colours]


def main(argv: Sequence[str] | None = None) -> int:
    """Draws what is asked; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="default: docs/images")
    parser.add_argument("--threads", type=int, help="of the model (default: all cores)")
    parser.add_argument(
        "--quick", action="store_true", help="coarse and noisy: to try the script, not to publish"
    )
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no picture is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    classifier = wavescope.load_model(replace(DEFAULT_MODEL, threads=arguments.threads))
    draws = SCHEMATIC | {
        name: partial(explained, example, quick=arguments.quick) for name, example in EXAMPLES.items()
    }
    for name in arguments.names or NAMES:
        began = time.monotonic()
        content = small(draws[name](classifier))
        (arguments.out / f"{name}.png").write_bytes(content)
        print(f"{name}.png  {len(content) / 1e3:.0f} kB  {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
