"""Loads the service with twice what it can do, for half an hour, and holds what it promises against what it did.

    python -m tools.faults.soak [--minutes 30] [--out FILE]

Arrivals do not wait for answers: they come at twice the rate that four patient callers reach. The mixture is of kinds
and protocols. Refusals must be 429, the same request must have the same answer to the bit in any company, what was
admitted must be answered within a bound, and memory must stay flat. Linux.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from tools.faults.command import describe_machine, make_parser, publish
from tools.faults.memory import private_mb
from tools.faults.requests import ANSWER_S, FRESH, IMAGE, MODELS, body
from tools.faults.service import BUILD, Service, started, temporary_folder

from wavescope_proto.v1 import explanation_pb2 as pb
from wavescope_proto.v1 import explanation_pb2_grpc as pb_grpc

CALLERS = 4
CALIBRATE_S = 30.0
SAMPLE_S = 15.0
SEEDS = 50  # few, so that every request comes often
OVER = 2.0
METADATA = tuple((name.lower(), value) for name, value in FRESH.items())
# Of memory, from the second fifth of the time to the last.
MAX_GROWTH = 0.05
DIFFERENT = "another answer than before"

Outcome = tuple[str, object]  # "ok" and what was answered, or the refusal and nothing


@dataclass(slots=True)
class Tally:
    """What came of all requests: (kind of request, time, outcome, seconds)."""

    began: float = field(default_factory=time.monotonic)
    rows: list[tuple[str, float, str, float]] = field(default_factory=list)
    answers: dict[tuple[str, int], object] = field(default_factory=dict)

    def add(self, kind: str, seed: int, sent: float, outcome: str, answer: object) -> None:
        """One request ended; its answer is held against that of the same request before."""
        if answer is not None and self.answers.setdefault((kind, seed), answer) != answer:
            outcome = DIFFERENT
        self.rows.append((kind, sent - self.began, outcome, time.monotonic() - sent))

    @property
    def again(self) -> int:
        """Answers that were held against an earlier one; the first of each request, and jobs, are not."""
        return sum(outcome == "ok" and kind != "job" for kind, _, outcome, _ in self.rows) - len(self.answers)


class Callers:
    """One request of every kind of the mixture."""

    def __init__(self, url: str, address: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, timeout=ANSWER_S, headers=FRESH, limits=httpx.Limits(max_connections=None)
        )
        self._channel = grpc.aio.insecure_channel(address)
        self._stub = pb_grpc.ExplanationServiceStub(self._channel)
        self.mixture: dict[str, tuple[int, Callable[[int], Awaitable[Outcome]]]] = {
            "HTTP profile": (4, lambda seed: self._explain(body(seed, kind="profile", nb_design=8))),
            "HTTP wcam, full": (2, lambda seed: self._explain(body(seed))),
            "HTTP wcam, adaptive": (2, self._adaptive),
            "gRPC fam": (2, self._grpc),
            "SSE wcam": (1, self._stream),
            "KServe v1 sobol": (1, self._kserve),
            "prediction": (3, self._predict),
            "job": (1, self._job),
        }

    async def close(self) -> None:
        """Ends all connections."""
        await self._http.aclose()
        await self._channel.close()

    async def _post(self, request: dict[str, Any], path: str, read: Callable[[Any], object]) -> Outcome:
        reply = await self._http.post(path, json=request)
        accepted = reply.status_code in (200, 202)
        return ("ok", read(reply.json())) if accepted else (str(reply.status_code), None)

    async def _explain(self, request: dict[str, Any]) -> Outcome:
        return await self._post(request, "/v1/explanations", lambda content: content["indices"])

    async def _adaptive(self, seed: int) -> Outcome:
        image = {"image": {"base64": IMAGE}}
        return await self._explain({**image, "seed": seed, "plan": "adaptive", "max_forwards": 160})

    async def _kserve(self, seed: int) -> Outcome:
        request = {
            "instances": [{"b64": IMAGE}],
            "parameters": {"kind": "sobol", "seed": seed, "grid_size": 6, "nb_design": 4},
        }
        path = "/v1/models/efficientnet-lite0:explain"
        return await self._post(request, path, lambda content: content["explanations"][0]["indices"])

    async def _predict(self, seed: int) -> Outcome:
        del seed
        request = {"image": {"base64": IMAGE}}
        return await self._post(request, "/v1/predictions", lambda content: content["predictions"])

    async def _job(self, seed: int) -> Outcome:
        return await self._post(body(seed), "/v1/jobs", lambda content: None)

    async def _stream(self, seed: int) -> Outcome:
        accept = {"Accept": "text/event-stream"}
        async with self._http.stream("POST", "/v1/explanations", json=body(seed), headers=accept) as reply:
            if reply.status_code != 200:
                return str(reply.status_code), None
            lines = [line async for line in reply.aiter_lines() if line]
        event, content = lines[-2:]
        if event == "event: result":
            return "ok", json.loads(content.removeprefix("data: "))["indices"]
        return ("429" if '"code":"queue_full"' in content.replace(" ", "") else f"{event}: {content}"), None

    async def _grpc(self, seed: int) -> Outcome:
        request = pb.ExplainRequest(image=base64.b64decode(IMAGE), kind="fam", seed=seed, nb_design=4)
        try:
            reply = await self._stub.Explain(request, timeout=ANSWER_S, metadata=METADATA)
        except grpc.aio.AioRpcError as error:
            exhausted = error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            return ("429" if exhausted else f"gRPC {error.code().name}: {error.details()}"), None
        return "ok", reply.indices


async def one(callers: Callers, draw: random.Random, tally: Tally) -> None:
    """One request of the mixture, whatever becomes of it."""
    kinds = list(callers.mixture)
    kind = draw.choices(kinds, [callers.mixture[name][0] for name in kinds])[0]
    seed, sent = draw.randrange(SEEDS), time.monotonic()
    try:
        outcome, answer = await callers.mixture[kind][1](seed)
    except httpx.HTTPError as error:
        outcome, answer = type(error).__name__, None
    tally.add(kind, seed, sent, outcome, answer)


async def capacity(callers: Callers, draw: random.Random) -> float:
    """Requests per second that patient callers reach."""
    tally, until = Tally(), time.monotonic() + CALIBRATE_S

    async def call() -> None:
        while time.monotonic() < until:
            await one(callers, draw, tally)

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return len(tally.rows) / (time.monotonic() - tally.began)


async def load(callers: Callers, draw: random.Random, rate: float, seconds: float) -> Tally:
    """Requests at that rate, each sent when it is due, whatever became of those before."""
    tally, sent = Tally(), set[asyncio.Task[None]]()
    while (now := time.monotonic() - tally.began) < seconds:
        task = asyncio.create_task(one(callers, draw, tally))
        sent.add(task)
        task.add_done_callback(sent.discard)
        await asyncio.sleep(draw.expovariate(rate))
        if int(now) % 60 == 0 and int(now) != int(now - 1 / rate):
            print(f"{now:5.0f} s, {len(sent)} open, {Counter(row[2] for row in tally.rows)}", flush=True)
    if sent:
        await asyncio.wait(sent, timeout=ANSWER_S)
    return tally


async def watch(service: Service, samples: list[tuple[float, dict[str, float]]]) -> None:
    """Memory of the service's processes, for ever."""
    began = time.monotonic()

    def memory() -> dict[str, float]:
        return private_mb(service.processes())

    while True:
        samples.append((time.monotonic() - began, await asyncio.to_thread(memory)))
        await asyncio.sleep(SAMPLE_S)


