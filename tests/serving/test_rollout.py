"""What is deployed follows the registry file, model by model."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest
from ray.exceptions import RayActorError

from wavescope.models.files import sha256_of
from wavescope.models.spec import ModelSpec
from wavescope.serving import app
from wavescope.serving.models.capacity import Node, Room
from wavescope.serving.models.file_watch import FileWatch
from wavescope.serving.models.registry_file import RegistryFile
from wavescope.serving.models.rollout import MAX_RETRY_S, RETRY_S, Rollout
from wavescope.serving.models.status import Deployed
from wavescope.settings import Settings, load_registry


class Cluster:
    """Notes what is done, and can be away."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.write("one", "two")
        self.did: list[str] = []
        self.status: dict[str, Deployed] = {}
        self.away = False
        self.room = Room((Node({"CPU": 2.0}, {"CPU": 2.0}),))
        self.now = 0.0
        self.postponed: list[tuple[str, float]] = []
        self.notes: list[tuple[str, str]] = []
        self.deployed: dict[str, ModelSpec] = {}
        self.rollout = self.make()

    def make(self) -> Rollout:
        """What is deployed is what the file holds."""
        return Rollout(
            RegistryFile(self.file, load_registry(self.file)),
            deploy=self._deploy,
            delete=lambda name: self.did.append(f"-{name}"),
            status=lambda: self.status,
            room=lambda: self.room,
            postpone=lambda name, delay_s: self.postponed.append((name, delay_s)),
            watch=partial(FileWatch, read=lambda what, path, found: what(path)),
            note=lambda name, notice: self.notes.append((name, notice)),
            clock=lambda: self.now,
        )

    def _deploy(self, spec: ModelSpec, attempt: int) -> None:
        if self.away:
            raise RayActorError
        self.did.append(f"+{spec.name}{attempt or ''}")
        self.deployed[spec.name] = spec

    def write(self, *models: str) -> None:
        """``name`` or ``name:batch_size``."""
        entries = [
            f"  - {{name: {name}, source: 'embedded:efficientnet-lite0', batch_size: {size or 'null'}}}"
            for name, _, size in (model.partition(":") for model in models)
        ]
        self.file.write_text("\n".join(["models:", *entries]))

    def look(self, *, again: bool = False) -> list[str]:
        self.did.clear()
        self.rollout.look(again=again)
        return self.did


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "models.yaml")


def test_only_what_changed_is_touched(cluster: Cluster) -> None:
    assert cluster.look() == []
    cluster.write("one", "two", "three")
    assert cluster.look() == ["+three"]
    cluster.write("two:8", "three")
    assert cluster.look() == ["-one", "+two"]
    assert cluster.look() == []
    cluster.write("one", "two:8", "three")
    assert cluster.look() == ["+one"]


def test_a_broken_file_touches_nothing(cluster: Cluster) -> None:
    cluster.file.write_text("models: []")
    assert cluster.look() == []
    assert cluster.look(again=True) == []


def test_what_the_controller_does_not_take_is_tried_again(cluster: Cluster) -> None:
    cluster.write("one", "two", "three")
    cluster.away = True
    assert cluster.look() == []
    cluster.away = False
    assert cluster.look() == ["+three"]


def test_failed_models_are_started_once_more_when_asked(cluster: Cluster) -> None:
    cluster.status = {
        "model-one": Deployed("failed", 0, 0, 1.0, "no weights"),
        "model-two": Deployed("steady", 1, 0, 1.0),
    }
    assert cluster.look() == []
    assert cluster.look(again=True) == ["+one1"]
    assert cluster.look(again=True) == ["+one2"]


