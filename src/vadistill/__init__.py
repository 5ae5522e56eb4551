"""vadistill: from raw surveillance clips to a distilled frame-level video anomaly detector."""

from typing import Any

from vadistill import quiet  # noqa: F401 (before any library that it keeps quiet)

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import ``vadistill.load`` when it is asked for: it brings torch."""
    if name != "load":
        raise AttributeError(f"module 'vadistill' has no attribute '{name}'")
    from vadistill.inference.detector import load

    return load
