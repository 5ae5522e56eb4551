"""Honest times: warmed up, by turns, and with their spread."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

LEAST, MOST = 5, 300  # timed runs of each task
WARM_UP = 0.1  # share of the time that is spent before anything is timed


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread":
        """Return median and quartiles of (R,) values."""
        low, median, high = np.percentile(values, [25, 50, 75])
        return cls(float(median), float(low), float(high))


def by_turns(
    tasks: Mapping[str, Callable[[], object]],
    budget: float,
    clock: Callable[[], float] = time.perf_counter,
    during: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, np.ndarray]:
    """Time tasks by turns, A B C A B C ...: what else the machine does hits all of them alike.

    Args:
        tasks: Each returns when its work is done, on a GPU, too.
        budget: Seconds for each task; ``LEAST`` rounds are run even if they take longer, and at most ``MOST``.
        clock: Gives seconds.
        during: Gives the context of the runs that are timed, behind the warm-up.

    Returns:
        Of each task the seconds (R,) of its runs; equal positions are of the same round.
    """
    total = budget * len(tasks)
    started = clock()
    while True:
        for task in tasks.values():
            task()
        if clock() - started >= WARM_UP * total:
            break
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    started, rounds = clock(), 0
    with during():
        while rounds < LEAST or (rounds < MOST and clock() - started < total):
            for name, task in tasks.items():
                begun = clock()
                task()
                seconds[name].append(clock() - begun)
            rounds += 1
    return {name: np.array(values) for name, values in seconds.items()}
