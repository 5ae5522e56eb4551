"""What a user's words for videos stand for, up to the scores."""

import json
import os
from pathlib import Path

import pytest
from students import write_student
from trees import pictures, write_avi, write_images, write_mp4

from vadistill.inference.sources import sources_of


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "rtsp://user@camera:554/stream",
            "rtsp://user@camera:554/stream: an address, and nothing is read from a network",
        ),
        ("http://example.org/x.mp4", "http://example.org/x.mp4: an address"),
        ("file:///videos/x.mp4", "expected the path alone, /videos/x.mp4"),
        ("0", "0: no file of this name, and cameras are not read"),
        ("/dev/video0", "/dev/video0: "),
        ("/dev/null", "/dev/null: a device or pipe"),
        ("-", "-: the standard input is not read"),
        ("none/*.mp4", "none/*.mp4: no file matches"),
        ("none/x.mp4", "none/x.mp4: missing; expected a video"),
    ],
)
def test_what_is_not_read_is_said_with_what_to_do(words, told):
    found, (line,) = sources_of([Path(words)])
    assert not found and line.startswith(f"{words}: ") and told in line and "expected" in line
    assert "\n" not in line


def test_folders(tmp_path):
    write_images(tmp_path / "images", pictures(2), ".jpg")
    for name in ("clip10.mp4", "clip9.avi"):
        (write_mp4 if name.endswith("mp4") else write_avi)(tmp_path / "videos" / name, pictures())
    (tmp_path / "videos" / "Thumbs.db").write_bytes(b"stray")
    write_images(tmp_path / "both", pictures(2), ".jpg")
    write_mp4(tmp_path / "both" / "a.mp4", pictures())
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.pdf").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    found, errors = sources_of([tmp_path / name for name in ("both", "videos", "empty", "images", "other", "pipe")])
    assert found == [tmp_path / "videos/clip9.avi", tmp_path / "videos/clip10.mp4", tmp_path / "images"]
    both, empty, other, pipe = errors
    assert "both: holds 2 images and 1 videos; expected" in both and str(tmp_path / "both/a.mp4") in both
    assert "empty: is empty; expected a folder of images, or of videos" in empty and "holds notes.pdf" in other
    assert "pipe: a device or pipe" in pipe


def test_a_folder_of_videos_is_scored_and_judged(vadistill, tmp_path):
    write_student(tmp_path / "student.pt")
    for name in ("clip9", "clip10"):
        write_avi(tmp_path / "videos" / f"{name}.avi", pictures())
    words = [tmp_path / "videos", "--model", tmp_path / "student.pt", "--output", tmp_path / "scores"]
    assert vadistill("score", *words).returncode == 0
    (tmp_path / "labels.csv").write_text("clip,start,end\nclip9.avi,2,5\nclip10.avi,0,3\n")
    done = vadistill("auc", "--scores", tmp_path / "scores", "--labels", tmp_path / "labels.csv")
    assert done.returncode == 0 and "error: " not in done.stderr
    made = json.loads(done.stdout)
    assert (made["clips"], made["frames"]) == (2, 20) and 0 <= made["micro_auc"] <= 1


def test_words_that_stand_for_nothing_do_not_stop_the_others(vadistill, tmp_path):
    write_student(tmp_path / "student.pt")
    write_avi(tmp_path / "a.avi", pictures())
    words = ["rtsp://camera/1", tmp_path / "a.avi", "--model", tmp_path / "student.pt", "--output", tmp_path / "scores"]
    done = vadistill("score", *words)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(errors) == 1 and errors[0].startswith("error: rtsp://camera/1: an address")
    assert [path.name for path in (tmp_path / "scores").iterdir()] == ["a.csv"]
