"""The report of a monitor: every state is drawn, within its time, and says what it is about."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tests.figures.monitored import REFERENCE, state

from wavescope.engine.monitors.config import MonitorConfig, Sampling, TestPlan
from wavescope.engine.monitors.fold import fold
from wavescope.engine.monitors.observation import Observed
from wavescope.engine.monitors.state import Command, Facts, LogEntry, MonitorState, initial_state
from wavescope.engine.monitors.status import findings, summarise
from wavescope.figures.monitor import build_report, draw_report


def texts_of(found: MonitorState, images: dict[int, np.ndarray] | None = None) -> str:
    """All that stands on the picture."""
    of = ("birds", summarise(found), findings(found), images or {})
    figure, png = build_report(*of), draw_report(*of)
    written = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    image = Image.open(BytesIO(png))
    assert image.width == 1200
    extent = figure.get_window_extent()
    renderer = figure.canvas.get_renderer()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        inside = (extent.x0 <= box.x0, box.x1 <= extent.x1, extent.y0 <= box.y0, box.y1 <= extent.y1)
        assert all(inside), text.get_text()
    return " ".join(" ".join(written).split())


def test_an_alarm_says_what_changed_since_when_and_which_images() -> None:
    found = state(400, changed_at=300)
    images = {one.seq: np.random.default_rng(0).random((3, 32, 32)) for one in found.shifted}
    said = texts_of(found, images)
    assert "Monitor birds: alarm" in said
    assert "scales that the model relies on" in said
    assert "Alarm 1 was raised by observation" in said
    assert "The change began at observation" in said
    assert "1-2px" in said
    assert "alarm 1" in said
    assert f"#{found.shifted[0].seq}" in said


def test_without_kept_images_it_lists_them() -> None:
    assert "their images are not kept" in texts_of(state(200))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (state(50), "The reference has 50 of 130 images"),
        (state(160, profile_rate=0), "No profiles"),
        (state(131), "No evidence yet"),
        (state(200, every_s=0.0), "observation"),
        (state(2000, changed_at=1500), "Alarm 1"),
        (state(300, changed_at=200, test=TestPlan(method="bounded-mean", mean_observations=100)), "Evidence"),
    ],
    ids=["collecting", "no profiles", "no evidence", "all at once", "many", "bounded mean"],
)
def test_every_state_is_drawn(found: MonitorState, words: str) -> None:
    assert words in texts_of(found)


def test_a_rejected_reference_says_why() -> None:
    config = MonitorConfig(model="m", sample=Sampling(profile_rate=0), reference=REFERENCE)
    rows = [
        Observed(
            "observed",
            "r",
            profiled=False,
            energies=np.full(10, np.exp(seq / 20)),
            confidence=0.5,
            predicted=0,
        )
        for seq in range(130)
    ]
    entries = [LogEntry(seq=at + 1, at=float(at), facts=Facts(), observed=row) for at, row in enumerate(rows)]
    found = fold(initial_state(config), entries)
    assert found.phase == "rejected"
    assert found.reason[1:20] in texts_of(found)


def test_a_paused_one_is_said_to_be() -> None:
    found = fold(state(200), [LogEntry(seq=1000, at=1.8e9, command=Command(do="pause"))])
    assert "Monitor birds: paused" in texts_of(found)
