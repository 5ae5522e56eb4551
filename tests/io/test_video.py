"""Videos in many codecs and containers: the same frames as other readers give, their times, their right way up."""

import logging
import shutil
import subprocess

import av
import numpy as np
import pytest
from films import (
    by_filters,
    by_opencv,
    by_pyav,
    interlaced,
    remux,
    scenes,
    woven,
    write_film,
)

from vadistill.errors import InputError
from vadistill.io.frames import FrameStore, write_frames
from vadistill.io.media import pictures
from vadistill.io.media.video import frame_rate, frames_of, wanted_frames_of

TABLE = [
    ("libx264", ".mp4", "yuv420p"),
    ("libx264", ".mkv", "yuv420p"),
    ("libx264", ".mov", "yuv420p"),
    ("libx264", ".ts", "yuv420p"),
    ("libx264", ".m2ts", "yuv420p"),
    ("libx264", ".flv", "yuv420p"),
    ("libx264", ".avi", "yuv420p"),
    ("libx264", ".h264", "yuv420p"),
    ("libx264", ".mp4", "yuvj420p"),
    ("libx264", ".mp4", "yuv444p"),
    ("libx265", ".mp4", "yuv420p"),
    ("libx265", ".ts", "yuv420p"),
    ("libvpx-vp9", ".webm", "yuv420p"),
    ("mpeg2video", ".ts", "yuv420p"),
    ("mpeg2video", ".mpg", "yuv420p"),
    ("mpeg4", ".avi", "yuv420p"),
    ("mpeg4", ".mp4", "yuv420p"),
    ("mjpeg", ".avi", "yuvj420p"),
    ("mjpeg", ".mov", "yuvj420p"),
    ("wmv2", ".wmv", "yuv420p"),
    ("flv", ".flv", "yuv420p"),
    ("prores_ks", ".mov", "yuv422p10le"),
    ("ffv1", ".mkv", "yuv420p"),
    ("ffv1", ".avi", "gray"),
    ("ffv1", ".mkv", "bgr0"),
    ("utvideo", ".avi", "yuv420p"),
    ("qtrle", ".mov", "rgb24"),
    ("rawvideo", ".avi", "bgr24"),
]


def made(tmp_path, codec, suffix, pixels="yuv420p", **options):
    return write_film(tmp_path / f"film{suffix}", codec, pixels=pixels, **options)


def assert_frames(frames, expected):
    frames = list(frames)
    assert len(frames) == len(expected)
    for one, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("codec", "suffix", "pixels"), TABLE)
def test_frames_and_times_in_many_codecs_and_containers(codec, suffix, pixels, tmp_path, caplog):
    path, moments = made(tmp_path, codec, suffix, pixels), []
    # OpenCV gives the 10 bits of ProRes without the place of their colours.
    expected = by_filters(path) if codec == "prores_ks" else by_opencv(path)
    assert_frames(frames_of(path, moments=moments), expected)
    assert len(expected) == 30 and not warnings(caplog)
    np.testing.assert_allclose(moments, np.arange(30) / 25, atol=1e-3)
    assert frame_rate(path) == pytest.approx(25)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg here")
@pytest.mark.parametrize(("codec", "suffix", "pixels"), TABLE)
def test_frames_are_those_of_the_command_ffmpeg(codec, suffix, pixels, tmp_path):
    path = made(tmp_path, codec, suffix, pixels)
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        path,
        "-f",
        "rawvideo",
        "-pix_fmt",
        "bgr24",
        "-fps_mode",
        "passthrough",
        "-",
    ]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    assert_frames(frames_of(path), np.frombuffer(raw, np.uint8).reshape(-1, 48, 64, 3))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ivf"])
def test_av1(suffix, tmp_path):
    path = made(tmp_path, "libsvtav1", suffix, frames=scenes(12, 96, 96))
    expected = by_pyav(path)
    assert_frames(frames_of(path), expected)
    assert len(expected) == 12 and np.abs(expected[5].astype(int) - scenes(12, 96, 96)[5]).mean() < 12


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "libvpx-vp9"])
def test_frames_do_not_depend_on_threads(codec, tmp_path):
    path = made(tmp_path, codec, ".mkv")
    one, several = [], []
    assert_frames(frames_of(path, 3, several), list(frames_of(path, 1, one)))
    assert one == several


