import numpy as np
import pytest

from vadistill.data import detections as module
from vadistill.data.detections import Detections, object_rows, read_objects, read_shards
from vadistill.data.store import writing
from vadistill.errors import InputError
from vadistill.settings import Objects


def table(frame, box, confidence=None, clip="clip", frames=10):
    count = len(frame)
    confidence = np.full(count, 0.9) if confidence is None else np.array(confidence)
    probabilities = np.tile(np.array([[0.25, 0.5]], np.float32), (count, 1))
    box = np.array(box, np.float32).reshape(-1, 4)
    return Detections(clip, frames, (120, 160), np.array(frame, int), box, confidence.astype("f4"), probabilities)


def brute_force(detections, settings):
    """The rules, box by box."""

    def iou(a, b):
        w = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        return w / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w)

    d = detections
    big = [max(b[2] - b[0], b[3] - b[1]) >= settings.min_side for b in d.box]
    alive = [i for i in range(len(d)) if d.confidence[i] >= settings.confidence and big[i]]

    def rivals(i, group):
        return [j for j in group if j != i and d.frame[j] == d.frame[i]]

    def doubled(i, j):
        return iou(d.box[i], d.box[j]) > settings.max_overlap and (d.confidence[j], -j) > (d.confidence[i], -i)

    def inside(a, b):
        return a[0] > b[0] and a[1] > b[1] and a[2] < b[2] and a[3] < b[3]

    single = [i for i in alive if not any(doubled(i, j) for j in rivals(i, alive))]
    if not settings.drop_contained:
        return single
    return [i for i in single if not any(inside(d.box[i], d.box[j]) for j in rivals(i, single))]


@pytest.mark.parametrize("seed", range(20))
def test_objects_equal_the_rules_taken_literally(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 60))
    corner = rng.integers(0, 40, (count, 2))
    box = np.concatenate([corner, corner + rng.integers(3, 40, (count, 2))], 1)
    made = table(np.sort(rng.integers(0, 5, count)), box, rng.choice([0.1, 0.3, 0.5, 0.9], count))
    settings = Objects(confidence=0.2, min_side=8, max_overlap=0.5, drop_contained=bool(seed % 2))
    assert object_rows(made, settings).tolist() == brute_force(made, settings)


def test_store_gives_back_what_was_written(tmp_path):
    made = table([0, 0, 3], [[0, 0, 50, 60], [90, 10, 130, 70], [5, 5, 40, 80]], [0.9, 0.1, 0.4])
    with writing(tmp_path / "0.h5") as file:
        module.write_clip(file, made)
        module.write_clip(file, table([], [], clip="empty one"))
    first, empty = sorted(read_shards([tmp_path / "0.h5"]), key=lambda clip: clip.clip)
    assert (first.clip, first.frames, first.size) == ("clip", 10, (120, 160))
    for name in ("frame", "box", "confidence", "probabilities"):
        np.testing.assert_array_equal(getattr(first, name), getattr(made, name))
    assert len(empty) == 0 and empty.box.shape == (0, 4)
    chosen = {clip.clip: clip.frame.tolist() for clip in read_objects([tmp_path / "0.h5"], Objects())}
    assert chosen == {"clip": [0, 3], "empty one": []}


def test_a_damaged_store_is_named(tmp_path):
    (tmp_path / "0.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"0\.h5: not a readable HDF5 file"):
        list(read_shards([tmp_path / "0.h5"]))
    with pytest.raises(InputError, match=r"1\.h5: missing"):
        list(read_shards([tmp_path / "1.h5"]))
