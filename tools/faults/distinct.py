"""A thousand explanations that have nothing in common: no process of the service may keep something of each.

    python -m tools.faults.distinct [--count 1000] [--out FILE]

Every image and seed is another one, and every fiftieth image is decoded in a process of its own. Memory is read after a
first part, in which caches and pools fill, and at the end. Linux.
"""

from __future__ import annotations

import base64
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
from PIL import Image
from tests.imaging import expensive
from tools.faults.command import describe_machine, make_parser, publish
from tools.faults.memory import settled_mb
from tools.faults.requests import registry
from tools.faults.service import BUILD, started, temporary_folder

COUNT = 1000
WARM_UP = 0.3  # of the explanations
CALLERS = 4
LARGE_EVERY = 50
LARGE_PX = 4300
MAX_GROWTH_MB = 32.0  # of all processes together, after the warm-up
WAVELETS = ("haar", "db2", "db3", "sym4", "coif1", "bior2.2")
# Little is kept on purpose, so that what grows is a leak.
SETTINGS = {"result_cache_bytes": 2**20}
MODELS = registry(1)


def request(number: int) -> dict[str, Any]:
    """The body of one explanation, unlike all others."""
    if number % LARGE_EVERY == 0:
        image = expensive.png(LARGE_PX + number // LARGE_EVERY, LARGE_PX)
    else:
        pixels = np.random.default_rng(number).integers(0, 256, (64 + number % 97, 80, 3), np.uint8)
        image = expensive.encoded(Image.fromarray(pixels), "PNG")
    return {
        "image": {"base64": base64.b64encode(image).decode()},
        "kind": "profile",
        "nb_design": 2,
        "levels": 1 + number % 3,
        "wavelet": WAVELETS[number % len(WAVELETS)],
        "seed": number,
    }


def explain(url: str, numbers: range) -> None:
    """Asks for these explanations; all must be answered."""
    with httpx.Client(base_url=url, timeout=300) as http, ThreadPoolExecutor(CALLERS) as callers:
        for reply in callers.map(lambda number: http.post("/v1/explanations", json=request(number)), numbers):
            reply.raise_for_status()


def report(memory: list[dict[str, float]], counts: tuple[int, int]) -> str:
    """The table as Markdown.

    Args:
        memory: of the processes, MB, after so many explanations.
        counts: how many.
    """
    lines = [
        f"{counts[1]:,} distinct explanations on {describe_machine()}:",
        "",
        f"    python -m tools.faults.distinct --count {counts[1]}",
        "",
        "Private memory of the service's processes, MB:",
        "",
        f"| process | after {counts[0]:,} | after {counts[1]:,} |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {' | '.join(f'{one.get(name, 0.0):.0f}' for one in memory)} |"
        for name in sorted({name for one in memory for name in one})
    ]
    lines.append(f"| all together | {' | '.join(f'{sum(one.values()):.0f}' for one in memory)} |")
    lines += ["", f"Grown by {grown_mb(memory):+.0f} MB; the bound is {MAX_GROWTH_MB:.0f}."]
    return "\n".join(lines) + "\n"


def grown_mb(memory: list[dict[str, float]]) -> float:
    """What all processes together grew by after the warm-up, MB."""
    before, after = memory
    return sum(after.values()) - sum(before.values())


def main() -> int:
    """Runs it; returns 1 where memory grew."""
    parser = make_parser(__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="of explanations (default: %(default)s)")
    arguments = parser.parse_args()
    warm = round(WARM_UP * arguments.count)
    memory = list[dict[str, float]]()
    log = BUILD / "distinct.log"
    with temporary_folder("distinct") as folder, started(folder, MODELS, log, **SETTINGS) as service:
        for numbers in (range(warm), range(warm, arguments.count)):
            explain(service.url, numbers)
            memory.append(settled_mb(service.processes))
            print(f"after {numbers.stop}: {sum(memory[-1].values()):.0f} MB", flush=True)
    publish(report(memory, (warm, arguments.count)), arguments.out)
    if grown_mb(memory) > MAX_GROWTH_MB:
        print(f"memory grew by {grown_mb(memory):.0f} MB, over {MAX_GROWTH_MB:.0f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
