import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional
from trees import write_images

from vadistill.errors import InputError
from vadistill.frame_level.registry import load_network, untrained
from vadistill.io.frames import write_frames
from vadistill.sdmae.network import MaskedAutoEncoder, patches_of, scale_pixels
from vadistill.sdmae.scoring import SdmaeScores, masks_of
from vadistill.sdmae.training import Trainer, optimiser_of, samples, training_offsets
from vadistill.settings import SdmaeConfig, canonical
from vadistill.stages import fit_score, train_detector
from vadistill.training.checkpoint import save
from vadistill.training.run import TrainingRun
from vadistill.windows.loader import FrameWindows

SETTINGS = {
    **{"height": 32, "width": 48, "patch": 8, "encoder_width": 16, "encoder_depth": 1, "decoder_width": 8},
    **{"decoder_depth": 2, "heads": 2, "epochs": 2, "second_epochs": 2, "batch": 8, "synthetic_share": 0.5},
    **{"learning_rate": 1e-3, "precision": "float32"},
}
LAYOUT = SdmaeConfig(**SETTINGS)
CPU = torch.device("cpu")


def clip(count=20, seed=0):
    rng = np.random.default_rng(seed)
    frames = np.repeat(rng.integers(90, 110, (1, 32, 48, 3), np.uint8), count, 0)
    for t in range(count):
        frames[t, 10:20, 2 * t : 2 * t + 6] = 220
    return frames


@pytest.fixture
def windows(tmp_path):
    write_images(tmp_path / "clip", list(clip()), ".png")
    write_frames(tmp_path / "clip.h5", "clip", "train", tmp_path / "clip", "png")
    return FrameWindows([tmp_path / "clip.h5"], LAYOUT.size, training_offsets(LAYOUT), held_out={"clip": 0.8})


def batch(windows, count=8):
    return torch.stack([windows[3 + i][0] for i in range(count)])


def test_batch_norms_keep_the_mean_statistics_of_frames_behind_an_epoch(windows):
    """Of the first phase those of its network, all by the weights that the epoch ends in; the second leaves them."""
    torch.manual_seed(0)
    network, seen = MaskedAutoEncoder(LAYOUT), []
    norm, weight = network.blocks[0].attention.query.norm, network.blocks[0].attention.query.conv.weight
    norm.register_forward_pre_hook(
        lambda module, given: (
            seen.append((given[0].mean((0, 2, 3)).detach(), weight.detach().clone())) if module.training else None
        )
    )
    first, second = Trainer(network, LAYOUT, windows, CPU).phases()
    generator = torch.Generator().manual_seed(0)
    for epoch in range(2):
        seen.clear()
        first.train_epoch(epoch, generator)
    settling = [statistics for statistics, used in seen if torch.equal(used, weight)]
    assert (len(seen), len(settling)) == (4, 2)
    kept = norm.running_mean.clone()
    torch.testing.assert_close(kept, torch.stack(settling).mean(0))
    second.train_epoch(0, generator)
    assert torch.equal(norm.running_mean, kept)


def test_samples_have_a_clean_target_and_a_share_of_anomalies(windows):
    given = batch(windows)
    made = samples(given, LAYOUT, torch.Generator().manual_seed(0), CPU)
    clean = given[:, [0, 1, 2, 6, 7, 8, 12, 13, 14]]
    same = (made.frames == scale_pixels(clean)).flatten(1).all(1)
    assert torch.equal(same, made.abnormal == 0) and 0 < same.sum() < 8
    expected = patches_of(scale_pixels(given[:, 6:9]), 8)
    assert torch.equal(made.target[..., :192], expected)
    anomaly = made.target[..., 192:]
    assert ((anomaly == 1).flatten(1).any(1) == (made.abnormal == 1)).all() and anomaly.abs().eq(1).all()
    torch.testing.assert_close(made.weights.sum(1), torch.ones(8))
    assert torch.equal(made.order.sort(1).values, torch.arange(24).expand(8, -1))
    assert not torch.equal(made.order[0], made.order[1])


def test_samples_without_anomalies_and_without_motion(windows):
    plain = SdmaeConfig(**{**SETTINGS, "synthetic_share": 0.0, "motion_weights": False})
    made = samples(batch(windows), plain, torch.Generator().manual_seed(0), CPU)
    assert not made.abnormal.any() and torch.equal(made.weights, torch.full((8, 24), 1 / 24))


def moved(before, network):
    return {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}


