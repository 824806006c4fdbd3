"""Runs a built image as strictly as it may be run, asks it for an explanation, and stops it.

``python tools/image/run.py [wavescope:cpu]``

The container has no network, no capabilities and a read-only root filesystem; requests are sent from inside it. So this
needs no port of the machine, and shows that the service reaches for nothing outside. docker is used where its engine
answers, else podman with runc.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from commands import succeeds

CONFINEMENT = [
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--shm-size", "1g"),  # noqa: S108 - inside the container
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
]
# What works without systemd and without a configured network; docker needs none of it.
PODMAN = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
READY = ["wget", "--quiet", "--tries=1", "--output-document=/dev/null", "http://127.0.0.1:8000/readyz"]
PODMAN_RUN = ["--no-healthcheck"]  # systemd would time it; here the same question is asked by hand
ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(Path(__file__).with_name("containers.conf"))}
USER_ID = "10001"


def engine() -> list[str]:
    """The command that runs containers here."""
    if succeeds("docker", "info"):
        return ["docker"]
    if succeeds("podman", "--version"):
        return PODMAN
    raise SystemExit("neither a Docker engine answers, nor is podman installed")


class Container:
    """A running container, by the engine that runs it."""

    def __init__(self, runtime: Sequence[str], image: str) -> None:
        self._runtime = list(runtime)
        options = [*CONFINEMENT, *(PODMAN_RUN if runtime[0] == "podman" else [])]
        self._name = self.command("run", "--detach", *options, image).stdout.strip().splitlines()[-1]

    def command(
        self, *words: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Any command of the engine; a failing one shows what it wrote."""
        done = subprocess.run(
            [*self._runtime, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=ENVIRONMENT,
        )
        if check and done.returncode:
            raise SystemExit(
                f"{' '.join(words[:3])} … failed ({done.returncode}):\n{done.stdout}{done.stderr}"
            )
        return done

    def execute(
        self, *words: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command inside the container."""
        return self.command("exec", "--interactive", self._name, *words, stdin=stdin, check=check)

    def wait_until_ready(self, limit_s: float) -> float:
        """Seconds until the health check of the image first succeeded."""
        started_s = time.monotonic()
        while self.execute(*READY, check=False).returncode:
            waited_s = time.monotonic() - started_s
            running = (
                self.command("inspect", "--format", "{{.State.Running}}", self._name).stdout.strip() == "true"
            )
            if waited_s > limit_s or not running:
                raise SystemExit(f"not ready after {waited_s:.0f} s; its log:\n{self.logs()}")
            time.sleep(0.5)
        return time.monotonic() - started_s

    def logs(self) -> str:
        """What the container wrote."""
        done = self.command("logs", self._name, check=False)
        return done.stdout + done.stderr

    def stop(self, limit_s: int) -> int:
        """Sends SIGTERM; the exit status of the service (137 when it had to be killed)."""
        self.command("stop", "--time", str(limit_s), self._name)
        return int(self.command("inspect", "--format", "{{.State.ExitCode}}", self._name).stdout)

    def remove(self) -> None:
        """Removes the container, running or not."""
        self.command("rm", "--force", self._name, check=False)


def check(container: Container) -> dict[str, object]:
    """Everything that is asked of a running container.

    Raises:
        SystemExit: says what was not as it should be.
    """
    ready_s = round(container.wait_until_ready(300), 1)
    if (user := container.execute("id", "-u").stdout.strip()) != USER_ID:
        raise SystemExit(f"the service runs as user {user}, not {USER_ID}")
    if container.execute("touch", "/home/wavescope/probe", check=False).returncode == 0:
        raise SystemExit("the root filesystem can be written")
    client = Path(__file__).with_name("client.py").read_text()
    answer = json.loads(container.execute("python3", "-", stdin=client).stdout.splitlines()[-1])
    started_s = time.monotonic()
    if code := container.stop(60):
        raise SystemExit(f"SIGTERM ended the service with status {code}; its log:\n{container.logs()}")
    return {"ready_s": ready_s, **answer, "stopped_s": round(time.monotonic() - started_s, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one image, and prints what was seen as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", nargs="?", default="wavescope:cpu")
    image = parser.parse_args(arguments).image
    container = Container(engine(), image)
    try:
        print(json.dumps({"image": image, **check(container)}))
    finally:
        container.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
