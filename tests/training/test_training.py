import json
import math
import random
import time
import zipfile

import numpy as np
import pytest
import torch

from vadistill.errors import InputError
from vadistill.training.checkpoint import drop_state, file_stamp, fitting, load_model
from vadistill.training.deadline import UNTIL
from vadistill.training.meters import CHECKED_TOGETHER, Averages, FiniteLosses, finite
from vadistill.training.run import EarlyStopping, TrainingRun


class Killed(Exception):
    pass


def train(*arguments, **options):
    """Run ``advance`` to its end; return the weights and the epochs that were done."""
    training, done = advance(*arguments, **options), []
    while True:
        try:
            done.append(next(training))
        except StopIteration as end:
            return end.value, done


def advance(output, stamp="a", phases=(("one", 4), ("two", 3)), kill=None, patience=None):
    """A small training, epoch by epoch; ``kill`` = (phase, epoch) dies in the middle of that epoch."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    run = TrainingRun(output, stamp, seed=5)
    for name, epochs in phases:
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        early = EarlyStopping(network, patience) if patience else None
        for epoch, generator in run.epochs(name, epochs, {"network": network, "optimiser": optimiser}, early):
            for _ in range(3):
                x = torch.randn(16, 3, generator=generator)
                loss = (network(x) - x.sum(1, keepdim=True)).square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                if kill == (name, epoch):
                    raise Killed
            if early:
                early.update(float(abs(epoch - 1)))
            run.record(name, epoch, {"train_loss": loss.item()})
            yield name, epoch
    run.finish({"kind": "test", "weights": network.state_dict()})
    return network.state_dict()


def records(output):
    lines = output.with_name(f"{output.stem}.metrics.jsonl").read_text().splitlines()
    return [(entry["phase"], entry["epoch"]) for entry in map(json.loads, lines)]


ALL = [("one", 0), ("one", 1), ("one", 2), ("one", 3), ("two", 0), ("two", 1), ("two", 2)]


@pytest.mark.parametrize("place", range(len(ALL)))
def test_a_killed_training_ends_with_the_same_weights(tmp_path, place):
    whole, _ = train(tmp_path / "whole.pt")
    output = tmp_path / "killed.pt"
    with pytest.raises(Killed):
        train(output, kill=ALL[place])
    assert not output.exists()
    resumed, done = train(output)
    assert done == ALL[place:], "only the interrupted epoch is repeated"
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert records(output) == ALL
    drop_state(output)
    assert not output.with_name("killed.state").exists()


def test_a_training_ends_in_time_and_says_so(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setenv(UNTIL, "1050")

    def epochs(run, *phases):
        for phase in phases:
            for epoch, _ in run.epochs(phase, 4, {}):
                yield phase, epoch
                now[0] += 20
                run.record(phase, epoch, {"train_loss": 1.0})

    run = TrainingRun(tmp_path / "m.pt", "a", seed=5)
    assert list(epochs(run, "one", "two")) == [("one", 0), ("one", 1), ("two", 0)], "a phase has one epoch at least"
    told = [told_of("one", 2), told_of("two", 1)]
    assert run.shortened == told
    run.finish({"kind": "test"})
    assert load_model(tmp_path / "m.pt", "test")["shortened"] == told
    again = TrainingRun(tmp_path / "m.pt", "a", seed=5)
    assert not list(epochs(again, "one", "two")) and again.shortened == told
    monkeypatch.setenv(UNTIL, "soon")
    with pytest.raises(InputError, match=f"{UNTIL} is 'soon'; expected seconds since 1970"):
        TrainingRun(tmp_path / "m.pt", "a", seed=5)
    monkeypatch.setenv(UNTIL, "nan")
    with pytest.raises(InputError, match=f"{UNTIL} is 'nan'"):
        TrainingRun(tmp_path / "m.pt", "a", seed=5)
    monkeypatch.setenv(UNTIL, "1050")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=f"{UNTIL}: is for one process"):
        TrainingRun(tmp_path / "m.pt", "a", seed=5)


def told_of(phase, epoch):
    return f"{phase} ended after epoch {epoch} of 4: there was no time for more ({UNTIL})"


def test_a_training_that_was_killed_late_has_no_further_epoch(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        train(tmp_path / "m.pt", kill=("one", 2))
    monkeypatch.setenv(UNTIL, "1")
    _, done = train(tmp_path / "m.pt")
    assert done == [("two", 0)]


def test_a_state_of_other_settings_is_ignored(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path / "m.pt", stamp="a", kill=("two", 1))
    _, done = train(tmp_path / "m.pt", stamp="b")
    assert done == ALL
    assert records(tmp_path / "m.pt") == ALL


def test_a_damaged_state_costs_its_epochs_only(tmp_path):
    (tmp_path / "m.state").write_bytes(b"cut off")
    _, done = train(tmp_path / "m.pt")
    assert done == ALL


def test_a_state_of_an_older_version_costs_its_epochs_only(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path / "m.pt", kill=("two", 1))
    saved = torch.load(tmp_path / "m.state", weights_only=True)
    del saved["records"]
    torch.save(saved, tmp_path / "m.state")
    _, done = train(tmp_path / "m.pt")
    assert done == ALL == records(tmp_path / "m.pt")


def test_a_finished_training_that_the_workflow_asks_for_again_is_not_repeated(tmp_path):
    """Killed after its last epoch, or finished by an orphan: Snakemake removes the model and runs the job again."""
    whole, _ = train(tmp_path / "m.pt")
    (tmp_path / "m.pt").unlink()
    again, done = train(tmp_path / "m.pt")
    assert done == [] and all(torch.equal(whole[name], again[name]) for name in whole)
    assert records(tmp_path / "m.pt") == ALL
    drop_state(tmp_path / "m.pt")
    assert train(tmp_path / "m.pt")[1] == ALL


def test_an_orphan_of_a_killed_workflow_trains_beside_its_rerun(tmp_path):
    """Both write model, state and metrics: the one that ends last leaves what an undisturbed training leaves."""
    whole, _ = train(tmp_path / "whole.pt")
    both = [advance(tmp_path / "m.pt") for _ in range(2)]
    for training in (both[0], both[0], both[0], both[1], both[1], both[0], *both * len(ALL)):
        next(training, None)
    assert all(torch.equal(whole[name], load_model(tmp_path / "m.pt", "test")["weights"][name]) for name in whole)
    assert records(tmp_path / "m.pt") == ALL
    assert not list(tmp_path.glob(".*"))


def test_every_epoch_of_every_phase_draws_numbers_of_its_own(tmp_path):
    def numbers(seed):
        run, drawn = TrainingRun(tmp_path / f"{seed}.pt", "a", seed), []
        for phase in ("one", "two"):
            for epoch, generator in run.epochs(phase, 3, {}):
                drawn.append((torch.rand(1, generator=generator).item(), torch.rand(1).item()))
                drawn[-1] += (np.random.rand(), random.random())
                run.record(phase, epoch, {"train_loss": 1.0})
        drop_state(tmp_path / f"{seed}.pt")
        return drawn

    first, again, other = numbers(0), numbers(0), numbers(1)
    assert first == again
    for drawn in zip(*first, strict=True):
        assert len(set(drawn)) == 6
    assert not {value for row in first for value in row} & {value for row in other for value in row}


def test_early_stopping_restores_the_best_weights_also_after_a_kill(tmp_path):
    phases = (("one", 9), ("two", 5))
    whole, done = train(tmp_path / "whole.pt", phases=phases, patience=2)
    assert done == [("one", 0), ("one", 1), ("one", 2), ("one", 3), ("two", 0), ("two", 1), ("two", 2), ("two", 3)]
    short, _ = train(tmp_path / "short.pt", phases=(("one", 2), ("two", 2)))
    assert all(torch.equal(whole[name], short[name]) for name in whole), "epoch 1 is the best of each phase"
    for kill in done:
        output = tmp_path / f"{kill[0]}{kill[1]}.pt"
        with pytest.raises(Killed):
            train(output, phases=phases, patience=2, kill=kill)
        resumed, _ = train(output, phases=phases, patience=2)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole), kill


def test_a_loss_that_is_not_finite_stops_with_its_place(tmp_path):
    with pytest.raises(InputError, match="nan at epoch 1, batch 7"):
        finite(torch.tensor(math.nan), "epoch 1, batch 7")
    run = TrainingRun(tmp_path / "m.pt", "a", 0)
    with pytest.raises(InputError, match="phase x, epoch 3: train_loss"):
        run.record("phase x", 2, {"train_loss": math.inf})


def test_losses_on_a_gpu_are_checked_together_and_before_an_epoch_ends():
    """The device is only asked for its kind, so that this runs without one."""
    at_once, together = FiniteLosses(torch.device("cpu")), FiniteLosses(torch.device("cuda"))
    fine, bad = torch.ones(()), torch.tensor(math.inf)
    with pytest.raises(InputError, match="inf at batch 1"):
        at_once(bad, "batch 1")
    assert together(bad, "batch 1") is bad
    for step in range(2, CHECKED_TOGETHER):
        together(fine if step % 2 else bad, f"batch {step}")
    with pytest.raises(InputError, match="inf at batch 1;"):
        together(fine, "the last of them")
    for step in range(3 * CHECKED_TOGETHER):
        together(fine, f"batch {step}")
    together.check()
    for loss, where in ((fine, "batch 1"), (bad, "batch 2"), (bad, "batch 3")):
        together(loss, where)
    with pytest.raises(InputError, match="inf at batch 2;"):
        together.check()
    together.check()


def test_weights_that_are_not_finite_after_an_epoch_are_not_kept(tmp_path):
    """The step that spoils them may be the last one, so that no loss tells."""
    network, run = torch.nn.Linear(2, 1), TrainingRun(tmp_path / "m.pt", "a", 0)
    with pytest.raises(InputError, match="tasks, epoch 2: the weights bias are not finite"):
        for epoch, _ in run.epochs("tasks", 2, {"network": network}):
            run.record("tasks", epoch, {"train_loss": 1.0})
            if epoch == 1:
                network.bias.data[0] = math.nan
    assert torch.load(tmp_path / "m.state", weights_only=True)["epoch"] == 0


def test_models_are_checked_when_loaded(tmp_path):
    train(tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt", "test")["kind"] == "test"
    with pytest.raises(InputError, match="expected a model of the kind 'student', found 'test'"):
        load_model(tmp_path / "m.pt", "student")
    (tmp_path / "bad.pt").write_bytes((tmp_path / "m.pt").read_bytes()[:100])
    with pytest.raises(InputError, match=r"bad\.pt: not a model"):
        load_model(tmp_path / "bad.pt", "student")


def write_damaged(path, kind):
    """Write what is no model of a training."""
    if kind in ("cut", "flipped"):
        torch.save({"kind": "student", "weights": torch.full((64,), 1.5)}, path)
        content = bytearray(path.read_bytes())
        content[content.index(np.full(8, 1.5, np.float32).tobytes())] ^= 1
        path.write_bytes(content[:300] if kind == "cut" else content)
    elif kind == "network":
        torch.save({"model": torch.nn.Linear(1, 1)}, path)
    elif kind == "old format":
        torch.save({"model": 1}, path, _use_new_zipfile_serialization=False)
    elif kind == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "text")
    elif kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("no weights")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        *(("cut", "cut off"), ("flipped", "differs from its checksum"), ("text", "cut off"), ("old format", "cut off")),
        *(("network", "more than numbers and text"), ("archive", "damaged"), ("folder", "a folder")),
        ("missing", "there is no such file"),
    ],
)
def test_what_is_no_model_is_said_in_our_words(tmp_path, kind, told):
    write_damaged(tmp_path / "m.pt", kind)
    with pytest.raises(InputError) as caught:
        load_model(tmp_path / "m.pt", "student")
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'm.pt'}: not a model of this project (") and told in line and "\n" not in line
    assert "expected a whole .pt file" in line
    for word in ("weights_only", "torch.load", "pickle", "PytorchStreamReader", "zip file"):
        assert word not in line


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (
            lambda own: own | {"weight": torch.zeros(3, 4)},
            r"the weights weight are of the shape \[3, 4\], .* for \[3, 2\]",
        ),
        (lambda own: {"weight": own["weight"]}, "the weights bias are missing"),
        (lambda own: own | {"extra": torch.zeros(1)}, "the weights extra belong to another network"),
        (lambda own: own | {"bias": 3}, "its weights do not fit its settings"),
    ],
)
def test_weights_of_another_network_are_said_in_our_words(tmp_path, weights, told):
    network = torch.nn.Linear(2, 3)
    with (
        pytest.raises(InputError, match=rf"m\.pt: {told}; expected the settings and weights") as caught,
        fitting(tmp_path / "m.pt"),
    ):
        network.load_state_dict(weights(dict(network.state_dict())))
    assert "\n" not in str(caught.value) and "state_dict" not in str(caught.value)


def test_stamp_knows_settings_and_inputs(tmp_path):
    path = tmp_path / "frames.h5"
    path.write_bytes(b"1")
    first = file_stamp("{}", [path])
    assert first == file_stamp("{}", [path]) != file_stamp("[]", [path])
    path.write_bytes(b"12")
    assert file_stamp("{}", [path]) != first


def test_averages_are_weighted_by_batch_size():
    averages = Averages()
    averages.add({"loss": torch.tensor(1.0)}, 3)
    averages.add({"loss": torch.tensor(5.0)}, 1)
    assert averages.means() == {"loss": 2.0}
