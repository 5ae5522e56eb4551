"""Training clips that are too short are found by their frames, without decoding more than it takes."""

import shutil

import pytest
from trees import pictures, write_avi, write_images, write_mp4

from vadistill.datasets.clips import Clip
from vadistill.datasets.lengths import check_single, count_frames, short_clips
from vadistill.errors import InputError
from vadistill.io.frames import write_frames


def clips(folder, **frames):
    """Training clips of so many frames: videos of two containers and folders of images by turns."""
    writers = (
        ("{}.mp4", write_mp4),
        ("{}.avi", write_avi),
        ("{}", lambda path, made: write_images(path, made, ".png")),
    )
    made = []
    for index, (name, count) in enumerate(frames.items()):
        pattern, write = writers[index % 3]
        write(folder / pattern.format(name), pictures(1) * count)
        made.append(Clip(name, "train", folder / pattern.format(name)))
    return made


def test_short_clips_are_named_with_their_frames(tmp_path):
    made = clips(tmp_path, one=1, six=6, eleven=11, twelve=12, more=13, many=14)
    assert short_clips(made, lambda name: tmp_path / f"{name}.h5") == {"one": 1, "six": 6, "eleven": 11}


def test_what_cannot_be_read_is_left_to_the_extraction(tmp_path):
    (damaged,) = clips(tmp_path, damaged=20)
    damaged.source.write_bytes(b"no video")
    missing = Clip("missing", "train", tmp_path / "none.mp4")
    (tmp_path / "empty").mkdir()
    empty = Clip("empty", "train", tmp_path / "empty")
    assert short_clips([damaged, missing, empty, *clips(tmp_path, short=3)], lambda _: tmp_path / "no.h5") == {
        "short": 3
    }


def test_stored_clips_are_counted_instead_of_their_sources_while_these_are_older(tmp_path):
    (clip,) = clips(tmp_path, a=5)
    write_frames(tmp_path / "a.h5", "a", "train", clip.source)
    clip.source.write_bytes(b"no video any more")
    shutil.copystat(tmp_path / "a.h5", clip.source)
    assert short_clips([clip], lambda _: tmp_path / "a.h5") == {}, "not older: the source counts, and is unreadable"
    (tmp_path / "a.h5").touch()
    assert short_clips([clip], lambda _: tmp_path / "a.h5") == {"a": 5}


def test_no_more_is_counted_than_asked_for(tmp_path):
    made = clips(tmp_path, a=9, b=9, c=9)
    assert count_frames({clip.name: clip.source for clip in made}, 4) == {"a": 4, "b": 4, "c": 4}


@pytest.mark.slow
@pytest.mark.parametrize(("share", "least"), [(0.5, 24), (0.4, 30), (0.15, 80)])
def test_a_single_clip_is_long_enough_to_be_divided(tmp_path, share, least):
    for frames in (least - 1, least):
        (clip,) = clips(tmp_path / str(frames), only=frames)
        for known in (None, frames):
            if frames == least:
                check_single(clip, tmp_path / "no.h5", share, known)
                continue
            with pytest.raises(InputError, match=rf"only\.mp4: {frames} frames.*expected at least {least} frames"):
                check_single(clip, tmp_path / "no.h5", share, known)
