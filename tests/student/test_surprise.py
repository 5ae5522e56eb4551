"""What is usual on a camera: measured against numpy, and from the stage to scores."""

import json
from argparse import Namespace

import cv2
import h5py
import numpy as np
import pytest
import torch
from students import SMALL, cells_of_flow, described_cells, far_motion, surprised_plainly, write_student

from vadistill.geometry.motion import MOVING, usual_speed
from vadistill.io.frames import write_images
from vadistill.settings import StudentConfig
from vadistill.stages import measure_usual, score_frames
from vadistill.student import surprise as measured
from vadistill.student.network import Student, feature_cell, feature_grid, scale_frames
from vadistill.student.scoring import windows_of
from vadistill.student.surprise import Surprise
from vadistill.student.usual_features import COMMON
from vadistill.student.usual_motion import PROTOTYPES, UsualMotion

NETWORK = StudentConfig(**SMALL)
FLOW = StudentConfig(**SMALL, flow="medium")
FEATURES = {"features": 1.0}
CPU = torch.device("cpu")


def store(folder, name, seed, frames=9, spot=None):
    """A clip of noise that is nearly the same in every clip, and in one frame a white spot."""
    scene = np.random.default_rng(0).integers(60, 190, (50, 70, 3))
    images = scene + np.random.default_rng(seed).integers(-9, 10, (frames, 50, 70, 3))
    if spot is not None:
        images[spot, 20:34, 30:44] = 255
    path = folder / f"{name}.h5"
    write_images(path, name, "train", images.clip(0, 255).astype(np.uint8), "png", fps=25.0)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return [store(folder, name, seed) for seed, name in enumerate(["a", "b", "held"], start=1)]


def features_of(student, clips):
    windows = windows_of(clips, NETWORK)
    with torch.no_grad():
        made = [student.backbone(scale_frames(windows[i][0][None]))[0][0].numpy() for i in range(len(windows))]
        maps = [student(scale_frames(windows[i][0][None]))[16][0, 0].numpy() for i in range(len(windows))]
    return np.stack(made).astype(np.float64), np.stack(maps)


