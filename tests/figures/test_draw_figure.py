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
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from PIL import Image

from wavescope.engine.types import Explanation, Prediction
from wavescope.errors import InvalidRequest
from wavescope.figures.colours import COLORMAP
from wavescope.figures.draw import build_figure, draw_png

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
    assert _size(draw_png(make_explanation(), dpi=dpi)) == (width, int(height * dpi))


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
    assert "the probability of “Egyptian cat” did not vary over the 6,288 perturbed images" in told
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


@pytest.mark.parametrize("case", ODD)
def test_odd_explanations_are_drawn_without_a_warning_and_within_the_page(
    make_explanation: MakeExplanation, case: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = build_figure(make_explanation(**ODD[case]))
        figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    assert width <= 12
    assert 3 < height < 12
    page = figure.bbox
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            inside = box.x0 >= -1 and box.x1 <= page.x1 + 1 and box.y0 >= -1 and box.y1 <= page.y1 + 1
            assert inside, text.get_text()


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
