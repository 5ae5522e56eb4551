"""vadistill: from raw surveillance clips to a distilled frame-level video anomaly detector."""

from vadistill import quiet  # noqa: F401 (before any library that it keeps quiet)

__version__ = "0.1.0"
