import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from walking_people import FRAMES, SIZE, picture, walkers

from vadistill.datasets.synthetic.tracks import feet
from vadistill.io.detections import Detections, write_clip
from vadistill.io.frames import FrameStore, write_images
from vadistill.io.hdf5 import writing
from vadistill.stages import make_synthetic_clip


def run_stage(folder, kind, start=0.0, **changed):
    settings = {"frames": {"encoding": "png"}, "validation": {"frames": 40}}
    settings |= {"kind": kind, "part": [start, 1.0], "scene": ""}
    options = {"clip": f"a_{kind}", "split": "validation", "frames": folder / "a.h5", "detections": folder / "d.h5"}
    options |= {"output": folder / "o.h5", "boxes": folder / "b.npy"} | changed
    command = [sys.executable, "-m", "vadistill.stages.make_synthetic_clip", "--settings", json.dumps(settings)]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, clip = tmp_path_factory.mktemp("clip"), walkers()
    write_images(folder / "a.h5", "a", "train", map(picture, range(FRAMES)), "png", fps=25.0)
    one = np.ones(len(clip.frame), np.float32)
    with writing(folder / "d.h5") as file:
        write_clip(file, Detections("a", FRAMES, SIZE, clip.frame, clip.box, one, one[:, None]))
    return folder


@pytest.mark.slow
def test_stage(folder):
    contents = []
    for _ in range(2):
        done = run_stage(folder, "pasted", start=0.5)
        assert done.returncode == 0 and "a_pasted: pasted in 16 of 40 frames" in done.stderr, done.stderr
        contents.append((folder / "o.h5").read_bytes() + (folder / "b.npy").read_bytes())
    assert contents[0] == contents[1]
    store, boxes = FrameStore(folder / "o.h5"), np.load(folder / "b.npy")
    assert (store.clip, store.split, store.fps, len(store)) == ("a_pasted", "validation", 25, 40)
    assert boxes.shape == (40, 1, 4) and boxes.dtype == np.float32
    for t, box in enumerate(boxes):
        assert (store.read(t) != picture(55 + t)).any() == box.any()


def arguments(folder, store, kind, scene=""):
    settings = {"frames": {"encoding": "png"}, "validation": {"frames": 40}, "kind": kind, "part": [0.0, 1.0]}
    settings["scene"] = scene
    outputs = {"output": folder / "made.h5", "boxes": folder / "made.npy"}
    paths = {"frames": folder / f"{store}.h5", "detections": [folder / "many.h5"], **outputs}
    return SimpleNamespace(settings=settings, clip="made", split="validation", **paths)


CAMERAS = {"cam1_a": 0, "cam1_b": 1, "cam2_a": 2, "cam3_a": 0}  # by how many pixels the objects stand elsewhere


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    """Clips of three cameras with the same pictures."""
    folder, clip = tmp_path_factory.mktemp("cameras"), walkers()
    images, one = [picture(t) for t in range(FRAMES)], np.ones(len(clip.frame), np.float32)
    with writing(folder / "many.h5") as file:
        for name, shift in CAMERAS.items():
            write_images(folder / f"{name}.h5", name, "train", images, "png")
            box = clip.box + np.float32(shift)
            write_clip(file, Detections(name, FRAMES, SIZE, clip.frame, box, one, one[:, None]))
    return folder, {name: feet(clip.box + shift) for name, shift in CAMERAS.items()}


def test_every_clip_has_an_anomaly_of_its_own(cameras):
    """Also where nothing but their names tells two clips apart."""
    made = []
    for clip in ("cam1_a", "cam3_a"):
        make_synthetic_clip.main(arguments(cameras[0], clip, "pasted"))
        made.append(np.load(cameras[0] / "made.npy"))
    assert not np.array_equal(*made)


def test_misplaced_is_where_nobody_stood_in_clips_of_the_scene(cameras):
    folder, places = cameras

    def stood(kind, scene):
        clip = make_synthetic_clip.normal_clip(
            arguments(folder, "cam1_a", kind, scene), FrameStore(folder / "cam1_a.h5")
        )
        return {tuple(place) for place in clip.stood.round(3)}

    wanted = {name: {tuple(place) for place in part.round(3)} for name, part in places.items()}
    assert stood("misplaced", r"(cam\d)") == wanted["cam1_a"] | wanted["cam1_b"]
    assert stood("misplaced", "") == set.union(*wanted.values())
    assert stood("pasted", r"(cam\d)") == wanted["cam1_a"]


@pytest.mark.slow
def test_stage_ends_in_one_line(folder):
    with writing(folder / "empty.h5"):
        pass
    done = run_stage(folder, "fast", detections=folder / "empty.h5")
    assert (
        done.returncode == 1
        and "empty.h5: no clip a in 1 files; expected" in done.stderr
        and done.stderr.count("\n") == 1
    )
    done = run_stage(folder, "fast", start=0.95)
    assert done.returncode == 1 and "clip a: 5 usable frames" in done.stderr and done.stderr.count("\n") == 1
