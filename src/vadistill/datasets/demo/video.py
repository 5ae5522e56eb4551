"""Generated clips as files."""

from pathlib import Path

import cv2
import numpy as np

from vadistill.datasets.demo import FRAME_RATE
from vadistill.datasets.demo.clips import render_clip
from vadistill.errors import InputError
from vadistill.io.files import whole_file, whole_stream
from vadistill.settings import DemoConfig

QUALITY = 95


def write_clip(settings: DemoConfig, split: str, name: str, video: Path, mask: Path | None = None) -> None:
    """Write a clip as Motion JPEG and, if ``mask`` is given, its pixel masks (T, H, W) bool as .npy.

    Raises:
        InputError: There is no such clip, or the video cannot be written.
    """
    if video.suffix != ".avi":
        raise InputError(f"{video}: expected a name that ends in .avi")
    masks = []
    with whole_file(video) as temporary:
        # OpenCV's own encoder: FFmpeg's Motion JPEG through OpenCV knows no quality, and its default is poor.
        code = cv2.VideoWriter.fourcc(*"MJPG")
        size = (settings.width, settings.height)
        writer = cv2.VideoWriter(str(temporary), cv2.CAP_OPENCV_MJPEG, code, FRAME_RATE, size)
        if not writer.isOpened():
            raise InputError(f"{video}: cannot be written as Motion JPEG by OpenCV {cv2.__version__}")
        writer.set(cv2.VIDEOWRITER_PROP_QUALITY, QUALITY)
        for frame, seen, _ in render_clip(settings, split, name):
            writer.write(frame)
            masks.append(seen)
        writer.release()
        if not _is_whole(temporary):
            raise InputError(f"{video}: not written whole; is its disk full?")
    if mask is not None:
        with whole_stream(mask) as stream:
            np.save(stream, np.stack(masks))


def _is_whole(video: Path) -> bool:
    """Return whether an AVI file is as long as it says: OpenCV is silent about writes that fail."""
    with video.open("rb") as file:
        return int.from_bytes(file.read(8)[4:], "little") + 8 == video.stat().st_size
