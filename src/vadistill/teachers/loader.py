"""Objects with their crops: all of a clip in order, or a random sample of the training objects.

In a pass over a clip every frame is decoded once and every flow field computed once.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np
import torch

from vadistill.datasets.splits import first_held_out, held_out_part
from vadistill.detection.objects import ObjectIndex, load_objects
from vadistill.errors import InputError
from vadistill.io.detections import Detections
from vadistill.io.frames import FrameStore
from vadistill.io.object_flow import ObjectFlow
from vadistill.settings import ObjectsConfig
from vadistill.teachers.base import Batch
from vadistill.teachers.crops import ClipCrops, CropRequest
from vadistill.training.parallel import joined, processes, rank

Part = tuple[ObjectIndex, np.ndarray]
"""The objects of a clip, and which rows (n,) of them."""


def scene_index(scenes: Sequence[str], scene: str) -> int:
    """Return the index of a scene; the number of scenes for one that is not among them."""
    return list(scenes).index(scene) if scene in scenes else len(scenes)


def objects_of_clip(
    store: FrameStore,
    detections: Detections,
    request: CropRequest,
    scene: int,
    rng: np.random.Generator,
    kept: ObjectFlow | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the objects of one clip, of scene number ``scene``, with their crops, one dict of arrays a frame.

    Their flow is that which was kept, where it was.
    """
    crops = ClipCrops(store, request)
    starts = np.flatnonzero(np.diff(detections.frame, prepend=-1))
    for rows in np.split(np.arange(len(detections)), starts)[1:]:
        part = detections.take(rows)
        yield {
            **crops.cut(int(part.frame[0]), part.box, rng, kept.of(part) if kept else None),
            "box": part.box,
            "size": np.tile(np.array(part.size, np.float32), (len(rows), 1)),
            "scene": np.full(len(rows), scene, np.int64),
            "confidence": part.confidence,
            "probabilities": part.probabilities.astype(np.float32),
        }
    store.close()
    if kept:
        kept.close()


def batches_of_clips(
    stores: dict[str, FrameStore],
    clips: Iterable[Detections],
    request: CropRequest,
    scenes: Sequence[str],
    batch: int,
    threads: int,
    kept: Mapping[str, ObjectFlow] = {},
) -> Iterator[tuple[Detections, Batch | None]]:
    """Yield the objects of all clips, those of a clip in order, several clips by turns.

    A clip's batches do not depend on ``threads``. At most ``threads`` clips are open; of each, one batch is cut
    while the others are used.

    Args:
        stores: Frames by clip.
        clips: Their objects, taken one by one as clips end.
        request: Their crops.
        scenes: Names of the scenes.
        batch: About how many objects lie in a batch.
        threads: That read clips.
        kept: Flow of the objects by clip, of all clips or of none.

    Yields:
        A clip and its next batch, or None once at its end.

    Raises:
        InputError: A clip has no frames.
    """
    cv2.setNumThreads(1)  # clips are read side by side already
    with ThreadPoolExecutor(threads) as ahead:

        def opened(clip: Detections) -> tuple[Detections, Iterator[Batch], Future[Batch | None]]:
            if clip.clip not in stores:
                raise InputError(f"clip {clip.clip}: detections without frames")
            scene, rng = scene_index(scenes, clip.scene), np.random.default_rng(0)
            flow = _kept_flow(kept, clip.clip)
            batches = _grouped(objects_of_clip(stores[clip.clip], clip, request, scene, rng, flow), batch)
            return clip, batches, ahead.submit(next, batches, None)

        waiting = map(opened, clips)
        turns = deque(islice(waiting, threads))
        while turns:
            clip, batches, pending = turns.popleft()
            made = pending.result()
            if made is None:
                turns.extend(islice(waiting, 1))
            else:
                turns.append((clip, batches, ahead.submit(next, batches, None)))
            yield clip, made


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
    keys = list(parts[0]) if parts else ()
    return {key: torch.from_numpy(np.concatenate([part.pop(key) for part in parts])) for key in keys}


