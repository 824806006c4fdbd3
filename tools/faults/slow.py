"""Holds the running service with every kind of slow client at once, and sees who is still answered.

    python -m tools.faults.slow [--seconds 60] [--out FILE]

Meanwhile probes and metrics are asked for, and an honest caller at the same address asks for explanations. None may be
left without an answer, and 99 % of the answers of `/livez` may take 0.2 s. Needs Linux.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from multiprocessing.synchronize import Event

import grpc
from tools.faults.command import describe_machine, make_parser, publish
from tools.faults.memory import settled_mb
from tools.faults.requests import MODELS
from tools.faults.service import BUILD, PROXY, Service, started, temporary_folder
from tools.faults.slow_kinds import ASKED, KINDS, hold_all
from tools.fuzz.target import Target

from wavescope_proto.inference import open_inference_pb2, open_inference_pb2_grpc

SECONDS = 60.0
ANSWER_S = 10.0  # a probe that takes longer has failed
HONEST_S = 60.0
PAUSE_S = 0.1
BAR_S = 0.2  # for `/livez`
SHARE = 0.99  # of its answers


@dataclass(slots=True)
class Asked:
    """Somebody who asks again and again.

    Attributes:
        name: for the report.
        ask: one question; raises where it is not answered.
        taken_s: of those that were answered.
        failed: what became of the others.
    """

    name: str
    ask: Callable[[], None]
    taken_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self, over: Event) -> None:
        """Asks until it is over."""
        while not over.is_set():
            began = time.monotonic()
            try:
                self.ask()
            except (OSError, HTTPException, grpc.RpcError, RuntimeError) as error:
                self.failed.append(repr(error)[:200])
            else:
                self.taken_s.append(time.monotonic() - began)
            over.wait(PAUSE_S)

    def quantile(self, share: float) -> float:
        """Seconds that this share of the answers took at most."""
        ordered = sorted(self.taken_s)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else float("inf")


def askers(target: Target, answer_s: float) -> list[Asked]:
    """Those who must be answered, within that time."""

    def get(path: str) -> Callable[[], None]:
        return lambda: _get(target, path, answer_s)

    return [
        Asked("`GET /livez`", get("/livez")),
        Asked("`GET /readyz`", get("/readyz")),
        Asked("`GET /metrics`", get("/metrics")),
        Asked("`ServerLive`", lambda: _rpc(target, "ServerLive", answer_s)),
        Asked("`ServerReady`", lambda: _rpc(target, "ServerReady", answer_s)),
        Asked("an explanation", lambda: _explain(target)),
    ]


def _get(target: Target, path: str, answer_s: float) -> None:
    status, told, _ = _send(target, answer_s, "GET", path)
    if status != 200:
        raise RuntimeError(f"{status} {told}")


def _send(
    target: Target, answer_s: float, method: str, path: str, content: bytes | None = None
) -> tuple[int, str, float]:
    """Status, the beginning of the reply, and when to come again, s; on a connection of its own."""
    with closing(HTTPConnection("127.0.0.1", target.port, timeout=answer_s)) as one:
        one.request(method, path, content, {"Content-Type": "application/json"} if content else {})
        reply = one.getresponse()
        told = reply.read()[:100].decode("utf-8", "replace")
        return reply.status, told, float(reply.headers.get("Retry-After", PAUSE_S))


def _rpc(target: Target, name: str, answer_s: float) -> None:
    # A connection of its own, as probes have.
    with grpc.insecure_channel(
        f"127.0.0.1:{target.grpc_port}", [("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        message = getattr(open_inference_pb2, f"{name}Request")()
        getattr(stub, name)(message, timeout=answer_s)


def _explain(target: Target) -> None:
    """One explanation, as an honest caller asks for it: again where it is asked to retry."""
    deadline = time.monotonic() + HONEST_S
    while True:
        status, told, again_s = 0, "no answer", PAUSE_S
        with suppress(OSError, HTTPException):
            status, told, again_s = _send(target, HONEST_S, "POST", "/v1/explanations", ASKED)
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{status} {told}")
        time.sleep(min(again_s, 1.0))


def attack(
    target: Target, until: Callable[[list[Asked]], bool], *, answer_s: float = ANSWER_S
) -> list[Asked]:
    """All kinds at once, until it is enough; who asked meanwhile."""
    spawned = multiprocessing.get_context("spawn")
    over, asked = spawned.Event(), askers(target, answer_s)
    held = spawned.Process(target=hold_all, args=(target, over), daemon=True)
    held.start()
    asking = [threading.Thread(target=one.run, args=(over,)) for one in asked]
    for thread in asking:
        thread.start()
    while not until(asked):
        over.wait(PAUSE_S)
    over.set()
    for one in (held, *asking):
        one.join()
    return asked


def for_seconds(seconds: float) -> Callable[[list[Asked]], bool]:
    """Enough after so long."""
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() >= end


def failures(asked: list[Asked], bar_s: float = BAR_S) -> list[str]:
    """What should not have happened, in words.

    Args:
        asked: who asked, `/livez` first.
        bar_s: that 99 % of the answers of `/livez` may take.
    """
    found = [f"{one.name}: {why}" for one in asked for why in one.failed]
    found += [f"{one.name}: never answered" for one in asked if not one.taken_s]
    live = asked[0]
    if live.taken_s and live.quantile(SHARE) > bar_s:
        found.append(
            f"{live.name}: {SHARE:.0%} took up to {live.quantile(SHARE):.3f} s, more than {bar_s:g} s"
        )
    return found


def report(asked: list[Asked], memory_mb: tuple[float, float], seconds: float) -> str:
    """The report, as Markdown.

    Args:
        asked: who asked.
        memory_mb: of the proxy, before and after.
        seconds: that the attack lasted.
    """
    clients = sum(kind.connections for kind in KINDS)
    lines = [
        "# Slow clients",
        "",
        f"{len(KINDS)} kinds at once, {clients:,} connections, for {seconds:g} s on "
        f"{describe_machine()}, which the clients share with the "
        "service; every client is on this host and has the address of the honest caller. Connections that are closed "
        "are opened again.",
        "",
        "    make slow",
        "",
        "| asked meanwhile | answers | none | median, s | 99 %, s | slowest, s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.name} | {len(one.taken_s)} | {len(one.failed)} | {one.quantile(0.5):.3f} | {one.quantile(SHARE):.3f} "
        f"| {one.quantile(1.0):.3f} |"
        for one in asked
    ]
    lines += [
        "",
        f"`/livez` within {BAR_S:g} s: {_share_within(asked[0]):.1%} of the answers.",
        f"Private memory of the proxy: {memory_mb[0]:.0f} MB before, {memory_mb[1]:.0f} MB after.",
        "",
        "| client | protocol | connections |",
        "|---|---|---|",
    ]
    lines += [f"| {kind.name} | {'gRPC' if kind.grpc else 'HTTP'} | {kind.connections} |" for kind in KINDS]
    return "\n".join(lines) + "\n"


def _share_within(one: Asked) -> float:
    count = len(one.taken_s) + len(one.failed)
    return sum(taken <= BAR_S for taken in one.taken_s) / count if count else 0.0


def proxy_mb(service: Service) -> float:
    """Private memory of the proxy."""
    return sum(settled_mb(lambda: service.processes(PROXY)).values())


def main() -> int:
    """Runs it; returns 1 where somebody was left without an answer, or `/livez` took too long."""
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    with temporary_folder("slow") as folder, started(folder, MODELS, BUILD / "slow.log") as service:
        before = proxy_mb(service)
        asked = attack(Target(service.port, service.grpc_port), for_seconds(arguments.seconds))
        text = report(asked, (before, proxy_mb(service)), arguments.seconds)
    publish(text, arguments.out)
    found = failures(asked)
    for failure in found[:20]:
        print(failure, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
