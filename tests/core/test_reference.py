"""compat "reference": images, indices, maps and depth against a slow, literal account of the authors' choices."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.fakes.networks import Network, convolutional, perceptron
from tests.fakes.photographs import photograph
from tests.oracles import reference as oracle
from tests.oracles.rendering import mask_rows

from wavescope.core.partition import Partition, partition
from wavescope.core.reference.maps import (
    bicubic,
    bicubic_matrix,
    reference_depth,
    reference_fam_map,
    reference_level_shares,
    reference_maps,
    reference_packed,
    reference_radial,
    reference_rank,
)
from wavescope.core.reference.renderer import ReferenceRenderer, reference_partition
from wavescope.core.rendering.masks import NestedMasks
from wavescope.core.sobol.design import Design, sobol
from wavescope.core.sobol.estimators import Scores, jansen
from wavescope.errors import ConstantScore, InvalidRequest

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
PHOTOGRAPHS = ["chelsea", "coffee"]
NETWORKS = {"convolutional": convolutional(classes=5, seed=1), "perceptron": perceptron(classes=5, seed=2)}
DOMAINS = [  # transform, partition, approximation
    ("wavelet", "grid", "perturb"),
    ("wavelet", "grid", "drop"),
    ("fourier", "circle", "perturb"),
    ("fourier", "square", "perturb"),
    ("fourier", "grid", "perturb"),
]


def setting(grid_size: int = 8, nb_design: int = 4, levels: int = 3) -> oracle.Setting:
    return oracle.Setting(MEAN, STD, grid_size, nb_design, levels)


def make_renderer(
    picture: np.ndarray,
    factors: Partition,
    transform: str,
    *,
    wavelet: str = "haar",
    levels: int = 3,
    policy: str = "minmax",
    library: str = "numpy",
) -> ReferenceRenderer:
    channels = len(picture)
    mean, std = (np.array(v[:channels], np.float32).reshape(-1, 1, 1) for v in (MEAN, STD))
    if library == "torch":
        import torch

        mean, std = torch.asarray(mean), torch.asarray(std)
    return ReferenceRenderer(picture, factors, transform, wavelet, levels, policy, mean, std)  # type: ignore[arg-type]


def factors_of(domain: tuple[str, str, str], side: int, grid_size: int, levels: int = 3) -> Partition:
    transform, name, approximation = domain
    return reference_partition(
        transform,  # type: ignore[arg-type]
        name,
        side,
        side,
        levels,
        grid_size=grid_size,
        approximation=approximation,  # type: ignore[arg-type]
    )


def slow_render(
    domain: tuple[str, str, str], picture: np.ndarray, mask: np.ndarray, of: oracle.Setting
) -> np.ndarray:
    transform, name, approximation = domain
    if transform == "fourier":
        return oracle.fam_render(picture, mask, of, kind=name)
    return oracle.wcam_render(picture, mask, of, approximation=approximation == "perturb")


def slow_indices(
    domain: tuple[str, str, str], picture: np.ndarray, model: Network, label: int, of: oracle.Setting
) -> oracle.Indices:
    transform, name, approximation = domain
    if transform == "fourier":
        return oracle.fam(picture, model, label, of, kind=name)
    return oracle.wcam(picture, model, label, of, approximation=approximation == "perturb")


def pick_freeze(
    found: ReferenceRenderer, design: Design, model: Network, label: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f(A), f(B), f(C) of all rows, in batches of no particular size."""
    n, period = len(design.a), design.n_factors + 2
    scores = np.concatenate(
        [
            model(found.rows(design, start, min(start + 13, n * period)))[:, label]
            for start in range(0, n * period, 13)
        ]
    ).reshape(n, period)
    return scores[:, 0], scores[:, 1], scores[:, 2:].T


def our_total(
    domain: tuple[str, str, str], picture: np.ndarray, model: Network, label: int, of: oracle.Setting
) -> np.ndarray:
    factors = factors_of(domain, picture.shape[-1], of.grid_size, of.levels)
    found = make_renderer(picture, factors, domain[0], levels=of.levels)
    design = sobol(factors.n_factors, of.nb_design, of.seed)
    return jansen(Scores(*pick_freeze(found, design, model, label)), variance_rows="a")


