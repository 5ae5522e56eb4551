"""Whether a video is whole: what its file states, and what FFmpeg meets on the way through it."""

import logging
import re
from array import array
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vadistill.errors import InputError
from vadistill.io.media.stated_size import stated_size

log = logging.getLogger(__name__)
LEAST, SHARE = 2, 0.01  # so many frames, or this share of all, may be lost; then a line of the log says so
TIMED = {"matroska", "flv", "asf", "nut", "mxf", "gxf", "wtv", "rm"}  # formats that state how long they last
STEADY = 0.9  # share of the distances in time that are alike at a constant rate
ORDER = 16  # frames; by so many a stored frame may be later than the one shown before it
NEAR = 25  # frames between a damaged packet and a gap that it explains: decoders wait, and need other frames
ONE_EACH = {
    "h264",
    "hevc",
    "vvc",
    "mpeg1video",
    "mpeg2video",
}  # codecs whose packets are one frame each, or a field
REMEDY = "if it plays to its end, encode it again or give its frames as a folder of images"


class Evidence:
    """What speaks for and against a video's being whole, gathered while it is read.

    Three things can be lost. Up to two frames of each kind, or one percent of all, are tolerated and logged; more, and
    films of which nothing else is left, are refused:

    - the **head**: frames before the first key frame. They cannot be decoded, or come out as rubbish, and are left out.
      Frames that are stored after the first key frame but shown before it (of an open group of pictures) are left out
      as well, as every player does it, and only logged.
    - the **middle**: packets that cannot be read, that the demuxer marks as corrupt, that come to nothing when decoded,
      or whose frame the decoder marks as corrupt; and what is missing in a gap in time beside such a packet, in a film
      of a constant rate. A gap alone is no loss: the rate may vary, or a recorder may have paused. In a film of a
      constant rate it is logged.
    - the **end**, by the film's own clock. A file that is shorter than it states (``stated_size``) has lost the frames
      that its index, its number of frames or its length name beyond what could be read. In one that has its full size
      the index counts, where there is one, else the length, and every stream must end before it: another track may be
      longer than the film. Transport and program streams, Ogg and bare codec streams state no length, so that nothing
      but a damaged last frame tells of a cut.
    """

    def __init__(self, path: Path, container: InputContainer, film: VideoStream) -> None:
        """Note what the file states.

        Args:
            path: The file.
            container: The file, opened.
            film: Its stream that is decoded.
        """
        self._path, self._film = path, film
        self._formats = set(container.format.name.split(","))
        self._ticks = {stream.index: float(stream.time_base) for stream in container.streams if stream.time_base}
        self._frame = 1 / float(film.guessed_rate or 25)  # seconds
        self._start = _Start(film)
        self._own_length = _tagged_length(film)
        self._length = self._own_length or _stated_length(container, film, self._formats)
        self._packets = self._used = self._damaged = 0
        self._bad: list[int] = []  # how many frames there were before each packet that was lost or damaged
        self._fields = film.codec_context.codec.canonical_name not in ONE_EACH
        self._first, self._last, self._reach = float("inf"), float("-inf"), float("-inf")
        self._words: list[str] = []
        self._times = array("d")

    def packet(self, packet: Packet) -> None:
        """Note a packet of any stream."""
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            tick = self._ticks.get(packet.stream_index, 0.0)
            start, end = tick * time, tick * (time + (packet.duration or 0))
            self._reach = max(self._reach, end)
        if packet.stream_index == self._film.index:
            self._packets += 1
            self._start.packet(packet)
            if time is not None:
                self._first = min(self._first, start)
                self._last = max(self._last, start + self._frame)

    def frames(self, packet: Packet | None, frames: Sequence[VideoFrame], words: Sequence[str]) -> list[VideoFrame]:
        """Note what was decoded of a packet, or at the end, and return what of it can be used."""
        used = [frame for frame in frames if self._start.usable(frame)]
        if (packet is not None and packet.is_corrupt) or any(frame.is_corrupt for frame in used):
            self._bad.append(self._used)
            self._damaged += bool(used)
        self._words += words
        self._used += len(used)
        self._fields = self._fields or any(frame.interlaced_frame for frame in used)
        return used

    def shown(self, seconds: float) -> None:
        """Note the time of the next frame."""
        self._times.append(seconds)

    def undecodable(self, packet: Packet | None, error: av.FFmpegError, words: Sequence[str]) -> None:
        """Note that the decoder failed at a packet; before the first key frame that is no news."""
        if not self._start.lacks_key(packet):
            self._bad.append(self._used)
        self._words += words or [str(error.strerror)]

    def unreadable(self, error: av.FFmpegError, words: Sequence[str]) -> None:
        """Note that the file could not be read at a place."""
        self._bad.append(self._used)
        self._words += words or [str(error.strerror)]

    def said(self, words: Sequence[str]) -> None:
        """Note what FFmpeg complains of without a loss."""
        self._words += words

    def check(self, decoded: int) -> None:
        """Refuse the video or log what it lacks, after its last frame; see above.

        Args:
            decoded: How many frames came of it.

        Raises:
            InputError: It is not whole, or there were no frames.
        """
        most, head = max(LEAST, SHARE * self._packets), self._start.lost
        if head > most or (head and not decoded):
            raise InputError(
                f"{self._path}: starts between key frames: its first {_frames(head)} cannot be decoded{self._said()}; "
                "expected a file that begins with a key frame (ffmpeg -i IN -c copy OUT drops them; labels then count "
                "from the first one that is left)"
            )
        if not decoded:
            raise InputError(f"{self._path}: no frame could be decoded{self._said()}; expected a video with frames")
        self._judge_end(decoded, most)
        gaps = self._gaps()
        explained = sum(count for t, count in gaps.items() if any(abs(t - bad) <= NEAR for bad in self._bad))
        lost = self._damaged + max(len(self._bad) - self._damaged, self._silent(), explained)
        if lost > most or lost >= decoded:
            raise InputError(
                f"{self._path}: damaged: {_frames(lost)} of {decoded + lost} lost or damaged{self._said()}; expected a "
                f"whole file ({REMEDY})"
            )
        self._log_rest(decoded, lost)
        if gaps:
            more = f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
            text = "%s: time jumps before frame %d%s; %s may be missing"
            log.warning(text, self._path, min(gaps), more, _frames(sum(gaps.values())))

    def _silent(self) -> int:
        """Return how many packets came to nothing, of a film where each one is a frame, not a field of one."""
        return 0 if self._fields else max(0, self._packets - self._start.unused - self._used)

    def _gaps(self) -> dict[int, int]:
        """Return by frame how many are missing before it, in a film of a constant rate."""
        missing = self._missing()
        return {int(t): int(missing[t]) for t in np.flatnonzero(missing)}

    def _missing(self) -> np.ndarray:
        """Return how many frames are missing before each frame (T,), by their times, in a film of a constant rate."""
        distances = np.diff(self._times, prepend=self._times[:1])
        real = distances[1:]  # the first frame has none before it
        usual = float(np.median(real)) if len(real) else 0.0
        if not usual or (np.abs(real - usual) < usual / 4).mean() < STEADY:
            return np.zeros(len(distances), int)
        return np.maximum(0, (distances / usual).round().astype(int) - 1)

    def _judge_end(self, decoded: int, most: float) -> None:
        """Refuse a video that ends too early; log how it differs from what it declares."""
        size, stated = self._path.stat().st_size, stated_size(self._path, self._formats)
        cut, listed = size < stated, self._listed(size < stated)
        short = listed - (decoded + self._start.unused if cut else self._packets)
        if not self._film.frames:
            short = max(short, self._early(size, stated))
        if short > most:
            total = max(listed, decoded + short)
            raise InputError(
                f"{self._path}: truncated: {decoded} of {total} frames could be decoded{self._said()}; expected a "
                f"whole file ({REMEDY})"
            )
        declared = max(listed, self._film.frames)
        if declared > self._packets:
            log.warning("%s: %d frames decoded, %d declared; the decoded ones count", self._path, decoded, declared)
        if cut:
            text = "%s: ends after %d of the %d bytes that it states; its last frames may be damaged"
            log.warning(text, self._path, size, stated)

    def _listed(self, cut: bool) -> int:
        """Return how many frames the file lists, 0 where it does not.

        The number in the head of an AVI file may be off; the index at the end of a whole one is right.
        """
        if "mov" in self._formats or ("avi" in self._formats and not cut):
            return sum(entry.size > 0 for entry in self._film.index_entries)
        return self._film.frames if self._formats & {"avi", "ivf"} else 0

    def _early(self, size: int, stated: int) -> int:
        """Return how many frames before the stated length the film ends, 0 where nothing is known.

        The clock may begin anywhere, and the stated length may count from there or from zero: the lower number is sure.
        Of a file that is cut the bytes that are missing tell which it is. They may be an index behind the frames, or
        another track's; so they and the clock must both say it, unless the length is the film's own.
        """
        early = cut = 0.0
        if self._length is not None:
            reach = max(self._reach, self._last)
            longest = max(np.diff(self._times), default=0.0)  # the last frame may last as long
            early = self._length - max(reach, reach - self._first) - longest
        if size < stated and "mov" not in self._formats:
            cut = (stated - size) / (size / self._packets) * self._frame
            if self._length is not None:
                clocks = [self._length - self._last + start for start in (0.0, max(0.0, self._first))]
                by_clock = min(clocks, key=lambda seconds: abs(seconds - cut))
                cut = by_clock if self._own_length else min(cut, by_clock)
            cut += self._missing()[-ORDER:].sum() * self._frame  # the last frames came, but not those before them
        return int(max(0.0, early, cut) / self._frame + 0.5)

    def _log_rest(self, decoded: int, lost: int) -> None:
        """Log what is tolerated."""
        kinds = {
            "before the first key frame": self._start.lost,
            "that belong to what was before the first key frame": self._start.leading,
            "hidden by the file's list of edits": self._start.hidden,
            "lost or damaged": lost,
        }
        found = [f"{_frames(count)} {text}" for text, count in kinds.items() if count]
        if found or self._words:
            text = ", ".join(found) or "FFmpeg complains"
            log.warning("%s: %s; the %d decoded ones count%s", self._path, text, decoded, self._said())

    def _said(self) -> str:
        """Return FFmpeg's first words, as part of a line."""
        if not self._words:
            return ""
        more = f", and {len(self._words) - 1} more" if len(self._words) > 1 else ""
        return f" (FFmpeg: {self._words[0][:200]}{more})"