def test_one_frame_and_odd_sizes(tmp_path):
    assert_frames(frames_of(write_film(tmp_path / "a.mp4", "libx264", scenes(1))), by_opencv(tmp_path / "a.mp4"))
    path = write_film(tmp_path / "b.avi", "mjpeg", scenes(3, 47, 61), "yuvj420p")
    assert [frame.shape for frame in frames_of(path)] == [(47, 61, 3)] * 3


# Times.


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_times_are_the_presentation_times(suffix, tmp_path, caplog):
    times = [40 * t for t in range(20)] + [800 + 200 * t for t in range(20)]
    path, moments = write_film(tmp_path / f"a{suffix}", "libx264", scenes(40), times=times), []
    assert len(list(frames_of(path, moments=moments))) == 40
    np.testing.assert_allclose(moments, np.array(times) / 1000, atol=2e-3)
    assert not warnings(caplog), "a rate that varies is no loss"
    if suffix == ".mp4":
        assert 8 < frame_rate(path) < 10, "the mean"
    write_frames(tmp_path / "a.h5", "a", "test", path)
    np.testing.assert_array_equal(FrameStore(tmp_path / "a.h5").times, moments)


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
@pytest.mark.parametrize("start", [-3000, 3_600_000])
def test_a_clock_that_begins_elsewhere(suffix, start, tmp_path, caplog):
    """Segments of a recorder go on with its clock; their length may count from there."""
    options = {"avoid_negative_ts": "disabled"} if suffix == ".mkv" else {}
    start = 0 if start < 0 and suffix == ".mkv" else start  # Matroska has no times before zero
    times = [start + 40 * t for t in range(30)]
    path, moments = write_film(tmp_path / f"a{suffix}", "libx264", times=times, container=options), []
    assert len(list(frames_of(path, moments=moments))) == 30 and not warnings(caplog)
    np.testing.assert_allclose(moments, np.arange(30) / 25, atol=2e-3)


def test_joined_recordings_go_on_in_time(tmp_path):
    content = write_film(tmp_path / "a.ts", "mpeg2video", scenes(25)).read_bytes()
    (tmp_path / "b.ts").write_bytes(content * 2)
    moments = []
    assert len(list(frames_of(tmp_path / "b.ts", moments=moments))) == 50
    np.testing.assert_allclose(moments, np.arange(50) / 25, atol=2e-3)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".ts"])
def test_sound_that_lasts_longer_is_no_matter(suffix, tmp_path, caplog):
    path = write_film(tmp_path / f"a{suffix}", "libx264", seconds_of_sound=2.5)
    assert len(list(frames_of(path))) == 30 and not warnings(caplog)


