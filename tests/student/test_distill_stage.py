"""Distillation as a stage: which weights are kept, and by which it is judged."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stored_clips import store_of

from vadistill.errors import InputError
from vadistill.frame_level.registry import load_network, unscored
from vadistill.io.hdf5 import write_attributes, writing
from vadistill.io.maps import write_clip
from vadistill.stages import distill_student, measure_usual
from vadistill.student import training
from vadistill.training.checkpoint import load_model, state_of
from vadistill.windows import scoring

NETWORK = {"height": 32, "width": 48, "base_width": 2, "downsamplings": 2, "depth": 1, "heads": 1, "head_width": 4}
FRAMES, CPU = 12, torch.device("cpu")


@pytest.fixture(autouse=True)
def no_workers(monkeypatch):
    for module in (training, scoring):
        monkeypatch.setattr(module, "loader_workers", lambda: 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A training clip with a teacher's maps, and a validation clip whose bright frames are abnormal."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    images = rng.integers(0, 200, (FRAMES, 32, 48, 3), dtype=np.uint8)
    train = store_of(folder, "a", images).path
    bright = np.arange(FRAMES) % 3 == 0
    validation = store_of(folder, "b.fast", images + 50 * bright[:, None, None, None].astype(np.uint8)).path
    np.save(folder / "b.fast.npy", bright[:, None] * np.array([1, 2, 3, 4], np.float32))
    with writing(folder / "maps.h5") as file:
        write_attributes(file, teacher="one")
        for clip in ("a", "b.fast"):
            write_clip(file, clip, {g: rng.random((FRAMES, g, g)) for g in (1, 4)})
    return {
        "frames": [train],
        "maps": [folder / "maps.h5"],
        "validation": [validation],
        "boxes": [folder / "b.fast.npy"],
    }


def distilled(folder, data, **changes):
    distillation = {"teachers": ["one"], "pretrained": False, "epochs": 3, "batch": 4, "learning_rate": 1e-2}
    distillation |= {"average": 0.9, "adversarial_weight": 0.0, **changes}
    settings = {"student": NETWORK, "distillation": distillation, "maps": {"resolutions": [1, 4]}, "held_out_clips": {}}
    output = folder / "student.pt"
    distill_student.main(SimpleNamespace(settings=settings, output=output, pretrained=None, **data))
    return output


@pytest.mark.parametrize("average", [0.9, 0.0])
def test_the_average_of_the_weights_is_kept_where_one_is_asked_for(data, tmp_path, average):
    output = distilled(tmp_path, data, average=average)
    parts = torch.load(state_of(output), weights_only=True)["parts"]
    kept, other = ("average", "student") if average else ("student", None)
    made = load_model(output, unscored("student"))["weights"]
    assert all(torch.equal(made[name], value) for name, value in parts[kept].items())
    assert not other or not all(torch.equal(made[name], value) for name, value in parts[other].items())


def test_what_is_kept_is_what_was_judged_best_on_the_validation_clips(data, tmp_path, monkeypatch):
    said, judged = [0.2, 0.9, 0.1], []

    def auc(student, windows, labels, device):
        assert [store.clip for store in windows.stores] == ["b.fast"] == list(labels)
        judged.append(copy.deepcopy(student.state_dict()))
        return said[len(judged) - 1]

    monkeypatch.setattr(training, "validation_auc", auc)
    output = distilled(tmp_path, data, selection="validation")
    made = load_model(output, unscored("student"))["weights"]
    equal = [all(torch.equal(made[name], value) for name, value in weights.items()) for weights in judged]
    assert equal == [False, True, False]
    records = map(json.loads, output.with_name("student.metrics.jsonl").read_text().splitlines())
    records = list(records)
    assert [record["validation_auc"] for record in records] == said
    agreement = {f"validation_fast_{name}" for name in ("correlation_one_1x1", "correlation_one_4x4", "peak_shortfall")}
    assert all(agreement < record.keys() for record in records)


def test_a_validation_clip_without_maps_is_named(data, tmp_path):
    with writing(tmp_path / "maps.h5") as file:
        write_attributes(file, teacher="one")
        write_clip(file, "a", {g: np.zeros((FRAMES, g, g)) for g in (1, 4)})
    with pytest.raises(InputError, match=r"clip b\.fast: one has maps of 0 frames, expected 12"):
        distilled(tmp_path, data | {"maps": [tmp_path / "maps.h5"]}, selection="validation")


def test_a_student_with_flow_learns_from_it_and_is_scored_with_it(data, tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORK, "flow", "fast")
    output = distilled(tmp_path, data)
    with pytest.raises(InputError, match=r"student\.pt: expected .* found 'student without its score'"):
        load_network(output, CPU)
    given = {"settings": {"surprise": {"motion_weight": 0.0, "weight": 0.0}, "scene": ""}, "frames": data["frames"]}
    measure_usual.main(SimpleNamespace(**given, model=output, output=tmp_path / "scored.pt"))
    detector, network = load_network(tmp_path / "scored.pt", CPU)
    windows = detector.windows(data["frames"])
    assert detector.window_shape == (13, 32, 48) and windows[3][0].shape == (13, 32, 48)
    score, grids = scoring.score_windows(network, windows, CPU)
    assert score.shape == (FRAMES,) and grids[4].shape == (FRAMES, 4, 4)
    blind = detector.windows(data["frames"])
    monkeypatch.setattr(blind, "_flow_planes", lambda *_: np.full((4, 32, 48), 127, np.uint8))
    assert not np.allclose(scoring.score_windows(network, blind, CPU)[0], score), (
        "without the flow it says other things"
    )
