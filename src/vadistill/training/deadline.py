"""When a training should have ended, for whoever has a machine for so long only."""

import math
import os
import time

from vadistill.errors import InputError

UNTIL = "VADISTILL_TRAIN_UNTIL"  # environment variable: seconds since 1970


def deadline(processes: int) -> float:
    """Return when a training should have ended, in seconds since 1970; infinity where nobody says so.

    Args:
        processes: That train together; several might not be of one mind.

    Raises:
        InputError: The environment does not say it in a number, or says it to several processes.
    """
    said = os.environ.get(UNTIL, "inf")
    try:
        until = float(said)
    except ValueError:
        until = math.nan
    if math.isnan(until):
        raise InputError(f"{UNTIL} is '{said}'; expected seconds since 1970, or nothing")
    if math.isfinite(until) and processes > 1:
        raise InputError(f"{UNTIL}: is for one process; expected it unset where several train together")
    return until


def too_late(until: float, seconds: float) -> bool:
    """Return whether something that takes so many seconds would not be over by a deadline."""
    return time.time() + seconds > until
