"""Crops of objects, cut from the frames on the fly.

In a pass over a clip every frame is decoded once and every flow field computed once.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch

from vadistill.data.detections import Detections
from vadistill.data.frames import FrameStore, window_indices
from vadistill.data.shards import stable_order
from vadistill.errors import InputError
from vadistill.rasterize import clip_to_pixels
from vadistill.teachers.base import Batch, CropRequest, random_gaps


class ClipCrops:
    """Cuts the objects of one clip, in the order of their frames; frames behind the window are let go.

    At the clip's borders the window's centre is clamped: a window holds a frame twice only in a clip shorter than it.
    """

    def __init__(self, store: FrameStore, request: CropRequest) -> None:
        self.store, self.request = store, request
        self._frames: dict[int, np.ndarray] = {}
        self._grays: dict[int, np.ndarray] = {}
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) if request.flow else None

    def cut(self, t: int, box: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Cut the crops of the boxes (n, 4) of frame ``t``; the keys and shapes are those of ``CropRequest``."""
        reach = self.request.reach
        centre = window_indices(t, len(self.store), (-reach, 0, reach), border="clamp")[1]
        for cache in (self._frames, self._grays):
            for index in [index for index in cache if index < centre - reach]:
                del cache[index]
        pixels = self._pixels(box)
        made: dict[str, np.ndarray] = {}
        if self.request.colour:
            frames = [self._frame(centre + k) for k in self.request.colour]
            made["colour"] = self._stack(pixels, lambda _: frames).transpose(0, 1, 4, 2, 3)
        if self.request.gray:
            grays = [self._gray(centre + k) for k in self.request.gray]
            made["gray"] = self._stack(pixels, lambda _: grays)
        if self.request.flow:
            fields = [self._flow(centre, centre + k) for k in self.request.flow]
            flow = self._stack(pixels, lambda _: fields).transpose(0, 1, 4, 2, 3)
            made["flow"] = flow.astype(np.float16)
        if self.request.irregular:
            gaps = random_gaps(rng, self.request.irregular, len(box))
            windows = [[self._frame(centre + int(k)) for k in row] for row in gaps]
            made["irregular"] = self._stack(pixels, lambda row: windows[row]).transpose(0, 1, 4, 2, 3)
        return made

    def _pixels(self, box: np.ndarray) -> np.ndarray:
        """Return whole-pixel boxes of at least 2 x 2 pixels inside the frame."""
        pixels = clip_to_pixels(box, self.store.height, self.store.width)
        pixels[:, 0::2] = _at_least_two(pixels[:, 0::2], self.store.width)
        pixels[:, 1::2] = _at_least_two(pixels[:, 1::2], self.store.height)
        return pixels

    def _stack(self, pixels: np.ndarray, images_of: Callable[[int], list[np.ndarray]]) -> np.ndarray:
        """Return the crops (n, L, S, S) or (n, L, S, S, C) of each box from the images of its row."""
        side = self.request.side
        return np.stack([[_resize(image[y1:y2, x1:x2], side) for image in images_of(row)]
                         for row, (x1, y1, x2, y2) in enumerate(pixels)])  # fmt: skip

    def _frame(self, index: int) -> np.ndarray:
        index = min(max(index, 0), len(self.store) - 1)
        if index not in self._frames:
            self._frames[index] = self.store.read(index)
        return self._frames[index]

    def _gray(self, index: int) -> np.ndarray:
        index = min(max(index, 0), len(self.store) - 1)
        if index not in self._grays:
            self._grays[index] = cv2.cvtColor(self._frame(index), cv2.COLOR_BGR2GRAY)
        return self._grays[index]

    def _flow(self, start: int, end: int) -> np.ndarray:
        """Return the dense flow (H, W, 2) in pixels from frame ``start`` to frame ``end``."""
        return self._dis.calc(self._gray(start), self._gray(end), None)


def _at_least_two(edges: np.ndarray, length: int) -> np.ndarray:
    start = np.minimum(edges[:, 0], length - 2).clip(0)
    return np.stack([start, np.maximum(edges[:, 1], start + 2)], 1)


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    shrinking = image.shape[0] > side and image.shape[1] > side
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def frame_stores(paths: Sequence[Path]) -> dict[str, FrameStore]:
    """Return the frame stores by the name of their clip, not opened yet."""
    return {path.stem: FrameStore(path) for path in paths}


