"""One Ray cluster and one running service for every test that needs them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.cluster.service import Service
from tests.ports import free_port

from wavescope.serving.command import run
from wavescope.settings import Settings, load_registry

# One core each, so that two replicas find room on the smallest machine the tests run on.
MODELS = """
models:
  - {name: efficientnet-lite0, source: "embedded:efficientnet-lite0", num_cpus: 1, min_replicas: 1, max_replicas: 2}
"""


@pytest.fixture(scope="session")
def models_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of the running service, which looks at it for changes."""
    file = tmp_path_factory.mktemp("registry") / "models.yaml"
    file.write_text(MODELS)
    return file


@pytest.fixture(scope="session")
def service_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        state_dir=tmp_path_factory.mktemp("state"),
        job_lease_s=3.0,
        port=free_port(),
        grpc_port=free_port(),
        gateway_replicas=2,
        upscale_delay_s=1.0,
        downscale_delay_s=600.0,
        look_back_period_s=2.0,
        models_poll_s=0.2,
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the running service come last: its cluster stays to the end, and would take cores from the others."""
    items.sort(key=lambda item: "service" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def service(service_settings: Settings, models_file: Path) -> Iterator[Service]:
    """The running service; every count in it is of this test session alone."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.fail(
            "the running service is one cluster: run tests/cluster without --numprocesses, as `make test` does"
        )
    with run.cluster(num_cpus=4):
        run.deploy(service_settings, load_registry(models_file), models_file)
        url = f"http://127.0.0.1:{service_settings.port}"
        # Computed anew, so that what is asked twice is counted twice; tests of kept results call without it.
        with httpx.Client(base_url=url, timeout=300, headers={"Cache-Control": "no-cache"}) as http:
            yield Service(url, f"127.0.0.1:{service_settings.grpc_port}", http)
