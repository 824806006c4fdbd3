"""Builds an image of the Dockerfile with what the machine has, docker or buildah, and runs it.

``python tools/image/build.py [--target cpu] [--tag wavescope:cpu] [--no-run]``

With a Docker engine that answers, buildx builds on the official base image. Otherwise buildah does, on the same base
where a registry can be reached, else on a stand-in made of Debian packages: that proves the instructions, not the
bytes, and the output says so. The machine's own pip configuration (indexes, local wheels, authorities) reaches the
build as secrets and read-only volumes; nothing of it stays in the image. ``run.py`` then runs what was built.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from commands import succeeds

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("cpu", "gpu")
STAND_IN = "localhost/wavescope-base:debian-bookworm"
STAND_IN_PACKAGES = "ca-certificates,python3,python3-venv"
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSIDE_CA = "/run/secrets/ca-certificates"
# Options of pip that say where packages come from; anything else is the Dockerfile's to decide.
PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "timeout")
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True)
class PipSetup:
    """The machine's pip configuration, as a build can use it.

    Attributes:
        options: of ``PIP_OPTIONS``, values as pip writes them.
        ca: bundle of authorities that pip trusts here, if one is configured.
    """

    options: dict[str, str] = field(default_factory=dict)
    ca: Path | None = None

    def text(self) -> str:
        """A pip.conf for inside the build."""
        lines = [f"{name} = {' '.join(value.split())}" for name, value in self.options.items()]
        if self.ca:
            lines.append(f"cert = {INSIDE_CA}")
        return "\n".join(["[global]", *lines, ""])

    def local_paths(self) -> tuple[Path, ...]:
        """Folders of this machine that the options point at, which the build must be able to read."""
        wheels = self.options.get("find-links", "").split()
        indexes = " ".join(self.options.get(name, "") for name in ("index-url", "extra-index-url")).split()
        # The pages of an index link to files that lie beside it: `simple` is of no use without its siblings.
        found = [_local_path(word) for word in wheels]
        found += [path.parent for path in map(_local_path, indexes) if path]
        return tuple(sorted({path for path in found if path}))


def _local_path(word: str) -> Path | None:
    address = urlsplit(word)
    if address.scheme == "file":
        return Path(unquote(address.path))
    return Path(word) if word.startswith("/") else None


def pip_setup(environment: Mapping[str, str], files: Iterable[Path]) -> PipSetup:
    """Reads pip's configuration the way pip does: later files win, ``PIP_*`` variables win over files."""
    parser = configparser.RawConfigParser()
    parser.read(files)
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= dict(parser.items(section))
    found |= {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_")
    }
    if "default-timeout" in found:
        found.setdefault("timeout", found["default-timeout"])
    bundles = [environment[name] for name in CA_VARIABLES if environment.get(name)] + [found.get("cert", "")]
    ca = next((Path(bundle) for bundle in bundles if bundle and Path(bundle).is_file()), None)
    return PipSetup({name: found[name] for name in PIP_OPTIONS if found.get(name)}, ca)


def pip_files(environment: Mapping[str, str]) -> list[Path]:
    """Where pip looks for its configuration: machine, user, explicit."""
    home = Path(environment.get("HOME", "/nonexistent"))
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    explicit = environment.get("PIP_CONFIG_FILE")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", config / "pip/pip.conf"]
    return files + ([Path(explicit)] if explicit else [])


@dataclass(frozen=True)
class Build:
    """One image to be built."""

    target: str
    tag: str
    version: str
    revision: str
    secrets: Mapping[str, Path]
    volumes: Sequence[Path] = ()

    def common(self) -> list[str]:
        """Options that buildx and buildah share."""
        arguments = ["--target", self.target, "--tag", self.tag]
        arguments += ["--build-arg", f"VERSION={self.version}", "--build-arg", f"REVISION={self.revision}"]
        for name, path in self.secrets.items():
            arguments += ["--secret", f"id={name},src={path}"]
        return arguments

    def docker(self) -> list[str]:
        """The command for a Docker engine."""
        return ["docker", "buildx", "build", "--load", "--network", "host", *self.common(), str(ROOT)]

    def buildah(self, base: str) -> list[str]:
        """The command for buildah on ``base``; chroot isolation needs no other container runtime."""
        options = [
            "--format",
            "docker",
            "--isolation",
            "chroot",
            "--pull-never",
            "--network",
            "host",
            "--layers",
        ]
        volumes = [word for path in self.volumes for word in ("--volume", f"{path}:{path}:ro")]
        arguments = ["--build-arg", f"PYTHON_IMAGE={base}", *volumes, *self.common()]
        return ["buildah", "bud", *options, *arguments, "--file", str(ROOT / "Dockerfile"), str(ROOT)]


