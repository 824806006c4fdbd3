"""Folders of images: order of time, what is passed over, and files that come and grow."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from wavescope.errors import InvalidRequest
from wavescope.imaging.folders import POLL_S, SETTLED_S, ImageFile, follow, list_folder, settle

NOW = 1_700_000_000.0


def put(path: Path, at: float = NOW - 100, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))
    return path


def names(files: object) -> list[str]:
    return [file.path.name for file in files]  # type: ignore[attr-defined]


class Clock:
    """A time that passes in pauses alone; ``then`` happens in the pause of that number."""

    def __init__(self, *then: Callable[[], object]) -> None:
        self.now = NOW
        self.pauses: list[float] = []
        self._then = then

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        assert len(self.pauses) < 50, "it waits for ever"
        if len(self.pauses) < len(self._then):
            self._then[len(self.pauses)]()
        self.pauses.append(seconds)
        self.now += seconds


def test_files_are_in_order_of_time_then_of_path_in_folders_within_too(tmp_path: Path) -> None:
    put(tmp_path / "b.png", NOW - 10)
    put(tmp_path / "a.JPG", NOW - 10)
    put(tmp_path / "deep" / "er" / "c.webp", NOW - 20)
    listing = list_folder(tmp_path)
    assert names(listing.images) == ["c.webp", "a.JPG", "b.png"]
    assert [file.at for file in listing.images] == [NOW - 20, NOW - 10, NOW - 10]


def test_hidden_files_and_other_files_are_passed_over_the_others_counted(tmp_path: Path) -> None:
    for name in ("a.png", ".b.png", ".hidden/c.png", "notes.txt", "README", "d.png.part"):
        put(tmp_path / name)
    listing = list_folder(tmp_path)
    assert (names(listing.images), listing.others) == (["a.png"], 3)


def test_loops_of_links_end_and_broken_links_are_not_there(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "in" / "self.png").symlink_to(tmp_path / "in" / "self.png")
    (tmp_path / "in" / "linked.png").symlink_to(tmp_path / "in" / "a.png")
    assert names(list_folder(tmp_path).images) == ["a.png", "linked.png"]


def test_a_folder_named_like_an_image_is_a_folder_and_one_may_be_left_out(tmp_path: Path) -> None:
    put(tmp_path / "x.png" / "a.png")
    put(tmp_path / "clean" / "b.png")
    assert names(list_folder(tmp_path).images) == ["b.png", "a.png"]
    assert names(list_folder(tmp_path, without=[tmp_path / "clean"]).images) == ["a.png"]


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", put(tmp_path / "file.png")):
        with pytest.raises(InvalidRequest, match="there is no folder") as refused:
            list_folder(path)
        assert refused.value.field == "folder"


def test_a_file_that_still_grows_waits_until_it_is_whole(tmp_path: Path) -> None:
    put(tmp_path / "a.png", NOW - 100)
    growing = put(tmp_path / "b.png", NOW)
    clock = Clock(lambda: put(growing, NOW + 1, b"xx"), lambda: put(growing, NOW + 1.5, b"xxx"))
    found = list(islice(follow(tmp_path, clock=clock, pause=clock.pause), 2))
    assert names(found) == ["a.png", "b.png"]
    assert found[1].size == 3
    assert clock.now >= NOW + 1.5 + SETTLED_S
    assert set(clock.pauses) == {POLL_S}


def test_files_that_come_are_followed_in_order_and_each_comes_once(tmp_path: Path) -> None:
    def two_more() -> None:
        put(tmp_path / "d.png", NOW - 40)
        put(tmp_path / "c.png", NOW - 30)

    put(tmp_path / "a.png")
    clock = Clock(lambda: None, two_more, lambda: put(tmp_path / "e.png", NOW - 20))
    assert names(islice(follow(tmp_path, clock=clock, pause=clock.pause), 4)) == [
        "a.png",
        "d.png",
        "c.png",
        "e.png",
    ]
    assert len(clock.pauses) == 3


def test_a_file_that_is_written_again_is_another_image(tmp_path: Path) -> None:
    latest = put(tmp_path / "latest.png", NOW - 100)
    clock = Clock(lambda: put(latest, NOW - 50))
    found = list(islice(follow(tmp_path, clock=clock, pause=clock.pause), 2))
    assert [file.at for file in found] == [NOW - 100, NOW - 50]


def test_after_a_file_that_is_known_earlier_ones_are_passed_over(tmp_path: Path) -> None:
    for place, name in enumerate(("a.png", "b.png", "c.png")):
        put(tmp_path / name, NOW - 100 + place)
    known: ImageFile = list_folder(tmp_path).images[1]
    clock = Clock()
    assert names(islice(follow(tmp_path, after=known, clock=clock, pause=clock.pause), 1)) == ["c.png"]


def test_a_folder_that_goes_away_and_comes_back_is_followed_on(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    put(folder / "a.png")
    clock = Clock(lambda: folder.rename(tmp_path / "away"), lambda: put(folder / "b.png"))
    assert names(islice(follow(folder, clock=clock, pause=clock.pause), 2)) == ["a.png", "b.png"]


def test_a_folder_that_does_not_change_is_looked_at_once_and_one_that_does_not_settle_a_few_times(
    tmp_path: Path,
) -> None:
    put(tmp_path / "a.png", NOW - 100)
    clock = Clock()
    assert len(settle(tmp_path, clock=clock, pause=clock.pause).images) == 1
    assert clock.pauses == []
    file = put(tmp_path / "b.png", NOW)
    busy = Clock(*[lambda: put(file, NOW + 1.9), lambda: put(file, NOW + 3.9, b"xx")])
    assert settle(tmp_path, clock=busy, pause=busy.pause).images[-1].size == 2
    assert busy.pauses == [SETTLED_S] * 2


def test_files_from_the_future_are_not_waited_for(tmp_path: Path) -> None:
    """A clock that is ahead, as of a camera, says nothing of whether a file is whole."""
    put(tmp_path / "a.png", NOW + 9999)
    clock = Clock()
    assert names(islice(follow(tmp_path, clock=clock, pause=clock.pause), 1)) == ["a.png"]
    assert clock.pauses == []
