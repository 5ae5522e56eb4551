"""Pre-training of the student's backbone, as a stage."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stored_clips import store_of

from vadistill.settings import StudentConfig
from vadistill.stages import pretrain_student
from vadistill.student import pretraining
from vadistill.student.network import AutoEncoder
from vadistill.training.checkpoint import load_model

NETWORK = {"height": 32, "width": 48, "base_width": 2, "downsamplings": 2, "depth": 1, "heads": 1, "head_width": 4}


@pytest.fixture
def clip(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "loader_workers", lambda: 0)
    rng = np.random.default_rng(0)
    return store_of(tmp_path, "a", rng.integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)).path


def pretrained(clip, network=None, **changes):
    settings = {"student": {**NETWORK, **(network or {})}}
    settings["pretraining"] = {"epochs": 1, "batch": 9, "learning_rate": 1e-3, "weight_decay": 0.0, **changes}
    output = clip.with_name("pretrained.pt")
    for old in clip.parent.glob("pretrained.*"):
        old.unlink()
    pretrain_student.main(SimpleNamespace(settings=settings, frames=[clip], output=output))
    return load_model(output, "autoencoder")["weights"]


def initial():
    torch.manual_seed(0)
    return AutoEncoder(StudentConfig(**NETWORK))


def test_weight_decay_draws_all_weights_to_zero(clip):
    """One step of Adam is the learning rate long: with a huge decay it leads every weight towards zero."""
    made = pretrained(clip, weight_decay=1e6)
    for name, was in initial().named_parameters():
        moved, far = (was - made[name]) * was.sign(), was.abs() > 2e-3
        torch.testing.assert_close(moved[far], torch.full_like(moved[far], 1e-3), rtol=0.01, atol=0)


def test_the_learning_rate_falls(clip):
    """After the first epoch to nothing: the others change no weight, only the statistics of the norms."""
    one, three = (pretrained(clip, epochs=epochs, decay_every=1, decay=0.0) for epochs in (1, 3))
    slow = pretrained(clip, epochs=3, decay_every=2, decay=0.0)
    for name, _ in initial().named_parameters():
        assert torch.equal(one[name], three[name])
    assert not torch.equal(slow["output.weight"], one["output.weight"])


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_target_is_the_middle_frame(count):
    rng = torch.Generator().manual_seed(0)
    frames = torch.rand(2, count, 3, 8, 12, generator=rng)
    made = pretraining.middle_frame(frames.flatten(1, 2), (8, 12))
    torch.testing.assert_close(made, frames[:, count // 2])
    flat = torch.arange(3.0 * count)[None, :, None, None].expand(1, -1, 8, 12)
    smaller = pretraining.middle_frame(flat, (4, 6))
    assert smaller.shape == (1, 3, 4, 6)
    torch.testing.assert_close(smaller[0, :, 1, 2], flat.unflatten(1, (-1, 3))[0, count // 2, :, 0, 0])


def test_frames_lie_frame_step_apart(clip):
    made = [pretrained(clip, {"frame_step": step}) for step in (1, 3, 9, 30)]
    stem = [weights["backbone.encoder.stem.norm.running_var"] for weights in made]
    assert not torch.equal(stem[0], stem[1]) and not torch.equal(stem[1], stem[2])
    assert torch.equal(stem[2], stem[3]), "all neighbours lie beyond the borders"


def test_with_flow_in_its_window_it_restores_the_middle_frame_all_the_same(clip, monkeypatch):
    seen = []
    monkeypatch.setattr(pretraining, "reconstruction_loss", lambda made, target: seen.append(target) or made.mean())
    weights = pretrained(clip, network={"flow": "fast"})
    pretrained(clip)
    with_flow, without = seen
    torch.testing.assert_close(with_flow, without)
    assert weights["backbone.flow.output.weight"].any()
