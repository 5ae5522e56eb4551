import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from stored_clips import numbered_clip
from teacher_objects import CLASSES
from torchvision.models.optical_flow import Raft_Small_Weights

from vadistill.errors import InputError
from vadistill.settings import BackgroundAgnosticConfig, FlowNeighboursConfig
from vadistill.teachers.crops import ClipCrops
from vadistill.teachers.pretrained.raft import Raft
from vadistill.teachers.pretrained.resnet50 import load_resnet50
from vadistill.teachers.registry import build

LEARNED = BackgroundAgnosticConfig(crop=32, motion="raft")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in a file, as no others are at hand; and the network that they are of."""
    torch.manual_seed(0)
    network = torchvision.models.optical_flow.raft_small(weights=None).eval()
    path = tmp_path_factory.mktemp("weights") / "raft_small.pth"
    torch.save(network.state_dict(), path)
    return path, network


def images(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)


@torch.no_grad()
def expected(network, start, end):
    """The flow (H, W, 2) as torchvision's documentation has it, for sides that the network takes."""
    rgb = (torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None] for image in (start, end))
    return network(*Raft_Small_Weights.DEFAULT.transforms()(*rgb))[-1][0].permute(1, 2, 0).numpy()


def test_flow_is_that_of_torchvision(weights):
    path, network = weights
    raft = Raft()
    raft.load(path)
    start, end = images(128, 160)
    made = raft.flow(start, end)
    assert made.shape == (128, 160, 2) and made.dtype == np.float32
    np.testing.assert_allclose(made, expected(network, start, end), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("height", "width", "padded"), [(130, 131, (136, 136)), (60, 200, (128, 200))])
def test_other_sides_are_filled_up_with_the_rim(weights, height, width, padded):
    path, network = weights
    raft = Raft()
    raft.load(path)
    start, end = images(height, width)
    fill = ((0, padded[0] - height), (0, padded[1] - width), (0, 0))
    whole = expected(network, *(np.pad(image, fill, mode="edge") for image in (start, end)))
    np.testing.assert_allclose(raft.flow(start, end), whole[:height, :width], rtol=1e-3, atol=1e-3)


def test_threads_get_the_flow_of_their_own_frames(weights):
    raft = Raft()
    raft.load(weights[0])
    pairs = [images(128, side, seed) for seed, side in enumerate((128, 160, 128, 160))]
    serial = [raft.flow(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        for made, alone in zip(pool.map(lambda pair: raft.flow(*pair), pairs), serial, strict=True):
            np.testing.assert_allclose(made, alone, rtol=1e-3, atol=1e-3)


def test_the_teacher_keeps_the_network_and_does_not_train_it(weights):
    teacher = build("background_agnostic", LEARNED, CLASSES)
    teacher.load_network(weights[0])
    learned = {id(weight) for phase in teacher.phases() for group in phase.optimiser.param_groups
               for weight in group["params"]}  # fmt: skip
    teacher.train()
    assert not any(module.training for module in teacher.raft.network.modules())
    assert not learned & {id(weight) for weight in teacher.raft.parameters()}
    loaded = build("background_agnostic", LEARNED, CLASSES)
    loaded.load_state_dict(teacher.state_dict())
    start, end = images(128, 128)
    np.testing.assert_array_equal(loaded.raft.flow(start, end), teacher.raft.flow(start, end))
    assert build("background_agnostic", replace(LEARNED, motion="dis"), CLASSES).raft is None


def test_only_learned_flow_cannot_do_without_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match=rf"motion is raft, but there is no raft_small\*\.pth in .*{tmp_path}"):
        build("background_agnostic", LEARNED, CLASSES).load_network(None)
    build("background_agnostic", replace(LEARNED, motion="dis"), CLASSES).load_network(None)
    build("flow_neighbours", FlowNeighboursConfig(), CLASSES).load_network(None)


def test_crops_hold_the_flow_of_colour_frames(tmp_path):
    teacher, store, seen = build("background_agnostic", LEARNED, CLASSES), numbered_clip(tmp_path), []

    def flow(start, end):
        seen.append((start, end))
        return np.full((*start.shape[:2], 2), len(seen), np.float32)

    teacher.raft.flow = flow
    made = ClipCrops(store, teacher.scoring_crops()).cut(10, np.array([[10, 5, 40, 50]]), np.random.default_rng(0))
    assert made["flow"][0, :, 0, 0, 0].tolist() == [1, 2]
    for (start, end), other in zip(seen, (7, 13), strict=True):
        np.testing.assert_array_equal(start, store.read(10))
        np.testing.assert_array_equal(end, store.read(other))


def test_weights_that_are_not_finite_are_refused(tmp_path, weights):
    state = torch.load(weights[0], weights_only=True)
    state["update_block.flow_head.conv2.bias"] = torch.full((2,), torch.nan)
    torch.save(state, tmp_path / "raft_small.pth")
    with pytest.raises(InputError, match=r"raft_small\.pth: holds weights that are not finite"):
        Raft().load(tmp_path / "raft_small.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(1)}, tmp_path / "raft_small.pth")
    with pytest.raises(InputError, match=r"raft_small\.pth: not the weights of torchvision's RAFT"):
        Raft().load(tmp_path / "raft_small.pth")


@pytest.mark.parametrize("load", [Raft, lambda: load_resnet50("resnet50.pth")])
def test_without_torchvision_one_line_says_so(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match="torchvision is not installed"):
        load()
