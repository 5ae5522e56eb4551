"""Two processes that train together, against one that trains alone."""

import json
import subprocess
import sys

import pytest
import torch
import training_together
from torch.nn import functional

from vadistill.errors import InputError
from vadistill.frame_level.registry import unscored
from vadistill.training import parallel
from vadistill.training.checkpoint import load_model

KINDS = {
    **{"pretrained": "autoencoder", "distilled": unscored("student"), "model": unscored("sdmae")},
    **{name: teacher for name, (teacher, _) in training_together.TEACHERS.items()},
}

HANGS = 1200  # seconds, only so that what hangs ends: the two commands take a minute each, on a busy machine some more


def run(*command):
    made = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert made.returncode == 0, made.stderr[-3000:]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folders of what one process trained and what two did."""
    data, one, two = (tmp_path_factory.mktemp(name) for name in ("data", "one", "two"))
    training_together.make_data(data)
    script = training_together.__file__
    run(script, data, one)
    run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, script, data, two)
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_two_processes_come_to_the_weights_of_one(models, name):
    one, two = (load_model(folder / f"{name}.pt", KINDS[name])["weights"] for folder in models)
    assert one.keys() == two.keys()
    # A step of Adam is 1e-4 or 1e-3 long, also where a gradient is rounding alone; teachers are trained in float64.
    bounds = {"rtol": 1e-6, "atol": 1e-7} if name in training_together.TEACHERS else {"rtol": 1e-3, "atol": 5e-5}
    for key, weight in one.items():
        torch.testing.assert_close(two[key], weight, **bounds, msg=lambda line, key=key: f"{key}: {line}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pretrained", "distilled", *training_together.TEACHERS])
def test_they_log_the_losses_of_whole_batches(models, name):
    one, two = (
        [json.loads(line)["train_loss"] for line in (folder / f"{name}.metrics.jsonl").read_text().splitlines()]
        for folder in models
    )
    assert two == pytest.approx(one, rel=1e-4)


def test_shares_of_batches_are_of_equal_size_and_disjoint(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    parts = []
    for number in "01":
        monkeypatch.setenv("RANK", number)
        parts.append(parallel.share(range(11), 4))
    assert parts == [([0, 1, 4, 5, 8], 2), ([2, 3, 6, 7, 9], 2)], "the eleventh is left out"
    with pytest.raises(InputError, match="batch is 3; expected a multiple of the 2 processes"):
        parallel.share(range(11), 3)


def test_a_share_of_random_numbers_is_that_of_one_process(monkeypatch):
    whole = torch.rand(6, 3, generator=torch.Generator().manual_seed(1))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert torch.equal(parallel.uniform((3, 3), torch.Generator().manual_seed(1)), whole[3:])


def test_its_batch_norm_is_that_of_torch_in_one_process():
    made, features = parallel.WholeBatchNorm2d(3), torch.randn(4, 3, 5, 6)
    expected = functional.batch_norm(features, None, None, training=True)
    torch.testing.assert_close(made(features), expected, rtol=1e-4, atol=1e-5)
    theirs = torch.nn.BatchNorm2d(3)
    theirs(features)
    torch.testing.assert_close(made.state_dict(), theirs.state_dict())


def test_a_batch_of_objects_is_spread_so_that_halves_stay_halves(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    parts = []
    for number in "01":
        monkeypatch.setenv("RANK", number)
        parts.append(parallel.spread(torch.arange(9)).tolist())
    assert parts == [[0, 2, 4, 6], [1, 3, 5, 7]], "the ninth is left out"


def test_draws_for_a_share_are_those_for_the_whole(monkeypatch):
    def drawn(count, shared):
        draws = parallel.Draws(torch.Generator().manual_seed(1), shared=shared)
        return (
            draws.uniform(2, 3, count, 5),
            draws.randn(count),
            draws.randint(-4, 9, count, 1),
            draws.rand(count, 2, 2),
        )

    whole = drawn(6, True)
    assert all(torch.equal(one, other) for one, other in zip(whole, drawn(6, False), strict=True)), "of one process"
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    assert all(torch.equal(part, all_[1::3]) for part, all_ in zip(drawn(2, True), whole, strict=True))
    assert all(torch.equal(part, all_) for part, all_ in zip(drawn(6, False), whole, strict=True)), "not a share"
