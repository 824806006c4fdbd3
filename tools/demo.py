"""Explains a photograph of a cat through the real service: starts it, asks it with the Python client, stops it.

    python tools/demo.py [--image FILE] [--model NAME] [--out DIRECTORY]

Writes the figure (PNG), the numbers (JSON) and the service's log. The service takes a free port, so that a running
one is not disturbed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import chelsea

from wavescope_client import Client, Explanation, Level, WavescopeError

ROOT = Path(__file__).resolve().parent.parent
START_S = 300.0  # the first start exports the default model
EXPLAIN_S = 900.0  # 628 forwards, on however busy a machine
STOP_S = 60.0
POLL_S = 0.5
BAR_WIDTH = 40


class DemoFailure(Exception):
    """The service did not start; the message says why."""


def free_port() -> int:
    """A TCP port of this host that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running_service(log: Path) -> Iterator[str]:
    """The real service on a free port, ready to explain; yields its address, and stops it.

    Raises:
        DemoFailure: it left, or was not ready in time.
    """
    port = free_port()
    command = [Path(sys.executable).with_name("wavescope"), "serve", "--port", str(port), "--grpc-port", "0"]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches this program alone, which then stops the service in order.
        service = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, service, log)
        yield url
    finally:
        stop(service)


def wait_until_ready(url: str, service: subprocess.Popen[bytes], log: Path) -> None:
    """Asks until a model can score.

    Raises:
        DemoFailure: the service left, or was not ready in time.
    """
    deadline = time.monotonic() + START_S
    with Client(url, timeout_s=10) as client:
        while time.monotonic() < deadline:
            if service.poll() is not None:
                raise DemoFailure(f"the service left with status {service.returncode}\n{tail(log)}")
            # Until the service is up nothing listens, and then Ray's proxy answers 404 to everything.
            with suppress(WavescopeError):
                if client.ready():
                    return
            time.sleep(POLL_S)
    raise DemoFailure(f"the service was not ready within {START_S:.0f} s\n{tail(log)}")


def stop(service: subprocess.Popen[bytes]) -> None:
    """Asks the service to leave, and insists on it after a while."""
    if service.poll() is not None:
        return
    service.send_signal(signal.SIGTERM)
    try:
        service.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of the service's log, below its path."""
    return "\n".join([f"{log}:", *log.read_text(errors="replace").splitlines()[-lines:]])


def photograph() -> bytes:
    """Chelsea the cat, by Stéfan van der Walt (public domain), as scikit-image ships her; a PNG file."""
    png = io.BytesIO()
    Image.fromarray(np.asarray(chelsea())).save(png, "PNG")
    return png.getvalue()


def numbers(explanation: Explanation) -> str:
    """What fits on a screen of an explanation, as JSON: all but the arrays."""
    kept = {
        "model": explanation.model,
        "outcome": explanation.outcome,
        "target": asdict(explanation.target),
        "prediction": [asdict(row) for row in explanation.prediction],
        "levels": [asdict(level) for level in explanation.levels or ()],
        "forwards": explanation.forwards,
        "timing": dict(explanation.timing),
        "parameters": dict(explanation.parameters),
        "screening": None if explanation.screening is None else asdict(explanation.screening),
        "worth": None if explanation.worth is None else asdict(explanation.worth),
        "warnings": list(explanation.warnings),
    }
    return json.dumps(kept, indent=2, default=str) + "\n"


def table(explanation: Explanation) -> str:
    """Importance per scale, one line each, the coarsest first."""
    probability = explanation.target.probability
    sure = "" if probability is None else f" ({probability:.1%})"
    lines = [
        f"{explanation.target.label}{sure}, explained by {explanation.model}",
        f"{explanation.forwards:,} forwards in {explanation.timing['total_s']:.1f} s",
        "",
    ]
    levels = explanation.levels
    if levels is None:
        return "\n".join(
            [*lines, "The score does not vary under perturbation: there is nothing to attribute."]
        )
    largest = max(level.share for level in levels)
    lines.append(f"{'scale':>9}  {'share':>6}")
    for level in levels:
        bar = "█" * round(BAR_WIDTH * max(level.share, 0.0) / largest) if largest > 0 else ""
        lines.append(f"{scale(level):>9}  {level.share:6.1%}  {bar}")
    return "\n".join([*lines, "", *end(explanation)])


def end(explanation: Explanation) -> list[str]:
    """What ended the plan, and the warnings."""
    found = [f"note: {warning}" for warning in explanation.warnings]
    if explanation.screening is None or not explanation.screening.rounds:
        return found
    last = explanation.screening.rounds[-1]
    return [
        f"stopped by {explanation.screening.stopped}: expected correlation with the true indices "
        f"{last.correlation:.2f}, error of the shares {last.level_error:.2f}",
        *found,
    ]


def scale(level: Level) -> str:
    """``2-4 px``, or ``> 8 px`` for the approximation."""
    low, high = level.scale_px
    return f"> {low} px" if high is None else f"{low}-{high} px"


def main() -> int:
    """Runs the demonstration; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--image", type=Path, help="a photograph (default: a cat)")
    parser.add_argument("--model", default="efficientnet-lite0", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo", help="default: build/demo")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = arguments.image.stem if arguments.image else "chelsea"
    picture, data = arguments.out / f"{name}.png", arguments.out / f"{name}.json"
    log = arguments.out / "service.log"
    print(f"Starting the service; its log is {log}", flush=True)
    try:
        with running_service(log) as url:
            print(f"Explaining {name} at {url}", flush=True)
            with Client(url, timeout_s=EXPLAIN_S) as client:
                explanation = client.explain(
                    arguments.image or photograph(), model=arguments.model, fresh=True
                )
    except (DemoFailure, WavescopeError, OSError) as error:
        print(f"The demonstration failed: {error}", file=sys.stderr)
        return 1
    explanation.save_png(picture)
    data.write_text(numbers(explanation))
    print(f"\n{table(explanation)}\n\nfigure   {picture}\nnumbers  {data}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
