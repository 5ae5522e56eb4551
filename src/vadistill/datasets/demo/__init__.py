"""The generated data set: a fixed camera over a campus walkway, normal pedestrians, six kinds of anomalies.

Only names live here; the workflow reads them without importing a drawing library.
"""

from vadistill.datasets.registry import demo_clip_names as clip_names

__all__ = ["CLASSES", "FRAME_RATE", "clip_names"]

CLASSES = ("person", "cyclist", "cart", "thing")
FRAME_RATE = 12
