"""A video file as FFmpeg opens it: which formats are taken, which stream is the film, what FFmpeg says of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vadistill.errors import InputError
from vadistill.io.files import checked_path
from vadistill.io.names import IMAGE_SUFFIXES

# FFmpeg's demuxers of files that hold their pictures themselves. Playlists, scripts and patterns of names (concat, hls,
# dash, image2, lavfi, sdp, ...) are none of these: they show other files, or call other machines.
DEMUXERS = (
    "mov", "matroska", "webm", "avi", "mpegts", "mpegtsraw", "mpeg", "mpegvideo", "m4v", "h261", "h263", "h264", "hevc",
    "vvc", "av1", "obu", "ivf", "vc1", "vc1test", "dirac", "cavsvideo", "avs2", "avs3", "flv", "live_flv", "kux", "asf",
    "asf_o", "ogg", "mxf", "gxf", "lxf", "dv", "nut", "rm", "wtv", "ty", "nsv", "dhav", "ifv", "mgsts", "mjpeg",
    "mpjpeg", "yuv4mpegpipe", "dnxhd",
)  # fmt: skip
OPTIONS = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file"}
IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ")
IMAGE_BRANDS = ("avif", "avis", "heic", "heix", "mif1", "msf1")  # of images that are boxes as mp4 files are
av.logging.set_skip_repeated(False)  # a repeated line would come later, among the words on another file
NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails  # covers and previews


def opened(path: Path) -> InputContainer:
    """Open a video file; the caller closes it.

    Raises:
        InputError: The file is missing, an image, a playlist or script, or no video that FFmpeg reads.
    """
    if not checked_path(path).is_file():
        raise InputError(f"{path}: missing; expected a video file")
    container, failure = None, None
    with ffmpeg_words() as words:
        try:
            # With the protocol's name before it, a path is never taken for another protocol or a pattern of names.
            name = f"file:{os.path.abspath(path)}"
            container = av.open(name, container_options=OPTIONS, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            failure = error
    if container is None:
        if _starts_as_image(path):
            raise InputError(_belongs(path))
        reason = words[0] if words else getattr(failure, "strerror", str(failure))
        if "not on whitelist" in reason:
            reason = "of another kind, or a playlist or script, which shows other files"
        raise InputError(
            f"{path}: not a readable video ({reason}); expected a whole file in a format that FFmpeg decodes"
        ) from failure
    if container.metadata.get("major_brand") in IMAGE_BRANDS:
        container.close()
        raise InputError(_belongs(path))
    return container


def _belongs(image: Path) -> str:
    """Say where an image that was given as a video belongs."""
    kind = "" if image.suffix.lower() in IMAGE_SUFFIXES else " as PNG images"
    return f"{image}: an image; expected a video, or a folder of images (put it into a folder of its own{kind})"


def film_of(container: InputContainer, path: Path) -> VideoStream:
    """Return the stream of a file that is its film: the one marked as default, then the largest, then the first.

    Raises:
        InputError: There is none, or FFmpeg has no decoder for it.
    """
    films = [stream for stream in container.streams.video if not stream.disposition & NO_FILM]
    if not films:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(f"{path}: no film in it (found: {kinds}); expected a video file")
    known = [stream for stream in films if stream.codec_context is not None]
    if not known:
        raise InputError(f"{path}: its codec is not known to FFmpeg; expected a video that FFmpeg decodes")
    return max(known, key=_rank)


@contextmanager
def ffmpeg_words() -> Iterator[list[str]]:
    """Collect what FFmpeg complains of in calls of this thread, each as one line; the terminal gets nothing of it.

    Not to be used around a decoder with threads of its own: they would wait for Python's lock when they complain, and
    who frees the decoder waits for them.
    """
    words: list[str] = []
    with av.logging.Capture() as said:
        av.logging.set_level(av.logging.ERROR)
        try:
            yield words
        finally:
            av.logging.set_level(None)
            words += [" ".join(text.split()) for _, _, text in said]


def _rank(film: VideoStream) -> tuple[bool, int, int]:
    return bool(film.disposition & Disposition.default), film.width * film.height, -film.index


def _starts_as_image(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(12)
    return start.startswith(IMAGE_STARTS) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")
