"""What every test shares: shapes and dtypes of the numeric code are checked while it is tested."""

from __future__ import annotations

import logging
import os
import secrets
from collections import Counter
from collections.abc import Iterator

import jaxtyping
import pytest
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """The last line says what was skipped, and for want of what."""
    yield
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        told = "; ".join(f"{count} tests: {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"Skipped {told}")


def pytest_runtest_setup() -> None:
    """Logs are heard whatever configured them in an earlier test."""
    logger = logging.getLogger("wavescope")
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
