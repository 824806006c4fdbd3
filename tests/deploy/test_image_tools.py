"""The image builder finds out what a machine has, and hands a build exactly that."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def build(root: Path) -> Iterator[ModuleType]:
    """The script, as Python runs it: its own folder first on the path."""
    folder = root / "tools/image"
    spec = importlib.util.spec_from_file_location("image_build", folder / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up there
        spec.loader.exec_module(module)
        yield module


def test_without_configuration_pip_inside_is_left_alone(build: ModuleType) -> None:
    setup = build.pip_setup({}, [])
    assert setup.text() == "[global]\n"
    assert setup.local_paths() == ()
    assert setup.ca is None


def test_pip_variables_win_over_files_and_later_files_over_earlier(build: ModuleType, tmp_path: Path) -> None:
    machine, user = tmp_path / "machine.conf", tmp_path / "user.conf"
    machine.write_text("[global]\nindex-url = https://a.example/simple\ntimeout = 5\nuser = yes\n")
    user.write_text(
        "[global]\nindex-url = https://b.example/simple\n[install]\nfind-links = /w/one\n   /w/two\n"
    )
    setup = build.pip_setup({"PIP_INDEX_URL": "https://c.example/simple"}, [machine, user])
    assert setup.options == {
        "index-url": "https://c.example/simple",
        "find-links": "/w/one\n/w/two",
        "timeout": "5",
    }
    assert setup.text().splitlines() == [
        "[global]",
        "index-url = https://c.example/simple",
        "find-links = /w/one /w/two",
        "timeout = 5",
    ]


def test_local_indexes_and_wheel_folders_become_volumes(build: ModuleType) -> None:
    environment = {
        "PIP_EXTRA_INDEX_URL": "file:///srv/my%20index/simple https://a.example/simple",
        "PIP_FIND_LINKS": "/srv/wheels https://a.example/wheels",
    }
    paths = build.pip_setup(environment, []).local_paths()
    assert paths == (Path("/srv/my index"), Path("/srv/wheels"))


def test_authorities_reach_the_build_under_a_name_of_its_own(build: ModuleType, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.write_text("certificates")
    environment = {"PIP_CERT": str(tmp_path / "missing.crt"), "SSL_CERT_FILE": str(bundle)}
    setup = build.pip_setup(environment, [])
    assert setup.ca == bundle
    assert setup.text() == "[global]\ncert = /run/secrets/ca-certificates\n"


def test_commands_hand_over_secrets_and_volumes_as_each_builder_takes_them(build: ModuleType) -> None:
    secrets = {"pip-conf": Path("/t/pip.conf")}
    job = build.Build("gpu", "wavescope:x", "1.2.3", "abc", secrets, [Path("/srv/wheels")])
    docker, buildah = job.docker(), job.buildah("localhost/base")
    for command in (docker, buildah):
        text = " ".join(command)
        assert "--target gpu --tag wavescope:x" in text
        assert "--build-arg VERSION=1.2.3 --build-arg REVISION=abc" in text
        assert "--secret id=pip-conf,src=/t/pip.conf" in text
    assert docker[:3] == ["docker", "buildx", "build"]
    assert "--volume" not in docker
    assert buildah[:2] == ["buildah", "bud"]
    assert "/srv/wheels:/srv/wheels:ro" in buildah
    assert "PYTHON_IMAGE=localhost/base" in buildah


def test_official_base_is_the_one_of_the_dockerfile(build: ModuleType, root: Path) -> None:
    base = build.official_base()
    assert base.startswith("docker.io/library/python:")
    assert (
        f"ARG PYTHON_IMAGE={base.removeprefix('docker.io/library/')}\n" in (root / "Dockerfile").read_text()
    )


def test_a_missing_command_does_not_succeed(build: ModuleType) -> None:
    assert build.succeeds("true")
    assert not build.succeeds("false")
    assert not build.succeeds("no-such-command-anywhere")