def test_what_is_usual_is_measured_on_drawn_frames_and_its_scale_on_others(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(measured, "BATCH", 4)  # 18 frames are no whole number of batches
    student = write_student(tmp_path / "student.pt")
    made = Surprise(NETWORK, 16, (1, 4, 16), FEATURES)
    made.measure(student, windows_of(clips, NETWORK, held_out={"held": 0.0}), CPU)
    features, maps = features_of(student, clips)
    usual, held = features[:18], features[18:]
    mean, variance = usual.mean(0), usual.var(0)
    spread = np.sqrt((variance + COMMON * variance.mean((1, 2), keepdims=True)) / (1 + COMMON))
    np.testing.assert_allclose(made.parts["features"].mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(1 / made.parts["features"].inverse_spread, spread, rtol=1e-3)
    far = np.sqrt((((held - mean) / spread) ** 2).mean(1))
    far -= np.stack([
        [far[:, max(0, y - 7) : y + 8, max(0, x - 7) : x + 8].mean((1, 2)) for x in range(18)] for y in range(13)
    ]).transpose(2, 0, 1)  # fmt: skip
    cells = np.array([
        [[one[i * 13 // 16 : -(-(i + 1) * 13 // 16), j * 18 // 16 : -(-(j + 1) * 18 // 16)].max() for j in range(16)]
         for i in range(16)] for one in far
    ])  # fmt: skip
    calm, rare = np.sort(cells.ravel())[(cells.size - 1) // 2], np.quantile(cells.max((1, 2)), 0.99)
    highest = np.quantile(maps[18:].max((1, 2)), 0.99)
    scale = [made.calm[0], made.rare[0], made.highest]
    np.testing.assert_allclose(scale, [calm, rare - calm, highest], rtol=1e-3)


def test_where_nothing_is_held_out_the_scale_is_of_the_same_frames(tmp_path, clips):
    student = write_student(tmp_path / "student.pt")
    made, held = (Surprise(NETWORK, 16, (1, 16), FEATURES) for _ in range(2))
    made.measure(student, windows_of(clips, NETWORK), CPU)
    held.measure(student, windows_of(clips, NETWORK, held_out={"held": 0.0}), CPU)
    assert torch.isfinite(made.calm).all() and made.highest > 0 and 0 < made.rare < held.rare


def stage(model, frames, output, weight=1.0, scene=""):
    surprise = {"weight": weight, "motion_weight": 1.0}
    settings = {"surprise": surprise, "held_out_clips": {"held": 0.0}, "scene": scene}
    measure_usual.main(Namespace(settings=settings, model=model, frames=frames, output=output))
    return torch.load(output)


def test_the_stage_makes_a_student_that_sees_what_is_new_at_its_place(tmp_path, clips):
    path, output = tmp_path / "distilled.pt", tmp_path / "student.pt"
    student = write_student(path)
    content = stage(path, clips, output, weight=2.0)
    assert json.loads(content["settings"])["surprise"] == {"weight": 2.0, "motion_weight": 1.0}
    spotted = store(tmp_path, "spotted", 7, spot=4)
    score_frames.main(Namespace(model=output, frames=[spotted], output=tmp_path / "scores.h5"))
    windows = windows_of([spotted], NETWORK)
    frames = np.stack([windows[i][0].numpy() for i in range(9)])
    usual = {name.removeprefix("surprise."): value for name, value in content["weights"].items() if "surpr" in name}
    expected, grids = surprised_plainly(student, frames, usual, {"features": 2.0})
    with h5py.File(tmp_path / "scores.h5") as file:
        scores, finest = file["spotted/score"][:], file["spotted/16x16"][:]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    np.testing.assert_allclose(finest, grids[16], atol=2e-3)
    assert scores[4] > scores[[0, 8]].max() + 0.1, "frames 0 and 8 do not see the spot"


def test_without_weight_the_student_stays_as_it_is(tmp_path, clips):
    write_student(tmp_path / "distilled.pt")
    before = torch.load(tmp_path / "distilled.pt")
    content = stage(tmp_path / "distilled.pt", clips, tmp_path / "student.pt", weight=0.0)
    assert content["settings"] == before["settings"] and content["weights"].keys() == before["weights"].keys()


def test_of_several_scenes_the_maps_alone_are_scored_and_auc_json_says_so(tmp_path, clips, caplog):
    write_student(tmp_path / "distilled.pt")
    content = stage(tmp_path / "distilled.pt", clips, tmp_path / "student.pt", scene="(a|b|held)")
    settings = json.loads(content["settings"])
    assert "surprise" not in settings and not any(name.startswith("surprise") for name in content["weights"])
    assert "surprise: the training clips show 3 scenes" in settings["warnings"][0]
    assert settings["warnings"][0] in caplog.text


def test_the_grid_is_that_of_the_features():
    for changes in ({}, {"stem": "half"}, {"stem": "quarter", "downsamplings": 3}, {"height": 97, "width": 131}):
        settings = StudentConfig(**{**SMALL, **changes})
        frames = torch.zeros(1, 9, *settings.size)
        features, _ = Student(settings, (1,)).eval().backbone(frames)
        assert features.shape[2:] == feature_grid(settings)


def test_maps_stay_on_the_scale_of_what_was_learned():
    made = Surprise(FLOW, 2, (1, 4), {"features": 0.5, "motion": 1.0})
    made.calm.copy_(torch.tensor([-0.2, 0.1]))
    made.rare.copy_(torch.tensor([1.5, 0.3]))
    made.highest.fill_(0.6)
    made.distances = lambda *_: [torch.full((1, 1, 4, 4), d) for d in (1.3, 0.4)]  # D2
    nothing = torch.zeros(0)
    maps = made(nothing, nothing, {1: torch.zeros(1, 1, 1, 1), 4: torch.full((1, 1, 4, 4), 0.6)})  # M
    assert maps[1].item() == pytest.approx(0.6) and torch.allclose(maps[4], torch.tensor(0.6))


def walk(folder, name, seed, speed=1, frames=14):
    """A clip in which a patch of noise walks to the right, so many pixels a frame."""
    rng = np.random.default_rng(seed)
    images = np.full((frames, 50, 70, 3), 90, np.uint8)
    patch = cv2.GaussianBlur(rng.integers(0, 256, (14, 10, 3)).astype(np.uint8), None, 1)
    for t in range(frames):
        images[t, 24:38, 4 + speed * t : 14 + speed * t] = patch
    path = folder / f"{name}.h5"
    write_images(path, name, "train", images, "png", fps=25.0)
    return path


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    return [walk(folder, f"walk{seed}", seed) for seed in range(6)]


def test_usual_motion_is_of_the_moving_cells_of_normal_frames(walks):
    windows = windows_of(walks, FLOW)
    made = UsualMotion(feature_grid(FLOW), feature_cell(FLOW), 2)
    planes = np.stack([windows[i][0][9:].numpy() for i in range(len(windows))])
    for part in np.array_split(planes, 3):
        made.see(scale_frames(torch.from_numpy(part)))
    made.settle()
    cells = np.stack([cells_of_flow(part, feature_grid(FLOW)) for part in planes])
    usual = usual_speed([cells[:, 4:].min(1)])
    np.testing.assert_allclose(made.usual[:, 0], usual, rtol=2e-3)
    moving = cells[:, 4:].min(1) >= MOVING
    described = np.stack([described_cells(one, usual) for one in cells]).transpose(0, 2, 3, 1)[moving]
    away = np.sqrt(((described[:, None] - made.factors[:, :, 0, 0].numpy() / -2) ** 2).sum(2)).min(1)
    apart = np.sqrt(((described - described.mean(0)) ** 2).sum(1))
    assert len(described) > 300 and away.mean() < 0.25 * apart.mean(), "prototypes lie among the cells"


def test_where_nothing_moves_every_motion_is_unusual():
    made = UsualMotion(feature_grid(FLOW), feature_cell(FLOW), 2)
    made.see(torch.zeros(4, 4, 50, 70))
    made.settle()
    assert not made.factors.any()
    flow = torch.zeros(1, 4, 50, 70)
    flow[..., 20:32, 24:40] = 0.3  # cells of 4 pixels
    assert not made(flow * torch.tensor([1, 1, 0, 0])[:, None, None]).any(), "moves in one of two flows"
    far = made(flow)[0, 0]
    assert (far[5:8, 6:10] > 1).all() and far.count_nonzero() == 12, "where something moves, and only there"


def test_a_student_with_flow_sees_who_is_faster_than_usual(tmp_path, walks):
    path, output = tmp_path / "distilled.pt", tmp_path / "student.pt"
    write_student(path, flow="medium")
    stage(path, walks, output, weight=0.0)
    seen = {}
    for name, speed in (("calm", 1), ("hurried", 3)):
        score_frames.main(Namespace(model=output, frames=[walk(tmp_path, name, 9, speed)], output=tmp_path / "s.h5"))
        with h5py.File(tmp_path / "s.h5") as file:
            seen[name] = file[f"{name}/16x16"][:].max((1, 2))[3:-3]
    assert (seen["hurried"] > 1.2 * seen["calm"].max()).all()


def test_still_cells_count_as_usual_around_those_that_move():
    made = UsualMotion(feature_grid(FLOW), feature_cell(FLOW), 2)
    made.take(torch.randn((PROTOTYPES, 13), generator=torch.Generator().manual_seed(0)) + 4)  # far from stillness
    planes = np.full((4, 50, 70), 127, np.uint8)
    planes[:, 20:32, 24:33] += 40
    state = {f"parts.motion.{name}": value for name, value in made.state_dict().items()}
    expected = far_motion(planes, feature_grid(FLOW), state)
    far = made(scale_frames(torch.from_numpy(planes[None])))[0, 0]
    np.testing.assert_allclose(far, expected, rtol=1e-4, atol=1e-4)
    assert 0 < np.count_nonzero(expected) < 20


def test_normal_frames_in_which_nothing_moves_do_not_make_every_motion_unusual(tmp_path, walks):
    still = store(tmp_path, "still", 5)
    student = write_student(tmp_path / "student.pt", flow="medium")
    made = Surprise(FLOW, 16, (1, 16), {"motion": 1.0})
    made.measure(student, windows_of([*walks, still], FLOW, held_out={"still": 0.0}), CPU)
    assert made.calm == 0 and made.rare == pytest.approx(UsualMotion.least_spread)


def test_the_least_that_moves_is_that_of_the_teachers_of_cells(walks):
    """So the student's motion and ``flow_cells`` mean the same cells, up to the size of a cell."""
    made = UsualMotion(feature_grid(FLOW), feature_cell(FLOW), 2)
    made.take(torch.full((PROTOTYPES, 13), 50.0))  # far from everything
    slow = torch.full((1, 4, 50, 70), 0.9 * MOVING * 8 / np.sqrt(2))  # planes are in eighths of the height
    assert not made(slow).any() and made(slow / 0.8).all()
