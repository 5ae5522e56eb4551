"""Stored frames: one HDF5 file a clip, every frame of it at its own size, as encoded JPEG or PNG images.

``bytes`` holds the encoded images one after another, (B,) uint8 with checksums; image t is
``bytes[offsets[t]:offsets[t + 1]]``, ``offsets`` being (T + 1,) int64, and ``crc32[t]`` is its checksum. The attributes
say which clip it is, and ``repaired`` which of its frames stand for images that could not be decoded
(``media.image_folder.images_of``). Of a video there are ``times``, (T,) float64 seconds after the first frame.
"""

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np

from vadistill.errors import InputError
from vadistill.io.hdf5 import (
    crc,
    damage_named,
    opened,
    read_array,
    read_attribute,
    reading,
    write_array,
    write_attributes,
    writing,
)
from vadistill.io.media.depth import Range
from vadistill.io.media.image_file import decode_image
from vadistill.io.media.image_folder import SourceFrame, images_of
from vadistill.io.media.video import frame_rate, frames_of
from vadistill.io.window import window_indices

VERSION = 1
# About one encoded frame: a larger chunk would be read, and checked, whole for every frame.
CHUNK_BYTES = 1 << 16
# Neighbouring frames share chunks; hundreds of clips are open in a loader, each with its own.
CACHE_BYTES = 2 * CHUNK_BYTES
JPEG_MAGIC = b"\xff\xd8\xff"


def write_frames(
    path: str | Path,
    clip: str,
    split: str,
    source: str | Path,
    encoding: str = "jpeg",
    quality: int = 95,
    fingerprint: str = "",
    scale: Range | None = None,
) -> int:
    """Store all frames of a video or folder of images and return how many they are; one frame is held in memory.

    With encoding ``jpeg``, images that are JPEG files are kept byte for byte.

    Args:
        path: The HDF5 file to write.
        clip: Name of the clip.
        split: Split of the clip.
        source: Video file or folder of images.
        encoding: ``jpeg`` or ``png``.
        quality: JPEG quality, 1 to 100.
        fingerprint: Of the source, kept with the frames.
        scale: Values of images of more than 8 bits that become 0 and 255, kept as the attribute ``depth``; None for
            the full range of 16 bits.

    Raises:
        InputError: The source cannot be read whole (see ``vadistill.io.media.video.frames_of``).
    """
    source, times = Path(source), array("d")
    images = images_of(source, scale) if source.is_dir() else map(SourceFrame, frames_of(source, moments=times))
    return _write(path, clip, split, images, encoding, quality, fingerprint, frame_rate(source), times, scale)


def write_images(
    path: str | Path,
    clip: str,
    split: str,
    images: Iterable[np.ndarray],
    encoding: str = "jpeg",
    quality: int = 95,
    fingerprint: str = "",
    fps: float | None = None,
) -> int:
    """Store images (H, W, 3) uint8 BGR as the frames of a clip and return how many they are; one is held in memory.

    Args:
        path: The HDF5 file to write.
        clip: Name of the clip.
        split: Split of the clip.
        images: The frames in order.
        encoding: ``jpeg`` or ``png``.
        quality: JPEG quality, 1 to 100.
        fingerprint: Of what the images were made from.
        fps: Frames a second, if known.

    Raises:
        InputError: There are no images, or their sizes differ.
    """
    return _write(path, clip, split, map(SourceFrame, images), encoding, quality, fingerprint, fps)


def _write(
    path: str | Path,
    clip: str,
    split: str,
    images: Iterable[SourceFrame],
    encoding: str,
    quality: int,
    fingerprint: str,
    fps: float | None,
    times: Sequence[float] = (),
    scale: Range | None = None,
) -> int:
    """Store frames; see ``write_frames``. ``times`` are complete, or still empty, after the last one."""
    offsets, sums, shape, repaired = [0], [], None, []
    with writing(path) as file:
        data = file.create_dataset("bytes", (0,), "u1", maxshape=(None,), chunks=(CHUNK_BYTES,), fletcher32=True)
        for source, encoded in _encoded(images, encoding, quality):
            frame = source.frame
            shape = shape or frame.shape
            if frame.shape != shape:
                raise InputError(f"clip {clip}: frame {len(offsets) - 1} is {frame.shape}; expected {shape}")
            if source.repaired:
                repaired.append(len(offsets) - 1)
            offsets.append(offsets[-1] + len(encoded))
            data.resize((offsets[-1],))
            data[offsets[-2] :] = encoded
            sums.append(crc(encoded))
        if shape is None:
            raise InputError(f"clip {clip}: no frames; expected at least one")
        write_array(file, "offsets", np.array(offsets, np.int64))
        write_array(file, "crc32", np.array(sums, np.uint32))
        if len(times):
            write_array(file, "times", np.array(times, np.float64))
        write_attributes(file, version=VERSION, clip=clip, split=split, frames=len(offsets) - 1)
        write_attributes(file, height=shape[0], width=shape[1], repaired=np.array(repaired, np.int64))
        write_attributes(file, encoding=encoding, quality=quality, fingerprint=fingerprint)
        if fps:
            write_attributes(file, fps=fps)
        if scale:
            write_attributes(file, depth=np.array(scale))
    return len(offsets) - 1