# ---- images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize(
    ("domain", "side", "grid_size"),
    [(domain, *size) for domain in DOMAINS for size in [(64, 8), (64, 7), (224, 28)]]
    + [(domain, 45, 8) for domain in DOMAINS if domain[0] == "fourier"],
)
def test_every_render_is_the_authors_to_one_of_256_levels(
    domain: tuple[str, str, str], name: str, side: int, grid_size: int
) -> None:
    """At g = 7 and 28 cells straddle sub-bands. Of 10,000 values fewer than one may round to the next level."""
    picture, of = photograph(name, side), setting(grid_size)
    factors = factors_of(domain, side, grid_size)
    found = make_renderer(picture, factors, domain[0])
    design = sobol(factors.n_factors, 2, 42)
    masks = mask_rows(design.a, design.b)
    rows = [0, 1, 2, factors.n_factors + 1, len(masks) - 1]
    unequal, values = 0, 0
    for row in rows:
        expected = oracle.to_eight_bits(slow_render(domain, picture, masks[row], of))
        levels = np.rint(found.image(masks[row]) * 255).astype(int)
        assert np.abs(levels - expected).max() <= 1
        unequal, values = unequal + int((levels != expected).sum()), values + expected.size
        finished = found.rows(design, row, row + 1)[0]
        equal = levels == expected
        assert finished.dtype == np.float32
        assert (
            finished[equal] == oracle.finish(slow_render(domain, picture, masks[row], of), of)[equal]
        ).all()
    assert unequal < 1e-4 * values


@pytest.mark.parametrize("domain", DOMAINS, ids="-".join)
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_row_has_the_same_bits_in_any_batch_buffer_and_library(
    domain: tuple[str, str, str], library: str
) -> None:
    picture = photograph("coffee", 32)
    factors = factors_of(domain, 32, 4)
    design = sobol(factors.n_factors, 2, 0)
    masks = np.array(mask_rows(design.a, design.b))
    whole = np.asarray(make_renderer(picture, factors, domain[0]).rows(design, 0, len(masks)))
    found = make_renderer(picture, factors, domain[0], library=library)
    buffer: Any = np.zeros((9, 3, 32, 32), np.float32)
    if library == "torch":
        import torch

        buffer = torch.asarray(buffer)
    for start in range(0, len(masks) - 5, 5):
        part = found.rows(design, start, start + 5, out=buffer)
        assert (np.asarray(part) == whole[start : start + 5]).all()
        assert (np.asarray(buffer)[:5] == whole[start : start + 5]).all()
    assert (np.asarray(found.masks(masks)) == whole).all()
    assert type(found.masks(masks[:1])) is type(buffer)
    assert (np.asarray(found.clean()) == picture).all()


@pytest.mark.parametrize("policy", ["clip", "none"])
@pytest.mark.parametrize("domain", [DOMAINS[0], DOMAINS[2]], ids="-".join)
def test_an_explicit_value_policy_replaces_the_stretch(domain: tuple[str, str, str], policy: str) -> None:
    """In units of [0, 1], without rounding to 8 bits."""
    picture, of = photograph("chelsea", 64), setting()
    factors = factors_of(domain, 64, 8)
    found = make_renderer(picture, factors, domain[0], policy=policy)
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (MEAN, STD))
    mask = np.ones(factors.n_factors)
    mask[1] = 0.0
    expected = slow_render(domain, picture, mask, of) * std + mean
    assert (expected.min() < 0) == (domain[0] == "wavelet")  # or there would be nothing to clip
    if policy == "clip":
        expected = np.clip(expected, 0, 1)
    np.testing.assert_allclose(found.image(mask), expected, atol=1e-5)
    np.testing.assert_allclose(found.masks(mask[None])[0], (expected - mean) / std, atol=1e-5)


def test_with_everything_kept_and_no_stretch_the_image_is_itself() -> None:
    picture = photograph("chelsea", 64)
    found = make_renderer(picture, factors_of(DOMAINS[0], 64, 8), "wavelet", policy="none")
    np.testing.assert_allclose(found.image(np.ones(64)), picture, atol=1e-6)


