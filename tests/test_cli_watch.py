"""``wavescope watch`` on crops of real photographs, through ``main``, with the embedded model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image
from tests.fakes.classifiers import linear_classifier

import wavescope
from wavescope.cli import main
from wavescope.errors import InvalidRequest
from wavescope.imaging.corruptions import corruptions

SIDE = 96
BEGAN = 1_700_000_000


def crops(n: int, seed: int) -> Iterator[np.ndarray]:
    """Crops of photographs, of random size and place, made (96, 96, 3)."""
    photographs = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee")]
    rng = np.random.default_rng(seed)
    for _ in range(n):
        pixels = photographs[rng.integers(3)]
        side = int(rng.integers(SIDE, min(pixels.shape[:2])))
        top, left = (int(rng.integers(length - side + 1)) for length in pixels.shape[:2])
        crop = Image.fromarray(pixels[top : top + side, left : left + side])
        yield np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BOX))


def blurred(pixels: np.ndarray) -> np.ndarray:
    """The second severity of ImageNet-C's defocus blur."""
    scaled = pixels.astype(np.float32).transpose(2, 0, 1) / 255
    return next(
        image.transpose(1, 2, 0)
        for _, severity, image in corruptions(scaled, seed=0, names=("defocus_blur",))
        if severity == 2
    )


