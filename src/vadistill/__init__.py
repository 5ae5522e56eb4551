"""vadistill: from raw surveillance clips to a distilled frame-level video anomaly detector."""

__version__ = "0.1.0"
