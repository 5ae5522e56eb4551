"""Frames of a clip's source: a video file or a folder of images, decoded in order."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Damaged files are reported as InputError; FFmpeg's own lines would hide that one.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from vadistill.data.clips import IMAGE_SUFFIXES, visible
from vadistill.errors import InputError

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
log = logging.getLogger(__name__)
# Of the images of a clip, those that cannot be decoded and are replaced: one in so many, and not more than these.
REPAIR_SHARE, MOST_REPAIRED = 20, 5


class SourceFrame(NamedTuple):
    """A frame of a clip's source.

    Attributes:
        frame: (H, W, 3) uint8 BGR.
        content: Of its image file; nothing for a frame of a video.
        repaired: Whether it is a neighbour of the frame that should stand here.
    """

    frame: np.ndarray
    content: bytes = b""
    repaired: bool = False


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


def images_of(folder: Path) -> Iterator[SourceFrame]:
    """Yield the images of a folder, in natural order of their names.

    A single image that cannot be decoded is replaced by the one before it, the first one by the second: labels count
    frames, so that none may be left out. Every replacement is logged and marked. At most one image in 20 and five a
    clip are replaced, and never two in a row; a clip of fewer than 20 images is not repaired.

    Raises:
        InputError: As ``frames_of``; of images that cannot be decoded, more than these.
    """
    paths = [path for path in visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    size, repaired = None, []
    for t, path in enumerate(paths):
        try:
            image = _read_image(path)
        except InputError as error:
            _check_repairable(error, t, repaired, len(paths))
            neighbour = paths[t - 1] if t else paths[1]
            image = _read_image(neighbour)._replace(repaired=True)
            repaired.append(t)
            log.warning("%s; frame %d is replaced by a copy of %s", error, t, neighbour.name)
        size = size or image.frame.shape
        _check_size(image.frame, size, str(path))
        yield image
    if size is None:
        raise InputError(f"{folder}: no frames; expected images ({' '.join(sorted(IMAGE_SUFFIXES))})")


def _read_image(path: Path) -> SourceFrame:
    content = path.read_bytes()
    return SourceFrame(decode_image(content, path), content)


def _check_repairable(error: InputError, t: int, repaired: list[int], images: int) -> None:
    """Pass on the error of an image that is not to be replaced; see ``images_of``."""
    most = min(MOST_REPAIRED, images // REPAIR_SHARE)
    if len(repaired) == most or t - 1 in repaired:
        raise InputError(f"{error}; of {images} images, at most {most} single ones are replaced") from error


def decode_image(content: bytes, path: Path | str, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Decode an image file's content to 8 bits: (H, W, 3) BGR, or what ``flags`` of OpenCV ask for.

    Grey becomes BGR, 16 bits a channel become 8 by dropping the lower byte, transparency is dropped.

    Raises:
        InputError: The content is no whole image; the message names ``path``.
    """
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path}: not a readable image; expected a whole file ({' '.join(sorted(IMAGE_SUFFIXES))})")
    return image


def frame_rate(source: str | Path) -> float | None:
    """Return the frames a second that a video declares; None for a folder of images or where it says nothing."""
    if Path(source).is_dir():
        return None
    rate = _open(Path(source)).get(cv2.CAP_PROP_FPS)
    return float(rate) if np.isfinite(rate) and rate > 0 else None


def _open(path: Path, threads: int = 1) -> cv2.VideoCapture:
    if not path.is_file():
        raise InputError(f"{path}: missing; expected a video file")
    if cv2.haveImageReader(os.path.abspath(path)):  # FFmpeg would make a film of one frame of it
        raise InputError(f"{path}: an image; expected a video, or a folder of images")
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
        _check_size(frame, size, f"{path}: frame {decoded}")
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


def _check_size(frame: np.ndarray, size: tuple[int, ...], name: str) -> None:
    if frame.shape != size:
        raise InputError(
            f"{name}: is {frame.shape[1]}x{frame.shape[0]} pixels; expected {size[1]}x{size[0]} as the first frame "
            "of the clip"
        )
