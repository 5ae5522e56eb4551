"""Region- and track-based detection criteria (RBDC, TBDC): are anomalies found in place, and followed?

Criteria and matching rules are those of Ramachandra and Jones, "Street Scene: A new dataset and evaluation protocol
for video anomaly detection", WACV 2020. Boxes are xyxy in whole pixels that all belong to the box: one pixel wide is
``x_max == x_min``. Everything is joined and summed as arrays; the only loop over boxes is over those of one frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vadistill.errors import InputError
from vadistill.geometry.boxes import inclusive_iou

ALPHA, BETA = 0.1, 0.1  # shares of a track's regions and of overlap, as published


@dataclass(frozen=True)
class Tracks:
    """Ground truth of one clip: the region of each abnormal object in each frame. Empty for a normal clip.

    Attributes:
        track: (N,) number of the object, unique within the clip.
        frame: (N,) frame numbers, from 0.
        box: (N, 4) xyxy in pixels, ends included.
    """

    track: np.ndarray
    frame: np.ndarray
    box: np.ndarray

    @property
    def count(self) -> int:
        """Number of tracks."""
        return len(np.unique(self.track))


@dataclass(frozen=True)
class Regions:
    """Detections of one clip, in any order.

    Attributes:
        frame: (N,) frame numbers, from 0.
        box: (N, 4) xyxy in pixels, ends included.
        score: (N,) scores, larger is more abnormal.
    """

    frame: np.ndarray
    box: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class RegionResult:
    """Both criteria, and the curves whose areas they are: from (0, 0) to a false positive rate of 1.

    Attributes:
        rbdc: Area under ``rbdr`` over ``fpr``.
        tbdc: Area under ``tbdr`` over ``fpr``.
        fpr: (P,) false positives per frame, rising.
        rbdr: (P,) shares of the ground truth regions that are found.
        tbdr: (P,) shares of the tracks that are found.
    """

    rbdc: float
    tbdc: float
    fpr: np.ndarray
    rbdr: np.ndarray
    tbdr: np.ndarray


NO_TRACKS = Tracks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))
NO_REGIONS = Regions(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))


def rbdc_and_tbdc(
    truth: Mapping[str, Tracks],
    found: Mapping[str, Regions],
    frames: int,
    alpha: float = ALPHA,
    beta: float = BETA,
) -> RegionResult:
    """Return RBDC and TBDC (Ramachandra and Jones, WACV 2020) of a test set.

    All detections are taken by falling score; those of equal score by the sorted names of their clips, then by row. A
    detection matches the ground truth regions of its frame with an IoU of at least ``beta``. Without any it is a false
    positive; each region that it is the first to match counts as found; one that matches only regions found before
    changes nothing. A track is found once the share of its regions that are is at least ``alpha``. The curves have a
    point after each detection, are cut where there is more than one false positive a frame, and go on level from the
    last point before the cut to a rate of 1; without detections they stay at 0.

    Detections of a clip without tracks are all false positives; tracks of a clip without detections are missed.

    Args:
        truth: Ground truth by clip; normal clips may be missing or empty.
        found: Detections by clip; clips without any may be missing or empty.
        frames: Number of frames of all clips together, normal ones included.
        alpha: Share of a track that has to be found, above 0 and at most 1.
        beta: IoU that makes a match, above 0 and at most 1.

    Raises:
        InputError: There is no ground truth region, a score or box is not finite, a box ends before it starts, or
            ``frames``, ``alpha`` or ``beta`` is out of range.
    """
    _check(truth, found, frames, alpha, beta)
    clips = sorted(truth.keys() | found.keys())
    tracks, regions = [truth.get(clip, NO_TRACKS) for clip in clips], [found.get(clip, NO_REGIONS) for clip in clips]
    score = np.concatenate([np.asarray(part.score, np.float64) for part in regions])
    count = len(score)
    rank = np.empty(count, np.int64)
    rank[np.argsort(-score, kind="stable")] = np.arange(count)

    false, first = np.ones(count, bool), []  # false by rank
    ranks = np.split(rank, np.cumsum([len(part.score) for part in regions])[:-1])
    for wanted, made, own in zip(tracks, regions, ranks, strict=True):
        matching, earliest = _matches(wanted, made, own, beta, never=count)
        false[own[matching]] = False
        first.append(earliest)

    fpr = np.cumsum(false) / frames
    kept = np.searchsorted(fpr, 1, side="right")
    fpr = np.concatenate([[0.0], fpr[:kept], [1.0]])
    region_time = np.concatenate(first)
    track_time = _track_times(tracks, first, alpha)
    rbdr, tbdr = (_level_curve(_found_share(time, count)[:kept]) for time in (region_time, track_time))
    return RegionResult(float(np.trapezoid(rbdr, fpr)), float(np.trapezoid(tbdr, fpr)), fpr, rbdr, tbdr)


def _matches(
    tracks: Tracks, regions: Regions, rank: np.ndarray, beta: float, never: int
) -> tuple[np.ndarray, np.ndarray]:
    """Match the detections (N,) of a clip with its ground truth regions (G,).

    Returns:
        (N,) bool, which detections match at all, and (G,) the lowest rank of those that match a region, else ``never``.
    """
    order = np.argsort(tracks.frame, kind="stable")
    start, end = (np.searchsorted(tracks.frame[order], regions.frame, side=side) for side in ("left", "right"))
    matching, earliest = np.zeros(len(rank), bool), np.full(len(order), never)
    # The k-th ground truth region of every frame at once: few loops, and memory that does not grow with their number.
    for k in range((end - start).max(initial=0)):
        detection = np.flatnonzero(end - start > k)
        region = order[start[detection] + k]
        hit = inclusive_iou(regions.box[detection], tracks.box[region]) >= beta
        matching[detection[hit]] = True
        np.minimum.at(earliest, region[hit], rank[detection[hit]])
    return matching, earliest


def _track_times(tracks: list[Tracks], region_time: list[np.ndarray], alpha: float) -> np.ndarray:
    """Return the rank (K,) at which each track is found: that of the region that brings its share to ``alpha``."""
    times = []
    for part, time in zip(tracks, region_time, strict=True):
        order = np.lexsort((time, part.track))
        _, start, length = np.unique(part.track[order], return_index=True, return_counts=True)
        # The share is what is compared: 3 / 30 reaches 0.1, although 0.1 * 30 is rounded to more than 3.
        needed = np.floor(alpha * length).astype(np.int64)
        needed += needed / length < alpha
        times.append(time[order][start + needed - 1])
    return np.concatenate(times)


def _found_share(time: np.ndarray, detections: int) -> np.ndarray:
    """Return the share (N,) of regions or tracks that are found after each detection."""
    return np.cumsum(np.bincount(time, minlength=detections + 1)[:detections]) / len(time)


def _level_curve(share: np.ndarray) -> np.ndarray:
    """Return a curve from 0 through the given shares, its last value repeated."""
    curve = np.concatenate([[0.0], share])
    return np.append(curve, curve[-1])


def _check(truth: Mapping[str, Tracks], found: Mapping[str, Regions], frames: int, alpha: float, beta: float) -> None:
    if not frames > 0:
        raise InputError(f"{frames} frames: expected the number of frames of all test clips, at least 1")
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value <= 1:
            raise InputError(f"{name} {value}: expected a share above 0, at most 1")
    if not any(len(tracks.track) for tracks in truth.values()):
        raise InputError("no ground truth regions in any clip: RBDC and TBDC need at least one abnormal track")
    for clip, regions in found.items():
        if not np.isfinite(regions.score).all():
            raise InputError(f"clip {clip}: region scores contain NaN or infinity; expected finite numbers")
    for kind, clips in (("ground truth", truth), ("detected", found)):
        for clip, item in clips.items():
            box = np.asarray(item.box)
            if not (np.isfinite(box).all() and (box[:, 2:] >= box[:, :2]).all()):
                raise InputError(f"clip {clip}: a {kind} box has no pixels; expected x_min <= x_max, y_min <= y_max")
