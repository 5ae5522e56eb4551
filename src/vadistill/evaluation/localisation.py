"""Where an anomaly is: regions for RBDC and TBDC (``rbdc_tbdc``) out of masks, maps and boxes, and pixel AUC.

The boxes of regions are whole pixels with both ends included: ``x_max`` is the last column that belongs to it.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.ndimage import find_objects

from vadistill.errors import InputError
from vadistill.evaluation.mean_filter import filtered_volume
from vadistill.evaluation.rbdc_tbdc import Regions, Tracks
from vadistill.geometry.boxes import clip_to_pixels
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.maps.percentiles import steady

MIN_AREA, REACH, GAP = 10, 4, 5  # pixels, pixels, frames
MADE = (
    f"8-connected components of the pixel masks, parts within {2 * REACH} pixels joined, at least {MIN_AREA} pixels, "
    f"each linked to the nearest track within its own size that was seen at most {GAP} frames before"
)


def tracks_of_masks(mask: np.ndarray, min_area: int = MIN_AREA, reach: int = REACH, gap: int = GAP) -> Tracks:
    """Return the tracks of a clip whose abnormal pixels are known, but not which object they belong to.

    Regions are the 8-connected components of each frame, where parts that are not far from each other are one region:
    a post before a person does not make two of them. A region goes on with the track whose last region lies nearest,
    if their centres are no farther apart than the longest side of the two; pairs are linked one to one, the nearest
    ones, in units of that side, first. So where a region splits, the part that moved less goes on and the others start
    new tracks; where regions merge, the nearest track goes on.

    Args:
        mask: (T, H, W) bool.
        min_area: Regions of fewer pixels are dropped: specks in masks that were drawn by hand or compressed.
        reach: Parts are one region if squares that reach this many pixels beyond each of their pixels touch.
        gap: Frames for which a track may be out of sight.

    Returns:
        The tracks, numbered from 0 in order of their first frames; sorted by track, then frame.
    """
    rows, last_box, last_frame = [], np.zeros((0, 4), np.int64), np.zeros(0, np.int64)
    for t, pixels in enumerate(mask):
        _, box = _components(pixels, min_area, reach)
        alive = np.flatnonzero(t - last_frame <= gap + 1)
        track = np.full(len(box), -1)
        for old, new in _nearest(last_box[alive], box):
            track[new] = alive[old]
        fresh = track < 0
        track[fresh] = len(last_box) + np.arange(fresh.sum())
        last_box = np.concatenate([last_box, box[fresh]])
        last_frame = np.concatenate([last_frame, np.full(fresh.sum(), t)])
        last_box[track], last_frame[track] = box, t
        rows.append(np.column_stack([track, np.full(len(box), t), box]))
    table = np.concatenate(rows) if rows else np.zeros((0, 6), np.int64)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    return Tracks(table[:, 0], table[:, 1], table[:, 2:])


def map_regions(maps: np.ndarray, size: tuple[int, int], threshold: float, peak_share: float) -> Regions:
    """Return the regions of anomaly maps: where the map, enlarged to the frame, lies above a threshold.

    Regions are the 8-connected components of the bilinearly enlarged map above ``threshold`` and, within each, of what
    is at least a share of its highest value: what is most abnormal spreads farthest over the cells around it. The score
    is the highest value of the region. How regions follow from maps was not published with Fast-AED (arXiv 2211.15597).

    Args:
        maps: (T, rows, columns) map values.
        size: Height and width of the frame in pixels.
        threshold: See ``low_threshold``.
        peak_share: Of a component's highest value; 0: the component is the region.
    """
    frame, boxes, scores = [], [np.zeros((0, 4), np.int64)], [np.zeros(0, np.float32)]
    # Enlarging makes no value higher than the highest cell: most maps have no region and are not enlarged.
    for t in np.flatnonzero(maps.max((1, 2)) > threshold):
        enlarged = enlarge(maps[t], size)
        labels, box = _components(enlarged > threshold)
        if peak_share:
            peaks = np.concatenate([[np.inf], _highest(labels, enlarged, len(box))])
            labels, box = _components(enlarged >= peak_share * peaks[labels])
        score = _highest(labels, enlarged, len(box))
        frame.extend([t] * len(box))
        boxes.append(box)
        scores.append(score)
    return Regions(np.array(frame, np.int64), np.concatenate(boxes), np.concatenate(scores))


def _highest(labels: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return the highest value (count,) float32 of each component, whose labels (H, W) are from 1."""
    highest, inside = np.full(count, -np.inf, np.float32), labels > 0
    np.maximum.at(highest, labels[inside] - 1, values[inside])
    return highest


