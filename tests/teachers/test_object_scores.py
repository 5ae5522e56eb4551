"""What a teacher measured of the objects, from batches of crops to its file and back."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from vadistill.errors import InputError
from vadistill.io import object_scores
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.io.object_scores import KINDS, ObjectScores
from vadistill.stages.score_objects import scored_clips

FRAMES, SIZE = 6, (40, 60)


def objects(clip, count):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 30, (count, 2))
    box = np.concatenate([corner, corner + rng.uniform(5, 25, (count, 2))], 1)
    return ObjectScores(clip, FRAMES, SIZE, "", np.sort(rng.integers(0, FRAMES, count)), box, rng.random((count, 2)))


def stored(path, *clips):
    with writing(path) as file:
        write_attributes(file, teacher="one")
        for clip in clips:
            object_scores.write_clip(file, clip)
    return path


def test_batches_of_clips_become_terms_of_each_object():
    class Fake:
        terms = ("sum",)

        def score(self, batch):
            return batch["box"].sum(1, keepdim=True)

        def unseen_place(self, batch):
            return batch["box"][:, 0] > 20

    clip, empty = objects("a", 7), objects("empty", 0)
    parts = torch.from_numpy(clip.box).split(4)
    batches = [(clip, {"box": parts[0]}), (empty, None), (clip, {"box": parts[1]}), (clip, None)]
    made = {scored.clip: (scored, outside) for scored, outside in scored_clips(Fake(), batches, torch.device("cpu"))}
    np.testing.assert_allclose(made["a"][0].terms[:, 0], clip.box.sum(1))
    assert made["a"][1] == (clip.box[:, 0] > 20).sum() and made["empty"][1] == 0
    assert made["empty"][0].terms.shape == (0, 1)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_terms_that_are_not_finite_are_refused(tmp_path, value):
    wrong = objects("a", 5)
    wrong.terms[3, 1] = value
    with pytest.raises(InputError, match="clip a: the teacher one gives terms that are not finite"):
        stored(tmp_path / "0.h5", wrong)


def test_files_of_before_which_hold_features_too_are_read(tmp_path):
    clip = objects("a", 5)
    path = stored(tmp_path / "0.h5", clip, replace(clip, clip="b"))
    with h5py.File(path, "r+") as file:
        file["a"]["features"] = np.ones((5, 3), np.float16)
    first, second = object_scores.read_shards([path])
    for name in KINDS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
