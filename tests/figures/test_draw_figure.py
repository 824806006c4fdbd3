"""The figure: what is on it, for every shape of explanation, and that it is the same bytes each time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from PIL import Image
from tests.figures import samples

from wavescope.engine.kinds import KINDS, PERTURBING
from wavescope.engine.types import Explanation, Prediction
from wavescope.errors import InvalidRequest
from wavescope.figures.colours import COLORMAP
from wavescope.figures.draw import build_figure, draw_png
from wavescope.figures.unresolved import predicted_pixels

MakeExplanation = Callable[..., Explanation]


def _texts(figure: Figure) -> str:
    return "\n".join(
        text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_visible()
    )


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.size


def _shown_maps(figure: Figure) -> Iterator[np.ndarray]:
    for image in figure.findobj(AxesImage):
        array = image.get_array() if isinstance(image, AxesImage) else None
        if array is not None and array.ndim == 2 and image.get_cmap().name == COLORMAP:
            yield np.ma.getdata(array)


@pytest.mark.parametrize(("dpi", "width"), [(30, 360), (100, 1200)])
def test_the_png_is_twelve_inches_wide(make_explanation: MakeExplanation, dpi: int, width: int) -> None:
    figure = build_figure(make_explanation())
    height = figure.get_size_inches()[1]
    assert _size(draw_png(make_explanation(), dpi=dpi)) == (width, pytest.approx(height * dpi, abs=1))


@pytest.mark.parametrize("dpi", [0, 19, 601, -100])
def test_a_resolution_out_of_range_is_refused_by_name(make_explanation: MakeExplanation, dpi: int) -> None:
    with pytest.raises(InvalidRequest, match=r"dpi must be 20\.\.600") as caught:
        draw_png(make_explanation(), dpi=dpi)
    assert caught.value.field == "dpi"


@pytest.mark.parametrize(
    ("levels", "labels"),
    [
        (1, ("> 2 px", "1-2 px")),
        (3, ("> 8 px", "4-8 px", "2-4 px", "1-2 px")),
        (6, ("> 64 px", "32-64 px", "16-32 px", "8-16 px", "4-8 px", "2-4 px", "1-2 px")),
    ],
)
def test_every_scale_is_named_beside_the_map_and_in_the_bar_chart(
    make_explanation: MakeExplanation, levels: int, labels: tuple[str, ...]
) -> None:
    lines = _texts(build_figure(make_explanation(levels=levels))).splitlines()
    assert {label: lines.count(label) for label in labels} == dict.fromkeys(labels, 2)


def test_the_maps_are_shown_as_they_are(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation()
    assert explanation.maps is not None
    spatial, packed = _shown_maps(build_figure(explanation))
    np.testing.assert_array_equal(spatial, explanation.maps.spatial_wcam)
    np.testing.assert_array_equal(packed, explanation.maps.wcam)


def test_the_target_the_units_and_the_parameters_are_told(make_explanation: MakeExplanation) -> None:
    told = _texts(build_figure(make_explanation()))
    for words in (
        "efficientnet-lite0: “Egyptian cat” (class 285), probability 0.621",
        "total Sobol index",
        "square-root colour scale",
        "Wavelet haar, 3 levels",
        "28×28, 784 factors",
        "N = 8",
        "6,288 forwards",
        "seed 0",
        "plastic bag",
    ):
        assert words in told


def test_orientations_are_lettered_where_there_is_room(make_explanation: MakeExplanation) -> None:
    lines = _texts(build_figure(make_explanation(levels=6))).splitlines()
    assert {letter: lines.count(letter) for letter in "hvd"} == {"h": 3, "v": 3, "d": 3}


def test_a_target_outside_the_top_classes_is_listed_too(make_explanation: MakeExplanation) -> None:
    target = Prediction(999, "toilet tissue", 1e-6)
    assert "toilet tissue" in _texts(build_figure(make_explanation(target=target))).splitlines()


def test_the_linear_scale_of_an_even_map_is_not_called_a_root(make_explanation: MakeExplanation) -> None:
    even = make_explanation()
    assert even.maps is not None
    maps = replace(even.maps, wcam=even.maps.wcam * 0 + 1, spatial_wcam=even.maps.spatial_wcam * 0 + 1)
    assert "square-root" not in _texts(build_figure(replace(even, maps=maps)))


def test_negative_indices_are_drawn_as_zero_and_said_to_be(make_explanation: MakeExplanation) -> None:
    told = _texts(build_figure(make_explanation(offset=-0.1)))
    assert "negative down to -0.1 drawn as 0" in told


def test_coefficients_of_no_factor_are_grey_and_said_to_be(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation()
    assert explanation.maps is not None
    factors = explanation.maps.factors.copy()
    factors[:28, :28] = -1
    figure = build_figure(replace(explanation, maps=replace(explanation.maps, factors=factors)))
    assert "grey: not perturbed" in _texts(figure)
    arrays = [image.get_array() for image in figure.findobj(AxesImage) if isinstance(image, AxesImage)]
    assert sum(np.ma.count_masked(array) for array in arrays if array is not None) == 28 * 28


def test_a_constant_score_gives_the_image_and_a_sentence(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation(constant=True, warnings=("N = 2 gives no standard errors",))
    figure = build_figure(explanation)
    told = " ".join(_texts(figure).split())
    assert "the logit of “Egyptian cat” did not vary over the 6,288 perturbed images" in told
    assert "Note: N = 2 gives no standard errors" in told
    assert list(_shown_maps(figure)) == []
    assert _size(draw_png(explanation))[0] < 1200


ODD: dict[str, dict[str, Any]] = {
    "one level": {"levels": 1},
    "six levels": {"levels": 6},
    "wide": {"shape": (3, 30, 240), "grid": 8, "levels": 2},
    "tall and odd": {"shape": (3, 301, 97)},
    "grey": {"shape": (1, 64, 64), "grid": 7, "levels": 2},
    "two channels": {"shape": (2, 32, 32), "grid": 4, "levels": 2},
    "tiny": {"shape": (3, 8, 8), "grid": 2, "levels": 1},
    "one factor": {"shape": (3, 16, 16), "grid": 1, "levels": 2},
    "some negative": {"offset": -0.1},
    "all negative": {"offset": -2.0},
    "constant": {"constant": True},
    "minute indices": {"skew": 0.0, "offset": 1e-30, "shape": (3, 16, 16), "levels": 1, "grid": 4},
    "no probabilities": {
        "target": Prediction(1, "x", None),
        "prediction": tuple(Prediction(index, f"class {index}", None) for index in range(5)),
    },
    "two classes": {"prediction": (Prediction(285, "cat", 0.9), Prediction(0, "dog", 0.1))},
    "no parameters": {"parameters": {}},
    "formulas": {"target": Prediction(1, r"$\frac{1", 0.5), "warnings": ("a $^ b", "50 % $x$")},
    "many scripts": {"target": Prediction(1, "猫 кошка 😀 a\nb\tc", 0.5), "model": "模型"},
    "long names": {
        "target": Prediction(1, "name " * 99, 0.5),
        "model": "a-model-" * 40,
        "warnings": ("a warning of many words " * 99,),
    },
}


def _drawn_texts(figure: Figure) -> Iterator[Text]:
    """Every text that is seen: of the figure, of all axes, of ticks within the limits and of legends."""
    yield from figure.texts
    for axes in _all_axes(figure.axes):
        yield from (*axes.texts, axes.title, axes._left_title, axes._right_title)
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            yield axis.label
            for tick in axis._update_ticks():
                yield from (label for label in (tick.label1, tick.label2) if label.get_visible())
        if (legend := axes.get_legend()) is not None:
            yield from (*legend.get_texts(), legend.get_title())


def _all_axes(parents: list[Axes]) -> Iterator[Axes]:
    for axes in parents:
        yield axes
        yield from _all_axes(axes.child_axes)


def _check_texts(figure: Figure) -> None:
    """No text leaves the page, and none covers another."""
    figure.draw_without_rendering()
    texts = [text for text in _drawn_texts(figure) if text.get_visible() and text.get_text().strip()]
    boxes = np.array([Text.get_window_extent(text).extents for text in texts])
    for text, (x0, y0, x1, y1) in zip(texts, boxes, strict=True):
        assert min(x0, y0) >= -1, text.get_text()
        assert x1 <= figure.bbox.x1 + 1, text.get_text()
        assert y1 <= figure.bbox.y1 + 1, text.get_text()
    wide = np.minimum(boxes[:, None, 2], boxes[None, :, 2]) - np.maximum(boxes[:, None, 0], boxes[None, :, 0])
    high = np.minimum(boxes[:, None, 3], boxes[None, :, 3]) - np.maximum(boxes[:, None, 1], boxes[None, :, 1])
    # A box is as high as its line: two that share less than 2 px of it still leave their letters apart.
    covering = np.argwhere(np.triu((wide > 1) & (high > 2), 1))
    assert [(texts[a].get_text(), texts[b].get_text()) for a, b in covering] == []


def test_the_check_of_texts_finds_one_over_another(make_explanation: MakeExplanation) -> None:
    figure = build_figure(make_explanation())
    figure.text(0.03, 0.98, "over the heading", va="top")
    with pytest.raises(AssertionError, match="over the heading"):
        _check_texts(figure)


@pytest.mark.parametrize("case", ODD)
def test_odd_explanations_are_drawn_without_a_warning_and_within_the_page(
    make_explanation: MakeExplanation, case: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = build_figure(make_explanation(**ODD[case]))
        _check_texts(figure)
    width, height = figure.get_size_inches()
    assert width <= 12
    assert 3 < height < 12


_SHAPES: dict[str, dict[str, Any]] = {
    "square": {},
    "wide and grey": {"shape": (1, 40, 160), "grid": 8, "levels": 2},
    "tall and deep": {"shape": (3, 200, 90), "levels": 5},
    "tiny": {"shape": (3, 8, 8), "grid": 2, "levels": 1},
}


def _shaped(kind: str, shape: dict[str, Any]) -> Explanation:
    given = dict(shape)
    if kind in ("fam", "sobol"):
        given.pop("levels", None)
    if kind == "fam" and "grid" in given:
        given["rings"] = given.pop("grid")
    return samples.MAKERS[kind](**given)


def test_there_is_an_explanation_of_every_kind_to_draw() -> None:
    assert set(samples.MAKERS) == set(KINDS)


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_without_one_text_over_another(kind: str, shape: str) -> None:
    faithful = (samples.faithfulness("pixel"), samples.faithfulness("wavelet"))
    warned = ("the map of the runner-up ranks the factors alike to 0.88: " + "it tells little " * 20,)
    explanation = replace(_shaped(kind, _SHAPES[shape]), faithfulness=faithful, warnings=warned)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = build_figure(explanation)
        _check_texts(figure)
    assert figure.get_size_inches()[0] == 12
    told = " ".join(_texts(figure).split())
    for words in (
        "Faithfulness in pixels",
        "Faithfulness in wavelet factors",
        "split-half reliability 0.83",
        *(["difference from the map of “tiger cat” 0.12"] if kind in PERTURBING else []),
        "Note: the map of the runner-up",
        f"{explanation.forwards:,} forwards",
    ):
        assert words in told


@pytest.mark.parametrize("kind", samples.DRAWN)
def test_the_figure_of_a_kind_tells_what_the_kind_is_about(
    make_explanation: MakeExplanation, kind: str
) -> None:
    told = " ".join(_texts(build_figure(make_explanation(kind))).split())
    for words in samples.DRAWN[kind]:
        assert words in told


@pytest.mark.parametrize("kind", ["fam", "sobol"])
def test_the_map_of_a_kind_is_shown_as_it_is(make_explanation: MakeExplanation, kind: str) -> None:
    explanation = make_explanation(kind)
    [shown] = _shown_maps(build_figure(explanation))
    np.testing.assert_array_equal(shown, getattr(explanation.maps, kind))


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("kind", PERTURBING)
def test_an_adaptive_plan_of_every_kind_is_drawn_without_one_text_over_another(kind: str, shape: str) -> None:
    explanation = samples.adaptive(_shaped(kind, _SHAPES[shape]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = build_figure(explanation)
        _check_texts(figure)
    indices = explanation.indices
    assert indices is not None
    assert indices.resolved is not None
    resolved = f"{indices.resolved.sum()} of {len(indices.resolved)} factors resolved"
    assert f"Adaptive: 628 forwards, {resolved}" in " ".join(_texts(figure).split())


CONTRASTED = [name for name, kind in KINDS.items() if "contrast" in kind.sections]


@pytest.mark.parametrize("plan", ["full", "adaptive"])
@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("kind", CONTRASTED)
def test_a_contrast_is_drawn_below_with_its_question(kind: str, shape: str, plan: str) -> None:
    explanation = _shaped(kind, _SHAPES[shape])
    explanation = samples.adaptive(explanation) if plan == "adaptive" else explanation
    explanation = samples.contrasted(explanation, warnings=("hardly known",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = build_figure(explanation)
        _check_texts(figure)
    told = " ".join(_texts(figure).split())
    assert "Why “Egyptian cat” and not “tiger cat”: Sobol indices of the difference of their logits." in told
    assert "Note on the contrast: hardly known" in told
    assert explanation.contrast is not None
    assert explanation.contrast.map is not None
    # Whole sub-bands have no places to show.
    assert (kind != "profile") == any(
        shown.shape == explanation.contrast.map.shape and (shown == explanation.contrast.map).all()
        for shown in _shown_maps(figure)
    )


def test_pixels_that_speak_for_either_class_are_drawn_in_colours_that_part_at_no_effect() -> None:
    explanation = samples.contrasted(samples.sobol_explanation())
    axes = _titled(build_figure(explanation), "For the one or for the other: signed effects")
    [image] = axes.images
    contrast, maps = explanation.contrast, explanation.maps
    assert contrast is not None
    assert contrast.indices is not None
    assert maps is not None
    np.testing.assert_allclose(image.get_array(), np.array(contrast.indices.effect)[maps.factors], rtol=1e-6)
    assert image.norm.vmin == -image.norm.vmax


@pytest.mark.parametrize("kind", CONTRASTED)
def test_a_contrast_that_does_not_vary_is_a_sentence(kind: str) -> None:
    plain = samples.MAKERS[kind]()
    figure = build_figure(samples.contrasted(plain, constant=True))
    _check_texts(figure)
    assert "the difference of their logits did not vary" in " ".join(_texts(figure).split())
    assert len(list(_shown_maps(figure))) == len(list(_shown_maps(build_figure(plain))))


def _hatchings(axes: Axes) -> list[PathPatch]:
    return [patch for patch in axes.patches if isinstance(patch, PathPatch) and patch.get_hatch()]


def _titled(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_title("left") == title)


@pytest.mark.parametrize("grid", [5, 28])
def test_exactly_the_coefficients_of_unresolved_factors_are_hatched(
    make_explanation: MakeExplanation, grid: int
) -> None:
    explanation = samples.adaptive(make_explanation(grid=grid))
    assert explanation.maps is not None
    assert explanation.indices is not None
    assert explanation.indices.resolved is not None
    figure = build_figure(explanation)
    hatchings = _hatchings(_titled(figure, "Where and on which scale: WCAM"))
    places = np.stack(np.meshgrid(np.arange(224), np.arange(224)), -1).reshape(-1, 2)
    unresolved = ~explanation.indices.resolved[explanation.maps.factors]
    assert hatchings
    for hatching in hatchings:
        inside = hatching.get_path().contains_points(places).reshape(224, 224)
        np.testing.assert_array_equal(inside, unresolved)
    assert "hatched: not perturbed by itself;\nat most its group's bound" in _texts(figure)


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("wcam", "Where: spatial WCAM"),
        ("sobol", "Where: Sobol attribution of pixels"),
        ("fam", "Which frequencies: Fourier attribution"),
    ],
)
def test_predictions_are_hatched_and_nothing_where_all_factors_are_resolved(
    make_explanation: MakeExplanation, kind: str, title: str
) -> None:
    for resolved, hatched in ((0.12, True), (1.0, False)):
        figure = build_figure(samples.adaptive(make_explanation(kind), resolved))
        assert bool(_hatchings(_titled(figure, title))) is hatched
        assert ("hatched: " in _texts(figure)) is hatched
    assert "hatched" not in _texts(build_figure(make_explanation(kind)))


def test_a_map_over_the_image_is_hatched_where_most_of_the_sum_is_a_prediction(
    make_explanation: MakeExplanation,
) -> None:
    whole = samples.adaptive(make_explanation(shape=(3, 16, 16), grid=4, levels=1))
    assert whole.indices is not None
    # The approximation's cells alone are resolved, and only its upper half holds more than the details.
    resolved = np.array([1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], bool)
    total = np.where(resolved, [5, 5, 0, 0, 1, 1, 0, 0] + [0] * 8, 1.0)
    indices = replace(whole.indices, resolved=resolved, total=total)
    predicted = predicted_pixels(replace(whole, indices=indices))
    assert predicted is not None
    np.testing.assert_array_equal(predicted, np.arange(16)[:, None].repeat(16, 1) >= 8)


def test_bars_of_a_profile_that_are_predictions_are_pale(make_explanation: MakeExplanation) -> None:
    figure = build_figure(samples.adaptive(make_explanation("profile"), 0.5))
    axes = _titled(figure, "Importance per sub-band (pale: predicted)")
    assert sum(patch.get_alpha() not in (None, 1.0) for patch in axes.patches) == 5


def test_the_numbers_of_a_comparison_are_those_of_the_explanation(make_explanation: MakeExplanation) -> None:
    found = make_explanation("compare").comparison
    lines = _texts(build_figure(make_explanation("compare"))).splitlines()
    for number in (found.scale_shift, found.place_shift):
        assert f"{number:.3f}" in lines
    for change in found.scales:
        assert f"{100 * change.change:+.1f}".replace("-", "−") in lines


def test_a_lost_label_is_crossed_out_and_no_other(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation("robustness")
    lines = _texts(build_figure(explanation)).splitlines()
    lost = sum(not each.same_label for each in explanation.robustness.corrupted)
    assert 0 < lost < len(explanation.robustness.corrupted)
    assert sum(line.endswith(" ×") for line in lines) == lost


@pytest.mark.parametrize(
    ("depth", "words"),
    [
        (
            None,
            "No number of factors from 1 to 784 rebuilds an image called “Egyptian cat”: there is no depth.",
        ),
        (0, "The empty image, rebuilt from no factor, is already called “Egyptian cat”: the depth is 0."),
        (1, "The top factor alone is enough for “Egyptian cat”: reconstruction depth 1 of 784 factors."),
    ],
)
def test_it_is_told_when_no_factor_or_no_number_of_factors_suffices(
    make_explanation: MakeExplanation, depth: int | None, words: str
) -> None:
    figure = build_figure(make_explanation("sufficient-image", depth=depth))
    _check_texts(figure)
    assert words in " ".join(_texts(figure).split())


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_score_of_any_kind_is_told(make_explanation: MakeExplanation, kind: str) -> None:
    gone = (
        "indices", "maps", "levels", "worth", "radial", "profile", "sufficiency", "comparison", "zoom", "attributions",
    )  # fmt: skip
    explanation = replace(
        make_explanation(kind), outcome="constant_score", **dict.fromkeys(gone), warnings=("why",)
    )
    figure = build_figure(explanation)
    _check_texts(figure)
    told = " ".join(_texts(figure).split())
    assert ("did not vary over the" if kind in PERTURBING else "the gradient of the logit of") in told
    assert "Note: why" in told
    assert ("jpeg compression" in told) == (kind == "robustness")  # which needs no map


def test_a_factor_per_level_is_a_bar_of_its_own(make_explanation: MakeExplanation) -> None:
    lines = _texts(build_figure(make_explanation("profile", whole=True))).splitlines()
    assert [lines.count(scale) for scale in ("> 8 px", "4-8 px", "2-4 px", "1-2 px")] == [1] * 4


def test_a_flat_or_negative_spectrum_has_a_linear_scale(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation("fam")
    for value in (0.2, -0.1, 0.0):
        rings = tuple(replace(ring, mean=value) for ring in explanation.radial)
        flat = replace(explanation.maps, fam=explanation.maps.fam * 0 + value)
        figure = build_figure(replace(explanation, maps=flat, radial=rings))
        _check_texts(figure)
        assert "logarithmic" not in _texts(figure)


def test_equal_explanations_of_different_requests_are_equal_bytes(make_explanation: MakeExplanation) -> None:
    first = draw_png(make_explanation(id="a", timing={"total_s": 1.0}), dpi=30)
    assert draw_png(make_explanation(id="b", timing={"total_s": 2.0}), dpi=30) == first
    assert b"matplotlib" not in first


def test_threads_draw_at_once_what_one_draws_alone(make_explanation: MakeExplanation) -> None:
    explanations = [make_explanation(seed=seed, levels=1 + seed % 3) for seed in range(4)]
    alone = [draw_png(explanation, dpi=30) for explanation in explanations]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda explanation: draw_png(explanation, dpi=30), explanations)) == alone


def test_drawing_leaves_no_trace_in_matplotlib(make_explanation: MakeExplanation) -> None:
    before = dict(mpl.rcParams)
    draw_png(make_explanation(), dpi=30)
    assert dict(mpl.rcParams) == before
    from matplotlib._pylab_helpers import Gcf

    assert Gcf.get_all_fig_managers() == []


def test_no_picture_of_attributions_speaks_of_sobol_indices(make_explanation: MakeExplanation) -> None:
    for told in (
        _texts(build_figure(make_explanation("wam"))),
        _texts(build_figure(make_explanation("wam", constant=True))),
    ):
        assert "Sobol" not in told
        assert "index" not in told
        assert "indices" not in told
