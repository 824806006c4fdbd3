"""Number of cores that this process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # of the control group, version 2: what a container may use


def usable_cores(quota_file: Path = CPU_QUOTA) -> float:
    """Cores of this process' affinity, and of its control group's quota, where the system reports them.

    Args:
        quota_file: where the system writes the quota.

    Example:
        >>> usable_cores() > 0
        True
    """
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    cores = float(len(affinity(0)) if affinity is not None else os.cpu_count() or 1)
    with suppress(OSError, ValueError):  # "max" is no number: no quota
        quota, period = quota_file.read_text().split()
        cores = min(cores, int(quota) / int(period))
    return cores
