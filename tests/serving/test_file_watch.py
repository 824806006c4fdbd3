"""The file of a model is watched: by stat, then by content, and never while it is being written."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.polling import DEADLINE_S, eventually

from wavescope.engine.types import Preprocessing
from wavescope.models.files import Identity, identity, sha256_of
from wavescope.models.sources import SOURCES
from wavescope.models.spec import ModelSpec
from wavescope.serving.models.file_watch import BackgroundReader, FileChange, FileWatch

SAME = FileChange()
CHANGED = FileChange(changed=True)
OLD, NEW = b"a model", b"another"
PREPROCESSING = Preprocessing(size=(8, 8), mean=(0.5,), std=(0.5,))


def naming(file: str, more: bytes = b"") -> bytes:
    """An ONNX file's content that names a file beside it, as protocol buffers write TensorProto.external_data."""
    return b"\x0a\x08location\x12" + bytes([len(file)]) + file.encode() + more


class Folder:
    """A folder with one model, what reads it at once, and what was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "small.onnx"
        self.file.write_bytes(OLD)
        self.read: list[tuple[str, str]] = []

    def spec(self, **fields: Any) -> ModelSpec:
        return ModelSpec(
            name="a",
            source=f"onnx:{self.file}",
            preprocessing=PREPROCESSING,
            outputs="logits",
            **fields,
        )

    def watch(self, spec: ModelSpec | None = None, **fields: Any) -> FileWatch:
        """A watch that has looked once, as the model was loaded."""
        watch = FileWatch(spec or self.spec(**fields), read=self._read)
        assert watch.look() == SAME
        return watch

    def _read(self, what: Callable[[Path], Any], path: Path, found: Identity) -> Any:
        assert identity(path) == found
        self.read.append((what.__name__, path.name))
        try:
            return what(path)
        except OSError as error:
            return error

    def replace(self, content: bytes, file: Path | None = None) -> None:
        """Moves another file to the place of one."""
        fresh = self.path / "fresh"
        fresh.write_bytes(content)
        fresh.replace(file or self.file)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_file_that_stays_is_read_once(folder: Folder) -> None:
    watch = folder.watch()
    assert [watch.look() for _ in range(3)] == [SAME] * 3
    assert folder.read == [("files_beside_onnx", "small.onnx"), ("sha256_of", "small.onnx")]


def overwrite(folder: Folder) -> None:
    folder.file.write_bytes(NEW)


def same_size_and_time(folder: Folder) -> None:
    before = folder.file.stat()
    folder.replace(NEW)
    os.utime(folder.file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [lambda folder: folder.replace(NEW), overwrite, same_size_and_time])
def test_another_content_is_a_change_until_another_watch_begins(
    folder: Folder, change: Callable[[Folder], None]
) -> None:
    watch = folder.watch()
    change(folder)
    assert [watch.look() for _ in range(3)] == [SAME, CHANGED, CHANGED]
    watch = folder.watch()
    assert watch.look() == SAME


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: os.utime(folder.file, ns=(1, 1)),
        lambda folder: folder.file.write_bytes(OLD),
        lambda folder: folder.replace(OLD),
    ],
    ids=["touched", "written", "moved there"],
)
def test_the_same_bytes_are_no_change(folder: Folder, change: Callable[[Folder], None]) -> None:
    watch = folder.watch()
    change(folder)
    assert [watch.look() for _ in range(5)] == [SAME] * 5
    folder.replace(NEW)
    assert CHANGED in [watch.look() for _ in range(3)]


def test_a_file_that_is_being_written_is_left_alone(folder: Folder) -> None:
    watch = folder.watch()
    folder.read.clear()
    with folder.file.open("wb", buffering=0) as file:
        for _ in range(5):
            file.write(b"more")
            assert watch.look() == SAME
    assert folder.read == []
    assert CHANGED in [watch.look() for _ in range(3)]


def test_a_change_that_is_taken_back_is_none(folder: Folder) -> None:
    watch = folder.watch()
    folder.replace(NEW)
    watch.look()
    folder.replace(OLD)
    assert [watch.look() for _ in range(5)] == [SAME] * 5


def test_a_link_that_is_swapped_is_followed(folder: Folder) -> None:
    """As the kubelet swaps ``..data``, the folder's own link, to which every file links."""
    for version, content in (("v1", OLD), ("v2", NEW), ("v3", NEW)):
        (folder.path / version).mkdir()
        (folder.path / version / "small.onnx").write_bytes(content)
    data = folder.path / "..data"
    data.symlink_to("v1")
    folder.file.unlink()
    folder.file.symlink_to("..data/small.onnx")
    watch = folder.watch()

    def swap(version: str) -> None:
        fresh = folder.path / "..data_tmp"
        fresh.symlink_to(version)
        fresh.replace(data)

    swap("v2")
    assert CHANGED in [watch.look() for _ in range(3)]
    watch = folder.watch()
    swap("v3")
    assert [watch.look() for _ in range(5)] == [SAME] * 5


