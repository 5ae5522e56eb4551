from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from vadistill.errors import InputError
from vadistill.io import object_scores
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.io.object_scores import ObjectScores
from vadistill.stages import distill_student
from vadistill.stages.score_objects import scored_clips
from vadistill.student.hints import COMPONENTS, ObjectFeatures

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
    teacher_features = ObjectFeatures({"one": paths}, SIDE)
    rows = np.concatenate([clip.features for clip in clips]).astype(np.float16).astype(np.float64)
    pca = PCA(COMPONENTS).fit(StandardScaler().fit_transform(rows))
    made = pca.transform(StandardScaler().fit(rows).transform(clips[1].features.astype(np.float16)))
    made /= np.sqrt(pca.explained_variance_.sum() * (len(rows) - 1) / len(rows))
    height, width = SIZE[0] / SIDE, SIZE[1] / SIDE
    for t in range(FRAMES):
        grid = teacher_features("b", t)
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
    teacher_features = ObjectFeatures(paths, SIDE)
    assert teacher_features.channels == COMPONENTS + 3
    rows = teacher_features._features["a"][1:].astype(np.float64)
    for part in (rows[:, :COMPONENTS], rows[:, COMPONENTS:]):
        assert (part**2).sum(1).mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("weight", "scores"), [(0.1, []), (0.0, [Path("0.h5")])])
def test_a_weight_without_scores_or_scores_without_weight_are_refused(weight, scores):
    settings = {"student": {}, "distillation": {"feature_weight": weight}}
    with pytest.raises(InputError, match=r"--scores and distillation\.feature_weight: expected both or neither"):
        distill_student.main(SimpleNamespace(settings=settings, scores=scores))


def test_clips_without_objects_are_empty(tmp_path):
    nothing = replace(objects("none", 0), features=np.zeros((0, 0)))
    teacher_features = ObjectFeatures({"one": stored(tmp_path / "0.h5", "one", objects("a", 30), nothing)}, SIDE)
    assert not teacher_features("none", 0).any()


def test_what_is_missing_or_other_is_named(tmp_path):
    one, other = objects("a", 30), objects("a", 30, seed=3)
    paths = stored(tmp_path / "1.h5", "one", one)
    with pytest.raises(InputError, match="clip a: two has scored other objects than one"):
        ObjectFeatures({"one": paths, "two": stored(tmp_path / "2.h5", "two", other)}, SIDE)
    longer = objects("a", 31)
    with pytest.raises(InputError, match="clip a: two has scored other objects than one"):
        ObjectFeatures({"one": paths, "two": stored(tmp_path / "4.h5", "two", longer)}, SIDE)
    more = stored(tmp_path / "5.h5", "two", one, objects("b", 20))
    with pytest.raises(InputError, match="clip b: two has scored other objects than one"):
        ObjectFeatures({"one": paths, "two": more}, SIDE)
    with pytest.raises(InputError, match="clip b: not all of one, two have scored its objects"):
        ObjectFeatures({"one": more, "two": paths}, SIDE)
    with pytest.raises(InputError, match="one has scored no object"):
        ObjectFeatures({"one": stored(tmp_path / "3.h5", "one", objects("a", 0))}, SIDE)
    teacher_features = ObjectFeatures({"one": paths}, SIDE)
    teacher_features.check({"a": FRAMES})
    for clip, found in (("b", 0), ("a", FRAMES)):
        with pytest.raises(InputError, match=f"clip {clip}: objects are scored in {found} frames, expected 9"):
            teacher_features.check({clip: 9})


def test_held_out_objects_and_constant_features_decide_on_nothing(tmp_path):
    clip, other = objects("a", 300), objects("b", 20, seed=1)
    late = clip.frame >= FRAMES / 2
    changed = replace(clip, features=np.where(late[:, None], 100 * clip.features, clip.features))
    made = [
        ObjectFeatures({"one": stored(tmp_path / f"{i}.h5", "one", part, other)}, SIDE, {"a": 0.5})
        for i, part in enumerate((clip, changed))
    ]
    assert np.array_equal(made[0]._features["b"], made[1]._features["b"])
    constant = np.ones((300, 20))
    constant[7, 3] += 1e-3
    crowd = objects("a", 3000)
    wild = crowd.features.copy()
    wild[3, 2] = 6e4
    teacher_features = ObjectFeatures({"one": stored(tmp_path / "wild.h5", "one", replace(crowd, features=wild))}, SIDE)
    assert np.abs(teacher_features._features["a"]).max() == 5
    flat = replace(clip, features=np.concatenate([clip.features, constant], 1))
    teacher_features = ObjectFeatures({"one": stored(tmp_path / "flat.h5", "one", flat)}, SIDE)
    plain = ObjectFeatures({"one": stored(tmp_path / "plain.h5", "one", clip)}, SIDE)
    np.testing.assert_allclose(
        *(np.abs(part._features["a"].astype(float)) for part in (teacher_features, plain)), atol=0.05
    )


def test_what_is_not_finite_is_refused_and_what_is_large_is_cut(tmp_path):
    clip = objects("a", 5)
    for name, value in (("terms", np.inf), ("features", np.inf), ("features", np.nan)):
        wrong = replace(clip, **{name: np.full_like(getattr(clip, name), value)})
        with pytest.raises(InputError, match="clip a: the teacher one gives terms or features that are not finite"):
            stored(tmp_path / "wrong.h5", "one", wrong)
    paths = stored(tmp_path / "large.h5", "one", replace(clip, features=1e6 * np.ones((5, 2))))
    assert next(object_scores.read_shards(paths, features=True)).features.max() == 65504
    assert next(object_scores.read_shards(paths)).features is None


def test_batches_of_clips_become_terms_and_features_of_each_object():
    class Fake:
        terms = ("sum",)

        def predict(self, batch):
            return batch["box"].sum(1, keepdim=True), 2 * batch["box"]

        def unseen_place(self, batch):
            return batch["box"][:, 0] > 20

    clip, empty = objects("a", 7), objects("empty", 0)
    parts = torch.from_numpy(clip.box).split(4)
    batches = [(clip, {"box": parts[0]}), (empty, None), (clip, {"box": parts[1]}), (clip, None)]
    made = {scored.clip: (scored, outside) for scored, outside in scored_clips(Fake(), batches, torch.device("cpu"))}
    np.testing.assert_allclose(made["a"][0].terms[:, 0], clip.box.sum(1))
    np.testing.assert_allclose(made["a"][0].features, 2 * clip.box)
    assert made["a"][1] == (clip.box[:, 0] > 20).sum() and made["empty"][1] == 0
    assert made["empty"][0].terms.shape == (0, 1) and made["empty"][0].features.shape == (0, 0)
