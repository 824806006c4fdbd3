"""One Ray cluster and one running service for every test that needs them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.serving.cluster import Service, free_port

from wavescope.models.spec import ModelSpec
from wavescope.serving import run
from wavescope.settings import Settings

# One core each, so that two replicas find room on the smallest machine the tests run on.
MODEL = ModelSpec(
    name="efficientnet-lite0",
    source="embedded:efficientnet-lite0",
    num_cpus=1,
    min_replicas=1,
    max_replicas=2,
)


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    settings = Settings(
        port=free_port(),
        grpc_port=free_port(),
        gateway_replicas=2,
        upscale_delay_s=1.0,
        downscale_delay_s=600.0,
        look_back_period_s=2.0,
    )
    with run.cluster(num_cpus=4):
        run.deploy(settings, (MODEL,))
        url = f"http://127.0.0.1:{settings.port}"
        with httpx.Client(base_url=url, timeout=300) as http:
            yield Service(url, f"127.0.0.1:{settings.grpc_port}", http)
