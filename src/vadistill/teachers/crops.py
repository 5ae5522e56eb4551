"""Crops of the objects of one clip, cut from the frames on the fly."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from vadistill.geometry.boxes import clip_to_pixels
from vadistill.geometry.flow import DenseFlow, dis_flow, farneback_flow
from vadistill.io.frames import FrameStore
from vadistill.io.window import window_indices


@dataclass(frozen=True)
class CropRequest:
    """What to cut from the frames around each object: the same window in every frame, resized to a square.

    Attributes:
        side: Side S of the crops in pixels.
        colour: Frame offsets cut in BGR: ``colour`` (N, L, 3, S, S) uint8.
        gray: Frame offsets cut in gray: ``gray`` (N, L, S, S) uint8.
        flow: Offsets k of dense flow t -> t+k: ``flow`` (N, K, 2, S, S) float16, (x, y) in pixels of the stored frame.
        irregular: If positive, also an intermittent sequence that skips 1 to this many frames a step:
            ``irregular`` (N, 7, 3, S, S) uint8, BGR.
        context: Share of the box's sides that the window adds on each side.
        aspect: ``stretch``: the window is the box. ``keep``: it is the square of the box's longer side about its
            centre, moved inside the frame where it would leave it.
        border: What stands for frames beyond the clip's ends: ``clamp`` moves the centre of the windows inside,
            ``repeat`` takes the frame of the object itself.
        flow_method: ``dis`` or ``farneback``, of gray frames, or a function of two BGR frames.
    """

    side: int
    colour: tuple[int, ...] = ()
    gray: tuple[int, ...] = ()
    flow: tuple[int, ...] = ()
    irregular: int = 0
    context: float = 0.0
    aspect: str = "stretch"
    border: str = "clamp"
    flow_method: str | DenseFlow = "dis"

    @property
    def reach(self) -> int:
        """How many frames an object must lie from both ends of its clip for every crop to exist."""
        return max(map(abs, (*self.colour, *self.gray, *self.flow, 3 * (self.irregular + 1) if self.irregular else 0)))


def random_gaps(rng: np.random.Generator, max_skip: int, count: int) -> np.ndarray:
    """Return frame offsets (count, 7) of intermittent sequences.

    Frame t is kept; outwards from it each step leaves out 1 to ``max_skip`` frames, both sides independently.
    """
    walked = rng.integers(2, max_skip + 2, size=(count, 2, 3)).cumsum(axis=2)
    return np.concatenate([-walked[:, 0, ::-1], np.zeros((count, 1), walked.dtype), walked[:, 1]], axis=1)


class ClipCrops:
    """Cuts the objects of one clip, in the order of their frames; what lies behind the window of frames is let go.

    At the clip's ends ``CropRequest.border`` says what stands for missing frames, as in ``window_indices``. With
    ``clamp`` a window of frames holds a frame twice only in a clip shorter than it. The flow from a frame to itself
    is zero.
    """

    def __init__(self, store: FrameStore, request: CropRequest) -> None:
        self.store, self.request = store, request
        self._frames: dict[int, np.ndarray] = {}
        self._grays: dict[int, np.ndarray] = {}
        self._flows: dict[tuple[int, int], np.ndarray] = {}
        self._dense_flow = _dense_flow(request.flow_method) if request.flow else None

    def cut(
        self, t: int, box: np.ndarray, rng: np.random.Generator, flow: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Cut the crops of the boxes (n, 4) of frame ``t``; the keys and shapes are those of ``CropRequest``.

        ``flow`` is that of the same boxes where it was measured before.
        """
        reach = self.request.reach
        centre = window_indices(t, len(self.store), (-reach, 0, reach), self.request.border)[1]
        for cache in (self._frames, self._grays):
            for index in [index for index in cache if index < centre - reach]:
                del cache[index]
        self._flows = {ends: field for ends, field in self._flows.items() if ends[0] >= centre}
        pixels = self._windows(box)
        made: dict[str, np.ndarray] = {}
        if self.request.colour:
            frames = [self._frame(self._neighbour(centre, k)) for k in self.request.colour]
            made["colour"] = self._stack(pixels, lambda _: frames).transpose(0, 1, 4, 2, 3)
        if self.request.gray:
            grays = [self._gray(self._neighbour(centre, k)) for k in self.request.gray]
            made["gray"] = self._stack(pixels, lambda _: grays)
        if flow is not None:
            made["flow"] = flow
        elif self.request.flow:
            fields = [self._flow(centre, self._neighbour(centre, k)) for k in self.request.flow]
            made["flow"] = self._stack(pixels, lambda _: fields).transpose(0, 1, 4, 2, 3).astype(np.float16)
        if self.request.irregular:
            gaps = random_gaps(rng, self.request.irregular, len(box))
            windows = [[self._frame(self._neighbour(centre, int(k))) for k in row] for row in gaps]
            made["irregular"] = self._stack(pixels, lambda row: windows[row]).transpose(0, 1, 4, 2, 3)
        return made

    def _windows(self, box: np.ndarray) -> np.ndarray:
        """Return the windows (n, 4) around the boxes: whole pixels, at least 2 x 2, inside the frame."""
        height, width = self.store.height, self.store.width
        margin = self.request.context * (box[:, 2:] - box[:, :2])
        window = np.concatenate([box[:, :2] - margin, box[:, 2:] + margin], axis=1)
        pixels = (_squares if self.request.aspect == "keep" else clip_to_pixels)(window, height, width)
        pixels[:, 0::2] = _at_least_two(pixels[:, 0::2], width)
        pixels[:, 1::2] = _at_least_two(pixels[:, 1::2], height)
        return pixels

    def _stack(self, pixels: np.ndarray, images_of: Callable[[int], list[np.ndarray]]) -> np.ndarray:
        """Return the crops (n, L, S, S) or (n, L, S, S, C) of each box from the images of its row."""
        side = self.request.side
        return np.stack([[_resize(image[y1:y2, x1:x2], side) for image in images_of(row)]
                         for row, (x1, y1, x2, y2) in enumerate(pixels)])  # fmt: skip

    def _neighbour(self, centre: int, offset: int) -> int:
        """Return which frame stands for frame ``centre`` + ``offset``."""
        index = centre + offset
        if self.request.border == "repeat" and not 0 <= index < len(self.store):
            return centre
        return min(max(index, 0), len(self.store) - 1)

    def _frame(self, index: int) -> np.ndarray:
        if index not in self._frames:
            self._frames[index] = self.store.read(index)
        return self._frames[index]

    def _gray(self, index: int) -> np.ndarray:
        if index not in self._grays:
            self._grays[index] = cv2.cvtColor(self._frame(index), cv2.COLOR_BGR2GRAY)
        return self._grays[index]

    def _flow(self, start: int, end: int) -> np.ndarray:
        """Return the dense flow (H, W, 2) in pixels from frame ``start`` to frame ``end``."""
        assert self._dense_flow is not None  # the request has flow
        if (start, end) not in self._flows:
            self._flows[start, end] = (
                np.zeros((self.store.height, self.store.width, 2), np.float32)
                if start == end
                else self._dense_flow(self._image_for_flow(start), self._image_for_flow(end))
            )
        return self._flows[start, end]

    def _image_for_flow(self, index: int) -> np.ndarray:
        return self._frame(index) if callable(self.request.flow_method) else self._gray(index)


def _dense_flow(method: str | DenseFlow) -> DenseFlow:
    """Return the function of two images uint8, gray unless it was given, to the flow (H, W, 2) float32 between them."""
    if callable(method):
        return method
    if method == "dis":
        return dis_flow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if method != "farneback":
        raise ValueError(f"flow_method '{method}'; expected dis or farneback")
    return farneback_flow()


def _squares(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return whole-pixel squares of the boxes' longer sides about their centres, moved into the frame or cut to it."""
    side = np.ceil((box[:, 2:] - box[:, :2]).max(axis=1, keepdims=True)).astype(np.int64)
    frame = np.array([width, height])
    middle = (box[:, :2] + box[:, 2:]) / 2
    start = np.clip(np.floor(middle - side / 2 + 0.5).astype(np.int64), 0, np.maximum(frame - side, 0))
    return np.concatenate([start, np.minimum(start + side, frame)], axis=1)


def _at_least_two(edges: np.ndarray, length: int) -> np.ndarray:
    start = np.minimum(edges[:, 0], length - 2).clip(0)
    return np.stack([start, np.maximum(edges[:, 1], start + 2)], 1)


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    shrinking = image.shape[0] > side and image.shape[1] > side
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
