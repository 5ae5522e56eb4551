import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vadistill.datasets.demo import CLASSES, clip_names, clips
from vadistill.datasets.demo.actors import KINDS
from vadistill.datasets.demo.clips import make_clip, planned_events, render_clip
from vadistill.datasets.demo.detector_images import write_yolo_dataset
from vadistill.datasets.demo.drawing import Camera, Shape, draw
from vadistill.datasets.demo.video import write_clip
from vadistill.errors import InputError
from vadistill.io.media.video import frames_of
from vadistill.settings import DemoConfig

ROOT = Path(__file__).parents[2]
SMALL = DemoConfig(train_clips=2, test_clips=3, frames=60, height=96, width=160)


@pytest.fixture(scope="module")
def default_test_clips():
    """Of every fifth frame of every test clip at the default settings: its difference from the frame before, in grey
    (n, H, W), its label (n,) and its number of boxes (n,)."""
    demo, clips = DemoConfig(), []
    for name in clip_names(demo, "test"):
        clip, seen = make_clip(demo, "test", name), []
        for t in range(4, demo.frames, 5):
            (before, _, _), (frame, mask, boxes) = clip.frame(t - 1), clip.frame(t)
            one, other = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32) for picture in (before, frame))
            seen.append((np.abs(other - one), mask.any(), len(boxes)))
        clips.append(tuple(map(np.array, zip(*seen, strict=True))))
    return clips


@pytest.mark.slow
def test_every_default_test_clip_has_normal_and_abnormal_frames(default_test_clips):
    shares = [labels.mean() for _, labels, _ in default_test_clips]
    assert all(0.2 <= share <= 0.6 for share in shares), shares


def test_the_default_test_clips_show_all_kinds_of_anomalies():
    kinds = {kind for name in clip_names(DemoConfig(), "test") for kind, _ in planned_events(DemoConfig(), name)}
    assert kinds == set(KINDS)


@pytest.mark.slow
def test_trivial_scores_do_not_solve_the_default_test_clips(default_test_clips):
    """Mean difference of frames, its largest local mean, and the number of objects, each by micro AUC."""
    labels = np.concatenate([clip[1] for clip in default_test_clips])
    differences = [difference for difference, _, _ in default_test_clips]
    scores = {
        "mean": np.concatenate([difference.mean((1, 2)) for difference in differences]),
        "local": np.concatenate([[cv2.blur(one, (16, 16)).max() for one in clip] for clip in differences]),
        "count": np.concatenate([clip[2] for clip in default_test_clips]),
    }
    areas = {name: roc_auc_score(labels, score) for name, score in scores.items()}
    assert max(areas.values()) < 0.75, areas


def test_training_clips_show_nothing_but_normal_pedestrians():
    for name in clip_names(SMALL, "train"):
        _, masks, boxes = zip(*render_clip(SMALL, "train", name), strict=True)
        assert not np.any(masks)
        assert {box[0] for seen in boxes for box in seen} == {"person"}


def test_small_settings_give_both_classes():
    for name in clip_names(SMALL, "test"):
        frames, masks, _ = zip(*render_clip(SMALL, "test", name), strict=True)
        assert frames[0].shape == (96, 160, 3) and len(frames) == 60
        assert 0.1 < np.stack(masks).any((1, 2)).mean() < 0.8


def test_equal_settings_draw_equal_frames_and_other_seeds_other_ones():
    first, again = (make_clip(SMALL, "test", "test_01").frame(17) for _ in range(2))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1]) and first[2] == again[2]
    others = [make_clip(replace(SMALL, seed=8), "test", "test_01"), make_clip(SMALL, "test", "test_02")]
    assert all((clip.frame(17)[0] != first[0]).mean() > 0.5 for clip in others)


def test_scenes_take_turns():
    several = replace(SMALL, scenes=2, train_clips=3)
    first, second, third = (make_clip(several, "train", name).scene for name in clip_names(several, "train"))
    assert first is third and not np.array_equal(first.background, second.background)
    assert np.array_equal(first.background, make_clip(SMALL, "train", "train_01").scene.background)
    assert all(planned_events(several, name) for name in clip_names(several, "test"))


