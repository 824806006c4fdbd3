"""Sends the running service bad input of every kind: none may be answered with a defect, or not at all.

    python -m tools.fuzz [--seed 0] [--count 32000] [--out FILE]

Starts ``wavescope serve`` with small limits. Inputs: damaged image files, through the decoder and over HTTP, where
drawn ones join them; requests and RPCs with something wrong in them; what schemathesis makes of the OpenAPI document.
They come in rounds; after each the service's memory is read. What ended badly is kept in build/fuzz. Linux.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tools.faults.command import describe_machine, make_parser, publish
from tools.faults.memory import settled_mb
from tools.faults.requests import registry
from tools.faults.service import started, temporary_folder
from tools.fuzz import sections
from tools.fuzz.sections import Section
from tools.fuzz.target import Target
from tools.fuzz.verdict import HANG_S

COUNT = 32_000
OPERATIONS = 26  # about as many as the document has
# Of all inputs; the rest is what schemathesis makes, which counts for itself.
SHARES = {"decoding": 0.5, "http": 0.2, "files": 0.03, "grpc": 0.2}
# Shares of the rounds.
ROUNDS = (0.1, 0.3, 0.3, 0.3)
MAX_GROWTH_MB = 64.0
FOLDER = Path("build") / "fuzz"
MODELS = registry(1)
# Small, so that limits are met, what is sound is cheap, and little is kept on purpose.
SETTINGS = {
    "max_body_bytes": 256 * 1024,
    "max_pixels": 64_000_000,  # so that what costs much is not refused for its size alone
    "max_forwards": 40,
    "max_images": 4,
    "max_targets": 4,
    "max_jobs": 50,
    "request_timeout_s": HANG_S / 2,
    "result_cache_bytes": 2**20,
    "job_retention_s": 60.0,
}


def attack(target: Target, seed: int, count: int) -> list[Section]:
    """All sections, with that many inputs in all."""
    shares = {name: max(1, round(share * count)) for name, share in SHARES.items()}
    examples = max(1, round((1 - sum(SHARES.values())) * count / OPERATIONS))
    found = []
    for section in (
        lambda: sections.decoding(seed, shares["decoding"]),
        lambda: sections.http(target, seed, shares["http"], FOLDER),
        lambda: sections.files(target, seed, shares["files"], FOLDER),
        lambda: sections.grpc(target, seed, shares["grpc"], FOLDER),
        lambda: sections.openapi(target, seed, examples, FOLDER),
    ):
        found.append(section())
        last = found[-1]
        print(f"{last.name}: {last.count:,} in {last.took_s:.0f} s, {dict(last.outcomes)}", flush=True)
        for complaint in last.complaints:
            print(f"  {complaint}", flush=True)
    return found


def report(found: list[Section], memory: list[dict[str, float]], command: str) -> str:
    """The report as Markdown.

    Args:
        found: what came of all inputs.
        memory: of the processes, MB, after each round.
        command: that made it.
    """
    total = sum(section.count for section in found)
    lines = [
        f"{total:,} inputs on {describe_machine()}:",
        "",
        f"    {command}",
        "",
        "| inputs | count | what came of them | slowest, s | defects, hangs |",
        "|---|---|---|---|---|",
    ]
    for section in found:
        came = ", ".join(f"{name} {count:,}" for name, count in sorted(section.outcomes.items()))
        lines.append(
            f"| {section.name} | {section.count:,} | {came} | {section.slowest_s:.1f} | {len(section.complaints)} |"
        )
    after = [f"after {sum(ROUNDS[: place + 1]):.0%}" for place in range(len(ROUNDS))]
    lines += [
        "",
        "Private memory of the service's processes, MB, after so many of the inputs:",
        "",
        f"| process | {' | '.join(after)} |",
        f"|---|{'---|' * len(after)}",
    ]
    for name in sorted({name for one in memory for name in one}):
        lines.append(f"| {name} | {' | '.join(f'{one.get(name, 0.0):.0f}' for one in memory)} |")
    lines.append(f"| all together | {' | '.join(f'{sum(one.values()):.0f}' for one in memory)} |")
    lines += ["", f"In the last round: {grown_mb(memory):+.0f} MB; the bound is {MAX_GROWTH_MB:.0f}."]
    return "\n".join(lines) + "\n"


def grown_mb(memory: list[dict[str, float]]) -> float:
    """What all processes together grew by in the last round, MB."""
    before, after = memory[-2:]
    return sum(after.values()) - sum(before.values())


def main() -> int:
    """Runs everything; returns 1 where something ended badly."""
    parser = make_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=COUNT, help="of inputs, about (default: %(default)s)")
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    found, memory = list[Section](), list[dict[str, float]]()
    log = FOLDER / "service.log"
    with temporary_folder("fuzz") as folder, started(folder, MODELS, log, **SETTINGS) as service:
        target = Target(service.port, service.grpc_port)
        for place, share in enumerate(ROUNDS):
            more = attack(target, arguments.seed + place, round(share * arguments.count))
            found = [one.plus(other) for one, other in zip(found, more, strict=True)] if found else more
            memory.append(settled_mb(service.processes))
            print(f"round {place + 1}: {sum(memory[-1].values()):.0f} MB", flush=True)
    text = report(found, memory, f"make fuzz ARGS='--seed {arguments.seed} --count {arguments.count}'")
    publish(text, arguments.out)
    bad = sum(len(section.complaints) for section in found)
    if grown_mb(memory) > MAX_GROWTH_MB:
        print(f"memory grew by {grown_mb(memory):.0f} MB, over {MAX_GROWTH_MB:.0f}", file=sys.stderr)
        bad += 1
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
