"""Explanations of every kind to draw: a real photograph, numbers made up so that they are consistent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import skimage.data
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.transform import resize

from wavescope.core.maps import level_maps
from wavescope.engine.types import (
    Attributions,
    BandImportance,
    Comparison,
    Contrast,
    Corrupted,
    CropBox,
    Explanation,
    ExplanationRequest,
    Faithfulness,
    Indices,
    Kept,
    LevelImportance,
    LevelMap,
    Maps,
    Prediction,
    ProfileBand,
    Ring,
    Robustness,
    Round,
    ScaleChange,
    Screening,
    Sufficiency,
    Worth,
    Zoom,
    ZoomLevel,
)
from wavescope.figures.layout import packed_bands

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur", "glass_blur", "motion_blur",
    "zoom_blur", "gaussian_blur", "snow", "frost", "fog", "brightness", "spatter", "contrast", "elastic_transform",
    "pixelate", "jpeg_compression", "saturate",
)  # fmt: skip

_TOP_5 = (
    Prediction(285, "Egyptian cat", 0.6213),
    Prediction(282, "tiger cat", 0.1741),
    Prediction(281, "tabby", 0.0932),
    Prediction(287, "lynx", 0.0117),
    Prediction(728, "plastic bag", 0.0021),
)


def wavelet_explanation(
    *,
    shape: tuple[int, int, int] = (3, 224, 224),
    levels: int = 3,
    grid: int = 28,
    seed: int = 0,
    skew: float = 2.0,
    offset: float = 0.0,
    constant: bool = False,
    photo: str = "chelsea",
    **fields: object,
) -> Explanation:
    """An explanation of ``shape`` that favours the centre of each sub-band and the coarse scales.

    Args:
        skew: of the noise ``u**skew``; 0 gives a map without noise.
        photo: of ``skimage.data``.
        offset: added to every index, so that a negative one makes some or all of them negative.
        **fields: replace those of the explanation.
    """
    height, width = shape[1:]
    image = photograph(shape, photo)
    packed = tuple(-(-side // 2**levels) * 2**levels for side in (height, width))
    rows, columns = (np.arange(side) * grid // side for side in packed)
    factors = (rows[:, None] * grid + columns).astype(np.int32)
    noise = np.random.default_rng(seed).random(grid * grid) ** skew
    total = offset + noise * _cell_means(_prior(packed, levels), factors, grid * grid)
    wcam = total[factors].astype(np.float32)
    request = ExplanationRequest(levels=levels, grid_size=grid, score="logit")
    made = Explanation(
        id="0",
        kind="wcam",
        model="efficientnet-lite0",
        outcome="explained",
        target=_TOP_5[0],
        prediction=_TOP_5,
        indices=Indices(total, total / 2, total / 10, np.stack([0.8 * total, 1.2 * total], 1)),
        maps=Maps(factors, wcam=wcam, spatial_wcam=_spatial(wcam, levels, (height, width))),
        levels=_levels(wcam, total, factors, levels),
        crop=CropBox(0, 0, width, height),
        forwards=request.nb_design * (grid * grid + 2),
        timing={"total_s": 1.0},
        parameters=request.parameters(),
        image=np.ascontiguousarray(image),
        worth=Worth(0.021, 0.83, _TOP_5[1], 0.12),
    )
    if constant:
        made = replace(made, outcome="constant_score", indices=None, maps=None, levels=None)
    return replace(made, **fields)  # type: ignore[arg-type]


def _prior(packed: tuple[int, ...], levels: int) -> np.ndarray:
    prior = np.empty(packed)
    for band in packed_bands((packed[0], packed[1]), levels):
        rows, columns = (
            np.linspace(-1, 1, int(side)) for side in (band.bottom - band.top, band.right - band.left)
        )
        bump = np.exp(-3 * (rows[:, None] ** 2 + columns**2))
        prior[int(band.top) : int(band.bottom), int(band.left) : int(band.right)] = bump * 0.4**band.level
    return prior


def _cell_means(values: np.ndarray, factors: np.ndarray, cells: int) -> np.ndarray:
    area = np.bincount(factors.ravel(), minlength=cells)
    return np.bincount(factors.ravel(), values.ravel(), minlength=cells) / np.maximum(area, 1)


def _spatial(wcam: np.ndarray, levels: int, size: tuple[int, int]) -> np.ndarray:
    spatial = np.zeros(size, np.float32)
    for band in packed_bands(wcam.shape, levels):
        block = wcam[int(band.top) : int(band.bottom), int(band.left) : int(band.right)]
        rows, columns = (
            np.arange(side) * cells // side for side, cells in zip(size, block.shape, strict=True)
        )
        spatial += block[rows][:, columns]
    return spatial


def _levels(
    wcam: np.ndarray, total: np.ndarray, factors: np.ndarray, levels: int
) -> tuple[LevelImportance, ...]:
    area = np.bincount(factors.ravel(), minlength=len(total))
    density = (total / np.maximum(area, 1))[factors]
    bands = packed_bands(wcam.shape, levels)
    blocks = [np.s_[int(b.top) : int(b.bottom), int(b.left) : int(b.right)] for b in bands]
    sums = [float(density[block].sum()) for block in blocks]
    level_means = [
        float(
            np.mean(
                np.concatenate([wcam[s].ravel() for b, s in zip(bands, blocks, strict=True) if b.level == n])
            )
        )
        for n in range(levels + 1)
    ]
    everything, means = sum(sums), sum(level_means)

    def level(number: int) -> LevelImportance:
        parts = {
            band.orientation: BandImportance(
                sums[i], sums[i] / everything, float(wcam[blocks[i]].mean()) / means
            )
            for i, band in enumerate(bands)
            if band.level == number
        }
        own = sum(part.sum for part in parts.values())
        scale = (2**levels, None) if number == 0 else (2 ** (levels - number), 2 ** (levels - number + 1))
        return LevelImportance(
            number,
            scale,
            own,
            own / everything,
            level_means[number] / means,
            parts.get("horizontal"),
            parts.get("vertical"),
            parts.get("diagonal"),
        )

    return tuple(level(number) for number in range(levels + 1))


def photograph(shape: tuple[int, int, int], photo: str = "chelsea") -> np.ndarray:
    """(channels, height, width) float32 in [0, 1]."""
    picture = np.asarray(resize(getattr(skimage.data, photo)(), shape[1:], anti_aliasing=True), np.float32)
    if picture.ndim == 2:
        picture = picture[..., None].repeat(3, -1)
    image = np.moveaxis(picture, -1, 0) if shape[0] == 3 else picture.mean(-1)[None].repeat(shape[0], 0)
    return np.ascontiguousarray(image)


def fam_explanation(
    *,
    shape: tuple[int, int, int] = (3, 224, 224),
    rings: int = 28,
    partition: str = "circle",
    **fields: object,
) -> Explanation:
    """A spectrum that falls with the frequency, over three decades."""
    height, width = shape[1:]
    v = (np.arange(height) - height // 2) / height
    u = (np.arange(width) - width // 2) / width
    radius = np.hypot(v[:, None], u) if partition == "circle" else np.maximum(abs(v[:, None]), abs(u))
    largest = float(radius.max())
    factors = np.minimum((radius / largest * rings).astype(np.int32), rings - 1)
    noise = np.random.default_rng(1).lognormal(0, 0.4, rings)
    total = 0.6 * np.exp(-7 * np.arange(rings) / rings) * noise
    error = 0.25 * total + 0.002
    edges = np.linspace(0, largest, rings + 1)
    profile = tuple(
        Ring((edges[k], edges[k + 1]), float(total[k]), float(total[k] / total.sum())) for k in range(rings)
    )
    parameters = ExplanationRequest(
        kind="fam", partition=partition, grid_size=rings, score="logit"
    ).parameters()
    made = replace(
        wavelet_explanation(shape=shape, levels=1, grid=2),
        kind="fam",
        indices=Indices(total, total / 2, error, np.stack([total - error, total + 2 * error], 1)),
        maps=Maps(factors, fam=total[factors].astype(np.float32)),
        levels=None,
        radial=profile,
        forwards=8 * (rings + 2),
        parameters=parameters,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def sobol_explanation(
    *, shape: tuple[int, int, int] = (3, 224, 224), grid: int = 8, **fields: object
) -> Explanation:
    height, width = shape[1:]
    rows, columns = np.arange(height) * grid // height, np.arange(width) * grid // width
    factors = (rows[:, None] * grid + columns).astype(np.int32)
    place = np.linspace(-1, 1, grid)
    total = np.exp(-4 * ((place[:, None] + 0.1) ** 2 + (place - 0.2) ** 2)).ravel()
    total *= 0.3 * np.random.default_rng(2).random(grid * grid)
    parameters = ExplanationRequest(kind="sobol", grid_size=grid, score="logit").parameters()
    made = replace(
        wavelet_explanation(shape=shape, levels=1, grid=2),
        kind="sobol",
        indices=Indices(total, total / 2, total / 5, np.stack([0.7 * total, 1.4 * total], 1)),
        maps=Maps(factors, sobol=total[factors].astype(np.float32)),
        levels=None,
        forwards=8 * (grid * grid + 2),
        parameters=parameters,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def sufficient_explanation(*, depth: int | None = 37, **given: object) -> Explanation:
    """``depth`` 0 where the empty image has the label, ``None`` where no image has it."""
    base = wavelet_explanation(kind="sufficient-image", **given)
    factors = len(base.indices.total)
    depth = None if depth is None else min(depth, factors)
    count = np.arange(factors + 1)
    midpoint = max(depth or 1, 1)
    probability = 0.62 / (1 + (midpoint / (count + 0.2)) ** 2.5)
    probability *= 1 + 0.12 * np.sin(1.7 * np.log(count + 1) + count / 9)
    if depth is None:
        probability = probability * 0.2
    predicted = np.where((count >= (depth or 0)) & (depth is not None), base.target.index, 728).astype(
        np.int32
    )
    if depth is not None and depth + 5 < factors:
        predicted[depth + 3 : depth + 5] = 728  # the label comes and goes
    blurred = gaussian_filter(base.image, (0, 4, 4))
    kept = Kept(min(depth or 0, factors) * 192, factors * 192, 0.93, 9_344, 141_871)
    found = Sufficiency(
        outcome="none_suffices" if depth is None else "empty_suffices" if depth == 0 else "sufficient",
        depth=depth,
        order=np.argsort(-base.indices.total, kind="stable").astype(np.int32),
        probability=np.clip(probability, 0, 1),
        predicted=predicted,
        positive_factors=factors // 3,
        image=None if depth is None else base.image * 0 if depth == 0 else blurred,
        top_image=uniform_filter(base.image, (0, 60, 60)) * 0.5,
        positive_image=gaussian_filter(base.image, (0, 1.5, 1.5)),
        kept=None if depth is None else kept,
    )
    return replace(base, sufficiency=found, forwards=base.forwards + factors + 1)


def profile_explanation(*, levels: int = 3, whole: bool = False, **given: object) -> Explanation:
    """``whole`` for partition ``levels``: one factor per level."""
    base = wavelet_explanation(levels=levels, kind="profile", **given)
    names: list[tuple[int, str | None]] = [(0, None if whole else "approximation")]
    for level in range(1, levels + 1):
        names += (
            [(level, None)] if whole else [(level, name) for name in ("horizontal", "vertical", "diagonal")]
        )
    total = np.array([0.55 * 0.6 ** (level + 0.3 * place) for place, (level, _) in enumerate(names)])
    error = 0.15 * total + 0.01
    bands = tuple(
        ProfileBand(
            level,
            name,
            base.levels[level].scale_px,
            float(total[k]),
            float(error[k]),
            (float(total[k] - 2 * error[k]), float(total[k] + 2 * error[k])),
            float(total[k] / total.sum()),
            float(error[k] / total.sum()),
        )
        for k, (level, name) in enumerate(names)
    )
    parameters = base.parameters | {"kind": "profile", "partition": "levels" if whole else "subbands"}
    indices = Indices(total, total / 2, error, np.stack([total - 2 * error, total + 2 * error], 1))
    return replace(base, profile=bands, parameters=parameters, indices=indices, forwards=8 * (len(total) + 2))


def compare_explanation(**given: object) -> Explanation:
    base = wavelet_explanation(kind="compare", **given)
    shape = base.image.shape
    other = wavelet_explanation(
        **{"seed": 5, "skew": 3.0, "target": Prediction(282, "tiger cat", 0.31), **given},
    )
    noise = np.random.default_rng(3).normal(0, 0.13, shape).astype(np.float32)
    other = replace(other, image=np.clip(base.image + noise, 0, 1))
    shares = [level.share for level in base.levels]
    moved = np.roll(shares, 1)
    scales = tuple(
        ScaleChange(level.level, level.scale_px, share, float(to), float(to - share))
        for level, share, to in zip(base.levels, shares, moved, strict=True)
    )
    first, second = (each.maps.spatial_wcam / each.maps.spatial_wcam.sum() for each in (base, other))
    found = Comparison(
        scale_shift=0.5 * sum(abs(each.change) for each in scales),
        place_shift=float(0.5 * abs(second - first).sum()),
        scales=scales,
        place_change=(second - first).astype(np.float32),
        other=other,
    )
    return replace(base, comparison=found, forwards=2 * base.forwards)


def robustness_explanation(**given: object) -> Explanation:
    base = sufficient_explanation(**given)
    random = np.random.default_rng(4)
    corrupted = []
    for place, name in enumerate(CORRUPTIONS):
        strength = 0.05 + 0.22 * ((place * 7) % 19) / 19
        for severity in range(1, 6):
            probability = float(np.clip(0.7 - strength * severity + random.normal(0, 0.04), 0.001, 0.999))
            same = probability > 0.3
            predicted = (
                Prediction(285, "Egyptian cat", probability) if same else Prediction(728, "plastic bag", 0.4)
            )
            corrupted.append(Corrupted(name, severity, predicted, probability, same))
    shares = {
        name: sum(each.same_label for each in corrupted if each.corruption == name) / 5
        for name in CORRUPTIONS
    }
    found = Robustness(sum(each.same_label for each in corrupted) / 95, shares, tuple(corrupted))
    return replace(base, kind="robustness", robustness=found, forwards=base.forwards + 95)


def zoom_explanation(**given: object) -> Explanation:
    base = wavelet_explanation(kind="zoom", **given)
    count = len(base.levels)
    given = given | {"levels": count}
    zoomed = wavelet_explanation(**{"seed": 6, **given})
    height, width = base.image.shape[1:]
    part = base.image[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    enlarged = np.moveaxis(resize(np.moveaxis(part, 0, -1), (height, width)), -1, 0).astype(np.float32)
    crop = CropBox(width * 0.25, height * 0.25, width * 0.75, height * 0.75)
    zoomed = replace(zoomed, image=enlarged, crop=crop)
    scales = [level.scale_px for level in base.levels] + [(0.5, 1)]
    levels = tuple(
        ZoomLevel(
            number,
            scales[number],
            base.levels[number].share if number < count else None,
            base.levels[number].mean_share if number < count else None,
            zoomed.levels[number].share,
            zoomed.levels[number].mean_share,
        )
        for number in range(count + 1)
    )
    found = Zoom(levels[-1].zoomed_share, levels[-1].zoomed_mean_share, levels, zoomed)
    return replace(base, zoom=found, forwards=2 * base.forwards)


def wam_explanation(**given: object) -> Explanation:
    """Attributions that are the indices of the sample of ``wcam``, in units of a logit."""
    base = wavelet_explanation(**given)  # type: ignore[arg-type]
    parameters = base.parameters | {"kind": "wam", "value_policy": "none"}
    if base.maps is None or base.maps.wcam is None or base.levels is None or base.indices is None:
        return replace(base, kind="wam", parameters=parameters, worth=None)
    wam, levels = base.maps.wcam.clip(0), len(base.levels) - 1
    factors = np.maximum(base.indices.total, 0) * 64
    found = Attributions(
        method="smoothgrad",
        samples=25,
        factors=factors,
        signed=None,
        standard_error=factors / 10,
        split_half=0.83,
        score=8.4,
        baseline_score=None,
        completeness_error=None,
        level_maps=tuple(
            LevelMap(level, base.levels[level].scale_px, each)
            for level, each in enumerate(level_maps(wam, levels))
        ),
    )
    maps = Maps(base.maps.factors, wam=wam, spatial_wam=base.maps.spatial_wcam)
    return replace(
        base,
        kind="wam",
        indices=None,
        worth=None,
        attributions=found,
        maps=maps,
        parameters=parameters,
        forwards=75,
    )


def faithfulness(domain: str = "pixel") -> Faithfulness:
    fraction = np.linspace(0, 1, 33)
    insertion, deletion = 0.62 * (1 - np.exp(-6 * fraction)), 0.62 * np.exp(-9 * fraction)
    return Faithfulness(
        domain,
        float(insertion.mean()),
        float(deletion.mean()),
        0.43,
        0.39,
        fraction,
        insertion,
        deletion,
        {"steps": 32, "baseline": 0.0},
    )


def contrasted(
    explanation: Explanation, *, constant: bool = False, warnings: tuple[str, ...] = ()
) -> Explanation:
    """The same with a contrast to the second class, of other indices: those of the factors in another order."""
    found, maps = explanation.indices, explanation.maps
    assert found is not None
    assert maps is not None
    if constant:
        return replace(
            explanation, contrast=Contrast(_TOP_5[1], "constant_score", None, None, None, None, warnings)
        )
    order = np.random.default_rng(8).permutation(len(found.total))
    total = found.total[order]
    effect = tuple((total * np.where(order % 3, 3.0, -2.0)).tolist())
    known = [True] * len(total) if found.resolved is None else found.resolved.tolist()
    effect = tuple(value if alone else None for value, alone in zip(effect, known, strict=True))
    indices = replace(found, total=total, effect=effect, effect_error=tuple((total / 7).tolist()))
    drawn = maps.fam if maps.fam is not None else maps.spatial
    assert drawn is not None
    contrast = Contrast(
        against=_TOP_5[1],
        outcome="explained",
        indices=indices,
        map=np.ascontiguousarray(drawn[::-1]),
        levels=None if explanation.levels is None else explanation.levels,
        radial=explanation.radial,
        warnings=warnings,
    )
    return replace(explanation, contrast=contrast)


def adaptive(explanation: Explanation, resolved: float = 0.12) -> Explanation:
    """The same, had only this share of the factors been perturbed by themselves: those of the largest indices."""
    found = explanation.indices
    assert found is not None
    count = max(round(resolved * len(found.total)), 1)
    alone = np.zeros(len(found.total), bool)
    alone[np.argsort(-found.total, kind="stable")[:count]] = True
    bound = np.where(alone, 1.2 * found.total, 1.5 * found.total.max())
    parameters = explanation.parameters | {"plan": "adaptive", "max_forwards": 628, "nb_design": 64}
    screening = Screening(
        "max_forwards", 22, (Round(104, 0, 0.2, 0.81, 0.09), Round(628, count, 0.034, 0.967, 0.03))
    )
    indices = replace(found, first=None, resolved=alone, upper_bound=bound)
    return replace(explanation, indices=indices, screening=screening, parameters=parameters, forwards=628)


MAKERS = {
    "wcam": wavelet_explanation,
    "fam": fam_explanation,
    "sobol": sobol_explanation,
    "sufficient-image": sufficient_explanation,
    "profile": profile_explanation,
    "compare": compare_explanation,
    "robustness": robustness_explanation,
    "zoom": zoom_explanation,
    "wam": wam_explanation,
}

# Words in the figure and in the report of each kind.
DRAWN: dict[str, tuple[str, ...]] = {
    "fam": (
        "Fourier magnitudes, phases kept",
        "horizontal frequency (cycles per pixel)",
        "logarithmic colour scale",
        "Radial profile, with 95 % intervals",
        "32 px",
        "2 px",
    ),
    "sobol": ("Where: Sobol attribution of pixels", "masked pixels black", "8×8, 64 factors"),
    "sufficient-image": (
        "The 37 top factors are enough for “Egyptian cat”",
        "Kept: 7,104 of 150,528 coefficients (4.7 %) with 93.0 % of the energy",
        "1 of 784 factors",
        "depth 37",
    ),
    "profile": ("> 8 px", "4-8 px horizontal", "1-2 px diagonal"),
    "compare": ("Other image", "Where importance moved", "scale shift", "place shift", "tiger cat"),
    "robustness": ("jpeg compression", "Label kept: ", "Reconstruction depth: 37 of 784 factors", "severity"),
    "zoom": ("Enlarged ×2", "0.5-1 px", "New scale: "),
    "wam": (
        "Where: WAM",
        "Where and on which scale: WAM",
        "mean size of the gradient, summed over sub-bands",
        "SmoothGrad over 25 images with noise of 0.25",
        "gradients of the logit",
        "Attribution per scale",
        "share of the summed attributions",
        "784 factors",
        "4-8 px",
    ),
}
REPORTED: dict[str, tuple[str, ...]] = {
    "fam": ("cycles per px", "px per cycle", "0.000-0.025", "0.6889"),
    "sobol": ("84-112 px", "0.129", "0.090-0.181"),
    "sufficient-image": (
        "reconstruction depth 37 of 784 factors",
        "9.3 kB compressed",
        "the positive factors",
    ),
    "profile": ("0.550 ± 0.092", "33.0 % ± 5.5", "horizontal"),
    "compare": ("Scale shift 0.273, place shift 0.222", "41.4 % +27.3", "Prediction of the other image"),
    "robustness": ("gaussian noise", "0.11*", "Label kept: 52.6 % of all", "reconstruction depth 37"),
    "zoom": ("0.5-1 px", "new", "Share of the new scale: 42.0 % by sums, 2.5 % by means"),
    "wam": ("Attribution per scale", "factor attribution", "±", "25 gradients, which count as 75 forwards"),
}
