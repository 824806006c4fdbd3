"""Every kind of slow client at once, against the running service: who asks in order is answered meanwhile."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from skimage import data
from tests.cluster.service import DEADLINE_S, SMALL_FORWARDS, Service, body, eventually, png
from tools.faults.slow import Asked, attack, failures
from tools.fuzz.target import Target

ANSWERS = 5
ANSWER_S = 60.0  # generous: how long it takes is measured by the tool


def test_slow_clients_of_every_kind_keep_nobody_out(service: Service) -> None:
    end = time.monotonic() + DEADLINE_S

    def enough(asked: list[Asked]) -> bool:
        return all(len(one.taken_s) >= ANSWERS for one in asked) or time.monotonic() > end

    ports = (urlsplit(service.url).port, urlsplit(f"//{service.grpc}").port)
    asked = attack(Target(*ports), enough, answer_s=ANSWER_S)  # type: ignore[arg-type]
    assert failures(asked, bar_s=ANSWER_S) == []
    assert min(len(one.taken_s) for one in asked) >= ANSWERS
    eventually(
        lambda: service.metric("wavescope_explanations_in_progress") == 0, "what was left without a word ends"
    )
    reply = service.http.post(
        "/v1/explanations", json=body(png(data.chelsea()), grid_size=4, nb_design=4, seed=77)
    )
    assert reply.json()["forwards"] == SMALL_FORWARDS
