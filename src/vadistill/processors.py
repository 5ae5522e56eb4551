"""How many processors this process may use."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return how many processors this process may use.

    Its affinity, the quota of its container, and OMP_NUM_THREADS where a scheduler sets it: the least of these.
    """
    allowed = min(len(os.sched_getaffinity(0)), quota(CGROUPS))
    wished = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(wished)) if wished.isdigit() and int(wished) else allowed


def quota(root: Path) -> int:
    """Return how many processors a control group grants, rounded up; a very large number where it sets no limit.

    A container of 16 processors on a machine of 128 sees all of them, and 128 threads would take turns on 16.

    Args:
        root: Where control groups are mounted, of version 2 (``cpu.max``) or 1 (``cpu/cpu.cfs_quota_us``).
    """
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join((root / name).read_text() for name in names).split()
            granted, period = (float(word) for word in words[:2])
        except (OSError, ValueError):  # not there, or "max": no limit
            continue
        if granted > 0 and period > 0:
            return max(1, math.ceil(granted / period))
    return 1 << 20
