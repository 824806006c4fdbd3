"""What the Dockerfile promises, read from its instructions; that it builds is shown by ``make image``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

SECRET_MOUNTS = {"id=pip-conf", "id=ca-certificates"}


@dataclass
class Stage:
    """One ``FROM … AS …`` with its instructions, continuation lines joined."""

    name: str
    parent: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def arguments(self, keyword: str) -> list[str]:
        return [rest for word, rest in self.instructions if word == keyword]


def parse(text: str) -> tuple[list[tuple[str, str]], dict[str, Stage]]:
    """What stands before the first FROM, and the stages by name."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(kept))
    head: list[tuple[str, str]] = []
    stages: dict[str, Stage] = {}
    current = head
    for line in filter(None, map(str.strip, joined.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            parent, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, parent)
            current = stages[name].instructions
        else:
            current.append((keyword, rest))
    return head, stages


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> tuple[list[tuple[str, str]], dict[str, Stage]]:
    return parse((root / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def stages(dockerfile: tuple[list[tuple[str, str]], dict[str, Stage]]) -> dict[str, Stage]:
    return dockerfile[1]


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """A stage after its ancestors."""
    stage = stages[name]
    return [*(lineage(stages, stage.parent) if stage.parent in stages else []), stage]


def inherited(stages: dict[str, Stage], name: str, keyword: str) -> list[str]:
    return [rest for stage in lineage(stages, name) for rest in stage.arguments(keyword)]


def test_hadolint_finds_nothing(tool: Callable[[str], str], root: Path) -> None:
    command = [tool("hadolint"), "--no-color", str(root / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_base_is_a_pinned_slim_python(dockerfile: tuple[list[tuple[str, str]], dict[str, Stage]]) -> None:
    head, stages = dockerfile
    (argument,) = [rest for keyword, rest in head if keyword == "ARG"]
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.1[12]-slim-[a-z]+", argument)
    assert {stage.parent for stage in stages.values()} <= {"${PYTHON_IMAGE}", *stages}


def test_targets_exist_and_cpu_is_the_default(stages: dict[str, Stage]) -> None:
    assert {"cpu", "gpu"} <= set(stages)
    assert list(stages)[-1] == "cpu"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_image_runs_as_the_user_of_the_chart(stages: dict[str, Stage], root: Path, target: str) -> None:
    values = yaml.safe_load((root / "helm/wavescope/values.yaml").read_text())
    context = values["podSecurityContext"]
    assert inherited(stages, target, "USER")[-1] == f"{context['runAsUser']}:{context['runAsGroup']}"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_image_starts_the_service_and_watches_it(stages: dict[str, Stage], target: str) -> None:
    assert inherited(stages, target, "ENTRYPOINT") == ['["wavescope"]']
    (command,) = inherited(stages, target, "CMD")
    assert command.startswith('["serve", "--host", "0.0.0.0"')
    assert inherited(stages, target, "EXPOSE") == ["8000 9000"]
    (health,) = inherited(stages, target, "HEALTHCHECK")
    assert "http://127.0.0.1:8000/readyz" in health
    assert "wget" in " ".join(inherited(stages, target, "RUN"))  # HEALTHCHECK and KubeRay's probes call it


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_state_is_a_volume_that_the_user_of_the_image_owns(stages: dict[str, Stage], target: str) -> None:
    (folder,) = inherited(stages, target, "VOLUME")
    assert f"WAVESCOPE_STATE_DIR={folder}" in " ".join(inherited(stages, target, "ENV"))
    (made,) = [run for run in inherited(stages, target, "RUN") if "useradd" in run]
    assert folder in made.split("--owner wavescope --group wavescope")[1]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_image_is_labelled(stages: dict[str, Stage], target: str) -> None:
    labels = " ".join(inherited(stages, target, "LABEL"))
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_final_stage_copies_the_environment_and_the_exported_model_alone(
    stages: dict[str, Stage], target: str
) -> None:
    assert stages[target].arguments("COPY") == [
        f"--from=build-{target} /opt/wavescope /opt/wavescope",
        f"--from=build-{target} /var/cache/wavescope /var/cache/wavescope",
    ]
    assert stages[target].arguments("RUN") == []


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_dependencies_are_installed_by_hash_and_the_model_is_exported_at_build_time(
    stages: dict[str, Stage], target: str
) -> None:
    runs = stages[f"build-{target}"].arguments("RUN")
    assert any(f"--no-deps --require-hashes --requirement /requirements/{target}.txt" in run for run in runs)
    assert "efficientnet-lite0" in runs[-1]
    cache = " ".join(inherited(stages, f"build-{target}", "ENV"))
    assert "WAVESCOPE_CACHE_DIR=/var/cache/wavescope" in cache


def test_nothing_is_added_from_elsewhere(stages: dict[str, Stage]) -> None:
    for stage in stages.values():
        assert stage.arguments("ADD") == []
        for run in stage.arguments("RUN"):
            assert "://" not in run
            for install in re.findall(r"pip install ([^&]*)", run):
                assert "--require-hashes" in install or "--no-index" in install


def test_secrets_are_mounted_and_never_copied(stages: dict[str, Stage]) -> None:
    for stage in stages.values():
        for run in stage.arguments("RUN"):
            mounts = set(re.findall(r"--mount=type=secret,(id=[a-z-]+)", run))
            assert mounts == (SECRET_MOUNTS if "--require-hashes" in run else set())
        assert not re.search(r"PIP_|INDEX", " ".join(stage.arguments("ENV") + stage.arguments("ARG")))


def requirements(root: Path, target: str) -> dict[str, str]:
    """Version by distribution of one locked file."""
    text = (root / f"requirements/{target}.txt").read_text()
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("target", "has", "has_not"),
    [("cpu", "onnxruntime", "onnxruntime-gpu"), ("gpu", "onnxruntime-gpu", "onnxruntime")],
)
def test_locked_requirements_hold_torch_and_the_right_runtime(
    root: Path, target: str, has: str, has_not: str
) -> None:
    locked = requirements(root, target)
    assert {"torch", "torchvision", "ray", "redis", "tenacity", has} <= set(locked)
    assert has_not not in locked  # both would fill the same folder


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_locked_opencv_needs_no_windows(root: Path, target: str) -> None:
    locked = requirements(root, target)
    assert "opencv-python-headless" in locked
    assert "opencv-python" not in locked  # would fill the same folder, and asks for libGL


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_locked_requirements_name_no_address(root: Path, target: str) -> None:
    text = (root / f"requirements/{target}.txt").read_text()
    assert "://" not in text
    assert not re.search(
        r"^(-i|--index-url|--extra-index-url|--find-links|-f|-e)\b", text, flags=re.MULTILINE
    )


def test_chart_and_images_have_the_same_ray(root: Path) -> None:
    values = yaml.safe_load((root / "helm/wavescope/values.yaml").read_text())
    assert {requirements(root, target)["ray"] for target in ("cpu", "gpu")} == {values["rayVersion"]}


def test_build_context_holds_what_is_copied_and_little_else(root: Path, stages: dict[str, Stage]) -> None:
    rules = [line for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for stage in stages.values()
        for arguments in stage.arguments("COPY")
        if not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    }
    assert copied == allowed
