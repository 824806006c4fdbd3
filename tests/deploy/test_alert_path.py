"""An alarm of a monitor reaches a webhook by a real Prometheus and a real Alertmanager, and its end does."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from tests.fakes.monitors import REFERENCE, commands, config, entries, rows
from tests.polling import DEADLINE_S, eventually
from tests.ports import free_port

from wavescope.engine.monitors.fold import fold
from wavescope.engine.monitors.state import Command, MonitorState, initial_state
from wavescope.engine.monitors.status import summarise
from wavescope.telemetry.counters import exposition
from wavescope.telemetry.monitors import MonitorFacts, monitor_samples

SCRAPE_S, EVALUATE_S = 1, 5


@dataclass
class Desk:
    """What is scraped, and what was sent to the webhook: (when it came, its body)."""

    metrics: str = ""
    received: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def with_status(self, status: str) -> list[tuple[float, dict[str, Any]]]:
        """Notifications of alarms of monitors."""
        wanted = ("WavescopeMonitorAlarm", status)
        return [
            (at, body)
            for at, body in self.received
            if (body["groupLabels"]["alertname"], body["status"]) == wanted
        ]


class Handler(BaseHTTPRequestHandler):
    """``GET /metrics`` and ``POST /alerts``."""

    def do_GET(self) -> None:
        body = self.desk.metrics.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.desk.received.append((time.time(), body))
        self.send_response(200)
        self.end_headers()

    @property
    def desk(self) -> Desk:
        return cast("Server", self.server).desk

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, desk: Desk) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.desk = desk


@contextmanager
def serving(desk: Desk) -> Iterator[str]:
    with Server(desk) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as sink, subprocess.Popen(command, stdout=sink, stderr=sink) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=DEADLINE_S)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as reply:
            return reply.status == 200
    except OSError:
        return False


def query(prometheus: str, expression: str) -> list[dict[str, Any]]:
    url = f"http://{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as reply:
        return json.load(reply)["data"]["result"]


def first_at(prometheus: str, series: str) -> float:
    """When the first sample with the value 1 is of, s since 1970."""
    (found,) = query(prometheus, f"{series}[1h]")
    return next(float(at) for at, value in found["values"] if float(value) == 1)


def shown(state: MonitorState) -> str:
    summary = summarise(state)
    facts = MonitorFacts(
        name="birds",
        state=summary.state,
        summary=summary,
        events={"accepted": state.folded},
        pending=0,
        last_observation_at=time.time(),
    )
    return exposition(monitor_samples([facts]))


@pytest.mark.timeout(600)
def test_an_alarm_reaches_a_webhook_within_two_evaluations_and_ends_when_it_is_acknowledged(
    tool: Callable[[str], str], root: Path, tmp_path: Path
) -> None:
    prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    calm = fold(initial_state(config()), entries(rows(REFERENCE, 0)))
    desk = Desk(shown(calm))
    routes = yaml.safe_load((root / "deploy/prometheus/alertmanager.yml").read_text())
    scraping = {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{EVALUATE_S}s"},
        "rule_files": [str(root / "deploy/prometheus/rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
    }
    with ExitStack() as stack:
        target = stack.enter_context(serving(desk))
        routes["receivers"][0]["webhook_configs"][0]["url"] = f"http://{target}/alerts"
        scraping["scrape_configs"] = [
            {"job_name": "wavescope", "static_configs": [{"targets": [target]}]},
        ]
        for name, content in (("alertmanager.yml", routes), ("prometheus.yml", scraping)):
            (tmp_path / name).write_text(yaml.safe_dump(content))
        stack.enter_context(
            running(
                [
                    tool("prometheus-alertmanager"),
                    f"--config.file={tmp_path / 'alertmanager.yml'}",
                    f"--storage.path={tmp_path / 'alertmanager'}",
                    f"--web.listen-address={alertmanager}",
                    "--cluster.listen-address=",
                ],
                tmp_path / "alertmanager.log",
            )
        )
        stack.enter_context(
            running(
                [
                    tool("prometheus"),
                    f"--config.file={tmp_path / 'prometheus.yml'}",
                    f"--storage.tsdb.path={tmp_path / 'prometheus'}",
                    f"--web.listen-address={prometheus}",
                ],
                tmp_path / "prometheus.log",
            )
        )
        for address in (alertmanager, prometheus):
            eventually(lambda address=address: answers(f"http://{address}/-/ready"), f"{address} is ready")
        watching = 'wavescope_monitor_state{state="watching"}'
        eventually(lambda: [one["value"][1] for one in query(prometheus, watching)] == ["1"], "it is scraped")

        alarmed = fold(calm, entries(rows(20, 1, shift=1.5), first=REFERENCE + 1))
        assert alarmed.open_alarm is not None
        desk.metrics = shown(alarmed)
        eventually(lambda: desk.with_status("firing") != [], "the alarm is at the webhook")
        at, body = desk.with_status("firing")[0]
        (alert,) = body["alerts"]
        assert (alert["labels"]["monitor"], alert["labels"]["job"]) == ("birds", "wavescope")
        assert alert["annotations"]["runbook_url"] == "docs/runbooks.md#wavescopemonitoralarm"
        scraped_at = first_at(prometheus, 'wavescope_monitor_state{state="alarm"}')
        assert 0 <= at - scraped_at <= 2 * EVALUATE_S
        raised = query(prometheus, "changes(wavescope_monitor_alarms_total[10m]) > 0")
        reached = {one.name for one in alarmed.open_alarm.readings}
        assert {one["metric"]["signal"] for one in raised} == reached

        acknowledged = fold(alarmed, commands([Command(do="acknowledge", alarm=1)], first=alarmed.folded + 1))
        desk.metrics = shown(acknowledged)
        eventually(lambda: desk.with_status("resolved") != [], "the end of the alarm is at the webhook")
        _, end = desk.with_status("resolved")[0]
        assert [one["labels"]["monitor"] for one in end["alerts"]] == ["birds"]