@pytest.mark.parametrize("name", ["test_01", "test_02", "test_03"])
def test_the_mask_is_what_the_anomalies_cover(name, monkeypatch):
    """Without the anomalous actors, equal noise: pixels change inside the mask, and outside it grow brighter at most.

    Outside the mask only shadows and half-covered edges go away.
    """
    monkeypatch.setattr(clips, "LEAST_VISIBLE", 0.0)
    monkeypatch.setattr(clips, "LEAST_AREA", 1)
    clip = make_clip(SMALL, "test", name)
    calm = replace(clip, actors=tuple(actor for actor in clip.actors if not actor.anomalous.any()))
    inside, outside = [], []
    for index in range(0, 60, 4):
        frame, mask, _ = clip.frame(index)
        other, none, _ = calm.frame(index)
        assert not none.any()
        change = other.astype(int) - frame
        inside.append((np.abs(change).max(2) > 0)[mask])
        edge = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
        # People who stand behind it do not count: they only come to light within the mask.
        outside.append((change.min(2) < -2)[~edge])
        if not any(actor.anomalous[index] for actor in clip.actors):
            assert not mask.any()
    assert np.concatenate(inside).size > 50
    assert np.concatenate(inside).mean() > 0.95
    assert np.concatenate(outside).mean() < 0.002


def test_an_anomaly_counts_when_a_quarter_of_it_has_come_in():
    clip = make_clip(SMALL, "test", "test_01")
    someone, ones = next(actor for actor in clip.actors if actor.label == "person"), np.ones(60)
    depth, there = clip.scene.layout.near_lane, ones.astype(bool)

    def seen(metres):
        """Pixels of the mask with somebody so far beyond the right border."""
        position = np.stack([(clip.scene.camera.half_width(depth) + metres) * ones, depth * ones], 1)
        still = {"heading": 0 * ones, "stride": 0 * ones, "present": there, "anomalous": there}
        return int(replace(clip, actors=(replace(someone, position=position, **still),)).frame(0)[1].sum())

    areas = [seen(metres) for metres in np.linspace(-0.6, 0.6, 61)]
    least = min(area for area in areas if area)
    assert areas[0] == max(areas) and areas[-1] == 0 and 0.1 < least / areas[0] < 0.3, "the whole is estimated"


def test_the_nearer_one_hides_the_farther_one():
    clip = make_clip(SMALL, "test", "test_01")
    someone = next(actor for actor in clip.actors if actor.label == "person")
    ones, layout = np.ones(60), clip.scene.layout

    def standing(x, z, anomalous):
        there = ones.astype(bool)
        position = np.stack([x * ones, z * ones], 1)
        return replace(
            someone, position=position, heading=0 * ones, stride=0 * ones, present=there, anomalous=there & anomalous
        )

    def covered(*actors):
        return int(replace(clip, actors=actors).frame(0)[1].sum())

    near, far = ((layout.path, z) for z in (layout.near_lane, layout.near_lane + 0.5))
    assert covered(standing(*near, True), standing(*far, False)) == covered(standing(*near, True)) > 50
    assert 0 < covered(standing(*far, True), standing(*near, False)) < 0.8 * covered(standing(*far, True))


def test_boxes_enclose_the_masks_of_unoccluded_anomalies():
    clip = make_clip(SMALL, "test", "test_01")
    alone = replace(clip, actors=tuple(actor for actor in clip.actors if actor.anomalous.any()))
    compared = 0
    for index in range(60):
        _, mask, boxes = alone.frame(index)
        if not boxes:
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x1, y1, x2, y2 = (
            fold([box[i] for box in boxes]) for i, fold in zip((1, 2, 3, 4), (min, min, max, max), strict=True)
        )
        assert x1 <= columns[0] and y1 <= rows[0] and x2 >= columns[-1] + 1 and y2 >= rows[-1] + 1
        assert 0 <= x1 < x2 <= 160 and 0 <= y1 < y2 <= 96
        compared += 1
    assert compared > 5