def official_base() -> str:
    """The base image that the Dockerfile names, with its registry."""
    match = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    if not match:
        raise SystemExit("Dockerfile: no ARG PYTHON_IMAGE")
    return f"docker.io/library/{match[1]}"


def buildah_base() -> str:
    """A base image that buildah has: the official one if it can be had, else the stand-in."""
    official = official_base()
    if succeeds("buildah", "inspect", "--type", "image", official) or succeeds(
        "buildah", "pull", official, timeout_s=600
    ):
        return official
    if not succeeds("buildah", "inspect", "--type", "image", STAND_IN):
        make_stand_in()
    print(f"base: {official} cannot be had here; {STAND_IN} (Debian packages) stands in for it.", flush=True)
    print(
        "base: this proves the instructions of the Dockerfile, not the bytes of a released image.", flush=True
    )
    return STAND_IN


def make_stand_in() -> None:
    """Makes a Debian with Python and nothing else, under the name ``STAND_IN``."""
    if not shutil.which("mmdebstrap"):
        raise SystemExit("no registry can be reached, and mmdebstrap (for a stand-in base) is not installed")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "base.tar"
        include = f"--include={STAND_IN_PACKAGES}"
        subprocess.run(["mmdebstrap", "--variant=minbase", include, "bookworm", str(archive)], check=True)
        container = _output("buildah", "from", "scratch")
        try:
            subprocess.run(["buildah", "add", "--quiet", container, str(archive), "/"], check=True)
            # Official images set PATH, and the Dockerfile extends it.
            subprocess.run(["buildah", "config", "--env", f"PATH={STANDARD_PATH}", container], check=True)
            subprocess.run(
                ["buildah", "commit", "--quiet", "--format", "docker", container, STAND_IN], check=True
            )
        finally:
            subprocess.run(["buildah", "rm", container], check=True, capture_output=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def _version() -> str:
    text = (ROOT / "service/src/wavescope/_version.py").read_text()
    match = re.search(r'^__version__ = "([^"]+)"', text, flags=re.MULTILINE)
    return match[1] if match else "unknown"


def _revision() -> str:
    return (
        _output("git", "rev-parse", "HEAD")
        if succeeds("git", "-C", str(ROOT), "rev-parse", "HEAD")
        else "unknown"
    )


def image_bytes(engine: str, tag: str) -> int:
    """Size of an image, unpacked, in bytes."""
    if engine == "docker":
        return int(_output("docker", "image", "inspect", "--format", "{{.Size}}", tag))
    images = json.loads(_output("buildah", "images", "--json", tag))
    return int(_output("podman", "image", "inspect", "--format", "{{.Size}}", images[0]["id"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds one target, and prints what was built as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=TARGETS, default="cpu")
    parser.add_argument("--tag", help="default: wavescope:<target>")
    parser.add_argument("--no-run", action="store_true", help="build only")
    given = parser.parse_args(arguments)
    tag = given.tag or f"wavescope:{given.target}"
    setup = pip_setup(os.environ, pip_files(os.environ))
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "pip.conf"
        configuration.write_text(setup.text())
        secrets = {"pip-conf": configuration} | ({"ca-certificates": setup.ca} if setup.ca else {})
        build = Build(given.target, tag, _version(), _revision(), secrets, setup.local_paths())
        if succeeds("docker", "buildx", "version") and succeeds("docker", "info"):
            engine, base = "docker", official_base()
            for path in build.volumes:
                print(
                    f"pip: docker cannot read {path} during a build; packages come from the indexes",
                    flush=True,
                )
            command = build.docker()
        elif shutil.which("buildah"):
            engine, base = "buildah", buildah_base()
            command = build.buildah(base)
        else:
            raise SystemExit("neither a Docker engine (with buildx) answers, nor is buildah installed")
        if code := subprocess.run(command, check=False, cwd=ROOT).returncode:
            return code
    seconds = round(time.monotonic() - started_s, 1)
    report = {"image": tag, "target": given.target, "engine": engine, "base": base}
    print(json.dumps(report | {"bytes": image_bytes(engine, tag), "seconds": seconds}), flush=True)
    if given.no_run:
        return 0
    return subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run.py")), tag], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
