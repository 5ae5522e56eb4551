"""Percentiles of small samples: extreme ones are moved inward, since single outliers would decide them."""

BEYOND = 10  # values that lie beyond a percentile at least
INNERMOST = 90.0  # how far inward a high percentile is moved at most; a low one to 100 minus this
FEW = 3000  # values, of which the tail is hardly known


def steady(percentile: float, count: int) -> float:
    """Move an extreme percentile inward, so that at least 10 of ``count`` values lie beyond it.

    The 99.9th percentile needs 10,000 values; of 567 it becomes the 98.2nd. 0 and 100 ask for the extremes themselves
    and stay, and so do percentiles between 10 and 90.

    Args:
        percentile: The wished one, 0 to 100.
        count: Number of values, at least 1.
    """
    if percentile in (0, 100):
        return percentile
    reached = max(100 * (1 - BEYOND / count), INNERMOST)
    if percentile > INNERMOST:
        return min(percentile, reached)
    return max(percentile, 100 - reached) if percentile < 100 - INNERMOST else percentile
