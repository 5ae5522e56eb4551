"""Films that any browser plays: H.264 in an mp4 file."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace

from vadistill.errors import InputError
from vadistill.io.files import whole_file

QUALITY = "20"  # constant rate factor of x264: below what the eye sees in text and thin lines
KEY_SECONDS = 2  # between the frames that a player can jump to


def write_mp4(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames as a film, whole or not at all; one frame is held in memory, besides what the encoder keeps.

    An odd height or width gets one more row or column, a copy of the last one: H.264 halves the colours' resolution.

    Args:
        path: The mp4 file.
        frames: (H, W, 3) uint8 BGR frames of one size.
        fps: Frames a second.

    Raises:
        InputError: There are no frames, or they cannot be encoded.
    """
    with whole_file(path) as temporary:
        try:
            _write(temporary, path, frames, fps)
        except av.FFmpegError as error:
            raise InputError(f"{path}: cannot be written as H.264 ({error.strerror})") from error


def _write(temporary: Path, path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    stream = None
    # The index comes first in the file, so that a browser plays what it has not loaded whole.
    options = {"movflags": "+faststart"}
    with av.open(str(temporary.absolute()), "w", "mp4", options=options) as film:
        for frame in frames:
            even = cv2.copyMakeBorder(frame, 0, frame.shape[0] % 2, 0, frame.shape[1] % 2, cv2.BORDER_REPLICATE)
            stream = stream or _h264(film, even.shape, fps)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(even, np.uint8), format="bgr24")))
        if stream is None:
            raise InputError(f"{path}: no frames to write; expected at least one")
        film.mux(stream.encode())


def _h264(film: av.container.OutputContainer, shape: tuple[int, ...], fps: float) -> av.VideoStream:
    stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv420p"  # the only one that every browser knows
    stream.options = {"preset": "veryfast", "crf": QUALITY, "g": str(max(1, round(KEY_SECONDS * fps)))}
    stream.codec_context.colorspace = Colorspace.ITU601  # what BGR is converted by; untold, a browser guesses
    stream.codec_context.thread_count = 1  # the workflow runs one job a core
    return stream