def test_a_file_that_is_gone_is_told_and_what_comes_back_is_compared(folder: Folder) -> None:
    watch = folder.watch()
    folder.file.unlink()
    looks = [watch.look() for _ in range(3)]
    assert looks[0] == SAME  # it may be moved this moment
    assert looks[1] == looks[2]
    assert not looks[2].changed
    assert (
        looks[2].notice == "'small.onnx' is not there, or cannot be read; the model goes on as it was loaded"
    )
    folder.file.write_bytes(OLD)
    assert [watch.look() for _ in range(4)][-1] == SAME
    folder.file.unlink()
    watch.look()
    folder.file.write_bytes(NEW)
    assert [watch.look() for _ in range(4)][-1] == CHANGED


def test_a_file_that_comes_for_the_first_time_is_a_change(folder: Folder) -> None:
    folder.file.unlink()
    watch = folder.watch()
    assert watch.look() == SAME
    folder.file.write_bytes(OLD)
    assert [watch.look() for _ in range(4)][-1] == CHANGED


def test_a_file_beside_the_model_counts_as_the_model(folder: Folder) -> None:
    beside = folder.path / "small.data"
    folder.file.write_bytes(naming("small.data"))
    beside.write_bytes(OLD)
    watch = folder.watch()
    folder.replace(NEW, beside)
    assert [watch.look() for _ in range(2)] == [SAME, CHANGED]
    watch = folder.watch()
    beside.unlink()
    assert [watch.look() for _ in range(2)][-1].notice.startswith("'small.data' is not there")
    folder.replace(NEW, beside)
    assert [watch.look() for _ in range(3)][-1] == SAME


def test_a_model_that_names_another_file_waits_for_it(folder: Folder) -> None:
    folder.file.write_bytes(naming("old.data"))
    (folder.path / "old.data").write_bytes(OLD)
    watch = folder.watch()
    folder.replace(naming("new.data"))
    assert [watch.look() for _ in range(4)][-1].notice.startswith("'new.data' is not there")
    (folder.path / "new.data").write_bytes(NEW)
    assert [watch.look() for _ in range(3)][-1] == CHANGED


def test_a_file_that_was_never_there_is_not_waited_for(folder: Folder) -> None:
    """What looks like a name in a file of weights, or is of a part that the model does without."""
    folder.file.write_bytes(naming("nothing.data"))
    watch = folder.watch()
    folder.replace(naming("nothing.data", more=b"other weights"))
    assert [watch.look() for _ in range(3)][-1] == CHANGED


def test_a_file_that_its_digest_does_not_name_is_not_taken(folder: Folder) -> None:
    watch = folder.watch(sha256=sha256_of(folder.file))
    expected = sha256_of(folder.file)
    folder.replace(NEW)
    last = [watch.look() for _ in range(4)][-1]
    assert not last.changed
    assert last.notice == (
        f"'small.onnx' was replaced by a file with digest {sha256_of(folder.file)}, the registry expects sha256 "
        f"{expected}; the model goes on as it was loaded, and no replica that starts will load that file"
    )
    folder.replace(OLD)
    assert [watch.look() for _ in range(4)][-1] == SAME


