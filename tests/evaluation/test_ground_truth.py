import numpy as np
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.ground_truth import located_clips
from vadistill.evaluation.localisation import tracks_of_masks
from vadistill.evaluation.rbdc_tbdc import Tracks, rbdc_and_tbdc
from vadistill.evaluation.region_files import write_tracks
from vadistill.evaluation.results import Detectors
from vadistill.geometry.scored_objects import ScoredObjects
from vadistill.io.hdf5 import writing
from vadistill.io.maps import MapStore, write_clip
from vadistill.settings import LocalisationConfig

SIZE = (48, 64)
T = 6


@pytest.fixture
def tree(tmp_path):
    """A folder with two test clips: `a` has labels of frames 1 to 3 and masks of 2 to 4, `b` has the labels only."""
    for clip in ("a", "b"):
        (tmp_path / "test" / clip).mkdir(parents=True)
        (tmp_path / "train" / clip).mkdir(parents=True)
        for part in ("test", "train"):
            (tmp_path / part / clip / "0.png").write_bytes(b"")
    (tmp_path / "test_frame_mask").mkdir()
    (tmp_path / "test_pixel_mask").mkdir()
    frame = np.array([0, 1, 1, 1, 0, 0], np.uint8)
    for clip in ("a", "b"):
        np.save(tmp_path / "test_frame_mask" / f"{clip}.npy", frame)
    mask = np.zeros((T, *SIZE), bool)
    mask[2:5, 10:30, 20:40] = True
    np.save(tmp_path / "test_pixel_mask" / "a.npy", mask)
    np.save(tmp_path / "test_pixel_mask" / "b.npy", np.zeros_like(mask))
    return tmp_path, mask


def test_tracks_follow_from_masks_and_their_disagreement_with_labels_is_counted(tree):
    folder, mask = tree
    found, empty = located_clips("folder", folder, {"a": (T, *SIZE), "b": (T, *SIZE)}, "")
    assert (empty.clip, empty.tracks.count, empty.differing) == ("b", 0, 3)
    assert (found.clip, found.frames, found.differing) == ("a", T, 2)
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.tracks.box, tracks_of_masks(mask).box)
    assert found.tracks.count == 1


def test_published_tracks_come_before_masks(tree):
    folder, _ = tree
    for clip in ("a", "b"):
        tracks = Tracks(np.array([0, 0]), np.array([1, 2]), np.array([[1, 2, 3, 4], [2, 2, 4, 4]]))
        write_tracks(folder / "tracks" / f"{clip}.txt", tracks)
    sizes = {"a": (T, *SIZE), "b": (T, *SIZE)}
    found = list(located_clips("folder", folder, sizes, str(folder / "tracks")))
    assert [part.clip for part in found] == ["a", "b"] and [part.differing for part in found] == [2, 3]
    np.testing.assert_array_equal(found[1].tracks.frame, [1, 2])
    write_tracks(folder / "tracks" / "a.txt", Tracks(np.array([0]), np.array([T]), np.array([[1, 2, 3, 4]])))
    with pytest.raises(InputError, match=r"a\.txt: frame 6; clip a has frames 0 to 5"):
        list(located_clips("folder", folder, sizes, str(folder / "tracks")))


@pytest.mark.parametrize(("sizes", "told"), [({"c": (T, *SIZE)}, "clip c: scored"), ({"a": (T, 9, 9)}, "a.npy: masks")])
def test_what_does_not_fit_is_refused(tree, sizes, told):
    with pytest.raises(InputError, match=told):
        list(located_clips("folder", tree[0], sizes, ""))


def test_a_clip_without_published_tracks_is_refused(tree):
    folder, _ = tree
    nothing = np.zeros(0, int)
    write_tracks(folder / "tracks" / "b.txt", Tracks(nothing, nothing, np.zeros((0, 4))))
    with pytest.raises(InputError, match=r"tracks/a\.txt: missing"):
        list(located_clips("folder", folder, {"a": (T, *SIZE)}, str(folder / "tracks")))


def stored(path, maps):
    with writing(path) as file:
        for clip, grid in maps.items():
            write_clip(file, clip, {4: grid}, grid.max((1, 2)))
    return MapStore([path])


def test_maps_without_a_zero_are_judged_by_what_is_usual_at_each_place(tree, tmp_path):
    """Neither a place that is always high hides an anomaly, nor a normal clip that the network draws badly."""
    folder, _ = tree
    (truth,) = located_clips("folder", folder, {"a": (T, *SIZE)}, "")
    seen, normal = np.zeros((T, 4, 4), np.float32), np.random.default_rng(0).uniform(0, 0.1, (40, 4, 4))
    seen[2:5, 1, 1], normal[:2] = 0.9, 5  # two frames are drawn badly
    place = np.zeros((4, 4), np.float32)
    place[3, 3] = 2
    found = []
    for name, usual in (("flat", 0), ("offset", 3), ("place", place)):
        parts = [stored(tmp_path / f"{name}_{i}.h5", {"a": part + usual}) for i, part in enumerate((seen, normal))]
        detectors = Detectors("sdmae", *parts, {}, LocalisationConfig())
        assert detectors.threshold == pytest.approx(0.6 * 0.05, abs=0.01)
        found.append(dict(detectors.regions("a", SIZE))["sdmae"])
    for made in found:
        np.testing.assert_allclose(made.box, found[0].box, atol=1)  # maps are float16
        assert len(made.box) == 3, "the frames in which it sees something"
        rates = rbdc_and_tbdc({"a": truth.tracks}, {"a": made}, T)
        assert (rates.rbdc, rates.tbdc) == (1, 1)


def test_detectors_that_see_the_anomaly_have_full_rates_and_others_none(tree, tmp_path):
    folder, _ = tree
    (truth,) = located_clips("folder", folder, {"a": (T, *SIZE)}, "")
    right = np.zeros((T, 4, 4), np.float32)
    right[2:5, 1, 1] = 0.9
    normal = stored(tmp_path / "n.h5", {"x": np.full((3, 4, 4), 0.2, np.float32)})
    student = stored(tmp_path / "s.h5", {"a": right})
    teacher = stored(tmp_path / "t.h5", {"a": np.roll(right, 2, axis=2)})
    frames, box = np.arange(T), np.tile([50.0, 40, 60, 46], (T, 1))
    objects = {"a": ScoredObjects(T, SIZE, frames, box, np.linspace(0.1, 1, T))}
    teachers = {"multi_task": type("Teacher", (), {"objects": objects, "maps": teacher})}
    detectors = Detectors("student", student, normal, teachers, LocalisationConfig())
    assert detectors.threshold == pytest.approx(0.6 * 0.2, rel=0.01)
    found = dict(detectors.regions("a", SIZE))
    assert found.keys() == {"student", "multi_task", "teachers_mean"}
    rates = {name: rbdc_and_tbdc({"a": truth.tracks}, {"a": part}, T) for name, part in found.items()}
    assert (rates["student"].rbdc, rates["student"].tbdc) == (1, 1)
    assert (rates["multi_task"].rbdc, rates["teachers_mean"].tbdc) == (0, 0)
    pixels = {}
    detectors.count_pixels(pixels, truth.clip, truth.mask)
    assert pixels["student"].auc() > 0.8 > 0.6 > pixels["multi_task"].auc()