def save(folder: Path, images: Iterator[np.ndarray], *, first: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for place, pixels in enumerate(images, start=first):
        path = folder / f"{place:03d}.png"
        Image.fromarray(pixels).save(path)
        os.utime(path, (BEGAN + 10 * place,) * 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``clean`` of 140 images, ``same``, ``blurred`` from number 15 on, and ``black`` likewise."""
    folder = tmp_path_factory.mktemp("watched")
    save(folder / "clean", crops(140, 0))
    save(folder / "same", crops(40, 1))
    save(folder / "blurred", crops(15, 2))
    save(folder / "blurred", map(blurred, crops(30, 3)), first=15)
    save(folder / "black", crops(15, 2))
    save(folder / "black", iter([np.zeros((SIDE, SIDE, 3), np.uint8)] * 15), first=15)
    (folder / "black" / "notes.txt").write_text("a lens cap")
    return folder


@pytest.fixture
def watched(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the command; its status, and what it wrote to standard output."""

    def run(*words: object) -> tuple[int, str]:
        status = main(["watch", *map(str, words)])
        told = capsys.readouterr()
        assert told.err == ""
        return status, told.out

    return run


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


Watched = Callable[..., tuple[int, str]]


def test_images_like_those_of_the_reference_are_no_change(data: Path, watched: Watched) -> None:
    status, out = watched(data / "same", "--reference", data / "clean", "--once")
    assert status == 0
    assert "Reading the 140 images" in out
    assert "in an order drawn from the seed 0" in out
    assert "Without profiles" in out
    assert "--reference-s" in out
    assert "once in 1,000,000 images" in out
    assert "40 images watched" in out
    assert out.count("Nothing has changed") == 1
    assert "ALARM" not in out


def test_a_blur_is_an_alarm_that_says_since_when_and_on_which_scales(data: Path, watched: Watched) -> None:
    status, out = watched(data / "blurred", "--reference", data / "clean", "--once", "--json")
    assert status == 3
    events = objects(out)
    assert [event["event"] for event in events][:2] == ["reading", "watching"]
    alarm = next(event for event in events if event["event"] == "alarm")
    assert Path(alarm["image"]).name > "014.png"
    assert "010.png" < Path(alarm["since"]["image"]).name < "020.png"
    fine = alarm["energies"][-1]
    assert fine["scale"] == "1-2px"
    assert fine["interval_95"][1] < 0.7
    assert [one["scale"] for one in alarm["reliance"]] == ["8px+", "4-8px", "2-4px", "1-2px"]
    assert all(one["now"] is not None for one in alarm["reliance"])
    assert alarm["verdict"].startswith("The images changed")
    assert events[-1]["event"] == "end"
    assert events[-1]["state"] == "alarm"


def test_a_camera_that_goes_black_is_an_alarm(data: Path, watched: Watched) -> None:
    status, out = watched(data / "black", "--reference", data / "clean", "--once")
    assert status == 3
    alarm = out[out.index("ALARM at ") :]
    assert alarm.startswith("ALARM at 0")
    assert "since about 01" in alarm
    assert "1-2px" in alarm
    assert "1 files that are not named like images are passed over" in out
    assert "most unlike the reference: " in out


def test_a_profile_is_watched_where_it_is_asked_for_or_quick_enough(data: Path, tmp_path: Path) -> None:
    events = wavescope.watch([], sorted((data / "clean").iterdir()), profile_rate=0.5)
    assert next(events).summary.config.sample.profile_rate == 0.5
    events = wavescope.watch([], sorted((data / "clean").iterdir()), reference_s=1e6)
    first = next(events)
    assert first.summary.config.sample.profile_rate == 0.2
    assert first.profiles_s is not None
    assert first.profiles_s > 1


def test_in_python_images_of_any_kind_are_watched_and_what_is_no_image_is_refused(data: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(3, 32, 32)) * 0.01
    model = linear_classifier(weights)
    clean = sorted((data / "clean").iterdir())
    *_, end = wavescope.watch(
        [*crops(2, 0), clean[0].read_bytes(), clean[1]], clean, model=model, profile_rate=0
    )
    assert (end.label, end.at) == (str(clean[1]), BEGAN + 10)
    assert end.summary.outcomes["observed"] == 144
    with pytest.raises(InvalidRequest, match=r"images\[0\]"):
        list(wavescope.watch([3], clean, model=model, profile_rate=0))
    with pytest.raises(InvalidRequest, match="unknown field 'rate'"):
        wavescope.watch([], clean, model=model, rate=1)
    with pytest.raises(InvalidRequest, match="reference must be a sequence"):
        wavescope.watch([], "clean", model=model)


def test_without_a_reference_the_first_half_is_it_and_one_that_is_not_fit_for_it_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in range(263):
        (tmp_path / f"{place:03d}.png").write_bytes(b"no image")
    assert main(["watch", str(tmp_path), "--once", "--json", "--profile-rate", "0"]) == 2
    told = capsys.readouterr()
    reading, rejected = objects(told.out)
    assert (reading["event"], rejected["event"], rejected["state"]) == ("reading", "rejected", "rejected")
    assert (reading["reference"]["fit"], reading["reference"]["calibrate"]) == (31, 100)
    assert told.err == f"wavescope: error: --reference: {rejected['reason']}\n"
    assert "none of the first 31 images of the reference could be decoded" in rejected["reason"]


def test_without_once_it_goes_on_until_it_is_interrupted(data: Path, tmp_path: Path) -> None:
    """A file that comes while it waits is watched; an interrupt is status 130."""
    save(tmp_path / "in", crops(3, 5))
    command = [
        sys.executable,
        "-m",
        "wavescope.cli",
        "watch",
        tmp_path / "in",
        "--reference",
        data / "clean",
        "--json",
    ]
    running = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    try:
        names = [json.loads(running.stdout.readline())["event"] for _ in range(2)]
        assert names == ["reading", "watching"]
        for place in range(15):
            path = tmp_path / "in" / f"late-{place}.png"
            path.write_bytes(b"no image")
            os.utime(path, (BEGAN + 1000 + place,) * 2)
        event: dict[str, Any] = {}
        while event.get("event") != "alarm":
            event = json.loads(running.stdout.readline())
        assert Path(event["image"]).name.startswith("late-")
        assert event["outcomes"]["undecodable"] >= 3
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=240)
        assert running.returncode == 130
        assert errors == "wavescope: interrupted\n"
    finally:
        running.kill()
        running.wait()


# ---- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{}/nothing", "--once"], "FOLDER: there is no folder"),
        (["{}/same/000.png", "--once"], "FOLDER: there is no folder"),
        (["{}/empty", "--once"], "FOLDER: there are no images in"),
        (["{}/same", "--once"], "FOLDER has 40 images; without --reference its first half is the reference"),
        (["{}/same", "--once", "--reference", "{}/nothing"], "--reference: there is no folder"),
        (["{}/same", "--once", "--reference", "{}/same"], "--reference: is the folder that is watched"),
        (
            ["{}/clean", "--once", "--reference", "{}/same"],
            "there are 40 images for the reference; it must have",
        ),
        (["{}/same", "--once", "--reference", "{}/clean", "--mean-observations", "0"], "must be at least 1"),
        (["{}/same", "--once", "--reference", "{}/clean", "--profile-rate", "2"], "at least 0 and at most 1"),
        (["{}/same", "--once", "--reference", "{}/clean", "--seed", "-1"], "seed"),
        (["{}/same", "--once", "--reference", "{}/clean", "--model", "none"], "none"),
        (["{}/same", "--once", "--reference-s", "x"], "invalid float value"),
        ([], "FOLDER"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    data: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    (data / "empty").mkdir(exist_ok=True)
    try:
        status = main(["watch", *[word.format(data) for word in words]])
    except SystemExit as stop:
        status = stop.code  # type: ignore[assignment]
    told = capsys.readouterr()
    assert (status, told.out, told.err.count("\n")) == (2, "", 1)
    assert says in told.err
