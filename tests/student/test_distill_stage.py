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
        write_clip(file, "a", {g: rng.random((FRAMES, g, g)) for g in (1, 4)})
    with writing(folder / "validation_maps.h5") as file:
        write_attributes(file, teacher="one")
        write_clip(file, "b.fast", {g: rng.random((FRAMES, g, g)) for g in (1, 4)})
    return {
        "frames": [train],
        "maps": [folder / "maps.h5"],
        "validation": [validation],
        "boxes": [folder / "b.fast.npy"],
        "validation_maps": [folder / "validation_maps.h5"],
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

    measured = training.validation_metrics

    def metrics(student, windows, labels, device):
        assert [store.clip for store in windows.stores] == ["b.fast"] == list(labels)
        judged.append(copy.deepcopy(student.state_dict()))
        return measured(student, windows, labels, device) | {"validation_auc": said[len(judged) - 1]}

    monkeypatch.setattr(training, "validation_metrics", metrics)
    output = distilled(tmp_path, data, selection="validation")
    made = load_model(output, unscored("student"))["weights"]
    equal = [all(torch.equal(made[name], value) for name, value in weights.items()) for weights in judged]
    assert equal == [False, True, False]
    records = [json.loads(line) for line in output.with_name("student.metrics.jsonl").read_text().splitlines()]
    assert [record["validation_auc"] for record in records] == said
    agreement = {"validation_fast_correlation_one_4x4", "validation_fast_peak_shortfall", "validation_auc"}
    assert all({key for key in record if key.startswith("validation")} == agreement for record in records)


def test_a_validation_clip_without_maps_is_named(data, tmp_path):
    with writing(tmp_path / "maps.h5") as file:
        write_attributes(file, teacher="one")
        write_clip(file, "b.slow", {g: np.zeros((FRAMES, g, g)) for g in (1, 4)})
    with pytest.raises(InputError, match=r"clip b\.fast: one has maps of 0 frames, expected 12"):
        distilled(tmp_path, data | {"validation_maps": [tmp_path / "maps.h5"]}, selection="validation")


def test_boxes_of_another_length_are_named(data, tmp_path):
    np.save(tmp_path / "b.fast.npy", np.ones((5, 1, 4), np.float32))
    with pytest.raises(InputError, match=r"validation clip b\.fast: boxes of 5 frames; expected 12"):
        distilled(tmp_path, data | {"boxes": [tmp_path / "b.fast.npy"]}, selection="validation")


def test_synthetic_and_validation_clips_of_one_training_clip_keep_their_maps_apart(data, tmp_path):
    """Of a single training clip, its first part makes the former and its last part the latter, under one name."""
    synthetic = tmp_path / "synthetic.h5"
    with writing(synthetic) as file:
        write_attributes(file, teacher="one")
        write_clip(file, "b.fast", {g: np.full((FRAMES, g, g), 0.5) for g in (1, 4)})
    both = data | {"frames": [*data["frames"], *data["validation"]], "maps": [*data["maps"], synthetic]}
    seen = []

    class Kept(training.Distiller):
        def step(self, frames, targets, *rest):
            seen.append(targets["one"][4].clone())
            return super().step(frames, targets, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill_student, "Distiller", Kept)
        distilled(tmp_path, both, selection="validation", epochs=1)
    learned = torch.cat(seen)
    assert (learned == 0.5).flatten(1).all(1).sum() == FRAMES == len(learned) - FRAMES


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
