"""Nothing that a user's file holds is run: no pickle without a restricted loader, no text as code or command."""

import ast
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vadistill.datasets.clips import ArrayLabels, Clip
from vadistill.datasets.labels import labels_of_boxes, read_labels
from vadistill.errors import InputError
from vadistill.evaluation.score_files import read_frame_labels, read_scores
from vadistill.inference.backends import load_backend
from vadistill.teachers.pretrained.raft import Raft
from vadistill.teachers.pretrained.resnet50 import load_resnet50
from vadistill.training.checkpoint import load_model
from vadistill.training.run import TrainingRun

ROOT = Path(__file__).parents[1]
# What may run text or a pickle, and the files that may call it.
FORBIDDEN = {
    "eval": (),
    "exec": (),
    "compile": (),
    "os.system": (),
    "os.popen": (),
    "pickle.load": (),
    "pickle.loads": (),
    "torch.jit.load": (),
    "torch.hub.load": (),
    "yaml.load": (),
    "joblib.load": (),
    "pd.read_pickle": (),
    "subprocess.run": ("provenance.py", "lengths.py"),
    "subprocess.Popen": ("together.py",),  # its own command line once more
    "subprocess.check_output": (),
    "AutoBackend": ("yolo.py",),
    "YOLO": ("train_demo_detector.py",),
}


class Harm:
    """Pickled, it makes the folder ``path`` when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def calls():
    """Yield (file, name, keywords) of every call in the package."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield path.name, ast.unparse(node.func), {key.arg: ast.unparse(key.value) for key in node.keywords}


def test_no_call_of_the_package_runs_what_it_reads():
    found = list(calls())
    assert len(found) > 1000
    for file, name, keywords in found:
        assert file in FORBIDDEN.get(name, (file,)), f"{file}: {name}"
        assert keywords.get("shell", "False") == "False" and keywords.get("allow_pickle", "False") == "False", file
        assert name != "torch.load" or keywords.get("weights_only") == "True", f"{file}: {name}"


@pytest.mark.parametrize(
    "read",
    [
        lambda path: load_model(path, "student"),
        lambda path: load_backend("eager-fp32", path),
        load_resnet50,
        lambda path: Raft().load(path),
    ],
)
def test_a_pickle_in_weights_is_not_run(tmp_path, read):
    torch.save({"kind": "student", "stamp": "stamp", "weights": Harm(tmp_path / "harm")}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt"):
        read(tmp_path / "model.pt")
    assert not (tmp_path / "harm").exists()


def test_a_pickle_in_the_state_of_a_training_is_not_run(tmp_path):
    state = {"stamp": "stamp", "phase": 0, "epoch": 5, "ended": False, "parts": Harm(tmp_path / "harm")}
    torch.save(state, tmp_path / "model.state")
    epoch, _ = next(TrainingRun(tmp_path / "model.pt", "stamp", 0).epochs("phase", 9, {}))
    assert epoch == 0 and not (tmp_path / "harm").exists()


def labels_of(path):
    return read_labels(Clip("clip", "test", path, ArrayLabels(path)), 1, (1, 1))


def masks_of(path):
    return read_labels(Clip("clip", "test", path, ArrayLabels(masks=path)), 1, (1, 1))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("clip.npy", lambda path: read_scores(path.parent)),
        ("clip.npy", lambda path: read_frame_labels(path.parent)),
        ("clip.npy", labels_of),
        ("clip.npy", masks_of),
        ("clip.npy", lambda path: labels_of_boxes([path])),
        ("clip.npz", read_scores),
        ("clip.npz", labels_of),
    ],
)
def test_a_pickle_in_arrays_is_not_run(tmp_path, name, read):
    content = np.array([Harm(tmp_path / "harm")], object)
    (np.save if name.endswith("npy") else np.savez)(tmp_path / name, content, allow_pickle=True)
    with pytest.raises(InputError, match="clip"):
        read(tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_keys_of_an_archive_are_names_and_no_paths(tmp_path):
    names = ("a/b", "../../x", "/x", "$(touch x)", "", "é")
    np.savez(tmp_path / "scores.npz", **dict.fromkeys(names, np.zeros(3)))
    assert set(read_scores(tmp_path / "scores.npz")) == set(names)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]


def test_no_rule_puts_a_name_into_a_command_without_quotes():
    """Only what wildcards restrict to a few plain words may stand in a command as it is."""
    plain = {"wildcards.split", "wildcards.teacher", "wildcards.detector", "wildcards.shard"}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        for command in text.split("    shell:\n")[1:]:
            for part in command.split("\n\n")[0].split("{")[1:]:
                name = part.partition("}")[0]
                assert name.endswith(":q") or name in plain, f"{path.name}: {name}"