def enlarge(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge a map (rows, columns) bilinearly to (H, W) float32; beyond the centres of its outer cells it is level."""
    height, width = size
    return cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def box_regions(objects: ScoredObjects, cell: int, side: int, span: int) -> Regions:
    """Return every box as a region, with the highest value of the mean filtered scores inside it.

    As in the code published with Fast-AED (arXiv 2211.15597), which filters pixels: here the value is the highest of
    the cells that the box touches.

    Args:
        objects: Of one clip; boxes are half-open, cut to the frame, and dropped where nothing is left.
        cell: As in ``mean_filter.filtered_volume``.
        side: As in ``mean_filter.filtered_volume``.
        span: As in ``mean_filter.filtered_volume``.
    """
    volume = filtered_volume(objects, cell, side, span)
    pixels = clip_to_pixels(objects.box, *objects.size) - (0, 0, 1, 1)
    kept = (pixels[:, 2:] >= pixels[:, :2]).all(1)
    frame, pixels = objects.frame[kept], pixels[kept]
    highest = [
        volume[t, y1 : y2 + 1, x1 : x2 + 1].max() for t, (x1, y1, x2, y2) in zip(frame, pixels // cell, strict=True)
    ]
    return Regions(frame, pixels, np.array(highest, np.float64))


def low_threshold(values: np.ndarray, share: float, percentile: float = 99) -> float:
    """Return a threshold for ``map_regions``: a share of a percentile of map values of normal training clips.

    Raises:
        InputError: There are no values, or not all are finite.
    """
    if not np.size(values) or not np.isfinite(values).all():
        raise InputError(f"{np.size(values)} map values of training clips: expected at least one, all finite")
    return share * float(np.percentile(values, steady(percentile, len(values))))


@dataclass
class PixelCounts:
    """Counts from which the ROC AUC over all pixels of a test set follows, in memory that does not grow.

    Scores are sorted into bins of equal width over [0, ``high``]; those outside belong to the first and last bin.
    Scores of one bin count as ties, that is half: the AUC is exact but for them.

    Attributes:
        high: Upper end of the scores, above 0; 1 for probabilities.
        bins: Number of bins.
        counts: (2, bins) number of normal and of abnormal pixels.
    """

    high: float = 1.0
    bins: int = 65_536
    counts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((2, self.bins), np.int64)

    def update(self, scores: np.ndarray, mask: np.ndarray) -> None:
        """Add pixels: their scores, and a mask of the same shape that is true where they are abnormal.

        Raises:
            InputError: Scores and mask differ in shape, or a score is not finite.
        """
        if scores.shape != mask.shape:
            raise InputError(f"pixel scores of shape {scores.shape}, mask {mask.shape}; expected the same shape")
        if not np.isfinite(scores).all():
            raise InputError("pixel scores contain NaN or infinity; expected finite numbers")
        index = (scores.astype(np.float32) * (self.bins / self.high)).clip(0, self.bins - 1).astype(np.int64)
        index += self.bins * mask.astype(bool)
        self.counts += np.bincount(index.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    def auc(self) -> float | None:
        """Return the ROC AUC; None where all pixels are normal, or all abnormal."""
        normal, abnormal = self.counts.astype(np.float64)
        pairs = normal.sum() * abnormal.sum()
        return float(abnormal @ (np.cumsum(normal) - normal / 2) / pairs) if pairs else None


def _components(mask: np.ndarray, min_area: int = 1, reach: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (H, W) of the 8-connected components, 0 where there is none, and their boxes (n, 4) in order."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) if reach else mask
    _, labels = cv2.connectedComponents(grown.astype(np.uint8), connectivity=8)
    labels[~mask.astype(bool)] = 0
    area = np.bincount(labels.ravel())[1:]
    large = area >= min_area
    labels = np.concatenate([[0], np.where(large, np.cumsum(large), 0)])[labels]
    boxes = [(x.start, y.start, x.stop - 1, y.stop - 1) for y, x in find_objects(labels)]
    return labels, np.array(boxes, np.int64).reshape(-1, 4)


def _nearest(before: np.ndarray, after: np.ndarray) -> list[tuple[int, int]]:
    """Return which box before (M, 4) goes on in which after (N, 4), as pairs of indices: one to one, nearest first."""
    (from_x, from_y), (to_x, to_y) = ((box[:, :2] + box[:, 2:]).T / 2 for box in (before, after))
    distance = np.hypot(from_x[:, None] - to_x, from_y[:, None] - to_y)
    distance /= np.maximum(_longest(before)[:, None], _longest(after))
    links: dict[int, int] = {}
    for pair in np.argsort(distance, axis=None, kind="stable")[: np.count_nonzero(distance <= 1)]:
        old, new = divmod(int(pair), len(after))
        if old not in links and new not in links.values():
            links[old] = new
    return list(links.items())


def _longest(box: np.ndarray) -> np.ndarray:
    """Return the longest side (N,) of boxes (N, 4) of whole pixels."""
    return (box[:, 2:] - box[:, :2]).max(1, initial=0) + 1
