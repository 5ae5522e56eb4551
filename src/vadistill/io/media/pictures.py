"""Decoded frames of a film as pictures: of whole frames, in 8 bits BGR, the right way up."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vadistill.io.media.depth import say_film_depth

log = logging.getLogger(__name__)
# Of a stream's fields, as FFmpeg numbers their orders: which one is shown first.
FIRST_FIELD = {2: "tff", 3: "bff", 4: "bff", 5: "tff"}
# Codecs that say of every frame whether it is interlaced; FFmpeg's names.
TELLING = {"h264", "hevc", "vvc", "mpeg1video", "mpeg2video", "mpeg4", "vc1", "wmv3", "cavs", "dvvideo", "prores"}


class Pictures:
    """Makes pictures of decoded frames by FFmpeg's filters, one of each.

    Colours are converted as ``ffmpeg -pix_fmt bgr24`` does it. From the first interlaced frame on, interlaced frames
    are deinterlaced by FFmpeg's ``bwdif``; others pass it untouched. A frame is interlaced where its decoder says so,
    and of codecs without a word for it where the container says so. The pictures are then turned and mirrored as the
    film's display matrix says, to the nearest quarter turn.
    """

    def __init__(self, path: Path, film: VideoStream) -> None:
        """Prepare for the frames of one film."""
        self._path = path
        context = film.codec_context
        self._first_field = None if context.codec.canonical_name in TELLING else FIRST_FIELD.get(context.field_order)
        self._graph: Graph | None = None
        self._kind: tuple | None = None  # what a graph takes; another one is made where it changes
        self._interlaced = False
        self._before: VideoFrame | None = None
        self._turn = (False, False, False)

    def of(self, frame: VideoFrame, wanted: bool = True) -> Iterator[np.ndarray | None]:
        """Take a frame and yield the pictures (H, W, 3) uint8 BGR that are ready: none, one, or more after a change.

        Of a frame that is not wanted there is None, where that saves its conversion: interlaced ones need each other.
        """
        if self._kind is None:  # the first frame
            self._turn = _turn(frame)
            say_film_depth(self._path, frame)
        starts = not self._interlaced and bool(frame.interlaced_frame or self._first_field)
        kind = (frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range))
        graph = self._graph
        changes = graph is None or starts or kind != self._kind
        if not (wanted or changes or self._interlaced):
            self._before = frame
            yield None
            return
        if graph is None or changes:
            yield from self.rest()
            same = kind == self._kind
            self._interlaced, self._kind = self._interlaced or starts, kind
            graph = self._graph = self._made(kind)
            if starts:
                log.warning("%s: interlaced; its frames are deinterlaced (FFmpeg's bwdif, one of each)", self._path)
                if same:  # the filter looks at the frame before
                    graph.vpush(self._before)
                    self._skip = True
        self._before = None if self._interlaced else frame
        graph.vpush(frame)
        yield from self._ready(graph)

    def rest(self) -> Iterator[np.ndarray]:
        """Yield the pictures of frames that were taken and are not out yet, at the end of the film."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready(self._graph)
            self._graph = None

    def _made(self, kind: tuple) -> Graph:
        width, height, pixels, space, levels = kind
        graph = Graph()
        graph.threads = 1
        source = {"video_size": f"{width}x{height}", "pix_fmt": pixels, "colorspace": str(space), "range": str(levels)}
        chain = [graph.add("buffer", time_base="1/1000", pixel_aspect="1/1", **source)]
        if self._interlaced:
            if self._first_field:
                chain.append(graph.add("setfield", self._first_field))
            chain.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        chain += [graph.add("scale", "flags=bicubic"), graph.add("format", "bgr24"), graph.add("buffersink")]
        graph.link_nodes(*chain).configure()
        self._skip = False
        return graph

    def _ready(self, graph: Graph) -> Iterator[np.ndarray]:
        while True:
            try:
                picture = graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            if self._skip:
                self._skip = False
            else:
                yield _turned(picture.to_ndarray(), *self._turn)


def _turn(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return whether rows and columns are swapped, then rows reversed, then columns reversed, by the display matrix.

    The matrix takes a point (x, y) of the frame to (a x + c y, b x + d y) of the picture.
    """
    side_data: Any = frame.side_data  # PyAV's types know another kind only
    data = side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return False, False, False
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def _turned(picture: np.ndarray, swap: bool, flip_rows: bool, flip_columns: bool) -> np.ndarray:
    if swap:
        picture = picture.transpose(1, 0, 2)
    return np.ascontiguousarray(picture[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