def test_each_phase_moves_what_it_trains_and_nothing_else(windows, tmp_path):
    torch.manual_seed(0)
    network = MaskedAutoEncoder(LAYOUT)
    states = [copy.deepcopy(network.state_dict())]
    training = TrainingRun(tmp_path / "model.pt", "stamp", 0)
    for phase in Trainer(network, LAYOUT, windows, CPU).phases():
        training.fit([phase])
        states.append(copy.deepcopy(network.state_dict()))
    first = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    second = {name for name in states[0] if not torch.equal(states[1][name], states[2][name])}
    own = {name for name in states[0] if name.startswith("second.")}
    assert not first & own and second <= own
    learned = {name for name, _ in network.named_parameters()}
    assert first >= {name for name in learned - own if "bias" not in name}, "all of it, its batch norms too"
    assert second >= {name for name in learned & own if "bias" not in name}
    assert {"second.blocks.0.attention.query.norm.running_mean", "second.output.weight"} <= second
    names = [record["phase"] for record in training.records]
    assert names == ["first decoder"] * 2 + ["second decoder"] * 2
    assert {"held_out_loss", "held_out_error", "classifier_accuracy"} <= training.records[0].keys()


def test_losses_are_the_papers(windows):
    torch.manual_seed(0)
    network = MaskedAutoEncoder(LAYOUT).eval()
    trainer = Trainer(network, LAYOUT, windows, CPU)
    given = samples(batch(windows), LAYOUT, torch.Generator().manual_seed(0), CPU)
    made = network(given.frames, given.order)
    error = sum(
        (given.weights[i, j] * (made.first[i, j] - given.target[i, j]).square().mean()) for i in range(8)
        for j in range(24)
    ) / 8  # fmt: skip
    judged = functional.binary_cross_entropy(made.logit.sigmoid(), given.abnormal)
    torch.testing.assert_close(trainer._loss("first", given)[0], error + judged)
    gap = (given.weights * (made.second - made.first).square().mean(2)).sum(1).mean()
    loss, _ = trainer._loss("second", given)
    torch.testing.assert_close(loss, gap)
    loss.backward()
    assert network.second.output.weight.grad.any() and network.first.output.weight.grad is None


def test_biases_norms_and_tokens_do_not_decay():
    network = MaskedAutoEncoder(LAYOUT)
    groups = optimiser_of(list(network.parameters()), SdmaeConfig(weight_decay=0.1)).param_groups
    decayed = {id(parameter) for parameter in groups[0]["params"]}
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    for name, parameter in network.named_parameters():
        layer = name.endswith("weight") and "norm" not in name
        assert (id(parameter) in decayed) == layer, name


def trained(tmp_path, windows, name, stop=None, settings=SETTINGS):
    detector = untrained("sdmae", {"sdmae": settings, "maps": {"resolutions": [1, 4]}})
    torch.manual_seed(0)
    training = TrainingRun(tmp_path / f"{name}.pt", "stamp", 0)
    if stop:
        record = training.record

        def interrupted(phase, epoch, metrics):
            record(phase, epoch, metrics)
            if (phase.split()[0], epoch) == stop:
                raise KeyboardInterrupt

        training.record = interrupted
    weights = detector.fit(training, windows, CPU)
    return detector, detector.with_score(weights, detector.windows([tmp_path / "clip.h5"], held_out={"clip": 0.8}), CPU)


