"""Colours, layout and words of the figure."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from rich.console import Console
from tests.figures.samples import REPORTED, adaptive, contrasted, faithfulness

from wavescope.engine.kinds import KINDS, PERTURBING
from wavescope.engine.types import Explanation, Indices
from wavescope.figures.colours import (
    CHANGE,
    COLORMAP,
    FIRST,
    ORIENTATION_STYLES,
    SECOND,
    change_display_of,
    display_of,
    log_display_of,
)
from wavescope.figures.labels import caption, scale_label, shorten, side_words, sign_of
from wavescope.figures.layout import packed_bands, rectangles, spread
from wavescope.figures.terminal import report

MakeExplanation = Callable[..., Explanation]

# Viénot, Brettel and Mollon (1999), in linear RGB.
DICHROMATS = {
    "deuteranopia": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    "protanopia": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "none": np.eye(3),
}


def _luminance(rgb: np.ndarray, vision: str) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(DICHROMATS[vision]).T, 0, 1)
    return seen @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("vision", DICHROMATS)
def test_luminance_rises_along_the_map_of_colours_for_every_reader(vision: str) -> None:
    luminance = _luminance(colormaps[COLORMAP](np.arange(256))[:, :3], vision)
    assert (np.diff(luminance) > 0).all()
    assert luminance[-1] - luminance[0] > 0.6


@pytest.mark.parametrize("vision", DICHROMATS)
def test_orientations_differ_in_luminance_and_in_hatching(vision: str) -> None:
    faces = np.array([to_rgb(style.face) for style in ORIENTATION_STYLES.values()])
    # WCAG 2.2, 1.4.11 contrast, of every pair.
    for low, high in itertools.combinations(np.sort(_luminance(faces, vision)), 2):
        assert (high + 0.05) / (low + 0.05) > 1.3
    assert len({style.hatch for style in ORIENTATION_STYLES.values()}) == len(ORIENTATION_STYLES)


@pytest.mark.parametrize("vision", DICHROMATS)
def test_the_two_that_are_compared_differ_in_luminance_and_so_do_loss_and_no_change(vision: str) -> None:
    first, second = _luminance(np.array([to_rgb(FIRST), to_rgb(SECOND)]), vision)
    assert (second + 0.05) / (first + 0.05) > 1.3
    ends = _luminance(CHANGE(np.array([0.0, 0.5, 1.0]))[:, :3], vision)
    assert ends[1] > 2 * max(ends[0], ends[2])  # lightest where nothing changed


def test_what_did_not_change_has_the_middle_colour_and_rounding_is_no_change() -> None:
    values = np.array([[-0.3, 0.0], [0.1, 0.2]])
    assert float(change_display_of(values).norm(0.0)) == 0.5
    assert float(change_display_of(values).norm(-0.3)) == 0.0
    rounding = np.full((100, 100), 1e-10)
    assert float(change_display_of(rounding).norm(1e-10)) == pytest.approx(0.5, abs=0.01)


def test_a_logarithmic_scale_shows_four_decades_and_says_what_it_does_not() -> None:
    values = np.array([[1e-7, 1e-3], [0.1, 1.0]])
    display = log_display_of(values)
    assert float(display.norm(1e-4)) == pytest.approx(0.0)
    assert float(display.norm(1e-2)) == pytest.approx(0.5)
    assert "below 0.0001 drawn as 0.0001" in display.label("index")
    assert display.ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


@pytest.mark.parametrize("span", [5.0, 30.0, 900.0, 1e4])
def test_ticks_of_a_logarithmic_scale_are_few_and_on_the_bar(span: float) -> None:
    ticks = log_display_of(np.array([[0.37 / span, 0.37]])).ticks()
    assert 2 <= len(ticks) <= 8
    assert 0.37 / span * (1 - 1e-9) <= min(ticks) <= max(ticks) <= 0.37 * (1 + 1e-9)


@pytest.mark.parametrize(("shape", "levels"), [((224, 224), 3), ((64, 128), 1), ((64, 192), 6)])
def test_bands_lie_where_pywavelets_packs_them(shape: tuple[int, int], levels: int) -> None:
    coefficients = pywt.wavedec2(np.zeros(shape), "haar", mode="periodization", level=levels)
    packed, slices = pywt.coeffs_to_array(coefficients)
    names = {"da": "horizontal", "ad": "vertical", "dd": "diagonal"}  # PyWavelets' cH, cV, cD
    details: list[dict[str, tuple[slice, slice]]] = list(slices[1:])  # pyright: ignore[reportAssignmentType]
    expected = {(0, "approximation"): slices[0]}
    expected |= {
        (level, names[key]): place for level, places in enumerate(details, 1) for key, place in places.items()
    }
    assert packed.shape == shape
    for band in packed_bands(shape, levels):
        rows, columns = (
            s.indices(n) for s, n in zip(expected.pop((band.level, band.orientation)), shape, strict=True)
        )
        assert (band.top, band.bottom, band.left, band.right) == (rows[0], rows[1], columns[0], columns[1])
    assert not expected


@given(st.lists(st.floats(0, 300), min_size=1, max_size=12).map(sorted), st.floats(0.5, 30))
def test_spread_labels_keep_their_order_and_distance_and_centre(positions: list[float], gap: float) -> None:
    places = spread(positions, gap)
    assert all(b - a >= gap - 1e-6 for a, b in itertools.pairwise(places))
    assert np.mean(places) == pytest.approx(np.mean(positions), abs=1e-6)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_rectangles_are_disjoint_and_cover_exactly_the_places(height: int, width: int, seed: int) -> None:
    places = np.random.default_rng(seed).random((height, width)) < 0.5
    covered = np.zeros((height, width), int)
    for left, top, right, bottom in rectangles(places):
        covered[top:bottom, left:right] += 1
    np.testing.assert_array_equal(covered, places)


def test_a_row_of_cells_is_one_rectangle_per_run() -> None:
    places = np.kron(np.array([[1, 0, 1, 1], [0, 0, 0, 1]]), np.ones((8, 8))) > 0
    assert rectangles(places) == [(0, 0, 8, 8), (16, 0, 32, 8), (24, 8, 32, 16)]


def test_labels_that_have_room_do_not_move() -> None:
    assert spread([0.0, 20.0, 40.0], 11.0) == (0.0, 20.0, 40.0)


@pytest.mark.parametrize("largest", [1e-9, 0.013, 0.32, 1.0, 7.0, 4321.0])
@pytest.mark.parametrize("background", [0.0, 0.9])
def test_ticks_are_few_and_on_the_bar(largest: float, background: float) -> None:
    values = np.full((10, 10), background * largest)
    values[0, 0] = largest
    display = display_of(values)
    ticks = display.ticks()
    assert 3 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks[-1] <= largest * (1 + 1e-9)
    assert np.diff(np.asarray(display.norm(ticks))).min() > 0.1  # room for a number


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_a_positive_index_is_all_of_the_lowest_colour(value: float) -> None:
    display = display_of(np.full((4, 4), value))
    assert (np.asarray(display.norm(np.full((4, 4), value))) == 0).all()


@pytest.mark.parametrize(
    ("scale", "words"),
    [((1, 2), "1-2 px"), ((4, 8), "4-8 px"), ((8, None), "> 8 px"), ((0.5, 1), "0.5-1 px")],
)
def test_scales_are_named_in_pixels(scale: tuple[int, int | None], words: str) -> None:
    assert scale_label(scale) == words


def test_shortened_text_is_one_line_within_the_limit() -> None:
    assert shorten("a\n b", 10) == "a b"
    assert shorten("abcdefghij", 5) == "abcd…"


def test_the_caption_says_what_differs_from_the_defaults(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation()
    explanation.parameters.update(approximation="keep", value_policy="none", score="log_probability", seed=7)
    words = caption(explanation)
    assert "approximation kept" in words
    assert "values not limited" in words
    assert "Jansen estimator of the log probability" in words
    assert "seed 7" in words


def _terminal(explanation: Explanation, *, width: int = 100, ascii_only: bool = False) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(report(explanation, width=width, ascii_only=ascii_only))
    return console.export_text()


def test_the_terminal_shows_scales_orientations_and_prediction(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation(warnings=("N = 2 gives no [errors]",))
    assert explanation.levels is not None
    text = _terminal(explanation)
    for level in explanation.levels:
        row = next(line for line in text.splitlines() if f" {scale_label(level.scale_px)} " in line)
        assert f"{100 * level.share:.1f} %" in row
        if level.diagonal is not None:
            assert f"{100 * level.diagonal.share:.1f} %" in row
    assert "plastic bag" in text
    assert "warning: N = 2 gives no [errors]" in text
    assert "6,288 forwards in 1.0 s (6,288 per second)" in text


def test_the_longest_bar_is_the_largest_share(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation()
    assert explanation.levels is not None
    text = _terminal(explanation, ascii_only=True)
    lines = [line for line in text.splitlines() if " px " in line]
    bars = [line.count("#") for line in lines]
    shares = [level.share for level in explanation.levels]
    assert int(np.argmax(bars)) == int(np.argmax(shares))
    assert max(bars) == 24


def test_the_terminal_tells_of_a_constant_score(make_explanation: MakeExplanation) -> None:
    assert "did not vary" in _terminal(make_explanation(constant=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [66, 72, 80, 200])
def test_no_number_is_cut_on_a_narrow_terminal(
    make_explanation: MakeExplanation, width: int, kind: str
) -> None:
    given = {} if kind in ("fam", "sobol") else {"levels": 6}
    text = _terminal(make_explanation(kind, **given), width=width)
    assert "…" not in text
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_for_a_plain_terminal_has_no_block_and_no_sign_beyond_ascii(
    make_explanation: MakeExplanation, kind: str
) -> None:
    bare = replace(make_explanation(kind), faithfulness=(faithfulness(),))
    lines = report(bare, width=100, ascii_only=True)
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    Console(width=100, file=file).print(lines)
    file.seek(0)
    told = "".join(line for line in file if "Egyptian cat" not in line and "Worth" not in line)
    assert "#" in told or kind in ("sobol", "compare", "zoom")
    assert "?" not in told.replace("?tiger cat?", "")  # a class stands in quotes


@pytest.mark.parametrize("kind", REPORTED)
def test_the_terminal_tells_the_numbers_of_every_kind(make_explanation: MakeExplanation, kind: str) -> None:
    told = " ".join(_terminal(make_explanation(kind)).split())
    usual = ["difference from the map of “tiger cat” 0.12"] if kind in PERTURBING else []
    for words in (*REPORTED[kind], "split-half reliability 0.83", *usual):
        assert words in told


@pytest.mark.parametrize("kind", PERTURBING)
def test_the_terminal_tells_what_an_adaptive_plan_resolved(
    make_explanation: MakeExplanation, kind: str
) -> None:
    explanation = adaptive(make_explanation(kind))
    assert explanation.indices is not None
    assert explanation.indices.resolved is not None
    assert explanation.indices.upper_bound is not None
    text = _terminal(explanation, width=66)
    assert all(len(line.rstrip()) <= 66 for line in text.splitlines())
    told = " ".join(text.split())
    count, factors = explanation.indices.resolved.sum(), len(explanation.indices.resolved)
    assert f"Adaptive: 628 forwards, {count} of {factors} factors resolved" in told
    assert (
        "22 groups, stopped: max_forwards; expected correlation with the true indices 0.97, error of level shares "
        in told
    )
    assert "error of level shares 0.03, largest standard error 0.034." in told
    top = int(explanation.indices.total.argmax())
    assert f"{explanation.indices.upper_bound[top]:.3f} yes" in told
    assert "at most resolved" in told
    assert "Adaptive" not in _terminal(make_explanation(kind))


def test_the_terminal_tells_faithfulness_per_domain(make_explanation: MakeExplanation) -> None:
    told = _terminal(make_explanation(faithfulness=(faithfulness(), faithfulness("wavelet"))))
    rows = [line for line in told.splitlines() if line.strip().startswith(("pixels", "wavelet factors"))]
    assert [row.split()[-4:] for row in rows] == [["0.510", "0.077", "0.430", "0.390"]] * 2


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("wcam", "Wavelet haar, 3 levels; partition grid 28×28"),
        ("fam", "Fourier magnitudes, phases kept; partition circle"),
        ("sobol", "Pixels; masked pixels black; partition grid 8×8"),
    ],
)
def test_the_caption_tells_the_transform_of_the_kind(
    make_explanation: MakeExplanation, kind: str, words: str
) -> None:
    assert words in caption(make_explanation(kind))
    assert ("levels" in caption(make_explanation(kind))) == (kind == "wcam")


def test_the_caption_tells_of_the_authors_choices(make_explanation: MakeExplanation) -> None:
    explanation = make_explanation()
    explanation.parameters.update(compat="reference")
    assert "computed as the authors' code does" in caption(explanation)


def test_importance_speaks_for_a_class_where_effects_are_more_than_twice_their_errors() -> None:
    indices = Indices(
        total=np.array([0.4, 0.3, 0.2, 0.1]),
        first=None,
        standard_error=None,
        interval_95=None,
        effect=(1.0, -3.0, 2.0, None),
        effect_error=(0.49, 1.0, 1.01, None),
    )
    words = side_words(indices, "cat", "tabby")
    assert words == (
        "Factors with 40.0 % of its importance speak for “cat”, with 30.0 % for “tabby”; of the others the sign is not "
        "known."
    )
    assert [sign_of(*pair) for pair in ((1.0, 0.5), (1.0, None), (None, 0.1), (0.0, 0.0))] == [""] * 4
    assert side_words(replace(indices, effect=None), "cat", "tabby") == ""


def test_the_terminal_answers_why_this_and_not_that(make_explanation: MakeExplanation) -> None:
    explanation = adaptive(make_explanation())
    text = _terminal(contrasted(explanation, warnings=("hardly known",)))
    assert "Why “Egyptian cat” and not “tiger cat”" in text
    assert "Largest factors of the contrast" in text
    assert "warning of the contrast: hardly known" in text
    assert re.search(r"^ *\d+ +0\.\d{3} +[+-]\d\S* ± \S+", text, flags=re.MULTILINE)
    assert re.search(r"[+]\d\S* ± \S+ +Egyptian cat", text)
    assert re.search(r"-\d\S* ± \S+ +tiger cat", text)
    assert "speak for “Egyptian cat”" in text
    constant = _terminal(contrasted(explanation, constant=True))
    assert "the difference of their logits did not vary" in constant
