"""Names of classes come from files that somebody else may have written: wherever they are shown they stay text."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from PIL import Image
from rich.console import Console
from tests.figures.samples import wavelet_explanation
from tests.ingress.fakes import FakePlane, body, make_app, make_explanation, send

from wavescope.engine.types import Explanation, Prediction
from wavescope.figures.draw import draw_png
from wavescope.figures.terminal import report

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "[bold red]marked[/bold red] [link=https://evil.example]up[/link]",
    r"$\frac{1$ \input{x}",
    "a\x1b]0;title\x07\x1b[31mred",
    "a\u202egnp.exe",
)


def named(explanation: Explanation, label: str) -> Explanation:
    """The explanation, all its classes called so."""
    target = replace(explanation.target, label=label)
    predictions = tuple(Prediction(one.index, label, one.probability) for one in explanation.prediction)
    return replace(explanation, target=target, prediction=predictions)


@pytest.mark.parametrize("label", HOSTILE)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "application/x-npz"])
def test_no_browser_takes_a_reply_for_a_page(label: str, accept: str) -> None:
    app = make_app(FakePlane(named(make_explanation(), label)))
    reply = send(app, "POST", "/v1/explanations", json=body(), headers={"Accept": accept})
    assert reply.status_code == 200
    assert reply.headers["content-type"].split(";")[0] == accept
    assert reply.headers["x-content-type-options"] == "nosniff"
    if accept == "application/json":
        assert reply.json()["target"]["label"] == label


@pytest.mark.parametrize(
    "path", ["/v1/explanations", "/nowhere", "/v1/models/<script>", "/docs", "/livez", "/metrics"]
)
def test_every_reply_says_that_its_type_is_meant(path: str) -> None:
    reply = send(make_app(FakePlane(make_explanation())), "GET", path)
    assert reply.headers["x-content-type-options"] == "nosniff"
    if "html" in reply.headers["content-type"]:
        assert path == "/docs", "the one page that there is, and nothing of a model is in it"


@pytest.mark.parametrize("label", HOSTILE)
def test_a_refusal_that_repeats_a_name_is_json(label: str) -> None:
    app = make_app(FakePlane(make_explanation()))
    reply = send(app, "POST", "/v1/explanations", json=body({label: 1}))
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert json.loads(reply.content)["code"] == "invalid_request"


@pytest.mark.parametrize("label", HOSTILE)
def test_a_picture_shows_the_name_as_it_is(label: str) -> None:
    picture = Image.open(io.BytesIO(draw_png(named(wavelet_explanation(), label))))
    assert picture.format == "PNG"
    assert label.encode() not in b"".join(str(value).encode() for value in picture.info.values())


@pytest.mark.parametrize("label", HOSTILE)
def test_a_terminal_is_told_nothing_but_text(label: str) -> None:
    written = io.StringIO()
    Console(file=written, width=200).print(report(named(make_explanation(), label), width=200))
    assert "\x1b" not in written.getvalue(), "no colours are written to a file, hence none of a name either"
    assert not {"\x07", "\u202e"} & set(written.getvalue())
    if label.startswith("["):
        assert "[bold red]" in written.getvalue()
