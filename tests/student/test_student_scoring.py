import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import percentileofscore
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from stored_clips import store_of
from students import detector_of

from vadistill.datasets.labels import kind_of, labels_of_boxes
from vadistill.errors import InputError
from vadistill.evaluation.fusion import fitted_sum, mean_ranks
from vadistill.inference.description import Description
from vadistill.settings import DistillationConfig, StudentConfig
from vadistill.stages.evaluate_student import fitted_without_itself
from vadistill.student.distillation import Distiller
from vadistill.student.graph import ScoringNetwork
from vadistill.student.network import frame_scores, scale_frames
from vadistill.student.scoring import validation_metrics, windows_of
from vadistill.student.training import held_out_statistics, train_epoch
from vadistill.windows import scoring
from vadistill.windows.loader import batch_loader
from vadistill.windows.scoring import score_windows

NETWORK = StudentConfig(height=32, width=48, base_width=2, downsamplings=2, depth=1, heads=1, head_width=4)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    return [store_of(folder, name, rng.integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)).path for name in "ab"]


def distiller(**changes):
    torch.manual_seed(0)
    settings = DistillationConfig(teachers=("one",), adversarial_weight=0, epochs=4, **changes)
    return Distiller(NETWORK, settings, (1, 4), CPU)


def test_validation_auc_is_that_of_the_single_frames(clips):
    student, windows = distiller().student.train(), windows_of(clips, NETWORK)
    labels = {"a": np.arange(9) % 2, "b": np.arange(9) > 5}
    windows._maps = {"one": {g: np.full((18, g, g), 0.3, np.float16) for g in (1, 4)}}
    made = validation_metrics(student, windows, labels, CPU)["validation_auc"]
    assert student.training
    with torch.no_grad():
        frames = torch.stack([windows[i][0] for i in range(18)])
        scores = frame_scores(student.eval()(scale_frames(frames))).numpy().reshape(2, 9)
    expected = roc_auc_score(np.concatenate(list(labels.values())), scores.ravel())
    macro = np.mean([roc_auc_score(label, score) for label, score in zip(labels.values(), scores, strict=True)])
    assert made == pytest.approx((expected + macro) / 2)


