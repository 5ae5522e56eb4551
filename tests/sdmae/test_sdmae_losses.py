import numpy as np
import pytest
import torch

from vadistill.sdmae.losses import LEAST_ANOMALY, even_weights, target_patches, token_weights, weighted_error

P = 4


def frames(seed, count=3):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 12), dtype=np.uint8))


def test_token_weights_against_a_slow_loop():
    before, after, mask = frames(0), frames(1), torch.zeros(3, 1, 8, 12)
    mask[1, 0, 2:5, 3:9] = 1
    made = token_weights(before, after, mask, P)
    for sample in range(3):
        change = np.abs(after[sample].numpy().astype(float) - before[sample].numpy().astype(float))
        change = change + mask[sample].numpy() * max(128.0, change.max())
        cells = [np.mean([change[c, r : r + P, k : k + P].max() for c in range(3)]) for r in (0, 4) for k in (0, 4, 8)]
        np.testing.assert_allclose(made[sample], np.array(cells) / np.sum(cells), rtol=1e-5)


def test_without_change_all_tokens_count_alike_and_a_pasted_anomaly_more():
    still, mask = frames(0, 2), torch.zeros(2, 1, 8, 12)
    mask[1, 0, 0, 0] = 1
    made = token_weights(still, still, mask, P)
    torch.testing.assert_close(made[0], even_weights(1, 6, torch.device("cpu"))[0])
    torch.testing.assert_close(made[1], torch.tensor([1.0, 0, 0, 0, 0, 0]))
    assert LEAST_ANOMALY == 128


def test_the_weighted_error_by_hand():
    made, target = torch.tensor([[[1.0, 1.0], [3.0, 0.0]], [[0.0, 0.0], [2.0, 2.0]]]), torch.zeros(2, 2, 2)
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert weighted_error(made, target, weights).item() == pytest.approx((0.25 * 1 + 0.75 * 4.5 + 0) / 2)


def test_what_is_to_be_reconstructed_is_the_clean_frame_and_where_the_anomaly_is():
    clean, mask = torch.rand(1, 3, 8, 12), torch.zeros(1, 1, 8, 12)
    mask[0, 0, :4, :4] = 1
    made = target_patches(clean, mask, P)
    assert made.shape == (1, 6, 4 * P * P)
    colour, anomaly = made[0, :, : 3 * P * P], made[0, :, 3 * P * P :]
    assert torch.equal(colour[1], clean[0, :, :4, 4:8].flatten())
    assert (anomaly[0] == 1).all() and (anomaly[1:] == -1).all()
