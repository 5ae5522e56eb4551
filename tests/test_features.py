from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from vadistill.data import object_scores
from vadistill.data.features import COMPONENTS, ObjectFeatures
from vadistill.data.object_scores import ObjectScores
from vadistill.data.store import write_attributes, writing
from vadistill.errors import InputError

FRAMES, SIZE, SIDE = 6, (40, 60), 5


def objects(clip, count, width=12, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 30, (count, 2))
    box = np.concatenate([corner, corner + rng.uniform(5, 25, (count, 2))], 1)
    features = rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + 3
    frame = np.sort(rng.integers(0, FRAMES, count))
    return ObjectScores(clip, FRAMES, SIZE, "", frame, box, np.zeros((count, 1)), features)


def stored(path, teacher, *clips):
    with writing(path) as file:
        write_attributes(file, teacher=teacher)
        for clip in clips:
            object_scores.write_clip(file, clip)
    return [path]


def test_cells_show_the_components_of_the_nearest_object(tmp_path):
    clips = objects("a", 30), objects("b", 20, seed=1)
    paths = stored(tmp_path / "0.h5", "one", *clips)
    seen = ObjectFeatures({"one": paths}, SIDE)
    rows = np.concatenate([clip.features for clip in clips]).astype(np.float16).astype(np.float64)
    pca = PCA(COMPONENTS).fit(StandardScaler().fit_transform(rows))
    made = pca.transform(StandardScaler().fit(rows).transform(clips[1].features.astype(np.float16)))
    made /= np.sqrt(pca.explained_variance_.sum() * (len(rows) - 1) / len(rows))
    height, width = SIZE[0] / SIDE, SIZE[1] / SIDE
    for t in range(FRAMES):
        grid = seen("b", t)
        assert grid.shape == (1 + COMPONENTS, SIDE, SIDE) and grid.dtype == np.float32
        for i in range(SIDE):
            for j in range(SIDE):
                x1, y1, x2, y2 = clips[1].box.astype(np.float32).T
                over = (y1 < (i + 1) * height) & (np.ceil(y2) > i * height)
                over &= (np.floor(x1) < (j + 1) * width) & (np.ceil(x2) > j * width) & (clips[1].frame == t)
                assert grid[0, i, j] == over.any()
                if over.any():
                    nearest = np.flatnonzero(over)[clips[1].box[over, 3].argmax()]
                    # The sign of a component is arbitrary.
                    np.testing.assert_allclose(np.abs(grid[1:, i, j]), np.abs(made[nearest]), atol=3e-3)
                else:
                    assert not grid[:, i, j].any()


def test_teachers_stand_side_by_side_and_a_constant_has_error_one(tmp_path):
    one = objects("a", 400)
    two = replace(one, features=objects("a", 400, width=3, seed=2).features)
    paths = {"one": stored(tmp_path / "1.h5", "one", one), "two": stored(tmp_path / "2.h5", "two", two)}
    seen = ObjectFeatures(paths, SIDE)
    assert seen.channels == COMPONENTS + 3
    rows = seen._features["a"][1:].astype(np.float64)
    for part in (rows[:, :COMPONENTS], rows[:, COMPONENTS:]):
        assert (part**2).sum(1).mean() == pytest.approx(1, abs=0.01)


def test_clips_without_objects_are_empty(tmp_path):
    nothing = replace(objects("none", 0), features=np.zeros((0, 0)))
    seen = ObjectFeatures({"one": stored(tmp_path / "0.h5", "one", objects("a", 30), nothing)}, SIDE)
    assert not seen("none", 0).any()


def test_what_is_missing_or_other_is_named(tmp_path):
    one, other = objects("a", 30), objects("a", 30, seed=3)
    paths = stored(tmp_path / "1.h5", "one", one)
    with pytest.raises(InputError, match="clip a: two has scored other objects than one"):
        ObjectFeatures({"one": paths, "two": stored(tmp_path / "2.h5", "two", other)}, SIDE)
    with pytest.raises(InputError, match="one has scored no object"):
        ObjectFeatures({"one": stored(tmp_path / "3.h5", "one", objects("a", 0))}, SIDE)
    seen = ObjectFeatures({"one": paths}, SIDE)
    for clip, frame in (("b", 0), ("a", FRAMES)):
        with pytest.raises(InputError, match=f"clip {clip}: frame {frame} has no object scores"):
            seen(clip, frame)