# The right way up.


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_and_mirrored(degrees, mirrored, tmp_path):
    def prepare(stream):
        stream.set_display_rotation(degrees, hflip=mirrored)

    path = write_film(tmp_path / "a.mp4", "libx264", scenes(3), prepare=prepare)
    expected = [np.rot90(frame, degrees // 90) for frame in by_pyav(path)]
    assert_frames(frames_of(path), [frame[:, ::-1] for frame in expected] if mirrored else expected)


# Interlaced.

INTERLACED = [
    ("libx264", ".mp4", "yuv420p"),
    ("libx264", ".ts", "yuv420p"),
    ("libx264", ".m2ts", "yuv420p"),
    ("libx264", ".mkv", "yuv420p"),
    ("mpeg2video", ".mpg", "yuv420p"),
    ("mpeg2video", ".ts", "yuv420p"),
    ("mpeg4", ".avi", "yuv420p"),
    ("prores_ks", ".mov", "yuv422p10le"),
]


@pytest.mark.parametrize(("codec", "suffix", "pixels"), INTERLACED)
def test_interlaced_frames_are_deinterlaced(codec, suffix, pixels, tmp_path, caplog):
    path = made(tmp_path, codec, suffix, pixels, frames=woven(), prepare=interlaced)
    moments, fields = [], scenes(60)
    given = list(frames_of(path, moments=moments))
    assert_frames(given, by_filters(path, ("bwdif", "mode=send_frame:deint=all")))
    assert len(given) == 30 and sum("interlaced" in text for text in warnings(caplog)) == 1
    np.testing.assert_allclose(moments, np.arange(30) / 25, atol=2e-3)
    for t, (frame, combed) in enumerate(zip(given, by_filters(path), strict=True)):
        # One of both fields is kept, whichever the encoder has marked as the first one.
        assert min(distance(frame, field) for field in fields[2 * t : 2 * t + 2]) < 0.8 * distance(
            combed, fields[2 * t]
        )


def distance(frame, other):
    return np.abs(frame[12:].astype(int).mean(2) - other[12:].astype(int).mean(2)).mean()


def test_dv(tmp_path, caplog):
    path = write_film(
        tmp_path / "a.dv", "dvvideo", [np.kron(f, np.ones((12, 12, 1), np.uint8))[:, :720] for f in woven(3)]
    )
    assert_frames(frames_of(path), by_filters(path, ("bwdif", "mode=send_frame:deint=all")))
    assert "interlaced" in caplog.text


def test_the_container_is_believed_where_the_codec_has_no_word_for_it(tmp_path, caplog):
    def prepare(stream):
        stream.codec_context.field_order = 2

    path = write_film(tmp_path / "a.mov", "png", woven(), "rgb24", prepare=prepare)
    assert not any(frame.interlaced_frame for frame in av.open(str(path)).decode(video=0))
    assert_frames(frames_of(path), by_filters(path, ("setfield", "tff"), ("bwdif", "mode=send_frame:deint=all")))
    assert "interlaced" in caplog.text


@pytest.mark.parametrize("first", ["progressive", "interlaced"])
def test_a_film_that_changes_in_the_middle(first, tmp_path, caplog):
    parts = {
        "progressive": write_film(tmp_path / "p.m2v", "mpeg2video", scenes(20), options={"qmax": "3"}),
        "interlaced": write_film(
            tmp_path / "i.m2v", "mpeg2video", woven(20), options={"qmax": "3"}, prepare=interlaced
        ),
    }
    order = [first, *(name for name in parts if name != first)]
    path = tmp_path / "a.m2v"
    path.write_bytes(b"".join(parts[name].read_bytes() for name in order))
    frames = list(frames_of(path))
    assert_frames(frames, by_filters(path, ("bwdif", "mode=send_frame:deint=interlaced")))
    untouched = by_pyav(path)
    same = [np.array_equal(frame, other) for frame, other in zip(frames, untouched, strict=True)]
    kinds = {"progressive": True, "interlaced": False}
    # What the decoder says of the frames at the change itself is off by one.
    assert len(frames) >= 39 and set(same[:18]) == {kinds[order[0]]} and set(same[-18:]) == {kinds[order[1]]}
    assert sum("interlaced" in text for text in warnings(caplog)) == 1


@pytest.mark.parametrize("kind", ["progressive", "interlaced", "progressive interlaced"])
def test_frames_that_nobody_wants_are_decoded_and_not_converted(kind, tmp_path, monkeypatch):
    options = {"options": {"qmax": "3"}}
    films = {
        "progressive": write_film(tmp_path / "p.m2v", "mpeg2video", scenes(20), **options),
        "interlaced": write_film(tmp_path / "i.m2v", "mpeg2video", woven(20), prepare=interlaced, **options),
    }
    path = tmp_path / "a.m2v"
    path.write_bytes(b"".join(films[name].read_bytes() for name in kind.split()))
    moments, again, converted = [], [], []
    expected = list(frames_of(path, moments=moments))
    turned = pictures._turned
    monkeypatch.setattr(pictures, "_turned", lambda picture, *turn: converted.append(0) or turned(picture, *turn))
    given = list(wanted_frames_of(path, lambda t: t % 5 == 0, moments=again))
    assert len(given) == len(expected) and again == moments
    assert all(given[t] is not None for t in range(0, len(given), 5))
    for frame, other in zip(given, expected, strict=True):
        assert frame is None or np.array_equal(frame, other)
    if kind == "progressive":
        assert len(converted) == 4 == sum(frame is not None for frame in given)
    elif kind == "interlaced":
        assert len(converted) == len(given), "each needs its neighbours"
    else:
        assert len(converted) < 26 and all(frame is not None for frame in given[21:])


# What is taken for a film.


def test_a_cover_is_no_film_and_of_several_films_the_default_one_is_taken(tmp_path, caplog):
    film, small = write_film(tmp_path / "a.mp4", "libx264"), scenes(30, 32, 32)
    path = tmp_path / "b.mkv"
    with av.open(str(film)) as source, av.open(str(path), "w") as copy:
        larger = copy.add_stream_from_template(source.streams.video[0])
        other = copy.add_stream("mpeg4", rate=25)
        other.height, other.width, other.pix_fmt = 32, 32, "yuv420p"
        larger.disposition, other.disposition = 0, av.stream.Disposition.default
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = larger
                copy.mux(packet)
        for frame in small:
            copy.mux(other.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        copy.mux(other.encode())
    assert [frame.shape for frame in frames_of(path)] == [(32, 32, 3)] * 30
    assert "stream 1 is taken of several" in caplog.text


def test_a_cover_picture_beside_a_film_and_beside_sound(tmp_path):
    film, cover = (
        write_film(tmp_path / "a.mp4", "libx264"),
        write_film(tmp_path / "c.mov", "png", scenes(1, 90, 90), "rgb24"),
    )
    for name, parts in {"b.mp4": (cover, film), "d.mp4": (cover,)}.items():
        with av.open(str(tmp_path / name), "w") as copy:
            sources = [av.open(str(part)) for part in parts]
            streams = [copy.add_stream_from_template(source.streams.video[0]) for source in sources]
            streams[0].disposition = av.stream.Disposition.attached_pic
            for source, stream in zip(sources, streams, strict=True):
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.stream = stream
                        copy.mux(packet)
    assert_frames(frames_of(tmp_path / "b.mp4"), by_opencv(film))
    with pytest.raises(InputError, match=r"d\.mp4: no film in it \(found: video\)"):
        list(frames_of(tmp_path / "d.mp4"))


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as film:
        sound = film.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        film.mux([*sound.encode(frame), *sound.encode()])
    with pytest.raises(InputError, match=r"a\.mp4: no film in it \(found: audio\); expected a video file"):
        list(frames_of(tmp_path / "a.mp4"))


def test_a_size_that_changes_is_refused(tmp_path):
    parts = [write_film(tmp_path / f"{side}.ts", "mpeg2video", scenes(9, side, side)) for side in (32, 48)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match=r"a\.ts: frame \d: is 48x48 pixels; expected 32x32 as the first frame"):
        list(frames_of(tmp_path / "a.ts"))


SCRIPTS = {
    "ffconcat": "ffconcat version 1.0\nfile film.mp4\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\nfilm.mp4\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "subtitles": "1\n00:00:00,000 --> 00:00:02,000\nhello\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
}


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".m3u8", ".ffconcat", ".txt", ".sdp", ".mpd"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_and_playlists_are_refused(script, suffix, tmp_path):
    write_film(tmp_path / "film.mp4", "libx264", scenes(3))
    (tmp_path / f"a{suffix}").write_text(SCRIPTS[script])
    with pytest.raises(InputError, match=rf"a\{suffix}: not a readable video \(.*\); expected a whole file"):
        list(frames_of(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize(
    "name", ["a%03d.mp4", "http:x.mp4", "concat:a|b.mp4", "-i.mp4", "no suffix", "a.jpg", "é ü.mp4"]
)
def test_a_name_is_nothing_but_a_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "film.mp4", "libx264", scenes(3)).rename(tmp_path / name)
    assert len(list(frames_of(name))) == 3


def test_a_name_that_is_not_utf_8(tmp_path):
    name = tmp_path / "caf\udce9.mp4"
    write_film(tmp_path / "film.mp4", "libx264", scenes(3)).rename(name)
    with pytest.raises(InputError, match=r"caf\\udce9\.mp4.*expected another name"):
        list(frames_of(name))


@pytest.mark.parametrize(("codec", "suffix", "pixels"), [("gif", ".gif", "rgb8"), ("apng", ".apng", "rgb24")])
def test_an_animated_image_is_an_image(codec, suffix, pixels, tmp_path):
    path = write_film(tmp_path / f"a{suffix}", codec, scenes(3), pixels).rename(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4: an image; expected a video, or a folder of images"):
        list(frames_of(path))


def test_a_reader_that_stops_leaves_no_open_file(tmp_path):
    frames = frames_of(write_film(tmp_path / "a.mp4", "libx264"))
    next(frames)
    frames.close()
    remux(tmp_path / "a.mp4", tmp_path / "b.mp4", lambda number: True)
    assert len(list(frames_of(tmp_path / "b.mp4"))) == 30
