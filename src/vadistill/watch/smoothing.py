"""Gaussian smoothing of scores that come one by one, as causal as it can be: each is ready a stated delay later."""

import math
from collections import deque
from collections.abc import Iterator

REACH = (
    2.0  # standard deviations on each side of a score; offline smoothing has four, with 5 % of the weight beyond two
)


class CausalSmoother:
    """Smooths scores at any times by a Gaussian that is cut off at ``REACH`` standard deviations.

    A score is ready when one has come that lies ``delay`` seconds behind it.

    Args:
        sigma: Standard deviation in seconds; 0 leaves scores as they are.
        longest_gap: Seconds without a score after which smoothing begins anew.

    Attributes:
        delay: Seconds from a score to its smoothed value.
    """

    def __init__(self, sigma: float, longest_gap: float = 5.0) -> None:
        self.delay = REACH * sigma
        self._sigma, self._longest_gap = sigma, longest_gap
        self._scores: deque[tuple[float, float]] = deque()
        self._ready = 0  # of the scores that are kept, how many have been given

    def add(self, time: float, score: float) -> Iterator[tuple[float, float]]:
        """Take the next score; yield (time, smoothed score) of those that are ready now.

        Args:
            time: In seconds; one that is not behind the last one begins anew.
            score: Raw score.
        """
        if self._scores and not 0 < time - self._scores[-1][0] <= self._longest_gap:
            yield from self.flush()
        self._scores.append((time, score))
        while self._ready < len(self._scores) and self._scores[self._ready][0] <= time - self.delay + 1e-9:
            yield self._next()

    def flush(self) -> Iterator[tuple[float, float]]:
        """Yield what is not ready, smoothed by what has come; then begin anew."""
        while self._ready < len(self._scores):
            yield self._next()
        self._scores.clear()
        self._ready = 0

    def _next(self) -> tuple[float, float]:
        centre = self._scores[self._ready][0]
        while self._scores[0][0] < centre - self.delay - 1e-9:
            self._scores.popleft()
            self._ready -= 1
        self._ready += 1
        if not self._sigma:
            return centre, self._scores[self._ready - 1][1]
        total = weight = 0.0
        for time, score in self._scores:
            if time - centre <= self.delay + 1e-9:
                share = math.exp(-0.5 * ((time - centre) / self._sigma) ** 2)
                total += share * score
                weight += share
        return centre, total / weight