@pytest.mark.parametrize(("frames", "step"), [(3, 1), (3, 2), (5, 1), (1, 3)])
def test_the_student_sees_frames_that_lie_frame_step_apart(clips, frames, step):
    network = replace(NETWORK, frames=frames, frame_step=step)
    windows = windows_of(clips, network)
    expected = [windows.stores[0].read(4 + step * i) for i in range(-(frames // 2), frames // 2 + 1)]
    np.testing.assert_array_equal(windows[4][0], np.concatenate(expected, 2).transpose(2, 0, 1))
    told = Description.of(detector_of(network)).offsets
    assert told == tuple(windows.offsets) and len(told) == frames


def test_clips_of_one_class_have_no_validation_auc(clips):
    windows = windows_of(clips, NETWORK)
    with pytest.raises(InputError, match=r"validation\.share"):
        validation_metrics(distiller().student, windows, {"a": np.ones(9, int), "b": np.zeros(9, int)}, CPU)


def test_an_epoch_takes_each_chosen_frame_once_and_tells_its_rate(clips):
    made, windows = distiller(batch=4, frame_stride=2, schedule="cosine"), windows_of(clips, NETWORK)
    windows._maps = {"one": {g: np.full((18, g, g), 0.3, np.float16) for g in (1, 4)}}
    losses = [train_epoch(made, windows, epoch, torch.Generator().manual_seed(epoch)) for epoch in range(4)]
    assert int(made.optimiser.state_dict()["state"][0]["step"]) == 4 * 3, "nine frames are three batches"
    assert losses[-1]["train_loss"] < losses[0]["train_loss"] and losses[0]["frames_per_second"] > 0
    last = (3 + 2 / 3) / 4
    expected = made.settings.learning_rate * (1 + np.cos(np.pi * (last - 0.1) / 0.9)) / 2
    assert made.optimiser.param_groups[0]["lr"] == pytest.approx(expected)


def test_statistics_of_held_out_frames_are_of_them_alone(clips):
    """Frame by frame, by numpy; the student is left as it was."""
    made, windows = distiller(), windows_of(clips, NETWORK, held_out={"b": 0.0})
    assert windows.held_out_order(4) == [9, 11, 14, 17] and windows.held_out_order(100) == list(range(9, 18))
    rng = np.random.default_rng(0)
    windows._maps = {"one": {g: rng.random((18, g, g)).astype(np.float16) for g in (1, 4)}}
    windows._maps["one"][4][windows._maps["one"][4] < 0.3] = 0
    windows._maps["one"][4][10] = 0
    before = {name: value.clone() for name, value in made.result.state_dict().items()}
    found = held_out_statistics(made, windows)
    assert made.result.training and all(torch.equal(before[k], v) for k, v in made.result.state_dict().items())
    with torch.no_grad():
        grids = [made.result.eval()(scale_frames(windows[i][0][None]))[4][0, 0].numpy() for i in range(9, 18)]
    target = windows._maps["one"][4][9:].astype(np.float32)
    here = target > 0
    expected = np.corrcoef(np.stack(grids)[here], target[here])[0, 1]
    assert found["held_out_correlation_one_4x4"] == pytest.approx(expected, abs=1e-4)
    errors = [t.max() - grid.flat[t.argmax()] for t, grid in zip(target, grids, strict=True) if t.any()]
    assert len(errors) == 8 and found["held_out_peak_shortfall"] == pytest.approx(np.mean(errors), abs=1e-5)
    assert held_out_statistics(made, windows_of(clips, NETWORK)) == {}


def test_agreement_on_validation_clips_is_of_their_abnormal_frames_by_kind(tmp_path):
    rng, lengths = np.random.default_rng(1), {"a.fast": 6, "a.pasted": 5, "b.fast": 7}
    images = {name: rng.integers(0, 255, (length, 32, 48, 3), dtype=np.uint8) for name, length in lengths.items()}
    student = distiller().student.train()
    windows = windows_of([store_of(tmp_path, name, part).path for name, part in images.items()], NETWORK)
    labels = {"a.fast": [0, 1, 1, 0, 0, 0], "a.pasted": [0, 0, 1, 1, 1], "b.fast": [0, 0, 0, 0, 0, 1, 1]}
    labels = {clip: np.array(label, np.uint8) for clip, label in labels.items()}
    windows._maps = {"one": {g: rng.random((18, g, g)).astype(np.float16) for g in (1, 4)}}
    found = validation_metrics(student, windows, labels, CPU)
    assert student.training
    for kind, order in {"fast": [1, 2, 16, 17], "pasted": [8, 9, 10]}.items():
        with torch.no_grad():
            own = np.stack([student.eval()(scale_frames(windows[i][0][None]))[4][0, 0].numpy() for i in order])
        target = windows._maps["one"][4][order].astype(np.float32)
        expected = np.corrcoef(own.ravel(), target.ravel())[0, 1]
        assert found[f"validation_{kind}_correlation_one_4x4"] == pytest.approx(expected, abs=1e-4)
        errors = [t.max() - grid.flat[t.argmax()] for t, grid in zip(target, own, strict=True)]
        assert found[f"validation_{kind}_peak_shortfall"] == pytest.approx(np.mean(errors), abs=1e-5)
    assert len(found) == 2 * 2 + 1


def test_scores_and_maps_of_a_clip_belong_together(clips):
    scores, maps = score_windows(ScoringNetwork(distiller().student).eval(), windows_of(clips[:1], NETWORK), CPU)
    assert scores.shape == (9,) and {g: grid.shape for g, grid in maps.items()} == {1: (9, 1, 1), 4: (9, 4, 4)}
    np.testing.assert_allclose(scores, np.mean([grid.max((1, 2)) for grid in maps.values()], axis=0), rtol=1e-6)


def test_clips_are_scored_by_one_loader_as_each_alone(clips, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH", 4)  # 9 frames are three batches, and none holds frames of two clips
    network, made = ScoringNetwork(distiller().student).eval(), []
    alone = [scoring.score_windows(network, windows_of([path], NETWORK), CPU) for path in clips]
    monkeypatch.setattr(scoring, "batch_loader", lambda *given: made.append(given[1]) or batch_loader(*given))
    found = list(scoring.score_clips(network, windows_of(clips, NETWORK), CPU))
    assert [store.path for store, _ in found] == list(clips)
    for (_, (scores, maps)), (expected, grids) in zip(found, alone, strict=True):
        assert np.array_equal(scores, expected) and all(np.array_equal(maps[g], grids[g]) for g in grids)
    assert [[len(batch) for batch in batches] for batches in made] == [[4, 4, 1] * len(clips)]


def test_mean_ranks_against_scipy():
    rng = np.random.default_rng(0)
    parts = [{"a": rng.integers(0, 9, 7) / 9, "b": rng.random(5)} for _ in range(3)]
    made = mean_ranks(parts)
    for clip in "ab":
        expected = np.zeros(len(made[clip]))
        for part in parts:
            every = np.concatenate(list(part.values()))
            expected += [percentileofscore(every, value) / 100 for value in part[clip]]
        np.testing.assert_allclose(made[clip], expected / 3)


def test_the_fitted_sum_weighs_the_maps_by_what_they_tell():
    rng = np.random.default_rng(0)
    truth = {"v": rng.integers(0, 2, 300).astype(np.uint8)}
    known = {1: {"v": rng.random(300)}, 4: {"v": truth["v"] + rng.random(300)}}
    maxima = {1: {"t": rng.random(50)}, 4: {"t": rng.random(50)}}
    made = fitted_sum(maxima, known, truth)["t"]
    model = LogisticRegression(C=1e3, max_iter=1000).fit(np.stack([known[1]["v"], known[4]["v"]], 1), truth["v"])
    np.testing.assert_allclose(made, model.intercept_ + np.stack([maxima[1]["t"], maxima[4]["t"]], 1) @ model.coef_[0])
    assert model.coef_[0][1] > 5 * abs(model.coef_[0][0])
    with pytest.raises(InputError, match="one class only"):
        fitted_sum(maxima, known, {"v": np.ones(300, np.uint8)})


def test_validation_clips_are_fused_by_what_other_training_clips_tell():
    rng = np.random.default_rng(0)
    truth = {f"{source}.{kind}": rng.integers(0, 2, 40) for source in "abc" for kind in ("fast", "pasted")}
    maxima = {g: {clip: rng.random(40) + g * label for clip, label in truth.items()} for g in (1, 4)}
    made = fitted_without_itself(maxima, truth)
    assert made.keys() == truth.keys()
    for source in "abc":
        known = {clip: label for clip, label in truth.items() if clip[0] != source}
        columns = {clip: np.stack([maxima[1][clip], maxima[4][clip]], 1) for clip in truth}
        model = LogisticRegression(C=1e3, max_iter=1000)
        model.fit(np.concatenate([columns[clip] for clip in known]), np.concatenate(list(known.values())))
        for clip in truth.keys() - known.keys():
            np.testing.assert_allclose(made[clip], model.decision_function(columns[clip]))
    assert fitted_without_itself(maxima, {clip: label for clip, label in truth.items() if clip[0] == "a"}) is None


def test_labels_of_synthetic_anomalies(tmp_path):
    boxes = np.zeros((4, 2, 4), np.float32)
    boxes[2, 1] = [1, 2, 3, 4]
    np.save(tmp_path / "a.1.fast.npy", boxes)
    np.save(tmp_path / "a.1.pasted.npy", boxes[:, 1])  # as earlier versions wrote it
    labels = labels_of_boxes([tmp_path / "a.1.fast.npy", tmp_path / "a.1.pasted.npy"])
    expected = {"a.1.fast": [0, 0, 1, 0], "a.1.pasted": [0, 0, 1, 0]}
    assert {clip: label.tolist() for clip, label in labels.items()} == expected
    assert kind_of("a.1.fast") == "fast"
    (tmp_path / "b.fast.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"b\.fast\.npy: not a readable"):
        labels_of_boxes([tmp_path / "b.fast.npy"])
    for shape in ((4,), (4, 5), (4, 1, 3), (0, 4), (4, 0, 4)):
        np.save(tmp_path / "b.fast.npy", np.zeros(shape, np.float32))
        with pytest.raises(
            InputError, match=rf"b\.fast\.npy: boxes of shape {re.escape(str(shape))}; expected \(T, N, 4\)"
        ):
            labels_of_boxes([tmp_path / "b.fast.npy"])