async def measure(
    service: Service, minutes: float
) -> tuple[float, Tally, list[tuple[float, dict[str, float]]]]:
    """(requests a second that it can do, what came of twice as many, its memory over time)."""
    callers, draw = Callers(service.url, f"127.0.0.1:{service.grpc_port}"), random.Random(0)
    samples: list[tuple[float, dict[str, float]]] = []
    try:
        rate = await capacity(callers, draw)
        watching = asyncio.create_task(watch(service, samples))
        tally = await load(callers, draw, OVER * rate, 60 * minutes)
        watching.cancel()
    finally:
        await callers.close()
    return rate, tally, samples


def report(
    rate: float, tally: Tally, samples: list[tuple[float, dict[str, float]]], minutes: float
) -> tuple[str, bool]:
    """The report as Markdown, and whether all promises were kept."""
    outcomes = Counter(row[2] for row in tally.rows)
    others = {name: count for name, count in outcomes.items() if name not in ("ok", "429")}
    lines = [
        "# Twice what it can do",
        "",
        f"{describe_machine()}, two model replicas of one core, "
        f"{minutes:g} minutes at {OVER * rate:.2f} requests a second, {OVER:g} times what {CALLERS} patient callers "
        "reached. Every request is computed anew.",
        "",
        "    make soak",
        "",
        f"{len(tally.rows):,} requests: {outcomes['ok']:,} answered, {outcomes['429']:,} refused with 429, "
        f"{sum(others.values())} ended otherwise{f' ({others})' if others else ''}. Whoever waits longer than "
        f"{ANSWER_S:.0f} s gives up, and would be named here. {tally.again:,} answers were to a request that had been "
        "answered before, in other company: to the bit the same"
        f"{f', but for {outcomes[DIFFERENT]}' if outcomes[DIFFERENT] else ''}.",
        "",
        "| admitted | answered | refused | median, s | 95 %, s | largest, s | median, first third | last third |",
        "|---|---|---|---|---|---|---|---|",
    ]
    length = 60 * minutes
    for kind in dict.fromkeys(row[0] for row in tally.rows):
        rows = [row for row in tally.rows if row[0] == kind]
        took = sorted(row[3] for row in rows if row[2] == "ok")
        if not took:
            continue
        thirds = [
            [row[3] for row in rows if row[2] == "ok" and low <= row[1] / length < low + 1 / 3]
            or [float("nan")]
            for low in (0, 2 / 3)
        ]
        lines.append(
            f"| {kind} | {len(took)} | {sum(row[2] == '429' for row in rows)} | {statistics.median(took):.1f} "
            f"| {took[int(0.95 * (len(took) - 1))]:.1f} | {took[-1]:.1f} "
            f"| {statistics.median(thirds[0]):.1f} | {statistics.median(thirds[1]):.1f} |"
        )
    lines += ["", "Private memory, MB, medians of the second and of the last fifth of the time:", ""]
    lines += ["| process | then | at the end |", "|---|---|---|"]
    grown = 0.0
    for name in sorted(samples[-1][1]):
        then, last = (
            statistics.median(found.get(name, 0.0) for _, found in part)
            for part in (_fifth(samples, 1), _fifth(samples, 4))
        )
        grown += last - then
        lines.append(f"| {name} | {then:.0f} | {last:.0f} |")
    total = sum(samples[len(samples) // 5][1].values())
    lines += ["", f"All together: {grown:+.0f} MB of {total:.0f}; the bound is {MAX_GROWTH:.0%}."]
    return "\n".join(lines) + "\n", not others and grown <= MAX_GROWTH * total


def _fifth(samples: list[Any], which: int) -> list[Any]:
    size = max(1, len(samples) // 5)
    return samples[which * size : (which + 1) * size]


def main() -> int:
    """Runs the load; returns 1 where a promise was broken."""
    parser = make_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    arguments = parser.parse_args()
    with temporary_folder("soak") as folder, started(folder, MODELS, BUILD / "soak.log") as service:
        rate, tally, samples = asyncio.run(measure(service, arguments.minutes))
    text, kept = report(rate, tally, samples, arguments.minutes)
    publish(text, arguments.out)
    return int(not kept)


if __name__ == "__main__":
    raise SystemExit(main())
