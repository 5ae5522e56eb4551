"""A packed detector for another camera: thresholds and view are of its normal video, weights stay."""

import json
from filecmp import cmp

import cv2
import numpy as np
import pytest
from packed_folders import RATE, normal_frames, write_results
from typer.testing import CliRunner

import vadistill
from vadistill.cli import app
from vadistill.errors import InputError
from vadistill.evaluation.alarm_thresholds import fit_alarms
from vadistill.frame_level.packed import PackedDetector
from vadistill.inference.adapt import adapt
from vadistill.inference.manifest import write_manifest
from vadistill.inference.pack import pack
from vadistill.inference.places import PlaceStatistics, PlaceSums
from vadistill.io.mp4 import write_mp4
from vadistill.settings import AlarmsConfig

OTHER = 8  # place of the other camera


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    results = write_results(tmp_path_factory.mktemp("results") / "street")
    folder = tmp_path_factory.mktemp("packed") / "street_detector"
    pack(results, folder)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two normal videos of another camera."""
    folder = tmp_path_factory.mktemp("videos")
    for name, count in (("monday", 150), ("tuesday", 90)):
        write_mp4(folder / f"{name}.mp4", normal_frames(count, seed=count, place=OTHER), RATE)
    return sorted(folder.iterdir())


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)


def cross_fitted(detector, videos):
    """Scores of normal videos as thresholds are found on them: stretches of 20 s, each by the places of the others."""
    maps = {video.stem: detector.score(video).maps for video in videos}
    numbers = np.split(np.arange(240), [150]) if len(videos) == 2 else None
    turns = {name: part // round(20 * RATE) % 2 for name, part in zip(maps, numbers, strict=True)}
    made = {name: np.empty(len(turn)) for name, turn in turns.items()}
    for own in (0, 1):
        sums = PlaceSums()
        for name, turn in turns.items():
            sums.add({g: grid[turn != own] for g, grid in maps[name].items()})
        for name, turn in turns.items():
            made[name][turn == own] = (
                sums.statistics().scored({g: grid[turn == own] for g, grid in maps[name].items()}).score
            )
    return made


def test_thresholds_and_view_are_of_the_other_camera(packed, videos, tmp_path, caplog):
    caplog.set_level("INFO")
    done = run("adapt", packed, *videos, tmp_path / "mine")
    assert done.exit_code == 0, done.output
    assert "at most 24 false alarms a day: threshold " in done.output and "an estimate, no promise" in done.output
    detector, mine = vadistill.load(packed), vadistill.load(tmp_path / "mine")
    scores = cross_fitted(detector, videos)
    settings = AlarmsConfig(false_alarms_per_day=(24.0, 2000.0), smoothing=0.2, cool_down=1.0)
    expected = fit_alarms("student", scores, RATE, settings)
    assert mine.alarms.thresholds["24"].threshold == pytest.approx(expected.thresholds["24"].threshold, rel=1e-4)
    assert mine.alarms.usual == pytest.approx(expected.usual, rel=1e-4)
    assert mine.alarms.thresholds != detector.alarms.thresholds
    assert sorted(mine.alarms.clips) == ["monday", "tuesday"] and mine.alarms.hours == 240 / RATE / 3600
    assert mine.view.frames == 240 and detector.view.frames == 60
    for name in ("weights.safetensors", "model.onnx", "openvino/model.bin"):
        assert cmp(packed / name, tmp_path / "mine" / name, shallow=False)
    # The first camera's film shows another view now, and the other one's does not.
    write_mp4(tmp_path / "first.mp4", normal_frames(100, seed=1), RATE)
    assert [str(part.state) for part in mine.score(tmp_path / "first.mp4").view] in (["moved"], ["covered"])
    assert mine.score(videos[1]).view == []


def test_the_card_says_what_it_was_adapted_to(packed, videos, tmp_path):
    adapt(packed, videos[:1], tmp_path / "once")
    adapt(tmp_path / "once", videos[1:], tmp_path / "twice")
    card = (tmp_path / "twice/README.md").read_text()
    assert card.count("## Adapted to another camera") == 1 and card.count("## Alarms") == 1
    assert "minutes of its normal video: tuesday." in card and "each place of the maps is measured" in card
    assert "monday" not in card and "## Licence" in card and card.startswith("# student, trained on street")
    kept = PackedDetector.open(tmp_path / "twice").detector()
    assert kept.source["adapted"]["videos"] == ["tuesday"] and kept.source["dataset"] == "street"


def test_videos_are_scored_as_the_camera_was_adapted(packed, videos, tmp_path):
    run("adapt", packed, videos[1], tmp_path / "mine", "--every", "3")
    mine = vadistill.load(tmp_path / "mine")
    thirds, all_frames = mine.score(videos[0]).score, mine.score(videos[0], every=1).score
    np.testing.assert_allclose(thirds, all_frames[np.arange(150) // 3 * 3], rtol=1e-4)
    assert not np.array_equal(thirds, all_frames)
    run("score", videos[0], "--model", tmp_path / "mine", "--output", tmp_path / "a.csv")
    table = np.genfromtxt(tmp_path / "a.csv", delimiter=",", names=True, dtype=np.float32)
    np.testing.assert_array_equal(table["score"], thirds)
    content = json.loads((tmp_path / "mine/detector.json").read_text())
    assert content["scoring"] == {"every": 3, "match_rate": False}
    with pytest.raises(InputError, match="the model does not know the frames a second of its training clips"):
        run("adapt", packed, videos[1], tmp_path / "other", "--match-rate")
    assert not (tmp_path / "other").exists()


def test_each_place_is_measured_by_what_is_usual_there():
    """Against a loop over cells."""
    rng = np.random.default_rng(0)
    mean, spread = rng.normal(0, 1, (4, 4)), rng.uniform(1, 2, (4, 4))
    normal = rng.normal(mean, spread, (500, 4, 4)).astype(np.float32)
    sums = PlaceSums()
    for part in np.array_split(normal, 7):
        sums.add({4: part})
    places = sums.statistics()
    np.testing.assert_allclose(places.mean[4], normal.mean(0), atol=1e-5)
    np.testing.assert_allclose(places.spread[4], normal.std(0), atol=1e-5)
    made = places.scored({4: normal}).maps[4]
    for row in range(4):
        for column in range(4):
            cell = made[:, row, column]
            assert np.isclose(cell.mean(), np.median(normal.mean(0)), atol=1e-4)
            assert np.isclose(cell.std(), np.median(normal.std(0)), atol=1e-4)
    again = PlaceStatistics.from_arrays(places.to_arrays(), (4,))
    np.testing.assert_array_equal(again.scored({4: normal}).maps[4], made)


def test_a_cell_that_never_changes_is_no_wonder():
    calm = PlaceStatistics({2: np.zeros((2, 2))}, {2: np.array([[0.0, 1], [1, 1]])})
    (made,) = calm.scored({2: np.full((1, 2, 2), 0.25)}).maps[2]
    np.testing.assert_allclose(made, [[0.5, 0.25], [0.25, 0.25]])
    still = PlaceStatistics({2: np.zeros((2, 2))}, {2: np.zeros((2, 2))})
    np.testing.assert_array_equal(still.scored({2: np.full((1, 2, 2), 0.25)}).maps[2], np.full((1, 2, 2), 0.25))


def test_damaged_places_are_one_line():
    arrays = PlaceStatistics({2: np.zeros((2, 2))}, {2: np.ones((2, 2))}).to_arrays()
    for broken in ({}, {**arrays, "mean_2": np.zeros(3)}, {**arrays, "spread_2": np.full((2, 2), np.nan)}):
        with pytest.raises(InputError, match=r"the statistics of places are damaged .*; adapt again"):
            PlaceStatistics.from_arrays(broken, (2,))


def test_places_are_used_by_all_backends(packed, videos, tmp_path):
    adapt(packed, videos, tmp_path / "mine")
    plain, mine = vadistill.load(packed).score(videos[0]), vadistill.load(tmp_path / "mine").score(videos[0])
    sums = PlaceSums()
    for video in videos:
        sums.add(vadistill.load(packed).score(video).maps)
    expected = sums.statistics().scored(plain.maps).maps
    for g in (1, 4, 16):
        np.testing.assert_allclose(mine.maps[g], expected[g], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(mine.score, np.mean([grid.max((1, 2)) for grid in expected.values()], 0), rtol=1e-3)
    other = vadistill.load(tmp_path / "mine", "torch-fp32").score(videos[0])
    np.testing.assert_allclose(other.score, mine.score, rtol=1e-2, atol=1e-3)


def test_the_card_lists_what_is_in_the_folder(packed, videos, tmp_path):
    adapt(packed, videos, tmp_path / "mine", every=5)
    card = (tmp_path / "mine/README.md").read_text()
    listed = card.partition("## Files")[2]
    for name in ("places.safetensors", "view.safetensors", "model.onnx"):
        assert f"`{name}`" in listed
    assert "Every 5th frame is scored" in card and "that it did not learn from" not in card
    # How it is scored is kept when it is adapted again, unless another way is asked for.
    adapt(tmp_path / "mine", videos, tmp_path / "again")
    assert PackedDetector.open(tmp_path / "again").scoring().every == 5
    adapt(tmp_path / "mine", videos, tmp_path / "all", every=1)
    assert PackedDetector.open(tmp_path / "all").scoring().every == 1


def test_a_step_beyond_a_video_is_refused(packed, videos, tmp_path):
    with pytest.raises(InputError, match=r"frames, so every 100000th is one; expected a lower `every`"):
        adapt(packed, videos, tmp_path / "mine", every=100_000)
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_what_is_usual_on_another_camera_is_refused(tmp_path, videos):
    pack(write_results(tmp_path / "street", surprise={"weight": 1.0}), tmp_path / "packed")
    with pytest.raises(
        InputError,
        match=r"packed: knows what is usual on its own camera.*surprise\.weight and surprise\.motion_weight 0",
    ):
        adapt(tmp_path / "packed", videos, tmp_path / "mine")


@pytest.mark.slow
def test_frames_are_as_far_apart_in_time_as_in_training(tmp_path, videos):
    """A student of 10 frames a second takes a step of 2 for 3 of clips with half the rate, and every door knows it."""
    results = write_results(
        tmp_path / "street", training_clips={"clips": 1, "frames_per_second": [10.0], "sizes": [[90, 60]]}
    )
    pack(results, tmp_path / "packed")
    run("adapt", tmp_path / "packed", *videos, tmp_path / "mine", "--match-rate", "--backend", "torch-fp32")
    mine = vadistill.load(tmp_path / "mine")
    assert mine.scoring.match_rate is True
    matched, plain = mine.score(videos[0]).score, mine.score(videos[0], match_rate=False).score
    assert not np.allclose(matched, plain)
    for words, expected in (((), matched), (("--no-match-rate",), plain)):
        run("score", videos[0], "--model", tmp_path / "mine", "--output", tmp_path / "a.csv", *words)
        table = np.genfromtxt(tmp_path / "a.csv", delimiter=",", names=True, dtype=np.float32)
        np.testing.assert_allclose(table["score"], expected, rtol=1e-5)
    places = PlaceStatistics.from_arrays(PackedDetector.open(tmp_path / "mine").places(), (1, 4, 16))
    away = {}
    for match_rate in (True, False):
        sums = PlaceSums()
        for video in videos:
            sums.add(vadistill.load(tmp_path / "packed").score(video, match_rate=match_rate).maps)
        away[match_rate] = np.abs(places.mean[16] - sums.statistics().mean[16]).max()
    assert away[True] < 1e-5 and away[False] > 10 * away[True]


def test_an_older_vadistill_and_an_export_do_not_leave_the_places_out(packed, videos, tmp_path):
    adapt(packed, videos, tmp_path / "mine")
    for folder, version in ((packed, 1), (tmp_path / "mine", 2)):
        assert json.loads((folder / "manifest.json").read_text())["vadistill_detector"] == version
    with pytest.raises(InputError, match="mine: adapted; an export has no place for what is usual at each place"):
        run("export", tmp_path / "mine", tmp_path / "a.onnx")


@pytest.mark.parametrize("kept", [{"every": 0}, {"every": True}, {"match_rate": 1}, {"rate": 5}, {"every": "2"}])
def test_damaged_scoring_is_one_line(packed, videos, tmp_path, kept):
    adapt(packed, videos[:1], tmp_path / "mine")
    content = json.loads((tmp_path / "mine/detector.json").read_text())
    (tmp_path / "mine/detector.json").write_text(json.dumps({**content, "scoring": kept}))
    write_manifest(tmp_path / "mine")
    with pytest.raises(InputError, match=r"detector\.json: scoring is .*; expected every and match_rate"):
        vadistill.load(tmp_path / "mine")


def test_what_cannot_be_adapted_to_is_one_line(packed, videos, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/a.txt").write_text("dear")
    write_mp4(tmp_path / "fast.mp4", normal_frames(30, place=OTHER), 3 * RATE)
    write_mp4(tmp_path / "elsewhere.mp4", normal_frames(30, place=9), RATE)
    write_mp4(tmp_path / "short.mp4", normal_frames(1, place=OTHER), RATE)
    (tmp_path / "images").mkdir()
    for t, frame in enumerate(normal_frames(12)):
        cv2.imwrite(str(tmp_path / f"images/{t:03}.png"), frame)
    new = tmp_path / "new"
    cases = [
        ((packed, videos, packed), "the folder that is adapted; expected a new one"),
        ((packed, videos, tmp_path / "letters"), "is no earlier packed detector, or holds other files, too"),
        ((packed, [*videos, tmp_path / "fast.mp4"], new), r"videos of 5 \(.*\) and 15 frames a second \(fast\)"),
        ((packed, [*videos, tmp_path / "elsewhere.mp4"], new), "monday and elsewhere show different views"),
        ((packed, [videos[0], videos[0]], new), "2 videos are named 'monday'; expected different names"),
        ((packed, [tmp_path / "images"], new), "images: states no frames a second; expected a video that does"),
        ((tmp_path / "letters", videos, new), r"letters: no manifest\.json in it"),
        ((tmp_path / "none", videos, new), "none: missing; expected a folder that 'vadistill pack' wrote, or starter"),
        ((packed, videos, tmp_path / "starter"), "would go before the package's own starter"),
        ((packed, videos, packed / "inside"), "lies in the packed detector"),
        ((packed, videos, tmp_path / "letters/a.txt/x"), "cannot be written"),
        ((packed, [tmp_path / "short.mp4"], new), r"short\.mp4: 1 normal frames; expected at least two"),
    ]
    for words, told in cases:
        with pytest.raises(InputError, match=told):
            adapt(*words)
    assert not new.exists()