class TrainingObjects:
    """Random samples of the training objects, one an epoch; the next one is read while the network learns.

    Only the frame numbers of all objects stay in memory, besides at most two samples of ``limit`` objects.
    """

    def __init__(
        self,
        stores: dict[str, FrameStore],
        parts: Sequence[Part],
        objects: ObjectsConfig,
        scenes: Sequence[str],
        request: CropRequest,
        limit: int,
        seed: Sequence[int],
        threads: int,
        kept: Mapping[str, ObjectFlow] = {},
    ) -> None:
        """Prepare to draw.

        Args:
            stores: Frames by clip.
            parts: Which objects.
            objects: Which boxes count as objects.
            scenes: Names of the scenes.
            request: Their crops.
            limit: Objects of a sample.
            seed: Of the samples, together with the epoch.
            threads: That read clips.
            kept: Flow of the objects by clip, of all clips or of none.

        Raises:
            InputError: A clip has no frames.
        """
        for clip, _ in parts:
            if clip.clip not in stores:
                raise InputError(f"clip {clip.clip}: detections without frames")
        self.stores, self.objects, self.scenes, self.request = stores, objects, scenes, request
        self.limit, self.seed, self.kept = limit, tuple(seed), kept
        self.clips = [clip for clip, _ in parts]
        self.rows = [_whole_windows(clip, rows, request) for clip, rows in parts]
        self._ahead: tuple[int, Future[Batch]] | None = None
        self._reader, self._clip_readers = ThreadPoolExecutor(1), ThreadPoolExecutor(threads)

    def __len__(self) -> int:
        """Return how many objects there are to draw from."""
        return sum(map(len, self.rows))

    def read_ahead(self, epoch: int) -> None:
        """Begin to read the sample of an epoch in the background."""
        self._ahead = (epoch, self._reader.submit(self._draw, epoch))

    def sample(self, epoch: int) -> Batch:
        """Return the sample of an epoch.

        Each clip has a generator of its own, so that the sample does not depend on the number of threads, nor on
        that of processes that train together, each of which reads a part of the clips.

        Raises:
            InputError: The clips have no object at all.
        """
        waiting, self._ahead = self._ahead, None
        return joined(waiting[1].result() if waiting and waiting[0] == epoch else self._draw(epoch))

    def close(self) -> None:
        """Give up a sample that is being read: its clips are not begun any more. Nothing can be drawn afterwards."""
        for pool in (self._reader, self._clip_readers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _draw(self, epoch: int) -> Batch:
        """Return this process's part of the sample of an epoch, empty where it has none."""
        total = len(self)
        if total == 0:
            raise InputError(
                f"no object in {len(self.clips)} training clips ({', '.join(c.clip for c in self.clips[:3])}, ...); "
                "lower objects.confidence or objects.min_side, or choose other detector weights"
            )
        seeds = np.random.SeedSequence((*self.seed, epoch)).spawn(len(self.clips) + 1)
        chosen = np.sort(np.random.default_rng(seeds[-1]).permutation(total)[: self.limit])
        ends = np.cumsum([len(rows) for rows in self.rows])
        parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))

        def read(number: int) -> list[dict[str, np.ndarray]]:
            rows = self.rows[number][parts[number] - (ends[number] - len(self.rows[number]))]
            if not len(rows):
                return []
            clip, rng = self.clips[number], np.random.default_rng(seeds[number])
            scene, part = scene_index(self.scenes, clip.scene), load_objects(clip, self.objects).take(rows)
            flow = _kept_flow(self.kept, clip.clip)
            return list(objects_of_clip(self.stores[clip.clip], part, self.request, scene, rng, flow))

        cv2.setNumThreads(1)  # clips are read side by side already
        return _tensors([part for found in self._clip_readers.map(read, _own_clips(parts)) for part in found])


def _own_clips(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the numbers of the clips that this process reads: neighbours, with about its share of the objects.

    Args:
        parts: The chosen objects of each clip.
    """
    counts = np.array([len(part) for part in parts])
    middle = counts.cumsum() - counts / 2
    return np.flatnonzero((middle * processes() / counts.sum()).astype(int).clip(0, processes() - 1) == rank())


def _whole_windows(clip: ObjectIndex, rows: np.ndarray, request: CropRequest) -> np.ndarray:
    """Leave out rows near the clip's ends: a box of frame 0 would be cut from a frame where its object is gone.

    Where frames are repeated nothing is cut elsewhere, and the teacher should know what that looks like.
    """
    if request.border == "repeat":
        return rows
    frame = clip.frame[rows]
    inside = (frame >= request.reach) & (frame < clip.frames - request.reach)
    return rows[inside] if inside.any() else rows


def hold_out(clips: list[ObjectIndex], share: float) -> tuple[list[Part], list[Part]]:
    """Split the training objects into a part to fit and a held-out part (see ``splits.held_out_part``)."""
    start = held_out_part({clip.clip: clip.scene for clip in clips}, share)
    fitted: list[Part] = []
    held: list[Part] = []
    for clip in clips:
        border = first_held_out(start.get(clip.clip, 1.0), clip.frames)
        for part, chosen in ((fitted, clip.frame < border), (held, clip.frame >= border)):
            # A clip to fit stays in the list without objects, too, so that an error can name it.
            if chosen.any() or (part is fitted and border > 0):
                part.append((clip, np.flatnonzero(chosen).astype(np.int32)))
    return fitted, held


def _kept_flow(kept: Mapping[str, ObjectFlow], clip: str) -> ObjectFlow | None:
    """Return the flow of a clip's objects where it is kept.

    Raises:
        InputError: It is kept of other clips only.
    """
    if kept and clip not in kept:
        raise InputError(f"clip {clip}: no flow of its objects; expected that of every clip, as cut_flow writes it")
    return kept.get(clip)