def _encoded(images: Iterable[SourceFrame], encoding: str, quality: int) -> Iterator[tuple[SourceFrame, np.ndarray]]:
    """Yield each frame and its encoded form, (B,) uint8; JPEG content of an image file is kept."""
    if encoding not in ("jpeg", "png"):
        raise InputError(f"frames: encoding is '{encoding}'; expected jpeg or png")
    suffix, options = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]) if encoding == "jpeg" else (".png", [])
    for source in images:
        if encoding == "jpeg" and source.content.startswith(JPEG_MAGIC):
            encoded = np.frombuffer(source.content, np.uint8)
        else:
            encoded = cv2.imencode(suffix, source.frame, options)[1]
        yield source, encoded


class FrameStore:
    """The stored frames of one clip.

    What describes the clip is read at once; the file stays open from the first frame that is read. A process that is
    forked off opens it anew, and a pickled store is its path.

    Attributes:
        path: The HDF5 file.
        clip: Name of the clip.
        split: Split of the clip.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        fps: Frames a second of the video, their mean where it varies, or None.
        times: Of the frames, (T,) float64 seconds after the first one; None of images, or in an older store.
        fingerprint: Of the source.
        repaired: Frames that stand for images that could not be decoded.
        depth: Values of images of more than 8 bits that became 0 and 255, where the data set has such a range, or None.
    """

    def __init__(self, path: str | Path):
        """Read the description of the clip.

        Raises:
            InputError: The file is missing, damaged or no frame store.
        """
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._bytes: h5py.Dataset | None = None
        self._process: int | None = None
        with reading(self.path) as file:
            attributes = file.attrs
            if attributes["version"] != VERSION:
                raise InputError(f"{self.path}: version {attributes['version']} of a frame store; expected {VERSION}")
            self.clip, self.split = read_attribute(file, "clip"), read_attribute(file, "split")
            self.height, self.width = int(attributes["height"]), int(attributes["width"])
            self.fps = float(attributes["fps"]) if "fps" in attributes else None
            self.fingerprint = read_attribute(file, "fingerprint")
            self.repaired = [int(t) for t in attributes.get("repaired", ())]
            self.depth: Range | None = None
            if "depth" in attributes:
                low, high = attributes["depth"]
                self.depth = float(low), float(high)
            self._offsets = read_array(file["offsets"])
            self._sums = read_array(file["crc32"]) if "crc32" in file else None  # none in older files
            self.times = read_array(file["times"]) if "times" in file else None
            if len(self) != attributes["frames"]:
                raise ValueError(f"{len(self)} offsets for {attributes['frames']} frames")
            if self.times is not None and len(self.times) != len(self):
                raise ValueError(f"{len(self.times)} times for {len(self)} frames")

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return FrameStore, (self.path,)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.read(t) for t in range(len(self)))

    def read(self, t: int) -> np.ndarray:
        """Return frame t, (H, W, 3) uint8 BGR.

        Raises:
            InputError: The stored data are damaged.
            IndexError: There is no frame t.
        """
        if not 0 <= t < len(self):
            raise IndexError(f"{self.path}: frame {t} of {len(self)}")
        with damage_named(self.path, f"frame {t}"):
            data = self._opened()[self._offsets[t] : self._offsets[t + 1]]
            if self._sums is not None and crc(data) != self._sums[t]:
                raise OSError("it differs from its checksum")
        frame = decode_image(data, f"{self.path}: frame {t}")
        if frame.shape != (self.height, self.width, 3):
            raise InputError(f"{self.path}: frame {t} is {frame.shape}; expected {(self.height, self.width, 3)}")
        return frame

    def window(self, t: int, offsets: Sequence[int], border: str = "repeat") -> np.ndarray:
        """Return the frames t + offset, (len(offsets), H, W, 3) uint8 BGR.

        Args:
            t: The frame at offset 0.
            offsets: Distances in frames, in the order of the result.
            border: What stands for neighbours that the clip does not have. ``repeat``: frame t. ``clamp``: t is moved
                until the whole window lies in the clip; in a clip shorter than the window, the nearest frame there is.

        Raises:
            InputError: The stored data are damaged.
            IndexError: There is no frame t.
        """
        if not 0 <= t < len(self):
            raise IndexError(f"{self.path}: frame {t} of {len(self)}")
        wanted = window_indices(t, len(self), offsets, border)
        frames = {index: self.read(index) for index in set(wanted)}
        return np.stack([frames[index] for index in wanted])

    def close(self) -> None:
        """Let go of the file; the next frame that is read opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = self._bytes = self._process = None

    def _opened(self) -> h5py.Dataset:
        """Return the encoded frames; looking them up for every frame would cost a third of decoding it."""
        if self._bytes is None or self._process != os.getpid():
            # A handle from before a fork shares its position with the parent's. It must be closed first: HDF5 would
            # hand the same one out again.
            if self._file is not None:
                self._file.close()
            self._file, self._process = opened(self.path, CACHE_BYTES), os.getpid()
            self._bytes = self._file["bytes"]
        return self._bytes


def frame_stores(paths: Sequence[Path]) -> dict[str, FrameStore]:
    """Return the frame stores by the name of their clip, not opened yet."""
    return {path.stem: FrameStore(path) for path in paths}
