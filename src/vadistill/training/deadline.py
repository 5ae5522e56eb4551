"""When a training should have ended, for whoever has a machine for so long only."""

import math
import os
import time

from vadistill.errors import InputError

UNTIL = "VADISTILL_TRAIN_UNTIL"  # environment variable: seconds since 1970


def deadline() -> float:
    """Return when a training should have ended, in seconds since 1970; infinity where nobody says so.

    Raises:
        InputError: The environment does not say it in a number.
    """
    said = os.environ.get(UNTIL, "inf")
    try:
        return float(said)
    except ValueError:
        raise InputError(f"{UNTIL} is '{said}'; expected seconds since 1970, or nothing") from None


def too_late(until: float, seconds: float, processes: int) -> bool:
    """Return whether something that takes so many seconds would not be over by a deadline.

    Raises:
        InputError: Several processes train together, which might not be of one mind.
    """
    if math.isfinite(until) and processes > 1:
        raise InputError(f"{UNTIL}: is for one process; expected it unset where several train together")
    return time.time() + seconds > until