@pytest.mark.parametrize("stop", [("first", 1), ("second", 1)])
def test_a_resumed_training_ends_in_the_same_weights(tmp_path, windows, stop):
    _, whole = trained(tmp_path, windows, "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, windows, "part", stop)
    _, resumed = trained(tmp_path, windows, "part")
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_trained_file_scores_windows(tmp_path, windows):
    _, weights = trained(tmp_path, windows, "model")
    used = {"sdmae": SETTINGS, "maps": {"resolutions": [1, 4]}}
    save({"kind": "sdmae", "settings": canonical(used), "weights": weights}, tmp_path / "model.pt")
    loaded, network = load_network(tmp_path / "model.pt", CPU)
    assert loaded.size == (32, 48) and loaded.offsets == (-3, 0, 3) and json.loads(canonical(loaded.settings)) == used
    frames = batch(loaded.windows([tmp_path / "clip.h5"]), 4)
    score, one, four = network(frames)
    assert score.shape == (4,) and one.shape == (4, 1, 1) and four.shape == (4, 4, 4)
    assert torch.equal(score, network(frames)[0])
    torch.testing.assert_close(score[1:], network(frames[1:])[0])


@pytest.mark.parametrize("masks", [1, 2, 3])
def test_the_papers_score_by_hand(masks):
    torch.manual_seed(0)
    settings = SdmaeConfig(**{**SETTINGS, "masks": masks, "filter_tokens": 1})
    network = MaskedAutoEncoder(settings).eval()
    frames = torch.randint(0, 256, (2, 9, 32, 48), dtype=torch.uint8)
    score, grid = SdmaeScores(network, settings, (4,)).eval()(frames)
    scaled, tokens, abnormal = scale_pixels(frames), 0, 0
    target = patches_of(torch.cat([scaled[:, 3:6], torch.full((2, 1, 32, 48), -1.0)], 1), 8)
    for order in masks_of(24, masks):
        made = network(scaled, order.expand(2, -1))
        error, gap = ((a - b).square().mean(2) for a, b in ((target, made.first), (made.first, made.second)))
        tokens, abnormal = tokens + (0.4 * error + 0.3 * gap) / masks, abnormal + made.logit.sigmoid() / masks
    torch.testing.assert_close(score, tokens.amax(1) + 0.3 * abnormal)
    torch.testing.assert_close(grid, functional.adaptive_max_pool2d(tokens.unflatten(1, (4, 6))[:, None], 4)[:, 0])


@pytest.mark.parametrize("masks", [1, 2, 3])
def test_the_released_score_is_the_mean_of_error_and_gap(masks):
    torch.manual_seed(0)
    settings = SdmaeConfig(**{**SETTINGS, "masks": masks, "score": "released"})
    network, frames = MaskedAutoEncoder(settings).eval(), torch.randint(0, 256, (2, 9, 32, 48), dtype=torch.uint8)
    scaled, expected = scale_pixels(frames), 0
    target = patches_of(torch.cat([scaled[:, 3:6], torch.full((2, 1, 32, 48), -1.0)], 1), 8)
    for order in masks_of(24, masks):
        made = network(scaled, order.expand(2, -1))
        for a, b in ((target, made.first), (made.first, made.second)):
            expected = expected + (a - b).square().mean((1, 2)) / masks
    torch.testing.assert_close(SdmaeScores(network, settings, (4,)).eval()(frames)[0], expected)


def test_the_filter_averages_neighbouring_tokens_as_far_as_there_are_any():
    torch.manual_seed(0)
    network, frames = MaskedAutoEncoder(LAYOUT).eval(), torch.randint(0, 256, (1, 9, 32, 48), dtype=torch.uint8)

    def scored(side, grid):
        settings = SdmaeConfig(**{**SETTINGS, "filter_tokens": side, "abnormal_weight": 0.0})
        return SdmaeScores(network, settings, (grid,)).eval()(frames)

    # On a grid of 24 x 24 cells, every token of the 4 x 6 is cells of its own.
    tokens, wide = (scored(side, 24)[1][0, ::6, ::4].detach().numpy() for side in (1, 3))
    expected = [
        [tokens[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].mean() for column in range(6)]
        for row in range(4)
    ]
    np.testing.assert_allclose(wide, expected, rtol=1e-5)
    assert scored(3, 24)[0].item() == pytest.approx(np.max(expected), rel=1e-5)


def test_other_runtimes_get_folded_norms_and_the_precision_that_they_ask_for(tmp_path, windows):
    detector, weights = trained(tmp_path, windows, "model")
    frames = batch(detector.windows([tmp_path / "clip.h5"]), 4)
    expected = detector.load(weights)(frames)[0]
    for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        made = detector.streamlined(weights, dtype)
        assert not [part for part in made.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        assert {part.dtype for part in made.parameters()} == {dtype}
        score = made(frames)[0]
        assert score.dtype == torch.float32
        torch.testing.assert_close(score, expected, atol=bound, rtol=0)


def test_every_second_mask_hides_what_the_one_before_shows():
    first, second, third = masks_of(24, 3)
    assert {*first[:12].tolist()} | {*second[:12].tolist()} == {*range(24)}
    assert not torch.equal(first, third) and torch.equal(masks_of(24, 1)[0], first)


def test_the_score_of_places_measures_a_token_by_what_is_usual_there(tmp_path, windows):
    """Mean and spread of its error in the frames that are learned from, 16 of 20; the rest is held out."""
    settings = {**SETTINGS, "score": "places", "epochs": 1, "second_epochs": 1, "masks": 2}
    detector, weights = trained(tmp_path, windows, "model", settings=settings)
    plain = SdmaeConfig(**{**settings, "score": "paper", "abnormal_weight": 0.0})
    seen = detector.windows([tmp_path / "clip.h5"])
    frames = torch.stack([seen[t][0] for t in range(len(seen))])
    network = detector.load(weights).network
    errors = SdmaeScores(network, plain, (24,)).eval()(frames)[1][:, ::6, ::4].detach().numpy()  # (T, 4, 6)
    mean, variance = errors[:16].mean(0), errors[:16].var(0)
    spread = np.sqrt((variance + 0.25 * variance.mean()) / 1.25)
    rare = np.quantile(((errors[:16] - mean) / spread).max((1, 2)), 0.99)
    expected = np.tanh(np.maximum((errors - mean) / (spread * rare), 0))
    assert rare > 1 and expected.max((1, 2)).min() > 0.01
    scores, maps = (made.detach().numpy() for made in detector.load(weights)(frames)[:2])
    np.testing.assert_allclose(scores, expected.max((1, 2)), atol=1e-4)
    np.testing.assert_allclose(maps.max((1, 2)), scores, atol=1e-6)


def test_where_nothing_ever_changes_no_place_divides_by_nothing(tmp_path, windows):
    windows = FrameWindows([tmp_path / "clip.h5"], LAYOUT.size, LAYOUT.offsets)
    made = SdmaeScores(MaskedAutoEncoder(LAYOUT).eval(), SdmaeConfig(**{**SETTINGS, "score": "places"}), (4,))
    windows.drawn = np.full(5, 3)  # five times the same frame
    made.measure_usual(windows)
    frames = torch.stack([windows[t][0] for t in (3, 9)])
    usual, other = made(frames)[0].detach()
    assert usual == pytest.approx(0, abs=0.01) and 0.1 < other <= 1


OTHER_SCORES = [
    {"score": "released"},
    {"score": "places", "gap_weight": 0.0},
    {"error_weight": 1.0, "abnormal_weight": 0.0},
    {"filter_tokens": 1, "masks": 3},
]


@pytest.mark.parametrize("changes", OTHER_SCORES)
def test_another_score_of_the_same_training_is_that_of_a_training_with_it(tmp_path, windows, changes):
    """By the stages: the first training knows nothing of the score; the file of the second one is whole at once."""
    held_out, short = {"clip": 0.8}, {**SETTINGS, "epochs": 1, "second_epochs": 1}
    frames = [tmp_path / "clip.h5"]

    def made(name, trained, given):
        output = tmp_path / f"{name}.trained.pt"
        settings = {"sdmae": trained, "held_out_clips": held_out}
        train_detector.main(SimpleNamespace(settings=settings, detector="sdmae", frames=frames, output=output))
        settings = {"sdmae": given, "maps": {"resolutions": [4]}}
        given = {"settings": settings, "detector": "sdmae", "frames": frames, "trained": output}
        fit_score.main(SimpleNamespace(**given, output=tmp_path / f"{name}.pt"))
        detector, network = load_network(tmp_path / f"{name}.pt", CPU)
        assert detector.settings["sdmae"] == {**short, **changes} and detector.resolutions == (4,)
        return network(batch(detector.windows(frames)))

    one, other = made("one", short, changes), made("other", {**short, **changes}, {})
    assert all(map(torch.equal, one, other))
    network = load_network(tmp_path / "one.pt", CPU)[1].network
    frames = batch(FrameWindows(frames, LAYOUT.size, LAYOUT.offsets))
    assert not torch.allclose(one[0], SdmaeScores(network, LAYOUT, (4,)).eval()(frames)[0], atol=1e-3)


def test_a_detector_can_be_given_another_score_and_without_any_it_is_refused(tmp_path, windows):
    frames, held_out = [tmp_path / "clip.h5"], {"clip": 0.8}
    settings = {"sdmae": {**SETTINGS, "epochs": 1, "second_epochs": 1}, "held_out_clips": held_out}
    trained, first, second = (tmp_path / f"{name}.pt" for name in ("trained", "first", "second"))
    train_detector.main(SimpleNamespace(settings=settings, detector="sdmae", frames=frames, output=trained))
    with pytest.raises(InputError, match=r"trained\.pt: expected .*, found 'sdmae without its score'"):
        load_network(trained, CPU)
    for source, score, output in ((trained, "places", first), (first, "released", second)):
        given = {"settings": {"sdmae": {"score": score}, "maps": {}}, "detector": "sdmae", "frames": frames}
        fit_score.main(SimpleNamespace(**given, trained=source, output=output))
    assert "usual" in load_network(first, CPU)[1].state_dict()
    assert "usual" not in load_network(second, CPU)[1].state_dict()
