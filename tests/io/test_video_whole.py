"""Videos that are not whole: at the head, in the middle, at the end; and whole ones that do not look it."""

import logging
import re

import av
import numpy as np
import pytest
from films import remux, scenes, write_film

from vadistill.errors import InputError
from vadistill.io.media.stated_size import stated_size
from vadistill.io.media.video import frames_of


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def told(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("share", [0.4, 0.8])
@pytest.mark.parametrize(
    ("codec", "suffix", "container"),
    [
        ("libx264", ".mp4", {"movflags": "+faststart"}),
        ("libx264", ".mov", {"movflags": "+faststart"}),
        ("libx264", ".mp4", {"movflags": "dash+global_sidx"}),
        ("libx264", ".mkv", {}),
        ("libvpx-vp9", ".webm", {}),
        ("libx264", ".avi", {}),
        ("mpeg4", ".avi", {}),
        ("flv", ".flv", {}),
        ("wmv2", ".wmv", {}),
        ("libsvtav1", ".ivf", {}),
    ],
)
def test_a_cut_file_is_refused(codec, suffix, container, share, tmp_path):
    frames = scenes(60, 96, 96)
    path = cut(write_film(tmp_path / f"a{suffix}", codec, frames, container=container), share)
    with pytest.raises(
        InputError, match=rf"a\{suffix}: truncated: \d+ of \d+ frames could be decoded.*expected a whole"
    ):
        list(frames_of(path))


def test_a_cut_fragment_is_refused(tmp_path):
    path = write_film(tmp_path / "a.mp4", "libx264", scenes(60), container={"movflags": "frag_keyframe+empty_moov"})
    content = path.read_bytes()
    third = content.index(b"mdat", content.index(b"mdat", content.index(b"mdat") + 4) + 4)
    path.write_bytes(content[: third + 900])
    with pytest.raises(InputError, match=r"a\.mp4: truncated: \d+ of 36 frames could be decoded"):
        list(frames_of(path))


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_file_without_its_index_is_refused_in_ffmpegs_words(suffix, tmp_path, capfd):
    path = cut(write_film(tmp_path / f"a{suffix}", "libx264"), 0.7)
    with pytest.raises(InputError, match=rf"a\{suffix}: not a readable video \(.+\); expected a whole file"):
        list(frames_of(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".ts"), ("mpeg2video", ".mpg"), ("libx264", ".h264")])
