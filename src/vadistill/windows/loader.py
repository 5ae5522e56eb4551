"""Windows of frames, resized, from many clips, and the flow in them: what a frame-level detector sees at a time."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vadistill.datasets.splits import first_held_out
from vadistill.errors import InputError
from vadistill.io.frames import FrameStore
from vadistill.io.maps import MapStore
from vadistill.io.resize import resize
from vadistill.io.window import window_indices
from vadistill.windows.flow_planes import FlowPlanes
from vadistill.windows.shape import NO_FLOW
from vadistill.windows.shared_frames import shared_frames

OPEN_CLIPS = 64  # file handles a process keeps
HELD_OUT_FRAMES = 256  # of them at most are looked at after an epoch of a training


class FrameWindows(Dataset):
    """F frames around every t of every clip, with the teachers' maps of t where they are given.

    An item is ((C, H, W) uint8, {teacher: {g: (1, g, g) float32}}); C is 3 * F and the planes of the flow. A neighbour
    beyond the clip's border is replaced by frame t. Of items that follow each other in a clip, each frame is decoded
    and resized once.

    Args:
        paths: Frame stores of the clips.
        size: Height and width of the frames in pixels.
        offsets: Of the frames from t.
        maps: The teachers' maps.
        resolutions: Which of them.
        held_out: Clips of which only the frames before this share of them are drawn in an epoch.
        flow: Preset of the flow, or ``none``.
        keep: Frames are drawn many times: they stay in memory where all together are few (``shared_frames``).

    Raises:
        InputError: A teacher has no maps, or too few, of a clip.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: tuple[int, int],
        offsets: Sequence[int],
        maps: dict[str, MapStore] | None = None,
        resolutions: tuple[int, ...] = (),
        held_out: Mapping[str, float] | None = None,
        flow: str = NO_FLOW,
        keep: bool = False,
    ) -> None:
        self.size, self.offsets = size, offsets
        self.flow = flow
        self._planes: FlowPlanes | None = None
        self.stores = [FrameStore(path) for path in paths]
        self.lengths = [len(store) for store in self.stores]
        self._ends = np.cumsum(self.lengths)
        self._shared = shared_frames(sum(self.lengths), size) if keep else None
        self._open: OrderedDict[int, FrameStore] = OrderedDict()
        self._recent: dict[tuple[int, int], np.ndarray] = {}  # resized, (3, H, W), by clip and number
        kept = [
            first_held_out((held_out or {}).get(store.clip, 1.0), length)
            for store, length in zip(self.stores, self.lengths, strict=True)
        ]
        starts = self._ends - self.lengths
        self.drawn = np.concatenate([start + np.arange(n) for start, n in zip(starts, kept, strict=True)])
        # Held in memory, two bytes a cell: to find single maps in their files costs more than to decode the frames.
        self._maps = {name: self._read(name, store, resolutions) for name, store in (maps or {}).items()}

    def _read(self, name: str, maps: MapStore, resolutions: tuple[int, ...]) -> dict[int, np.ndarray]:
        """Return a teacher's maps of all frames of all clips, {g: (T, g, g) float16}."""
        made = {g: np.empty((len(self), g, g), np.float16) for g in resolutions}
        for store, length, end in zip(self.stores, self.lengths, self._ends, strict=True):
            if (found := maps.frames.get(store.clip, 0)) != length:
                raise InputError(f"clip {store.clip}: {name} has maps of {found} frames, expected {length}")
            for g, grid in maps.read(store.clip, resolutions).items():
                made[g][end - length : end] = grid
        return made

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, dict[int, torch.Tensor]]]:
        clip = int(np.searchsorted(self._ends, index, side="right"))
        t = index - int(self._ends[clip]) + self.lengths[clip]
        indices = window_indices(t, self.lengths[clip], self.offsets, border="repeat")
        frames = self._window(clip, t, indices)
        if self.flow != NO_FLOW:
            frames = [*frames, self._flow_planes(frames, [(clip, index) for index in indices])]
        return torch.from_numpy(np.concatenate(frames)), self.targets(index)

    def _window(self, clip: int, t: int, indices: Sequence[int]) -> list[np.ndarray]:
        """Return the resized frames (3, H, W) around frame t; those that the next item may share are kept."""
        if self._shared:
            start = int(self._ends[clip]) - self.lengths[clip]
            return [self._shared(start + index, partial(self._resized, clip, index)) for index in indices]
        reach = max(map(abs, self.offsets))
        kept = {key: frame for key, frame in self._recent.items() if key[0] == clip and abs(key[1] - t) <= reach}
        for index in indices:
            if (clip, index) not in kept:
                kept[clip, index] = self._resized(clip, index)
        self._recent = kept
        return [kept[clip, index] for index in indices]

    def _resized(self, clip: int, index: int) -> np.ndarray:
        """Return a frame of a clip, decoded and resized, (3, H, W)."""
        return np.stack(cv2.split(resize(self._store(clip).read(index), self.size)))

    def _flow_planes(self, frames: Sequence[np.ndarray], names: Sequence[Hashable]) -> np.ndarray:
        # Made where it is used: it cannot be sent to another process.
        self._planes = self._planes or FlowPlanes(self.flow)
        gray = [FlowPlanes.gray(np.ascontiguousarray(frame.transpose(1, 2, 0))) for frame in frames]
        return self._planes(gray, names)

    def held_out_order(self, most: int) -> list[int]:
        """Return frames that are not drawn from, at most so many, evenly spread; none where nothing is held out."""
        return _spread(np.setdiff1d(np.arange(len(self)), self.drawn), most)

    def drawn_order(self, most: int) -> list[int]:
        """Return frames that are drawn from, at most so many, evenly spread."""
        return _spread(self.drawn, most)

    def targets(self, items: int | np.ndarray) -> dict[str, dict[int, torch.Tensor]]:
        """Return the teachers' maps {teacher: {g: (1, g, g) float32}} of an item, or (N, 1, g, g) of several (N,)."""
        return {
            name: {g: torch.from_numpy(grid[items, None].astype(np.float32)) for g, grid in maps.items()}
            for name, maps in self._maps.items()
        }

    def clips_of(self, indices: Sequence[int]) -> str:
        """Return the names of the clips that some items are of."""
        found = np.unique(np.searchsorted(self._ends, indices, side="right"))
        return ", ".join(self.stores[clip].clip for clip in found)

    def _store(self, clip: int) -> FrameStore:
        """Return an open store; the ones not used for longest are closed."""
        self._open[clip] = self.stores[clip]
        self._open.move_to_end(clip)
        if len(self._open) > OPEN_CLIPS:
            self._open.popitem(last=False)[1].close()
        return self.stores[clip]

    def epoch_order(self, epoch: int, stride: int, generator: torch.Generator, run: int = 1) -> list[int]:
        """Return every ``stride``-th run of frames that are drawn from, the runs shuffled.

        Args:
            epoch: From 0; the first run that is taken changes with it, so that ``stride`` epochs take every frame once.
            stride: One run of so many is taken.
            generator: Shuffles the runs.
            run: Neighbouring frames of a clip in a run, fewer at the ends of the clip. Where runs begin changes when
                all frames were taken.
        """
        clips = np.searchsorted(self._ends, self.drawn, side="right")
        numbers = self.drawn - (self._ends - self.lengths)[clips]
        belongs = np.stack([clips, (numbers + epoch // stride % run) // run])
        runs = np.split(self.drawn, 1 + np.flatnonzero((np.diff(belongs) != 0).any(0)))
        chosen = runs[epoch % min(stride, len(runs)) :: stride]
        return np.concatenate([chosen[i] for i in torch.randperm(len(chosen), generator=generator)]).tolist()


def _spread(numbers: np.ndarray, most: int) -> list[int]:
    """Return at most so many of the numbers, evenly spread."""
    return numbers[np.linspace(0, len(numbers) - 1, min(most, len(numbers))).astype(int)].tolist()


def batch_name(windows: FrameWindows, order: Sequence[int], batch: int, epoch: int, step: int) -> str:
    """Return epoch and batch, both from 1, and the clips in it: where a loss that is not finite has been met."""
    clips = windows.clips_of(order[step * batch : (step + 1) * batch])
    return f"epoch {epoch + 1}, batch {step + 1} (clips {clips})"


def loader(windows: FrameWindows, order: Sequence[int], batch: int, workers: int) -> DataLoader:
    """Return batches in the given order, read ahead by worker processes."""
    return batch_loader(windows, [list(order[i : i + batch]) for i in range(0, len(order), batch)], workers)


def batch_loader(windows: FrameWindows, batches: Sequence[list[int]], workers: int) -> DataLoader:
    """Return the given batches, each read ahead by one of the worker processes."""
    return DataLoader(
        windows,
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=_one_thread,
        prefetch_factor=2 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)  # not 1: that waits for threads that were not forked with the process
    torch.set_num_threads(1)
