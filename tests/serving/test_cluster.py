"""The surroundings of the service's own Ray cluster: its folder, its variables, its limits."""

from __future__ import annotations

import fcntl
import os
import resource
import stat
import tempfile
from pathlib import Path

import pytest
import ray

from wavescope.errors import StartFailed
from wavescope.serving import proxy
from wavescope.serving.command import cluster
from wavescope.settings import Settings, as_environment, load_settings


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short folder for temporary files: pytest's own are too long for sockets."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_other_users_cannot_enter_the_folder_whatever_ray_makes_of_those_within(temporary):
    with cluster.private_folder() as folder:
        assert folder.parent == temporary
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_folder_of_a_service_that_was_killed_is_removed_by_the_next(temporary):
    abandoned = temporary / "wavescope-abandoned"
    abandoned.mkdir()
    (abandoned / cluster.LOCK).touch()
    (abandoned / "sockets").mkdir()
    with cluster.private_folder():
        assert not abandoned.exists()


def test_folder_of_a_service_that_runs_is_left_alone(temporary):
    with cluster.private_folder() as first, cluster.private_folder() as second:
        assert first.exists()
        assert second.exists()


def test_folder_that_is_none_of_ours_is_left_alone(temporary):
    other = temporary / "wavescope-notes"
    other.mkdir()
    with cluster.private_folder():
        assert other.exists()


def test_lock_that_is_a_link_leads_nowhere(temporary, tmp_path):
    trap = temporary / "wavescope-trap"
    trap.mkdir()
    precious = tmp_path / "precious"
    precious.touch()
    (trap / cluster.LOCK).symlink_to(precious)
    with cluster.private_folder():
        assert precious.exists()


def test_lock_is_held_while_the_folder_is_used(temporary):
    with (
        cluster.private_folder() as folder,
        (folder / cluster.LOCK).open("rb") as other,
        pytest.raises(BlockingIOError, match="temporarily unavailable"),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_folder_is_elsewhere_where_tmpdir_is_too_long_for_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with cluster.private_folder() as folder:
        assert len(str(folder)) <= cluster.LONGEST_FOLDER


def test_folder_that_cannot_be_made_is_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with (
        pytest.raises(StartFailed, match=r"no folder can be made in /proc .*set TMPDIR"),
        cluster.private_folder(),
    ):
        pass


def test_too_few_open_files_are_told_in_one_sentence(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 512))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: None)
    with pytest.raises(StartFailed, match=r"may have 512 files open, and Ray needs 1024.*ulimit"):
        cluster.raise_open_files()


def test_open_files_are_raised_as_far_as_they_may(monkeypatch):
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: raised.append(limits))
    cluster.raise_open_files()
    assert raised == [(cluster.OPEN_FILES, resource.RLIM_INFINITY)]


def test_nothing_leads_ray_to_another_cluster_or_through_a_proxy(monkeypatch):
    for name in cluster.MISLEADING:
        monkeypatch.setenv(name, "127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.org")
    before = dict(os.environ)
    with cluster._environment(Settings(max_pixels=1_000_000)):
        assert not set(cluster.MISLEADING) & os.environ.keys()
        assert os.environ["no_proxy"] == "example.org,localhost,127.0.0.1,::1"
        assert os.environ["WAVESCOPE_MAX_PIXELS"] == "1000000"
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert dict(os.environ) == before


def test_what_proxies_need_is_set_whatever_a_shell_has_left(monkeypatch):
    for name in proxy.environment():
        monkeypatch.setenv(name, "left.from.before")
    for name in cluster.DEFAULTS:
        monkeypatch.setenv(name, "the operator's")
    with cluster._environment(Settings(max_body_bytes=2**20)):
        assert os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] == proxy.CALLBACK
        assert os.environ["RAY_SERVE_GRPC_MAX_MESSAGE_SIZE"] == str(proxy.MESSAGES_PER_BODY * 2**20)
        assert os.environ[proxy.FORWARDED] == "left.from.before", "whom to believe is for the operator to say"
        assert {os.environ[name] for name in cluster.DEFAULTS} == {"the operator's"}


def test_no_header_is_believed_unless_the_operator_says_so(monkeypatch):
    monkeypatch.delenv(proxy.FORWARDED, raising=False)
    with cluster._environment(None):
        assert os.environ[proxy.FORWARDED] == ""


def test_settings_survive_the_way_through_the_environment(monkeypatch, tmp_path):
    given = Settings(
        host="::1",
        port=8001,
        no_auth=True,
        allowed_origins=("https://a.example", "https://b.example"),
        max_wait_s=1.5,
        state_dir=tmp_path,
        store_url="redis://:secret@host/0",
        one_process=True,
    )
    for name, value in as_environment(given).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == given


def test_object_store_fits_into_shared_memory(monkeypatch):
    def usage(free: int) -> None:
        monkeypatch.setattr(cluster.shutil, "disk_usage", lambda path: _Free(free))

    usage(2**40)
    assert cluster.object_store_bytes() == cluster.OBJECT_STORE_BYTES
    usage(200 * 2**20)
    assert cluster.object_store_bytes() == 180 * 2**20
    usage(64 * 2**20)  # less than Ray takes: it makes files elsewhere
    assert cluster.object_store_bytes() == cluster.OBJECT_STORE_BYTES


class _Free:
    def __init__(self, free: int) -> None:
        self.free = free


def test_ray_that_does_not_start_is_started_again_and_then_told_in_one_sentence(temporary, monkeypatch):
    starts: list[str] = []

    def init(**given: object) -> None:
        starts.append(str(given["_temp_dir"]))
        raise RuntimeError("The current node timed out during startup.\nA long story follows.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    told: list[str] = []
    with (
        pytest.raises(
            StartFailed, match=r"^Ray does not start: The current node timed out during startup\.$"
        ),
        cluster.cluster(progress=told.append),
    ):
        pass
    assert len(starts) == cluster.STARTS
    assert told[1:] == [
        "starting Ray again: Ray does not start: The current node timed out during startup."
    ] * (cluster.STARTS - 1)
    assert not list(temporary.iterdir())
