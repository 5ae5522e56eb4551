import numpy as np
import pytest
from reference_backend import Reference
from sklearn.metrics import roc_auc_score
from stored_clips import store_of
from students import write_student

from vadistill.inference.backend import BatchScores
from vadistill.inference.compare_backends import compare_backends
from vadistill.windows.loader import FrameWindows


class Changed(Reference):
    """Says something else of a single frame."""

    def __call__(self, frames):
        made = super().__call__(frames)
        dark = frames.mean((1, 2, 3)) < 20
        return BatchScores(made.score - 0.3 * dark, {**made.maps, 4: made.maps[4] + 0.7 * dark[:, None, None]})


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    images = {name: rng.integers(60, 200, (20, 40, 60, 3), np.uint8) for name in ("one", "two")}
    images["two"][7] = 0  # the windows of frames 4, 7 and 10 have it, and 7 is the darkest by far
    images["two"][[4, 10]] = 0
    for name, frames in images.items():
        store_of(folder, name, list(frames))
    write_student(folder / "student.pt")
    return folder


def test_differences_and_gains_are_those_of_the_scores(clips):
    backends = {"plain": Reference(clips / "student.pt"), "changed": Changed(clips / "student.pt")}
    frames = [clips / "one.h5", clips / "two.h5"]
    labels = {name: (np.arange(20) % 3 == 0).astype(np.uint8) for name in ("one", "two")}
    labels["two"][7] = 1
    plain, changed = compare_backends(backends, "plain", frames, labels, sigma=0.0)
    assert plain["score_difference"] == plain["map_difference"] == plain["micro_auc_gain"] == 0
    assert changed["score_difference"] == pytest.approx(0.3) and changed["map_difference"] == pytest.approx(0.7)
    assert changed["micro_auc_gain"] < 0 and changed["macro_auc_gain"] < 0

    said = backends["plain"](np.stack([windows(path) for path in frames]).reshape(-1, 9, 50, 70)).score
    assert plain["micro_auc"] == pytest.approx(roc_auc_score(np.concatenate([*labels.values()]), said))


def windows(path):
    read = FrameWindows([path], (50, 70), (-3, 0, 3))
    return np.stack([read[t][0].numpy() for t in range(20)])


def test_without_labels_there_are_differences_alone(clips):
    (row,) = compare_backends({"plain": Reference(clips / "student.pt")}, "plain", [clips / "one.h5"], None, 0.0)
    assert row["micro_auc"] is row["macro_auc_gain"] is None and row["score_difference"] == 0


class Overflowing(Reference):
    """Says what is no number of a single frame, as float16 may."""

    def __call__(self, frames):
        made = super().__call__(frames)
        return BatchScores(np.where(np.arange(len(frames)) == 3, np.nan, made.score), made.maps)


def test_a_backend_that_overflows_is_seen_and_spoils_no_other(clips):
    backends = {"plain": Reference(clips / "student.pt"), "overflowing": Overflowing(clips / "student.pt")}
    labels = {"one": (np.arange(20) % 3 == 0).astype(np.uint8)}
    plain, overflowing = compare_backends(backends, "plain", [clips / "one.h5"], labels, sigma=0.0)
    assert np.isnan(overflowing["score_difference"]) and overflowing["micro_auc"] is None
    assert overflowing["micro_auc_gain"] is None and plain["micro_auc"] is not None
