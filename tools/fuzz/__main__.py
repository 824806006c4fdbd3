"""Sends the running service bad input of every kind: none may be answered with a defect, or not at all.

    python -m tools.fuzz [--seed 0] [--count 16000] [--out FILE]

Starts ``wavescope serve`` with small limits. Inputs: damaged image files, through the decoder and over HTTP; requests
and RPCs with something wrong in them; what schemathesis makes of the OpenAPI document. A first tenth warms the service
up; from there to the end its memory may grow by a bound. What ended badly is kept in build/fuzz. Linux.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from tools.faults.service import Service
from tools.fuzz import sections
from tools.fuzz.memory import settled_mb
from tools.fuzz.sections import Section
from tools.fuzz.target import Target
from tools.fuzz.verdict import HANG_S

COUNT = 16_000
OPERATIONS = 26  # about as many as the document has
# Of all inputs; the rest is what schemathesis makes, which counts for itself.
SHARES = {"decoding": 0.5, "http": 0.2, "files": 0.03, "grpc": 0.2}
WARM_UP = 0.1
MAX_GROWTH_MB = 64.0
FOLDER = Path("build") / "fuzz"
MODELS = """\
models:
  - name: efficientnet-lite0
    source: embedded:efficientnet-lite0
    num_cpus: 1
    min_replicas: 1
    max_replicas: 1
"""
# Small, so that limits are met, what is sound is cheap, and little is kept on purpose.
SETTINGS = {
    "max_body_bytes": 256 * 1024,
    "max_pixels": 1_000_000,
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


def report(found: list[Section], before: dict[str, float], after: dict[str, float], command: str) -> str:
    """The report as Markdown."""
    total = sum(section.count for section in found)
    lines = [
        f"{total:,} inputs on {platform.processor() or platform.machine()}, {os.cpu_count()} cores:",
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
    before_mb, after_mb = sum(before.values()), sum(after.values())
    lines += [
        "",
        "Private memory of the service's processes, MB, at the end of the first tenth and at the end:",
        "",
        "| process | then | at the end |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {before.get(name, 0.0):.0f} | {after.get(name, 0.0):.0f} |"
        for name in sorted({*before, *after})
    ]
    lines += [
        "",
        f"All together: {after_mb - before_mb:+.0f} MB of {before_mb:.0f}; the bound is {MAX_GROWTH_MB:.0f}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs everything; returns 1 where something ended badly."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=COUNT, help="of inputs, about (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="also write the report here")
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="wavescope-fuzz-") as name:
        models = Path(name) / "models.yaml"
        models.write_text(MODELS)
        service = Service(Path(name), models, **SETTINGS)
        try:
            service.start()
            target = Target(service.port, service.grpc_port)
            found = attack(target, arguments.seed, round(WARM_UP * arguments.count))
            before = settled_mb(service.processes)
            for section, more in zip(
                found,
                attack(target, arguments.seed + 1, round((1 - WARM_UP) * arguments.count)),
                strict=True,
            ):
                section.take(more)
            after = settled_mb(service.processes)
        finally:
            service.stop()
            shutil.copy(service.log, FOLDER / "service.log")
    text = report(found, before, after, f"make fuzz ARGS='--seed {arguments.seed} --count {arguments.count}'")
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    bad = sum(len(section.complaints) for section in found)
    grown_mb = sum(after.values()) - sum(before.values())
    if grown_mb > MAX_GROWTH_MB:
        print(f"memory grew by {grown_mb:.0f} MB, over {MAX_GROWTH_MB:.0f}", file=sys.stderr)
        bad += 1
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
