"""Flow of objects that is measured once for all teachers."""

import subprocess
import sys
from argparse import Namespace

import h5py
import numpy as np
import pytest
from stored_clips import HEIGHT, WIDTH, store_of

from vadistill.detection.objects import read_objects
from vadistill.errors import InputError
from vadistill.io.detections import Detections, write_clip
from vadistill.io.frames import frame_stores
from vadistill.io.object_flow import flow_stores
from vadistill.settings import TEACHERS, BackgroundAgnosticConfig, ObjectFlowConfig, ObjectsConfig
from vadistill.stages import cut_flow
from vadistill.teachers.crops import CropRequest
from vadistill.teachers.loader import batches_of_clips

KEPT, REQUEST = ObjectFlowConfig(True, 32, 2, "clamp"), CropRequest(32, gray=(0,), flow=(-2, 2))


def clip_of(name, frame):
    box = np.array([[10 + t, 12, 34 + t, 50 + row % 3] for row, t in enumerate(frame)], np.float32).reshape(-1, 4)
    confidence, probabilities = np.full(len(frame), 0.9, np.float32), np.full((len(frame), 1), 0.5, np.float16)
    return Detections(name, 12, (HEIGHT, WIDTH), np.array(frame, np.int32), box, confidence, probabilities)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Frames of noise that moves, detections and the flow of their objects, as files."""
    folder, rng = tmp_path_factory.mktemp("flow"), np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (HEIGHT // 3, WIDTH, 3), np.uint8), np.ones((3, 1, 1), np.uint8))
    frames = [store_of(folder, name, [np.roll(texture, 2 * t, 1) for t in range(12)]).path for name in ("a", "b")]
    with h5py.File(folder / "detections.h5", "w") as file:
        # Of frame 5 so many objects that they lie in two chunks.
        write_clip(file, clip_of("a", [0, 0, *[5] * 30, 6, 11]))
        write_clip(file, clip_of("b", []))
    arguments = {"frames": frames, "detections": [folder / "detections.h5"], "moving": [], "output": folder / "flow.h5"}
    settings = {"objects": {"max_overlap": 1.0}, "object_flow": {"kept": True, "step": 2}}
    cut_flow.main(Namespace(settings=settings, **arguments))
    return Namespace(**arguments)


def objects_of(made):
    return list(read_objects(made.detections, ObjectsConfig(max_overlap=1.0, drop_contained=False)))


def test_kept_flow_is_that_which_a_teacher_would_measure(made):
    clips = [clip for clip in read_objects(made.detections, ObjectsConfig(max_overlap=1.0)) if len(clip)]
    assert len(clips) == 1 and len(clips[0]) > 16
    anew, kept = (
        [batch for _, batch in batches_of_clips(frame_stores(made.frames), clips, REQUEST, [""], 8, 1, flow) if batch]
        for flow in ({}, flow_stores([made.output], KEPT.cut))
    )
    for one, other in zip(anew, kept, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            # The order in memory, too: sums over it are rounded alike.
            assert one[name].stride() == other[name].stride()
            np.testing.assert_array_equal(one[name], other[name], name)
    assert abs(float(anew[0]["flow"].float().mean())) < 5 and float(anew[0]["flow"].float().abs().mean()) > 1


def test_frames_are_not_read_for_flow_alone(made, monkeypatch):
    stores, clips = frame_stores(made.frames), objects_of(made)[:1]
    monkeypatch.setattr(stores["a"], "read", None)
    request, kept = CropRequest(32, flow=(-2, 2)), flow_stores([made.output], KEPT.cut)
    some = clips[0].take(clips[0].frame != 5)
    assert sum(len(batch["flow"]) for _, batch in batches_of_clips(stores, [some], request, [""], 8, 1, kept) if batch)


def test_no_other_flow_is_taken(made, tmp_path):
    with pytest.raises(InputError, match=r"flow\.h5: flow cut by crop, step, border \(32, 2, 'clamp'\)"):
        flow_stores([made.output], (64, 2, "clamp"))
    kept, objects = flow_stores([made.output], KEPT.cut)["a"], objects_of(made)[0].take(np.array([0]))
    assert kept.of(objects).shape == (1, 2, 2, 32, 32)
    objects.box[0, 0] += 1
    with pytest.raises(InputError, match=r"flow\.h5: clip a, frame 0: flow of other objects"):
        kept.of(objects)


def test_damage_is_noticed(made, tmp_path):
    damaged = tmp_path / "flow.h5"
    damaged.write_bytes(made.output.read_bytes())
    with h5py.File(damaged, "r+") as file:
        file["a/flow"][0] = 0
    with pytest.raises(InputError, match=r"flow\.h5: clip a is damaged"):
        flow_stores([damaged], KEPT.cut)["a"].of(objects_of(made)[0].take(np.array([0])))


def test_teachers_say_how_they_cut_flow():
    assert {name: kind().flow for name, kind in TEACHERS.items()} == {
        "background_agnostic": (64, 3, "clamp"),
        "multi_task": None,
        "flow_neighbours": ObjectFlowConfig().cut,
        "flow_cells": None,
    }
    for other in ({"motion": "farneback"}, {"context": 0.1}, {"aspect": "keep"}):
        assert BackgroundAgnosticConfig(**other).flow is None


def test_the_stage_needs_no_torch():
    code = "import sys, vadistill.stages.cut_flow; print({'torch', 'ultralytics'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