def test_a_ball_is_drawn_where_the_pinhole_camera_sees_it():
    camera = Camera(height=100, width=200, focal=150.0, horizon=10.0, above=4.0)
    sprite = draw([Shape(np.array([[1.0, 0.5, 10.0]]), 0.6, (255, 255, 255))], camera)
    rows, columns = np.nonzero(sprite.solid)
    scale = 150 / 10
    assert sprite.left + columns.mean() + 0.5 == pytest.approx(100 + scale * 1.0, abs=0.5)
    assert sprite.top + rows.mean() + 0.5 == pytest.approx(10 + scale * 3.5, abs=0.5)
    assert sprite.solid.sum() == pytest.approx(np.pi * (0.6 * scale) ** 2, rel=0.06)
    assert draw([Shape(np.array([[30.0, 0.5, 10.0]]), 0.6, (255, 255, 255))], camera) is None


def test_a_clip_is_written_as_video_and_masks(tmp_path):
    video, mask = tmp_path / "a" / "test_02.avi", tmp_path / "b" / "test_02.npy"
    write_clip(SMALL, "test", "test_02", video, mask)
    frames, masks, _ = zip(*render_clip(SMALL, "test", "test_02"), strict=True)
    read = np.stack(list(frames_of(video)))
    assert read.shape == (60, 96, 160, 3)
    assert np.abs(read.astype(int) - np.stack(frames)).mean() < 4
    stored = np.load(mask)
    assert stored.dtype == bool and np.array_equal(stored, np.stack(masks))


def test_an_unknown_clip_is_named_and_leaves_no_file(tmp_path):
    with pytest.raises(InputError, match="no clip 'test_09' in test"):
        write_clip(SMALL, "test", "test_09", tmp_path / "test_09.avi")
    assert not list(tmp_path.iterdir())


def test_detector_labels_are_centres_and_sizes_within_the_image(tmp_path):
    data = write_yolo_dataset(tmp_path, seed=3, counts={"train": 24, "val": 2}, height=96, width=160)
    assert "3: thing" in data.read_text()
    labels = [np.loadtxt(path, ndmin=2) for path in sorted((tmp_path / "labels" / "train").iterdir())]
    assert len(labels) == len(list((tmp_path / "images" / "train").iterdir())) == 24
    rows = np.concatenate([label for label in labels if label.size])
    assert set(rows[:, 0]) == set(range(len(CLASSES)))
    centre, size = rows[:, 1:3], rows[:, 3:5]
    assert (size > 0).all() and (centre - size / 2 > -1e-5).all() and (centre + size / 2 < 1 + 1e-5).all()


@pytest.mark.slow
def test_shipped_detector_is_small_and_finds_the_objects_of_the_demo(tmp_path):
    """In a fresh process that cannot import this package: the weights must not refer to it."""
    weights = ROOT / "resources" / "weights" / "demo.pt"
    assert weights.stat().st_size <= 4 << 20
    frames = [make_clip(DemoConfig(), "test", "test_02").frame(index) for index in (10, 130)]
    code = (
        "import json, sys, numpy as np\n"
        "from ultralytics import YOLO\n"
        "model = YOLO(sys.argv[1])\n"
        "assert 'vadistill' not in sys.modules\n"
        "frames = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(-1, 180, 320, 3)\n"
        "made = [model.predict(frame, imgsz=320, conf=0.25, verbose=False)[0].boxes for frame in frames]\n"
        "print('BOXES' + json.dumps([[model.names, *zip(b.cls.int().tolist(), b.xyxy.tolist())] for b in made]))\n"
    )
    environment = {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(weights)],
        input=b"".join(frame.tobytes() for frame, _, _ in frames),
        capture_output=True,
        env=environment,
        check=True,
    )
    found = json.loads(done.stdout.decode().split("BOXES")[1])
    for (_, _, boxes), (names, *made) in zip(frames, found, strict=True):
        assert list(names.values()) == list(CLASSES)
        hits = [
            any(names[str(label)] == name and _overlap(box, other) > 0.5 for label, other in made)
            for name, *box in boxes
        ]
        assert boxes and np.mean(hits) >= 0.6


def _overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
