"""Monitors over HTTP: every reply matches its schema, and every refusal says what is wrong and what to do."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ingress.fakes import send
from tests.serving.monitored import CALL, CONFIG, MonitoredPlane, drain, images, run
from tests.serving.monitored import send as observe

from wavescope.ingress.schemas.monitor import parse_monitor
from wavescope.ingress.schemas.monitor_reply import (
    AlarmsReply,
    DiagnosisReply,
    MonitorReply,
    MonitorsReply,
    OutcomesReply,
    ReportReply,
)
from wavescope.store import open_store

BODY = {"model": "m", "sample": {"profile_rate": 0.5}, "reference": {"fit": 30, "calibrate": 100}}
EVENT = {
    "Ce-Specversion": "1.0",
    "Ce-Id": "e1",
    "Ce-Source": "http://localhost:9081/",
    "Ce-Type": "org.kubeflow.serving.inference.request",
    "Ce-Namespace": "prod",
    "Ce-Inferenceservicename": "birds",
}
PAYLOAD = b'{"instances": [{"b64": "aW1hZ2U="}]}'
IMAGE = {"base64": base64.b64encode(b"clean 1").decode()}


@pytest.fixture
def plane(tmp_path: Path):
    store = open_store("", state_dir=tmp_path, result_bytes=0)
    yield MonitoredPlane(store)
    store.close()


@pytest.fixture
def app(plane: MonitoredPlane):
    return plane.app()


@pytest.fixture
def alarmed(plane: MonitoredPlane):
    """A service whose monitor m has an open alarm, with kept images."""

    async def work() -> None:
        await plane.put_monitor("m", replace(CONFIG, keep_images=2), CALL)
        await observe(plane, images(CONFIG.reference.size) + images(20, "blurred"))
        await drain(plane, plane._store)

    run(work())
    return plane.app()


def test_a_monitor_is_made_changed_listed_and_deleted(app) -> None:
    made = send(app, "PUT", "/v1/monitors/m", json=BODY)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/monitors/m")
    reply = MonitorReply.model_validate_json(made.text)
    assert reply.token is not None
    assert reply.links.events == f"/v1/monitors/m/events/{reply.token}"
    again = send(app, "PUT", "/v1/monitors/m", json=BODY)
    assert (again.status_code, "token" in again.json()) == (200, False)
    listed = MonitorsReply.model_validate_json(send(app, "GET", "/v1/monitors").text)
    assert [one.name for one in listed.monitors] == ["m"]
    assert send(app, "DELETE", "/v1/monitors/m").status_code == 204
    assert send(app, "GET", "/v1/monitors/m").json()["code"] == "unknown_monitor"


def test_the_configuration_of_a_reply_is_one_that_can_be_sent(app) -> None:
    shown = send(app, "PUT", "/v1/monitors/m", json=BODY).json()["config"]
    assert (
        parse_monitor(json.dumps(shown).encode()).of_reference
        == parse_monitor(json.dumps(BODY).encode()).of_reference
    )
    assert send(app, "PUT", "/v1/monitors/m", json=shown).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": None}, "model"),
        ({"sample": {"rate": 0}}, "sample.rate"),
        ({"sample": {"profile_rate": 1.5}}, "sample.profile_rate"),
        ({"reference": {"fit": 10}}, "reference.fit"),
        ({"reference": {"calibrate": 99}}, "reference.calibrate"),
        ({"request": {"kind": "wcam"}}, "request.kind"),
        ({"request": {"levels": 0}}, "request.levels"),
        ({"test": {"tolerance": 0.1}}, "test.tolerance"),
        ({"test": {"weights": {"input": 0.5}}}, "test.weights"),
        ({"test": {"weights": {"colour": 1.0}}}, "test.weights.colour"),
        ({"test": {"false_alarm": {"mean_observations": 0}}}, "test.false_alarm.mean_observations"),
        ({"keep_images": -1}, "keep_images"),
        ({"unknown": 1}, "unknown"),
        ({"webhook": {"url": "http://elsewhere/", "secret": {"env": "X"}}}, "webhook.url"),
        ({"webhook": {"url": "http://elsewhere/", "secret": {}}}, "webhook.secret"),
    ],
)
def test_a_wrong_field_is_named(app, change: dict, field: str) -> None:
    refused = send(app, "PUT", "/v1/monitors/m", json=BODY | change)
    assert refused.status_code == 422, refused.text
    assert refused.json()["field"] == field


def test_images_come_as_json_and_as_files(app) -> None:
    send(app, "PUT", "/v1/monitors/m", json=BODY)
    as_json = send(
        app, "POST", "/v1/monitors/m/observations", json={"images": [IMAGE, IMAGE], "ids": ["1", "1"]}
    )
    assert as_json.status_code == 202
    assert OutcomesReply.model_validate_json(as_json.text).outcomes == ["accepted", "duplicate"]
    as_files = send(
        app,
        "POST",
        "/v1/monitors/m/observations",
        files={"image": ("a.jpg", b"clean 2"), "request": (None, '{"reference": true}')},
    )
    assert as_files.json()["outcomes"] == ["accepted"]
    wrong = send(app, "POST", "/v1/monitors/m/observations", json={"image": IMAGE, "ids": ["1", "2"]})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "ids")


def test_an_alarm_is_seen_reported_looked_into_and_not_acknowledged_by_a_wrong_number(alarmed) -> None:
    status = MonitorReply.model_validate_json(send(alarmed, "GET", "/v1/monitors/m").text)
    assert (status.state, status.alarms) == ("alarm", 1)
    alarms = AlarmsReply.model_validate_json(send(alarmed, "GET", "/v1/monitors/m/alarms").text)
    assert alarms.alarms[0].id == 1
    report = ReportReply.model_validate_json(send(alarmed, "GET", "/v1/monitors/m/report?since=0").text)
    assert len(report.evidence.seq) == len(report.evidence.log10) > 0
    assert report.window is not None
    picture = send(alarmed, "GET", "/v1/monitors/m/report", headers={"Accept": "image/png"})
    assert picture.content == b"\x89PNG"
    found = DiagnosisReply.model_validate_json(send(alarmed, "GET", "/v1/monitors/m/alarms/1/diagnosis").text)
    assert {job.kind for job in found.jobs} == {"compare", "sufficient-image"}
    wrong = send(alarmed, "POST", "/v1/monitors/m:acknowledge", json={"alarm": 2, "verdict": "fixed"})
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["limits"]) == (
        409,
        "alarm_not_open",
        {"open": [1]},
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/monitors/none", None, 404),
        ("GET", "/v1/monitors/NONE!", None, 422),
        ("GET", "/v1/monitors/none/report?since=yesterday", None, 422),
        ("GET", "/v1/monitors/none/alarms/x/diagnosis", None, 422),
        ("POST", "/v1/monitors/none:pause", None, 404),
        ("POST", "/v1/monitors/none:stop", None, 405),
        ("POST", "/v1/monitors/none:acknowledge", {"alarm": 1, "verdict": "maybe"}, 422),
        ("POST", "/v1/monitors/none:rebaseline", {"from": "nowhere"}, 422),
        ("PATCH", "/v1/monitors/none", None, 405),
    ],
)
def test_what_is_not_there_or_cannot_be_is_refused(
    app, method: str, path: str, body: dict | None, status: int
) -> None:
    options = {} if body is None else {"json": body}
    assert send(app, method, path, **options).status_code == status


def test_events_are_answered_202_and_empty_once_they_are_stored(app) -> None:
    made = send(app, "PUT", "/v1/monitors/m", json=BODY | {"match": {"namespace": "prod"}}).json()
    for path in (made["links"]["events"], "/v1/monitors/m/events", "/v1/events"):
        answered = send(app, "POST", path, content=PAYLOAD, headers=EVENT)
        assert (answered.status_code, answered.content) == (202, b"")
    assert send(app, "GET", "/v1/monitors/m").json()["events"] == {"accepted": 1, "duplicate": 2}


@pytest.mark.parametrize(
    ("headers", "body", "outcome"),
    [
        ({"Ce-Type": "org.kubeflow.serving.inference.response"}, PAYLOAD, "ignored=1"),
        ({"Ce-Id": "e2"}, b'{"instances": [{"b64": "YQ=="}, {"b64": "Yg=="}]}', "accepted=2"),
    ],
)
def test_what_became_of_an_event_is_in_a_header(app, headers: dict, body: bytes, outcome: str) -> None:
    send(app, "PUT", "/v1/monitors/m", json=BODY)
    answered = send(app, "POST", "/v1/monitors/m/events", content=body, headers=EVENT | headers)
    assert (answered.status_code, answered.headers["wavescope-outcomes"]) == (202, outcome)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Ce-Specversion": "2.0"}, PAYLOAD),
        ({"Ce-Id": ""}, PAYLOAD),
        ({}, b"{"),
        ({}, b"\x1f\x8bnot gzip"),
        ({}, b'{"predictions": []}'),
        ({}, b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP99", "data": []}]}'),
    ],
)
def test_whatever_is_wrong_with_an_event_is_400_and_counted(app, headers: dict, body: bytes) -> None:
    send(app, "PUT", "/v1/monitors/m", json=BODY)
    answered = send(app, "POST", "/v1/monitors/m/events", content=body, headers=EVENT | headers)
    assert (answered.status_code, answered.json()["code"]) == (400, "malformed_request")
    assert send(app, "GET", "/v1/monitors/m").json()["events"] == {"invalid": 1}


def test_a_wrong_token_is_refused(app) -> None:
    send(app, "PUT", "/v1/monitors/m", json=BODY)
    assert send(app, "POST", "/v1/monitors/m/events/guess", content=PAYLOAD, headers=EVENT).status_code == 403
