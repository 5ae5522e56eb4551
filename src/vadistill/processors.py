"""How many processors this process may use."""

import os


def cores() -> int:
    """Return how many processors this process may use: its affinity, and OMP_NUM_THREADS where a scheduler sets it."""
    allowed = len(os.sched_getaffinity(0))
    wished = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(wished)) if wished.isdigit() and int(wished) else allowed