def objects_of_clip(
    store: FrameStore, detections: Detections, request: CropRequest, rng: np.random.Generator
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the objects of one clip with their crops, one dict of arrays a frame."""
    crops = ClipCrops(store, request)
    starts = np.flatnonzero(np.diff(detections.frame, prepend=-1))
    for rows in np.split(np.arange(len(detections)), starts)[1:]:
        part = detections.take(rows)
        yield {
            **crops.cut(int(part.frame[0]), part.box, rng),
            "box": part.box,
            "size": np.tile(np.array(part.size, np.float32), (len(rows), 1)),
            "confidence": part.confidence,
            "probabilities": part.probabilities.astype(np.float32),
        }
    store.close()


def batches_of_clip(store: FrameStore, detections: Detections, request: CropRequest, batch: int) -> Iterator[Batch]:
    """Yield the objects of one clip in order, about ``batch`` at a time; the next ones are cut meanwhile."""
    with ThreadPoolExecutor(1) as ahead:
        groups = _grouped(objects_of_clip(store, detections, request, np.random.default_rng(0)), batch)
        pending = ahead.submit(next, groups, None)
        while (group := pending.result()) is not None:
            pending = ahead.submit(next, groups, None)
            yield group


def _grouped(parts: Iterator[dict[str, np.ndarray]], batch: int) -> Iterator[Batch]:
    waiting: list[dict[str, np.ndarray]] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part["box"])
        if count >= batch:
            yield _tensors(waiting)
            waiting, count = [], 0
    if waiting:
        yield _tensors(waiting)


def _tensors(parts: list[dict[str, np.ndarray]]) -> Batch:
    """Join the parts, which lose their arrays one key after another: a sample never lies in memory twice."""
    return {key: torch.from_numpy(np.concatenate([part.pop(key) for part in parts])) for key in list(parts[0])}


def _whole_windows(clip: Detections, reach: int) -> Detections:
    """Leave out objects near the clip's ends: a box of frame 0 would be cut from a frame where its object is gone."""
    inside = (clip.frame >= reach) & (clip.frame < clip.frames - reach)
    return clip.take(inside) if inside.any() else clip


def draw_objects(
    stores: dict[str, FrameStore],
    clips: list[Detections],
    request: CropRequest,
    limit: int,
    seed: Sequence[int],
    threads: int,
) -> Batch:
    """Read a random sample of at most ``limit`` objects of the given clips into memory, with their crops.

    Each clip has a generator of its own, so that the sample does not depend on the number of threads.

    Raises:
        InputError: The clips have no object at all, or a clip has no frames.
    """
    clips = [_whole_windows(clip, request.reach) for clip in clips]
    total = sum(len(clip) for clip in clips)
    if total == 0:
        raise InputError(
            f"no object in {len(clips)} training clips ({', '.join(c.clip for c in clips[:3])}, ...); "
            "lower objects.confidence or objects.min_side, or choose other detector weights"
        )
    seeds = np.random.SeedSequence(seed).spawn(len(clips) + 1)
    chosen = np.sort(np.random.default_rng(seeds[-1]).permutation(total)[:limit])
    ends = np.cumsum([len(clip) for clip in clips])
    parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))

    def read(index: int) -> list[dict[str, np.ndarray]]:
        clip = clips[index]
        rows = parts[index] - (ends[index] - len(clip))
        if clip.clip not in stores:
            raise InputError(f"clip {clip.clip}: detections without frames")
        rng = np.random.default_rng(seeds[index])
        return list(objects_of_clip(stores[clip.clip], clip.take(rows), request, rng)) if len(rows) else []

    with ThreadPoolExecutor(threads) as pool:
        return _tensors([part for found in pool.map(read, range(len(clips))) for part in found])


def hold_out(clips: list[Detections], share: float) -> tuple[list[Detections], list[Detections]]:
    """Split the training clips that have objects into a part to fit and a held-out part, by a stable order of names.

    Of a single clip the last part in time is held out.
    """
    clips = [clip for clip in clips if len(clip)] or clips
    if share == 0:
        return clips, []
    if len(clips) == 1:
        border = int(clips[0].frames * (1 - share))
        return [clips[0].take(clips[0].frame < border)], [clips[0].take(clips[0].frame >= border)]
    ordered = stable_order([clip.clip for clip in clips])
    held = set(ordered[: max(1, round(share * len(clips)))])
    return [c for c in clips if c.clip not in held], [c for c in clips if c.clip in held]
