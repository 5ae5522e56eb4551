"""Frame scores that need no model: what every detector has to beat."""

from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np

from vadistill.evaluation.metrics import frame_scores_from_objects
from vadistill.geometry.boxes import clip_to_pixels
from vadistill.geometry.flow import dis_flow

STEP = 3  # frames between the two images of a difference or flow
CELL = 16  # pixels, side of the cells of the local difference


def trivial_scores(
    images: Iterable[np.ndarray], frame: np.ndarray, box: np.ndarray, probabilities: np.ndarray, person: int | None
) -> dict[str, np.ndarray]:
    """Return every trivial score of one clip, larger = more abnormal; each image is taken once.

    - ``boxes``: number of objects in the frame,
    - ``not_person``: largest 1 - P(person) of its objects,
    - ``box_height``: height of its tallest object, as a share of the frame's,
    - ``speed``: its fastest object, see ``speed_in_heights``, by dense flow (DIS) to the frame ``STEP`` later,
    - ``frame_difference``: mean absolute difference from the frame ``STEP`` before, in gray levels,
    - ``local_difference``: the same in the cell where it is largest, see ``largest_cell_mean``.

    A frame without objects, or without the other frame at a border of the clip, scores 0.

    Args:
        images: T frames, at least one, (H, W, 3) uint8 BGR.
        frame: (N,) frame numbers of the objects, sorted.
        box: (N, 4) xyxy in pixels.
        probabilities: (N, C) class probabilities.
        person: Index of the class "person"; None leaves ``not_person`` out.

    Returns:
        (T,) float64 scores by name.

    Raises:
        InputError: A frame number lies outside the clip.
    """
    flow = dis_flow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    earlier: deque[np.ndarray] = deque(maxlen=STEP)
    difference, local, speed = [], [], np.zeros(len(box))
    for t, image in enumerate(images):
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        # Before the clip's first frames there is no other frame; they stand for themselves.
        before = earlier[0] if len(earlier) == STEP else gray
        change = cv2.absdiff(gray, before)
        difference.append(change.mean())
        local.append(largest_cell_mean(change))
        first, end = np.searchsorted(frame, (t - STEP, t - STEP + 1))
        if end > first:
            speed[first:end] = speed_in_heights(flow(before, gray), box[first:end])
        earlier.append(gray)
    of_objects = {
        "speed": speed,
        "box_height": (box[:, 3] - box[:, 1]) / len(gray),
        **({} if person is None else {"not_person": 1 - probabilities[:, person].astype(np.float64)}),
    }
    frames = len(difference)
    return {
        **{name: frame_scores_from_objects(frame, value, frames, empty=0.0) for name, value in of_objects.items()},
        "boxes": np.bincount(frame, minlength=frames).astype(np.float64),
        "frame_difference": np.array(difference),
        "local_difference": np.array(local),
    }


def largest_cell_mean(values: np.ndarray) -> float:
    """Return the largest mean of (H, W) values over cells of ``CELL`` x ``CELL`` pixels.

    Where the frame is no multiple of it, the cells are a little larger: a thin rest would be a noisy mean.
    """
    edges = [np.arange(max(1, length // CELL)) * length // max(1, length // CELL) for length in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, edges[0], axis=0, dtype=np.float64), edges[1], axis=1)
    height, width = (np.diff(start, append=length) for start, length in zip(edges, values.shape, strict=True))
    return float((sums / np.outer(height, width)).max())


def speed_in_heights(flow: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the speed (n,) of boxes (n, 4): 90th percentile of the length of the flow in each, in box heights.

    Args:
        flow: (H, W, 2) in pixels.
        box: xyxy in pixels; what lies outside the frame has no flow, and a box without a pixel inside is at rest.
    """
    length = np.hypot(flow[..., 0], flow[..., 1])
    regions = (length[y1:y2, x1:x2].ravel() for x1, y1, x2, y2 in clip_to_pixels(box, *length.shape))
    speed = np.array([_ninetieth(region) if region.size else 0.0 for region in regions])
    return speed / np.maximum(box[:, 3] - box[:, 1], 1)


def _ninetieth(values: np.ndarray) -> float:
    rank = max(1, round(0.9 * values.size)) - 1
    return float(np.partition(values, rank)[rank])
