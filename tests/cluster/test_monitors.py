"""A monitor of the real service and model: from photographs to an alarm, over the death of the process that folds."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data
from tests.cluster.service import eventually, kill_replicas, png

from wavescope.ingress.schemas.monitor_reply import MonitorReply, ReportReply

FIT, CALIBRATE = 30, 100
CONFIG = {
    "model": "efficientnet-lite0",
    "sample": {"profile_rate": 0, "max_share_of_model": 1},
    "reference": {"fit": FIT, "calibrate": CALIBRATE},
}
PHOTOGRAPHS = tuple(
    Image.fromarray(getattr(data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")
)


def crops(count: int, seed: int, *, blur: float = 0.0) -> list[bytes]:
    """Random crops of photographs."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        photograph = PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))]
        side = int(rng.integers(160, min(photograph.size)))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photograph.size)
        crop = photograph.crop((left, top, left + side, top + side)).resize((256, 256))
        found.append(png(crop.filter(ImageFilter.GaussianBlur(blur)) if blur else crop))
    return found


def observe(service, name: str, images: list[bytes]) -> None:
    for start in range(0, len(images), 16):
        encoded = [{"base64": base64.b64encode(image).decode()} for image in images[start : start + 16]]
        ids = [f"{name} {start + at} {len(images)}" for at in range(len(encoded))]
        reply = service.http.post(f"/v1/monitors/{name}/observations", json={"images": encoded, "ids": ids})
        assert reply.status_code == 202, reply.text


def status(service, name: str) -> MonitorReply:
    reply = service.http.get(f"/v1/monitors/{name}")
    return MonitorReply.model_validate_json(reply.text)


def ended(service, name: str, count: int) -> None:
    eventually(lambda: status(service, name).observations == count, f"{count} observations ended")


@pytest.fixture
def monitor(service):
    assert service.http.put("/v1/monitors/crops", json=CONFIG).status_code == 201
    yield "crops"
    assert service.http.delete("/v1/monitors/crops").status_code == 204


def test_blurred_photographs_raise_an_alarm_though_a_process_died_over_the_reference(
    service, monitor
) -> None:
    reference = FIT + CALIBRATE
    observe(service, monitor, crops(reference, 1))
    eventually(lambda: status(service, monitor).observations > 10, "some of the reference measured")
    kill_replicas("EstimatorAggregator")
    ended(service, monitor, reference)
    before = status(service, monitor)
    assert before.state == "watching", before.reason
    observe(service, monitor, crops(40, 2, blur=4.0))
    ended(service, monitor, reference + 40)
    after = status(service, monitor)
    assert (after.state, after.events) == ("alarm", {"accepted": reference + 40})
    assert after.alarm is not None
    assert after.alarm.signals[0].name == "input"

    scraped = service.http.get("/metrics").text
    for state, value in (("alarm", "1.0"), ("watching", "0.0")):
        assert f'wavescope_monitor_state{{monitor="crops",state="{state}"}} {value}' in scraped
    report = ReportReply.model_validate_json(service.http.get("/v1/monitors/crops/report").text)
    evidence = report.signals[0].log10_evidence
    assert evidence is not None
    assert f'wavescope_monitor_evidence{{monitor="crops",signal="input"}} {evidence}' in scraped
    picture = service.http.get("/v1/monitors/crops/report", headers={"Accept": "image/png"})
    assert picture.content.startswith(b"\x89PNG")

    acknowledged = service.http.post(
        "/v1/monitors/crops:acknowledge", json={"alarm": after.alarm.id, "verdict": "harmful"}
    )
    assert acknowledged.status_code == 200
    eventually(lambda: status(service, monitor).state == "watching", "the alarm closed")