def test_a_file_that_its_digest_names_is_taken_when_it_comes(folder: Folder) -> None:
    """The registry was changed first; the model could not be loaded."""
    folder.replace(NEW)
    expected = sha256_of(folder.file)
    folder.replace(OLD)
    watch = folder.watch(sha256=expected)
    folder.replace(NEW)
    assert [watch.look() for _ in range(4)][-1] == CHANGED


def test_a_file_that_cannot_be_read_is_told(folder: Folder) -> None:
    watch = FileWatch(folder.spec(), read=lambda what, path, found: PermissionError(13, "Permission denied"))
    watch.look()
    folder.replace(NEW)
    assert [watch.look() for _ in range(3)][-1].notice == (
        "'small.onnx' was replaced, but cannot be read: Permission denied; the model goes on as it was loaded"
    )


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("embedded:efficientnet-lite0", {}),
        ("torchvision:resnet50", {"weights": "random"}),
        ("torchvision:resnet50", {"weights": "IMAGENET1K_V1"}),
        ("oip:http://localhost/v2/models/a", {"preprocessing": PREPROCESSING, "outputs": "logits"}),
    ],
)
def test_models_whose_file_the_registry_does_not_name_have_nothing_to_watch(
    folder: Folder, source: str, fields: dict[str, Any]
) -> None:
    watch = folder.watch(ModelSpec(name="a", source=source, **fields))
    assert watch.look() == SAME
    assert folder.read == []


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("embedded:efficientnet-lite0", {"weights": "FILE"}),
        ("torchvision:resnet50", {"weights": "FILE"}),
        ("timm:resnet50", {"weights": "FILE"}),
        *(
            (f"{kind.name}:FILE", {"preprocessing": PREPROCESSING, "outputs": "logits", "sha256": "SHA"})
            for kind in SOURCES.values()
            if kind.whole_file
        ),
    ],
)
def test_every_kind_of_file_that_the_registry_names_is_watched(
    folder: Folder, source: str, fields: dict[str, Any]
) -> None:
    named = {"FILE": str(folder.file), "SHA": sha256_of(folder.file)}
    fields = {
        key: named.get(value, value) if isinstance(value, str) else value for key, value in fields.items()
    }
    watch = folder.watch(ModelSpec(name="a", source=source.replace("FILE", named["FILE"]), **fields))
    folder.replace(NEW)
    last = [watch.look() for _ in range(4)][-1]
    assert last.changed or "the registry expects sha256" in last.notice


def test_files_are_read_in_the_background_and_once(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(OLD)
    go_on, calls = threading.Event(), []

    def slowly(path: Path) -> str:
        calls.append(threading.current_thread())
        assert go_on.wait(DEADLINE_S)
        return path.read_text()

    read, found = BackgroundReader(), identity(file)
    assert [read(slowly, file, found) for _ in range(3)] == [None] * 3
    go_on.set()
    eventually(lambda: read(slowly, file, found) == OLD.decode())
    assert len(calls) == 1
    assert calls[0] is not threading.current_thread()


def test_what_was_read_of_a_file_that_changed_meanwhile_is_read_again(tmp_path: Path) -> None:
    file, other = tmp_path / "small", tmp_path / "other"
    file.write_bytes(OLD)
    other.write_bytes(NEW)
    calls: list[str] = []

    def replaced_meanwhile(path: Path) -> str:
        calls.append(path.read_text())
        if len(calls) == 1:
            shutil.move(other, file)
        return calls[-1]

    read = BackgroundReader()
    before = identity(file)
    assert read(replaced_meanwhile, file, before) is None
    eventually(lambda: len(calls) == 1 and not other.exists())
    eventually(lambda: read(replaced_meanwhile, file, identity(file)) == NEW.decode())


def test_a_file_that_cannot_be_read_is_its_error(tmp_path: Path) -> None:
    read = BackgroundReader()
    eventually(lambda: isinstance(read(sha256_of, tmp_path / "gone", None), OSError))
    os.mkfifo(pipe := tmp_path / "pipe")  # to open it would wait for a writer
    eventually(lambda: "no regular file" in str(read(sha256_of, pipe, identity(pipe))))