def test_a_fourier_render_is_rectified() -> None:
    """Without the frequencies of |u|, |v| near 0 half of the normalised image is negative; the modulus is not."""
    picture = photograph("chelsea", 64)
    factors = factors_of(("fourier", "circle", "perturb"), 64, 8)
    mask = np.ones(8)
    mask[0] = 0.0
    render = make_renderer(picture, factors, "fourier", policy="none").image(mask)
    assert (render >= np.reshape(MEAN, (3, 1, 1)) - 1e-6).all()


@pytest.mark.parametrize("size", [(35, 50), (17, 8), (64, 65), (9, 9)])
@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior2.2"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", ["minmax", "clip"])
def test_odd_and_oblong_images_are_rendered(
    size: tuple[int, int], wavelet: str, channels: int, policy: str
) -> None:
    """The authors' code fails on them."""
    picture = np.random.default_rng(5).random((channels, *size)).astype(np.float32)
    for transform, name, approximation in DOMAINS:
        factors = reference_partition(
            transform,  # type: ignore[arg-type]
            name,
            *size,
            2,
            grid_size=5,
            approximation=approximation,  # type: ignore[arg-type]
        )
        found = make_renderer(picture, factors, transform, wavelet=wavelet, levels=2, policy=policy)
        design = sobol(factors.n_factors, 1, 0)
        rows = found.rows(design, 0, factors.n_factors + 2)
        assert rows.shape == (factors.n_factors + 2, channels, *size)
        assert np.isfinite(rows).all()
        if approximation == "perturb":
            whole = make_renderer(picture, factors, transform, wavelet=wavelet, levels=2, policy="none")
            if transform == "wavelet":
                np.testing.assert_allclose(whole.image(np.ones(factors.n_factors)), picture, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("domain", DOMAINS, ids="-".join)
def test_a_flat_image_is_black_and_never_nan(
    domain: tuple[str, str, str], wavelet: str, value: float
) -> None:
    """Theirs divides 0 by 0, or stretches the rounding of long filters to full contrast."""
    picture = np.full((1, 32, 32), value, dtype=np.float32)
    factors = factors_of(domain, 32, 4)
    found = make_renderer(picture, factors, domain[0], wavelet=wavelet)
    for mask in (np.zeros(factors.n_factors), np.full(factors.n_factors, 0.7)):
        assert (found.image(mask) == 0).all()
        assert np.isfinite(found.masks(mask[None])).all()


def test_memory_holds_one_batch_and_never_all_masks() -> None:
    """All 6,288 masks of the defaults in double precision would be 2.5 GB at 224 px."""
    picture = photograph("chelsea", 64)
    factors = factors_of(DOMAINS[0], 64, 28)
    found, design = make_renderer(picture, factors, "wavelet"), sobol(784, 8, 42)
    buffer = np.zeros((8, 3, 64, 64), np.float32)
    found.rows(design, 0, 8, out=buffer)
    tracemalloc.start()
    try:
        for start in range(0, 800, 8):
            found.rows(design, start, start + 8, out=buffer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    image = picture.size * 8  # double precision
    assert peak < 4 * image + 2 * buffer.nbytes


# ---- partitions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["circle", "square", "grid"])
@pytest.mark.parametrize(("side", "grid_size"), [(64, 8), (64, 28), (224, 28), (33, 8), (33, 33)])
def test_fourier_factors_are_the_authors(kind: str, side: int, grid_size: int) -> None:
    found = factors_of(("fourier", kind, "perturb"), side, grid_size)
    every = np.arange(found.n_factors, dtype=float)
    assert (found.factors == oracle.fam_mask(kind, every, grid_size, side)).all()


def test_eight_of_28_circles_hold_no_frequency_at_224_px_and_stay_factors() -> None:
    found = factors_of(("fourier", "circle", "perturb"), 224, 28)
    assert found.n_factors == 28
    assert set(np.unique(found.factors)) == set(
        range(20)
    )  # the farthest frequency is at 158.4 px of rings 8 px wide
    assert set(np.unique(factors_of(("fourier", "square", "perturb"), 224, 28).factors)) == set(range(28))


def test_a_dropped_approximation_leaves_nine_factors_without_a_coefficient() -> None:
    """At 224 px, three levels and g = 28 the approximation is 3.5 cells wide."""
    found = factors_of(("wavelet", "grid", "drop"), 224, 28)
    assert (found.n_factors, found.held) == (784, 0.0)
    assert (found.factors[:28, :28] == -1).all()
    present = set(np.unique(found.factors)) - {-1}
    assert set(range(784)) - present == {row * 28 + column for row in range(3) for column in range(3)}


@pytest.mark.parametrize("name", ["grid", "aligned", "subbands", "levels"])
@pytest.mark.parametrize("approximation", ["perturb", "keep", "drop"])
def test_wavelet_factors_are_ours_but_for_a_dropped_grid(name: str, approximation: str) -> None:
    found = reference_partition(
        "wavelet",
        name,
        50,
        37,
        2,
        grid_size=7,
        approximation=approximation,  # type: ignore[arg-type]
    )
    ours = partition(name, 52, 40, 2, grid_size=7, approximation=approximation)  # type: ignore[arg-type]
    if (name, approximation) == ("grid", "drop"):
        assert ((found.factors == -1) == (ours.factors == -1)).all()
        return
    assert (found.factors == ours.factors).all()
    assert (found.n_factors, found.held) == (ours.n_factors, ours.held)


def test_rings_of_an_oblong_image_follow_cycles_per_pixel() -> None:
    """As many rings along the short side as along the long one."""
    for kind in ("circle", "square"):
        found = reference_partition("fourier", kind, 32, 64, 1, grid_size=8, approximation="perturb").factors
        assert (found[:, 32] == found[16, ::2]).all()


@pytest.mark.parametrize("transform", ["wavelet", "fourier"])
@pytest.mark.parametrize("grid_size", [0, -1, 65])
def test_a_grid_finer_than_the_array_is_refused(transform: str, grid_size: int) -> None:
    with pytest.raises(InvalidRequest, match=f"grid_size is {grid_size}; .* 64 x 64") as refused:
        factors_of((transform, "grid", "perturb"), 64, grid_size)
    assert refused.value.field == "grid_size"


# ---- indices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("domain", DOMAINS, ids="-".join)
def test_every_index_is_the_authors(domain: tuple[str, str, str], name: str, network: str) -> None:
    picture, model, of = photograph(name, 64), NETWORKS[network], setting()
    found = our_total(domain, picture, model, 2, of)
    expected = slow_indices(domain, picture, model, 2, of).total
    assert np.abs(found - expected).max() <= 1e-4
    assert expected.max() > 0.05  # or the agreement would be that of zeros


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_index_is_the_authors_at_224_px(name: str) -> None:
    picture, model, of = photograph(name, 224), NETWORKS["perceptron"], setting(nb_design=2)
    found = our_total(DOMAINS[0], picture, model, 3, of)
    assert np.abs(found - oracle.wcam(picture, model, 3, of).total).max() <= 1e-4


def test_indices_agree_where_cells_straddle_two_bands() -> None:
    """g = 7 on 32 px with two levels: the approximation is 8 px wide, a cell 4.6."""
    picture, of = photograph("coffee", 32), setting(7, levels=2)
    factors = factors_of(DOMAINS[0], 32, 7, levels=2).factors
    assert set(np.unique(factors[:8, :8])) & set(np.unique(factors[8:, :8]))
    found = our_total(DOMAINS[0], picture, NETWORKS["perceptron"], 0, of)
    expected = oracle.wcam(picture, NETWORKS["perceptron"], 0, of).total
    assert np.abs(found - expected).max() <= 1e-4


def test_factors_without_a_coefficient_have_an_index_of_exactly_zero() -> None:
    picture, model = photograph("chelsea", 64), NETWORKS["convolutional"]
    circle = our_total(("fourier", "circle", "perturb"), picture, model, 1, setting())
    assert (circle[6:] == 0).all()  # the farthest frequency is at 45.3 px of rings 8 px wide
    assert (circle[:6] > 0).all()
    dropped = our_total(("wavelet", "grid", "drop"), picture, model, 1, setting())
    assert dropped[0] == 0


def test_a_score_that_does_not_vary_over_a_is_named_where_theirs_is_nan() -> None:
    picture, of = photograph("chelsea", 32), setting(4, levels=2)

    def constant(images: np.ndarray) -> np.ndarray:
        return np.tile([1.5, -1.5], (len(images), 1))

    assert np.isnan(oracle.wcam(picture, constant, 0, of).total).all()
    with pytest.raises(ConstantScore, match="does not vary"):
        our_total(DOMAINS[0], picture, constant, 0, of)


# ---- maps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (28, 28), (7, 14)])
@pytest.mark.parametrize("size", [(1, 5), (28, 28), (64, 37), (5, 4)])
def test_bicubic_is_that_of_torch(shape: tuple[int, int], size: tuple[int, int]) -> None:
    import torch

    values = np.random.default_rng(0).standard_normal(shape)
    expected = torch.nn.functional.interpolate(
        torch.asarray(values)[None, None], size=size, mode="bicubic", align_corners=False
    )
    np.testing.assert_allclose(bicubic(values, *size), expected[0, 0].numpy(), atol=1e-12)


def test_bicubic_keeps_constants() -> None:
    np.testing.assert_allclose(bicubic_matrix(9, 31).sum(axis=1), 1.0, atol=1e-14)


@pytest.mark.parametrize(("side", "levels", "grid_size"), [(64, 3, 8), (48, 3, 7), (32, 1, 5), (224, 3, 28)])
def test_maps_and_level_shares_are_the_authors(side: int, levels: int, grid_size: int) -> None:
    total = np.random.default_rng(4).random(grid_size**2) ** 4
    for approximation in ("perturb", "drop"):
        factors = factors_of(("wavelet", "grid", approximation), side, grid_size, levels)
        packed, spatial = reference_maps("grid", factors, total, levels, grid_size, (side, side))
        expected = oracle.wcam_map(total, grid_size, side)
        np.testing.assert_allclose(packed, expected, atol=1e-6)
        np.testing.assert_allclose(spatial, oracle.spatial(expected, levels), atol=1e-5)
        shares = reference_level_shares(packed, levels)
        assert shares.shape == (levels + 1, 3)
        np.testing.assert_allclose(shares.sum(axis=1), oracle.level_shares(expected, levels), atol=1e-6)
        assert shares.sum() == pytest.approx(1)


def test_level_0_misses_the_top_left_quarter_of_the_approximation() -> None:
    """64 px, three levels: the approximation is 8 px wide, so with g = 16 its quarters are a cell each."""
    flat = np.zeros((64, 64), np.float32)
    top_left, others = flat.copy(), flat.copy()
    top_left[:4, :4] = 1
    others[:8, :8] = 1
    others[:4, :4] = 0
    assert (reference_level_shares(top_left, 3) == 0).all()
    np.testing.assert_allclose(reference_level_shares(others, 3)[0], 1 / 3)


def test_an_approximation_of_one_coefficient_is_its_own_quarters() -> None:
    packed = np.zeros((8, 16), np.float32)
    packed[0, :2] = [2.0, 4.0]
    np.testing.assert_allclose(reference_level_shares(packed, 3)[0], 1 / 3)


@pytest.mark.parametrize("name", ["grid", "aligned", "subbands"])
def test_cells_that_are_no_factor_count_zero_on_the_map(name: str) -> None:
    factors = reference_partition("wavelet", name, 64, 64, 3, grid_size=16, approximation="keep")
    total = np.random.default_rng(8).random(factors.n_factors)
    packed = reference_packed(name, factors, total, 3, 16)
    if name == "grid":  # 16² cells, of which the top-left 2 × 2 are the approximation
        cells = np.concatenate([[0, 0], total[:14], [0, 0], total[14:]])
        np.testing.assert_allclose(packed, oracle.wcam_map(cells, 16, 64), atol=1e-6)
    else:
        assert (packed[:8, :8] == 0).all()
        inside = factors.factors >= 0
        assert (packed[inside] == total.astype(np.float32)[factors.factors[inside]]).all()


def test_the_spatial_map_of_an_odd_image_has_its_size() -> None:
    factors = reference_partition("wavelet", "grid", 35, 50, 2, grid_size=6, approximation="perturb")
    packed, spatial = reference_maps("grid", factors, np.ones(36), 2, 6, (35, 50))
    assert (packed.shape, spatial.shape) == ((36, 52), (35, 50))
    np.testing.assert_allclose(spatial, 7, atol=1e-5)  # seven bands of a map that is 1 everywhere


@pytest.mark.parametrize("kind", ["circle", "square", "grid"])
@pytest.mark.parametrize("side", [64, 33])
def test_the_logarithmic_map_is_the_authors_where_theirs_is_finite(kind: str, side: int) -> None:
    factors = factors_of(("fourier", kind, "perturb"), side, 8)
    total = np.random.default_rng(6).random(factors.n_factors)
    total[2] = 0.0
    found, expected = reference_fam_map(kind, factors, total), oracle.fam_map(kind, total, 8, side)
    finite = np.isfinite(expected)
    np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-5, atol=1e-6)
    assert finite.all() == (kind == "grid")
    present = total[np.unique(factors.factors)]
    assert (found[~finite] == np.float32(np.log(present[present > 0].min()))).all()


@pytest.mark.parametrize("kind", ["circle", "square", "grid"])
def test_the_logarithmic_map_is_finite_for_any_indices(kind: str) -> None:
    """Other estimators than Jansen's give negative indices."""
    factors = factors_of(("fourier", kind, "perturb"), 16, 4)
    for total in (np.zeros(factors.n_factors), np.full(factors.n_factors, -3.0)):
        assert np.isfinite(reference_fam_map(kind, factors, total)).all()


def test_the_profile_has_every_ring_in_cycles_per_pixel() -> None:
    total = np.array([3.0, 1.0, 0.0, 0.0])
    assert [tuple(ring) for ring in reference_radial("circle", total)] == [
        (0.0, 0.25, 3.0, 0.75),
        (0.25, 0.5, 1.0, 0.25),
        (0.5, 0.75, 0.0, 0.0),
        (0.75, 1.0, 0.0, 0.0),
    ]
    assert reference_radial("square", total)[-1][:2] == (0.375, 0.5)
    assert [ring.share for ring in reference_radial("circle", np.zeros(2))] == [0.0, 0.0]


# ---- ranking and depth --------------------------------------------------------------------------


def test_ranking_ties_what_8_bits_cannot_tell_apart_in_factor_order() -> None:
    """Exact indices would rank 2 before 1; 0.500 and 0.501 are both level 127 of 255."""
    assert reference_rank(np.array([0.0, 0.5, 0.501, 1.0, 0.001])).tolist() == [3, 1, 2, 0, 4]
    assert reference_rank(np.full(3, 0.2)).tolist() == [0, 1, 2]
    total = np.random.default_rng(2).random(300) ** 6
    assert reference_rank(total).tolist() == oracle.ranking(total)


def test_depth_counts_from_0_and_does_not_look_at_the_empty_image() -> None:
    assert reference_depth(np.array([7, 1, 2, 7, 7]), 7) == 2
    assert reference_depth(np.array([7, 7, 1, 2, 7]), 7) == 0
    assert reference_depth(np.array([7, 1, 2]), 7) is None


def test_class_278_is_no_class_22() -> None:
    """Labels cast to uint8 lose 256."""
    assert reference_depth(np.array([5, 22, 22, 278], dtype=np.int32), 278) == 2


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("network", NETWORKS)
def test_depth_is_the_authors(name: str, network: str) -> None:
    picture, model, of = photograph(name, 64), NETWORKS[network], setting()
    clean = int(np.argmax(model(of.normalise(picture)[None])[0]))
    total = our_total(DOMAINS[0], picture, model, clean, of)
    found = make_renderer(picture, factors_of(DOMAINS[0], 64, 8), "wavelet")
    nested = NestedMasks(reference_rank(total), np.arange(65, dtype=np.int32))
    predicted = np.argmax(model(found.masks(nested.masks(0, 65))), axis=1)
    assert reference_depth(predicted, clean) == oracle.depth(picture, model, total, replace(of, nb_design=1))