class _Start:
    """Finds the first frame of a film that can be used, and counts what is lost before it.

    Attributes:
        leading: Frames stored after the first key frame and shown before it.
        hidden: Packets of frames that are not to be shown (edit lists).
    """

    def __init__(self, film: VideoStream) -> None:
        self.leading = self.hidden = 0
        self._begun = film.codec_context.codec.intra_only
        self._key, self._before = False, 0
        self._key_time: int | None = None
        self._times: list[int] = []  # of frames from the key frame on

    @property
    def lost(self) -> int:
        """Frames stored before the first key frame, and others that the decoder needed to come right."""
        return self._before if self._begun or not self._times else self._before + len(self._times)

    def packet(self, packet: Packet) -> None:
        """Note a packet of the film."""
        self.hidden += packet.is_discard
        if self._begun:
            return
        if not self._key and packet.is_keyframe:
            self._key, self._key_time = True, packet.pts
        if packet.is_discard:
            return
        if not self._key:
            self._before += 1
        elif packet.pts is not None and self._key_time is not None:
            if packet.pts < self._key_time:
                self.leading += 1
            else:
                self._times.append(packet.pts)

    @property
    def unused(self) -> int:
        """Packets of which no frame is expected."""
        return self.lost + self.leading + self.hidden

    def lacks_key(self, packet: Packet | None) -> bool:
        """Return whether a packet cannot be decoded because it needs a key frame that is not there."""
        if self._begun or packet is None:
            return False
        if packet.pts is None or self._key_time is None:
            return not self._key
        return not self._key or packet.pts < self._key_time

    def usable(self, frame: VideoFrame) -> bool:
        """Return whether a frame can be used: it is a key frame, or is shown after one."""
        if not self._begun:
            late = frame.pts is None or self._key_time is None or frame.pts >= self._key_time
            self._begun = bool(frame.key_frame) or (self._key and late)
            if self._begun:
                if not self._key:  # the container does not say which are key frames
                    self._before = 0
                self._before += sum(time < frame.pts for time in self._times) if frame.pts is not None else 0
        return self._begun


def _frames(count: int) -> str:
    return f"{count} frame{'s' if count != 1 else ''}"


def _tagged_length(film: VideoStream) -> float | None:
    """Return the seconds that a Matroska file's tags say its film lasts; None where they do not."""
    tag = next((film.metadata[name] for name in film.metadata if name.upper().startswith("DURATION")), "")
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", tag):
        hours, minutes, seconds = found.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None


def _stated_length(container: InputContainer, film: VideoStream, formats: set[str]) -> float | None:
    """Return the seconds that a file says it lasts, of an MP4 file in fragments its film; None where it does not."""
    if "mov" in formats and not film.frames and film.duration and film.time_base:
        return float(film.duration * film.time_base)
    if formats & TIMED and container.duration:
        return container.duration / av.time_base
    return None