def test_a_failure_is_logged_once(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wavescope")
    cluster.write("one", "two", "three")
    cluster.status = {"model-three": Deployed("changing", 0, 1, 1.0)}
    cluster.look()
    cluster.status = {"model-three": Deployed("failed", 0, 0, 1.0, "no weights")}
    cluster.look()
    cluster.look()
    assert [(record.message, record.model) for record in caplog.records] == [
        ("model added", "three"),
        ("the model failed", "three"),
    ]
    assert caplog.records[1].reason == "no weights"


FAILED = Deployed("failed", 0, 0, 1.0, "no weights")


def test_a_model_that_failed_is_tried_again_ever_more_rarely(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.status = {"model-one": FAILED, "model-two": Deployed("steady", 1, 0, 1.0)}
    assert cluster.look() == []
    pauses = []
    for attempt in range(1, 8):
        began = cluster.now
        while not (did := cluster.look()):
            cluster.now += 1.0
        assert did == [f"+one{attempt}"]
        pauses.append(cluster.now - began)
    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, MAX_RETRY_S, MAX_RETRY_S]
    assert cluster.postponed[:2] == [("one", RETRY_S), ("one", 2 * RETRY_S)]
    assert [record.message for record in caplog.records] == ["the model failed"]


def test_a_model_that_came_up_begins_anew_when_it_fails(cluster: Cluster) -> None:
    cluster.status = {"model-one": FAILED}
    cluster.look()
    cluster.now += RETRY_S
    assert cluster.look() == ["+one1"]
    cluster.status = {"model-one": Deployed("steady", 1, 0, 1.0)}
    cluster.look()
    cluster.write("one:8", "two")
    cluster.status = {"model-one": FAILED}
    assert cluster.look() == ["+one1"]
    assert cluster.look() == []
    assert cluster.postponed == [("one", RETRY_S), ("one", RETRY_S)]


def test_an_update_that_failed_is_not_tried_again_where_the_old_replicas_answer(cluster: Cluster) -> None:
    cluster.status = {"model-one": Deployed("failed", 1, 0, 1.0, "no weights")}
    for _ in range(3):
        assert cluster.look() == []
        cluster.now += MAX_RETRY_S
    assert cluster.look(again=True) == ["+one1"]


def test_a_model_that_waits_for_its_next_attempt_is_tried_at_once_when_asked(cluster: Cluster) -> None:
    cluster.status = {"model-one": Deployed("steady", 0, 1, 1.0, "it died", failures=3, retry_in_s=60.0)}
    assert cluster.look() == []
    assert cluster.look(again=True) == ["+one1"]


def test_a_model_without_a_place_is_logged_once(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.room = Room((Node({"CPU": 1.0}, {}),))
    cluster.write("one", "two", "three")
    there = Deployed("steady", 1, 0, 1.0)
    cluster.status = {
        "model-one": there,
        "model-two": there,
        "model-three": Deployed("changing", 0, 1, 1.0),
    }
    for _ in range(3):
        cluster.look()
        cluster.now += 1.0
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(record.message, record.model) for record in told] == [("the model cannot be placed", "three")]
    assert told[0].reason == "needs 2 CPUs on one node; the largest node has 1"


def test_an_update_that_fits_no_node_leaves_the_model_as_it_is(cluster: Cluster) -> None:
    cluster.room = Room((Node({"CPU": 1.0}, {}),))
    cluster.write("one:8", "two")
    assert cluster.look() == []
    cluster.room = Room((Node({"CPU": 2.0}, {}),))
    assert cluster.look() == ["+one"]


class Files:
    """A cluster whose models are files beside the registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("one", "two"):
            self.file(name).write_bytes(b"a model")
        self.labels = folder / "labels.txt"
        self.labels.write_text("cat\ndog\n")
        self.cluster = Cluster(folder / "models.yaml")
        self.write()
        self.cluster.rollout = self.cluster.make()
        assert self.looks(2) == []

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"

    def replace(self, name: str, content: bytes = b"another") -> None:
        fresh = self.folder / "fresh"
        fresh.write_bytes(content)
        fresh.replace(self.file(name))

    def write(self, **fields: object) -> None:
        """Both models, the first with these fields too."""
        common = "outputs: logits, labels: labels.txt, preprocessing: {size: 8, resize: 8}"
        more = "".join(f", {name}: {value}" for name, value in fields.items())
        self.cluster.file.write_text(
            f"models:\n  - {{name: one, source: 'onnx:one.onnx', {common}{more}}}\n"
            f"  - {{name: two, source: 'onnx:two.onnx', {common}}}\n"
        )

    def looks(self, count: int = 4) -> list[str]:
        """What is done in so many looks."""
        did: list[str] = []
        for _ in range(count):
            did += self.cluster.look()
        return did


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_model_whose_file_was_replaced_is_updated_once_and_no_other(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wavescope")
    files.replace("one")
    assert files.looks() == ["+one1"]
    files.replace("one", b"a third")
    assert files.looks() == ["+one2"]
    assert [(record.message, record.model, record.reason) for record in caplog.records] == [
        ("model updated", "one", "its files hold another content")
    ] * 2


def test_the_same_bytes_under_the_same_name_are_no_update(files: Files) -> None:
    files.file("one").touch()
    files.replace("two", b"a model")
    assert files.looks() == []


def test_a_replaced_file_is_an_update_when_the_controller_takes_it(files: Files) -> None:
    files.replace("one")
    files.cluster.away = True
    assert files.looks() == []
    files.cluster.away = False
    assert files.looks(1) == ["+one1"]
    assert files.looks() == []


def test_a_file_that_is_replaced_as_the_numbers_of_replicas_change_is_noticed(files: Files) -> None:
    """These are applied to the processes that run, which have the file from before."""
    files.replace("one")
    files.write(max_replicas=3)
    assert files.looks() == ["+one", "+one1"]


def test_a_file_that_is_replaced_with_the_entry_is_one_update(files: Files) -> None:
    files.replace("one")
    files.write(batch_size=3)
    assert files.looks() == ["+one"]


def test_a_label_file_with_other_names_is_an_update_of_the_models_that_name_it(files: Files) -> None:
    files.labels.write_text("cat\nhound\n")
    assert files.looks() == ["+one", "+two"]
    files.labels.write_text("cat\nhound\n")
    assert files.looks() == []


def test_a_label_file_that_is_being_written_is_left_alone(files: Files) -> None:
    with files.labels.open("w", buffering=1) as file:
        for name in ("wren", "robin", "owl"):
            file.write(f"{name}\n")
            assert files.looks(1) == []
    assert files.looks(2) == ["+one", "+two"]
    assert {len(spec.labels or ()) for spec in files.cluster.deployed.values()} == {3}


def test_a_label_file_that_is_gone_changes_nothing_and_is_logged_once(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.labels.unlink()
    assert files.looks() == []
    assert [(record.message, record.file) for record in caplog.records] == [
        ("a label file is not there, or cannot be read: every model stays as it is", "labels.txt")
    ]
    files.labels.write_text("wren\nrobin\n")
    assert files.looks() == ["+one", "+two"]


def test_a_file_that_is_gone_is_told_once_and_the_model_goes_on(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.file("one").unlink()
    assert files.looks() == []
    notice = "'one.onnx' is not there, or cannot be read; the model goes on as it was loaded"
    assert files.cluster.notes == [("one", notice)]
    assert [(record.message, record.reason) for record in caplog.records] == [
        ("the files of the model are not as they were", notice)
    ]
    files.replace("one", b"a model")
    assert files.looks() == []
    assert files.cluster.notes == [("one", notice), ("one", "")]
    files.file("one").unlink()
    files.looks()
    files.replace("one", b"another")
    assert files.looks() == ["+one1"]
    assert files.cluster.notes[-1] == ("one", "")


def test_a_file_that_the_registry_does_not_vouch_for_is_told_until_it_does(files: Files) -> None:
    files.write(sha256=sha256_of(files.file("one")))
    assert files.looks() == ["+one"]
    files.replace("one")
    assert files.looks() == []
    ((name, notice),) = files.cluster.notes
    assert name == "one"
    assert "the registry expects sha256" in notice
    files.write(sha256=sha256_of(files.file("one")))
    assert files.looks() == ["+one"]
    assert files.cluster.notes[1:] == [("one", "")]


def test_what_is_told_of_a_model_goes_with_it(files: Files) -> None:
    files.file("two").unlink()
    files.looks()
    files.cluster.write("three")
    assert sorted(files.looks()) == ["+three", "-one", "-two"]
    assert files.cluster.notes[-1] == ("two", "")


def test_a_model_that_failed_is_tried_at_once_when_its_file_is_another(files: Files) -> None:
    files.replace("one", b"broken")
    assert files.looks(2) == ["+one1"]
    files.cluster.status = {"model-one": FAILED, "model-two": Deployed("steady", 1, 0, 1.0)}
    assert files.looks() == []
    files.replace("one", b"a model")
    assert files.looks() == ["+one2"]


def test_a_file_that_comes_late_is_tried_at_once(files: Files) -> None:
    files.file("one").unlink()
    files.cluster.rollout = files.cluster.make()
    files.cluster.status = {"model-one": FAILED, "model-two": Deployed("steady", 1, 0, 1.0)}
    assert files.looks() == []
    files.replace("one")
    assert files.looks() == ["+one1"]


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        ({"min_replicas": 0}, True),
        ({"max_replicas": 5}, True),
        ({"max_ongoing_chunks": 9}, True),
        ({"batch_size": 3}, False),
        ({"weights": "random"}, False),
        ({"labels": ("a",)}, False),
    ],
)
def test_a_process_is_kept_where_only_the_number_of_them_changes(
    changed: dict[str, object], stays: bool
) -> None:
    before = ModelSpec(name="x", source="torchvision:resnet50")
    after = ModelSpec(name="x", source="torchvision:resnet50", **changed)

    def version(spec: ModelSpec, attempt: int = 0) -> str | None:
        return app.model(Settings(), spec, attempt=attempt)._bound_deployment.version

    assert (version(before) == version(after)) == stays
    assert version(before, attempt=1) != version(before)
