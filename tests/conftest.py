"""What every test shares: shapes and dtypes of the numeric code are checked while it is tested."""

from __future__ import annotations

import logging
import os
import secrets

import jaxtyping
from hypothesis import HealthCheck, settings
from tests import runtime_types

# Before the first import of either package. Users and deployments never pay for these checks.
jaxtyping.install_import_hook(["wavescope.core", "wavescope.engine"], f"{runtime_types.__name__}.check")

# Examples are drawn anew from a fixed seed, so that a run on a loaded machine is the run of yesterday.
settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", parent=settings.get_profile("default"), derandomize=False, max_examples=500
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Ray reads these when it is first imported, which the chart's tests do before any cluster is started.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

pytest_plugins = ["tests.serving.running"]  # one cluster for every folder that needs it


def pytest_runtest_setup() -> None:
    """Logs are heard whatever configured them in an earlier test."""
    logger = logging.getLogger("wavescope")
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