def test_a_cut_file_that_states_no_length_is_logged_or_damaged(codec, suffix, tmp_path, caplog, capfd):
    path = write_film(tmp_path / f"a{suffix}", codec, scenes(60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    try:
        assert 20 < len(list(frames_of(path))) < 60
    except InputError as error:
        assert re.search(r": damaged: \d frames of \d+ lost", str(error))
    else:
        assert told(caplog) and all(f"a{suffix}" in text for text in told(caplog))
    assert capfd.readouterr() == ("", "")


def test_a_segment_whose_clock_goes_on_is_refused_when_cut(tmp_path, caplog):
    path = write_film(tmp_path / "a.mkv", "libx264", scenes(60), times=[20_000 + 40 * t for t in range(60)])
    content = path.read_bytes()
    assert len(list(frames_of(path))) == 60 and not told(caplog)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.mkv: truncated: \d\d of [56]\d frames"):
        list(frames_of(path))


@pytest.mark.parametrize("declared", [0, 10, 29, 31, 60, 2000])
def test_the_number_in_the_head_of_a_whole_avi_file_may_be_off(declared, tmp_path, caplog):
    path = write_film(tmp_path / "a.avi", "mjpeg", pixels="yuvj420p")
    content = bytearray(path.read_bytes())
    for place in (content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32):
        content[place : place + 4] = declared.to_bytes(4, "little")
    path.write_bytes(content)
    assert len(list(frames_of(path))) == 30
    assert bool(told(caplog)) == (declared > 30)


def test_a_film_that_ends_before_its_sound_is_whole_and_one_that_is_cut_is_not(tmp_path, caplog):
    path = write_film(tmp_path / "a.mkv", "libx264", scenes(60), seconds_of_sound=4)
    assert len(list(frames_of(path))) == 60 and not told(caplog)
    with pytest.raises(InputError, match=r"a\.mkv: truncated"):
        list(frames_of(cut(path, 0.5)))


# The head.


@pytest.mark.parametrize(("codec", "lost"), [("libx264", 7), ("libx265", 7), ("mpeg2video", 7), ("mpeg4", 7)])
@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_a_film_that_starts_between_key_frames_is_refused(codec, lost, suffix, tmp_path):
    whole = write_film(tmp_path / f"whole{suffix}", codec, scenes(36))
    path = remux(whole, tmp_path / f"a{suffix}", lambda number: number >= 12 - lost)
    with pytest.raises(
        InputError, match=rf"a\{suffix}: starts between key frames: its first \d+ frames cannot be"
    ) as told:
        list(frames_of(path))
    count = int(re.search(r"first (\d+) frames", str(told.value))[1])
    assert lost - 2 <= count <= lost, "frames of B kind that follow the key frame in the file are not among them"
    assert "expected a file that begins with a key frame" in str(told.value)


def test_one_frame_before_the_first_key_frame_is_left_out_and_logged(tmp_path, caplog):
    options = {"g": "12", "bf": "0"}
    whole = write_film(tmp_path / "whole.ts", "libx264", scenes(36), options=options)
    path = remux(whole, tmp_path / "a.ts", lambda number: number >= 11)
    moments = []
    frames, expected = list(frames_of(path, moments=moments)), list(frames_of(whole))[12:]
    assert len(frames) == 24 and all(np.array_equal(*pair) for pair in zip(frames, expected, strict=True))
    assert moments[0] == 0 and any("1 frame before the first key frame" in text for text in told(caplog))


def test_a_film_without_a_key_frame_is_refused(tmp_path):
    whole = write_film(tmp_path / "whole.ts", "mpeg4", scenes(12))
    path = remux(whole, tmp_path / "a.ts", lambda number: number >= 5)
    with pytest.raises(InputError, match=r"a\.ts: starts between key frames: its first 7 frames"):
        list(frames_of(path))


def test_frames_that_a_list_of_edits_hides_are_no_loss(tmp_path, caplog):
    whole = write_film(tmp_path / "a.mp4", "libx264", scenes(36))
    content = bytearray(whole.read_bytes())
    place = content.index(b"elst") + 12  # one entry: its length and where it starts in the film, in ticks
    start = int.from_bytes(content[place + 4 : place + 8], "big")
    scale = int.from_bytes(content[content.index(b"mdhd") + 16 :][:4], "big")
    content[place + 4 : place + 8] = (start + 5 * scale // 25).to_bytes(4, "big")
    whole.write_bytes(content)
    frames = list(frames_of(whole))
    assert 30 <= len(frames) <= 31 and "hidden by the file's list of edits" in caplog.text


# The middle.


def zeroed(path, start, count):
    content = bytearray(path.read_bytes())
    first = int(len(content) * start)
    content[first : first + count] = bytes(count)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx264", ".mp4"), ("libx264", ".mkv"), ("mpeg4", ".mp4"), ("libx265", ".ts"), ("mpeg2video", ".ts")],
)
def test_a_hole_is_refused_with_the_decoders_words(codec, suffix, tmp_path, capfd):
    path = write_film(tmp_path / f"a{suffix}", codec, scenes(60, 96, 96))
    zeroed(path, 0.4, path.stat().st_size // 5)
    with pytest.raises(InputError, match=rf"a\{suffix}: (damaged|truncated): .*\(FFmpeg: .+\); expected a whole file"):
        list(frames_of(path))
    assert capfd.readouterr() == ("", "")


def test_a_small_fault_is_logged_with_the_decoders_words(tmp_path, caplog, capfd):
    path = zeroed(write_film(tmp_path / "a.mp4", "mpeg4", scenes(60), options={"g": "1"}), 0.5, 40)
    assert len(list(frames_of(path))) in (59, 60)
    assert any(re.search(r"[12] frames? lost or damaged; .*\(FFmpeg: ", text) for text in told(caplog))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_a_pause_of_the_recorder_is_logged_and_times_are_right(suffix, tmp_path, caplog):
    whole = write_film(tmp_path / f"whole{suffix}", "libx264", scenes(60), options={"g": "12", "bf": "0"})
    path, moments = remux(whole, tmp_path / f"a{suffix}", lambda number: not 24 <= number < 36), []
    assert len(list(frames_of(path, moments=moments))) == 48
    expected = [t / 25 for t in range(60) if not 24 <= t < 36]
    np.testing.assert_allclose(moments, expected, atol=2e-3)
    assert any("time jumps before frame 24; 12 frames may be missing" in text for text in told(caplog))


def test_frames_that_a_short_film_lacks_are_logged(tmp_path, caplog):
    whole = write_film(tmp_path / "whole.mp4", "mpeg4", scenes(18), options={"g": "1"})
    path = remux(whole, tmp_path / "a.mkv", lambda number: not 6 <= number < 9)
    assert len(list(frames_of(path))) == 15
    assert any("time jumps before frame 6; 3 frames may be missing" in text for text in told(caplog))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_film_of_nothing_but_damaged_frames_is_refused(count, tmp_path):
    path = write_film(tmp_path / "a.mkv", "libx264", scenes(count, 96, 96), options={"g": "1"})
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as film:
        middles = [packet.pos + packet.size // 2 for packet in film.demux(video=0) if packet.size]
    for middle in middles:
        content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mkv: (damaged: |no frame could be decoded)"):
        list(frames_of(path))


def test_packets_that_a_transport_stream_lost_are_refused(tmp_path):
    path = write_film(tmp_path / "a.ts", "libx264", scenes(60, 96, 96))
    content = path.read_bytes()
    middle = len(content) // 2 // 188 * 188
    path.write_bytes(content[:middle] + content[middle + 188 * (len(content) // 188 // 5) :])
    with pytest.raises(InputError, match=r"a\.ts: damaged: \d+ frames of \d+ lost or damaged"):
        list(frames_of(path))


# What files say of their size.


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("libx264", ".mp4"),
        ("libx264", ".mkv"),
        ("mjpeg", ".avi"),
        ("libx264", ".ts"),
        ("libx264", ".m2ts"),
        ("wmv2", ".wmv"),
    ],
)
def test_stated_sizes(codec, suffix, tmp_path):
    path = write_film(tmp_path / f"a{suffix}", codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p")
    with av.open(str(path)) as film:
        formats = film.format.name.split(",")
    size = path.stat().st_size
    assert stated_size(path, formats) == size
    path.write_bytes(path.read_bytes()[:-3])
    assert stated_size(path, formats) >= size - 3 + (suffix == ".mp4")
    assert stated_size(path, ["ogg"]) == 0


def test_a_recording_that_never_ended_states_no_size(tmp_path, caplog):
    path = write_film(tmp_path / "a.mkv", "libx264", container={"live": "1"})
    assert stated_size(path, ["matroska"]) == 0
    assert len(list(frames_of(path))) == 30 and not told(caplog)
