"""Frames of a clip's source: a video file or a folder of images, decoded in order."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

# Damaged files are reported as InputError; FFmpeg's own lines would hide that one.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from vadistill.data.image_folder import check_size, images_of
from vadistill.errors import InputError
from vadistill.files import checked_path

log = logging.getLogger(__name__)


def frames_of(source: str | Path, threads: int = 1) -> Iterator[np.ndarray]:
    """Yield every frame of a video file or folder of images as (H, W, 3) uint8 BGR.

    Args:
        source: The video or folder.
        threads: In which FFmpeg decodes a video. More than one change nothing but what damaged frames look like.

    Raises:
        InputError: There are no frames, one cannot be decoded, their sizes differ, or a video is truncated.
    """
    source = Path(source)
    if source.is_dir():
        return (image.frame for image in images_of(source))
    return _video_frames(source, threads)


def frame_rate(source: str | Path) -> float | None:
    """Return the frames a second that a video declares; None for a folder of images or where it says nothing."""
    if Path(source).is_dir():
        return None
    rate = _open(Path(source)).get(cv2.CAP_PROP_FPS)
    return float(rate) if np.isfinite(rate) and rate > 0 else None


def _open(path: Path, threads: int = 1) -> cv2.VideoCapture:
    if not checked_path(path.absolute()).is_file():
        raise InputError(f"{path}: missing; expected a video file")
    if cv2.haveImageReader(os.path.abspath(path)):  # FFmpeg would make a film of one frame of it
        raise InputError(f"{path}: an image; expected a video, or a folder of images (put it into a folder of its own)")
    # An absolute path is never taken for a protocol.
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    if not capture.isOpened():
        raise InputError(f"{path}: not a readable video; expected a whole file in a format that FFmpeg decodes")
    return capture


def _video_frames(path: Path, threads: int) -> Iterator[np.ndarray]:
    capture = _open(path, threads)
    rate, declared = capture.get(cv2.CAP_PROP_FPS), round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    size, decoded, last = None, 0, 0.0
    while True:
        there, frame = capture.read()
        if not there:
            break
        size = size or frame.shape
        check_size(frame, size, f"{path}: frame {decoded}")
        decoded, last = decoded + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield frame
    if size is None:
        raise InputError(f"{path}: no frame could be decoded; expected a video with frames")
    _check_whole(path, decoded, declared, last, rate)
    size = path.stat().st_size
    if size < (stated := _stated_size(path, size)):
        log.warning(
            "%s: ends after %d of the %d bytes that it states; its last frames may be damaged", path, size, stated
        )


def _check_whole(path: Path, decoded: int, declared: int, last: float, rate: float) -> None:
    """Refuse a video that ends before its container says it does.

    The declared number of frames is exact in some containers (avi, mp4) and in others an estimate, duration times
    rate, that is far off where the rate varies. So two things must come together: more than two frames and one
    percent of them are missing, and the last frame's time (seconds) is that far from the declared end as well.
    """
    tolerated = max(2.0, 0.01 * declared)
    missing = declared - decoded
    if missing <= 0:
        return
    early = declared - 1 - last * rate
    if missing > tolerated and early > tolerated:
        raise InputError(
            f"{path}: truncated: {decoded} of {declared} frames could be decoded; expected a whole file "
            "(if it plays to its end, encode it again or give its frames as a folder of images)"
        )
    log.warning("%s: %d frames decoded, %d declared; the decoded ones count", path, decoded, declared)


def _stated_size(path: Path, there: int) -> int:
    """Return how many bytes an AVI or MP4 file of ``there`` bytes says it has, 0 where nothing is known."""
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith(b"RIFF"):
            return 8 + int.from_bytes(head[4:8], "little")
        end = 0
        while end < there and head[4:8].isalnum():  # a box of MP4: size, name, a larger size where the first one is 1
            size = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
            if size < 8:
                return 0
            end += size
            file.seek(min(end, there))
            head = file.read(16)
        return end
