"""A packed detector: one folder that scores as the training's file does, and says what is wrong with it."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from packed_folders import RATE, normal_frames, write_results
from students import windows_of
from typer.testing import CliRunner

import vadistill
from vadistill.cli import app
from vadistill.errors import InputError
from vadistill.frame_level.packed import PackedDetector
from vadistill.frame_level.registry import read_detector
from vadistill.inference.backends import backend_for, load_backend
from vadistill.inference.pack import pack
from vadistill.inference.sources import sources_of
from vadistill.inference.video_events import Event, ViewInterval, ViewWatch, mostly_within
from vadistill.inference.view import NormalView, State
from vadistill.io.files import sha256
from vadistill.io.frames import write_images as write_store
from vadistill.io.media.video import frames_of
from vadistill.io.mp4 import write_mp4


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    results = write_results(tmp_path_factory.mktemp("results") / "street")
    assert load_backend("torch-fp32", results / "student/student.pt", threads=1).size == (50, 70)
    return results


@pytest.fixture(scope="module")
def packed(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed") / "street_detector"
    missing = pack(results, folder)
    assert [line.split(":")[0] for line in missing] == ["no auc.json", "no localisation.json", "no speed.json"]
    return folder


def test_a_packed_detector_scores_as_the_trained_one(results, packed):
    frames = windows_of(5)
    expected = load_backend("torch-fp32", results / "student/student.pt", threads=1)(frames)
    for name in ("eager-fp32", "torch-fp32", "onnx-fp32", "openvino-fp32"):
        made = load_backend(name, packed, threads=1)(frames)
        np.testing.assert_allclose(made.score, expected.score, atol=1e-4)
        np.testing.assert_allclose(made.maps[16], expected.maps[16], atol=1e-4)
    assert backend_for(packed) == "openvino-fp32"
    trained, kept = read_detector(results / "student/student.pt"), read_detector(packed)
    assert kept.detector.settings == trained.detector.settings
    assert all(torch.equal(kept.weights[name], values) for name, values in trained.weights.items())


def test_the_folder_says_what_is_in_it(packed):
    names = {path.name for path in packed.iterdir()}
    assert names == {
        *("README.md", "alarms.json", "detector.json", "manifest.json", "model.onnx", "openvino", "view.safetensors"),
        "weights.safetensors",
    }
    card = (packed / "README.md").read_text()
    assert "# student, trained on street" in card and "| 24 |" in card and "Not measured." in card
    assert "None" not in card and "nan" not in card
    view = NormalView.from_arrays(PackedDetector.open(packed).view())
    assert view.frames == 60


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "alarms.json", "openvino/model.bin"])
def test_damage_is_one_line(packed, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: damaged, it differs from its checksum in manifest.json; copy or"):
        load_backend("onnx-fp32", copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"{name}: missing, and manifest.json names it"):
        vadistill.load(copy)


def test_a_newer_folder_and_one_that_names_others_are_refused(packed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "vadistill_detector": 3}))
    with pytest.raises(InputError, match="of format 3, and this vadistill knows 2; expected a newer one"):
        backend_for(copy)
    (copy / "manifest.json").write_text(json.dumps({**manifest, "files": {**manifest["files"], "../secret": "0"}}))
    with pytest.raises(InputError, match=r"names '\.\./secret', which lies outside the folder"):
        read_detector(copy)
    for broken in ("[]", "{", '{"vadistill_detector": 1}'):
        (copy / "manifest.json").write_text(broken)
        with pytest.raises(InputError, match=r"manifest\.json: "):
            load_backend("onnx-fp32", copy)


def test_files_of_others_keep_a_folder(results, packed, tmp_path):
    shutil.copytree(packed, tmp_path / "mine")
    (tmp_path / "mine/scores").mkdir()
    (tmp_path / "mine/scores/a.csv").write_text("1")
    (tmp_path / "web").mkdir()
    (tmp_path / "web/manifest.json").write_text("{}")
    for name in ("mine", "web"):
        with pytest.raises(InputError, match="is no earlier packed detector, or holds other files, too"):
            pack(results, tmp_path / name)
    with pytest.raises(InputError, match="holds the results"):
        pack(results, results.parent)
    manifest = json.loads((tmp_path / "mine/manifest.json").read_text())
    del manifest["files"]["weights.safetensors"]
    (tmp_path / "mine/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json: does not name weights\.safetensors"):
        backend_for(tmp_path / "mine")


def test_a_part_of_an_event_is_no_whole_one():
    event = Event(0, 100, 0.0, 1.0, 5, 0.1, 1.0, (0, 0, 1, 1))
    twice = [ViewInterval(State.DARK, 0, 26), ViewInterval(State.MOVED, 0, 26)]
    assert not mostly_within(event, twice) and mostly_within(event, [*twice, ViewInterval(State.DARK, 60, 95)])


@pytest.mark.parametrize(("odd", "state"), [("still", "frozen"), ("black", "dark")])
def test_an_unusual_view_is_over_when_the_usual_one_is_back(odd, state):
    """It is said late and taken back late; what happens right behind it is no longer silenced."""
    watch = ViewWatch(NormalView.of(normal_frames()), RATE)
    usual, scene = normal_frames(200, seed=1), normal_frames(1, seed=2)[0]
    between = [scene if odd == "still" else np.zeros_like(scene)] * 150
    for frame in (*usual[:100], *between, *usual[100:]):
        watch(frame)
    (found,) = watch.intervals()
    seldom = ViewWatch(NormalView.of(normal_frames()), 3 * RATE)
    for t, frame in enumerate(frame for frame in (*usual[:100], *between, *usual[100:]) for _ in range(3)):
        seldom(frame if seldom.wants(t) else None)
    (thinned,) = seldom.intervals()
    assert found.state == thinned.state == state and (thinned.start, thinned.end) == (3 * found.start, 3 * found.end)
    assert abs(found.start - 100) <= RATE and abs(found.end - 250) <= RATE


def test_images_without_a_rate_take_that_of_the_normal_video(packed, results, tmp_path, caplog):
    for t, frame in enumerate(normal_frames(12)):
        (tmp_path / "cam").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"cam/{t:03}.png"), frame)
    assert run("score", tmp_path / "cam", "--model", packed, "--output", tmp_path / "out").exit_code == 0
    made = json.loads((tmp_path / "out/cam.events.json").read_text())
    assert made["rate_is_assumed"] and made["frames_per_second"] == RATE
    assert "states no frames a second; those of the normal video are taken, 5" in caplog.text
    done = run(
        *("score", tmp_path / "cam", "--model", results / "student/student.pt", "--output", tmp_path / "out"),
        *("--threshold", "0.5"),
    )
    assert done.exit_code == 1 and "cam: states no frames a second; expected them, for events" in done.output
    with pytest.raises(InputError, match="threshold nan: expected a finite number"):
        run("score", tmp_path / "cam", "--model", packed, "--output", tmp_path / "o", "--threshold", "nan")


def test_another_film_is_not_drawn_over(packed, tmp_path):
    write_mp4(tmp_path / "cam.mp4", normal_frames(12), RATE)
    (tmp_path / "cam.overlay.mp4").write_text("mine")
    with pytest.raises(InputError, match=r"cam\.overlay\.mp4: a file is there that is no earlier film"):
        run("score", tmp_path / "cam.mp4", "--model", packed, "--output", tmp_path, "--overlay")
    assert [path.name for path in sources_of([tmp_path])[0]] == ["cam.mp4"]


@pytest.mark.slow
def test_a_camera_of_several_views_has_no_usual_one(results, tmp_path):
    shutil.copytree(results, tmp_path / "street")
    other = normal_frames(60, place=8)
    write_store(tmp_path / "street/frames/train/b.h5", "b", "train", other, "png", fps=RATE)
    missing = pack(tmp_path / "street", tmp_path / "packed")
    assert any("training clips show several views (likeness 0." in line for line in missing)
    assert PackedDetector.open(tmp_path / "packed").view() is None
    assert vadistill.load(tmp_path / "packed").view is None


def test_scores_that_are_not_finite_are_refused(packed, tmp_path):
    write_mp4(tmp_path / "cam.mp4", normal_frames(12), RATE)
    detector = vadistill.load(packed)
    plain = detector.backend

    class Broken:
        def __getattr__(self, name):
            return getattr(plain, name)

        def __call__(self, frames):
            made = plain(frames)
            return made._replace(score=made.score * np.nan)

    detector.backend = Broken()
    with pytest.raises(InputError, match=r"cam\.mp4: the detector gives scores that are not finite"):
        detector.score(tmp_path / "cam.mp4")


def test_a_folder_is_compared_once(packed, monkeypatch):
    compared = []
    monkeypatch.setattr("vadistill.frame_level.packed.sha256", lambda path: compared.append(path) or sha256(path))
    vadistill.load(packed)
    assert len(compared) == len(set(compared)) > 5


def test_what_is_in_the_way_stays(results, packed, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"mine: a folder is there that is no earlier packed detector"):
        pack(results, tmp_path / "mine")
    with pytest.raises(InputError, match=r"sdmae/model\.pt: missing; expected a trained detector: snakemake"):
        pack(results, tmp_path / "new", "sdmae")
    with pytest.raises(InputError, match="'teacher': unknown; expected one of student"):
        pack(results, tmp_path / "new", "teacher")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)


def test_score_writes_events_and_says_where_the_view_was_another(packed, tmp_path, caplog):
    """A video whose second half is black: its view is said to be dark, and nothing there is an event."""
    caplog.set_level("INFO")
    frames = normal_frames(100, seed=1) + [np.zeros((60, 90, 3), np.uint8)] * 100
    write_mp4(tmp_path / "cam.mp4", frames, RATE)
    done = run("score", str(tmp_path / "c*.mp4"), "--model", packed, "--output", tmp_path / "out", "--threshold", "-9")
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "out/cam.events.json").read_text())
    assert made["frames"] == 200 and made["frame_size"] == [90, 60] and made["alarms"]["method"] == "given"
    (dark,) = made["unusual_view"]
    assert dark["state"] == "dark" and abs(dark["start_frame"] - 100) <= 5 and dark["end_frame"] == 200
    (silenced,) = made["silenced_events"]
    assert (silenced["start_frame"], silenced["end_frame"], made["events"]) == (0, 200, [])
    assert "not its usual view (dark): 1 events are none" in caplog.text

    scored = vadistill.load(packed).score(tmp_path / "cam.mp4", threshold=-9)
    assert scored.events == [] and [event.end for event in scored.silenced] == [200]
    assert [str(part.state) for part in scored.view] == ["dark"]


def test_a_wanted_rate_chooses_the_threshold(packed, tmp_path):
    write_mp4(tmp_path / "cam.mp4", normal_frames(40, seed=2), RATE)
    known = PackedDetector.open(packed).alarms()
    for wanted in ("24", "2000"):
        done = run(
            *("score", tmp_path / "cam.mp4", "--model", packed, "--output", tmp_path / "out"),
            *("--false-alarms-per-day", wanted),
        )
        assert done.exit_code == 0, done.output
        made = json.loads((tmp_path / "out/cam.events.json").read_text())["alarms"]
        assert made["threshold"] == known.thresholds[wanted].threshold
        assert made["false_alarms_per_day"] == float(wanted)
    with pytest.raises(InputError, match="7 false alarms a day: no threshold; the detector has some for 24, 2000"):
        run("score", tmp_path / "cam.mp4", "--model", packed, "--output", tmp_path / "o", "--false-alarms-per-day", "7")
    assert not (tmp_path / "o").exists()


def test_a_film_shows_the_events(packed, tmp_path):
    write_mp4(tmp_path / "cam.mp4", normal_frames(30, seed=3), RATE)
    done = run("score", tmp_path / "cam.mp4", "--model", packed, "--output", tmp_path / "out", "--overlay")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("cam.csv", "cam.events.json", "cam.npz", "cam.overlay.mp4")
    ]
    assert len(list(frames_of(tmp_path / "out/cam.overlay.mp4"))) == 30


def test_exports_of_a_folder_are_those_of_its_detector(packed, tmp_path):
    done = run("export", packed, tmp_path / "again.onnx")
    assert done.exit_code == 0, done.output
    frames = windows_of(3)
    np.testing.assert_allclose(
        load_backend("onnx-fp32", tmp_path / "again.onnx")(frames).score,
        load_backend("onnx-fp32", packed)(frames).score,
        atol=1e-6,
    )


def test_every_so_many_frames_are_scored(packed, tmp_path):
    """Those are the scores of all frames at their places, and hold until the next one."""
    path = tmp_path / "cam.mp4"
    write_mp4(path, normal_frames(23, seed=4), RATE)
    detector = vadistill.load(packed)
    full = detector.score(path, batch=4)
    for every in (1, 2, 3, 5, 23, 40):
        made = detector.score(path, batch=4, every=every)
        assert len(made) == 23 and len(made.time) == 23
        places = np.arange(23) // every * every
        np.testing.assert_allclose(made.score, full.score[places], rtol=1e-5)
        np.testing.assert_allclose(made.maps[4], full.maps[4][places], rtol=1e-4)
