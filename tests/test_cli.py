import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vadistill.evaluation.protocols import fast_aed_smooth


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    scores = {name: rng.random(length) for name, length in (("01_0014", 60), ("a b", 90), ("c", 30))}
    labels = {name: (rng.random(len(values)) < 0.3).astype(int) for name, values in scores.items()}
    labels["c"][:] = 1
    for folder, arrays in (("scores", scores), ("labels", labels)):
        (tmp_path / folder).mkdir()
        for name, values in arrays.items():
            np.save(tmp_path / folder / f"{name}.npy", values)
        np.savez(tmp_path / f"{folder}.npz", **arrays)
    return tmp_path, scores, labels


def test_auc_of_folders_and_archives(vadistill, clips):
    folder, scores, labels = clips
    joined = [np.concatenate([part[name] for name in scores]) for part in (labels, scores)]
    each = [roc_auc_score(labels[name], scores[name]) for name in ("01_0014", "a b")]
    for kind in ("", ".npz"):
        done = vadistill("auc", "--scores", folder / f"scores{kind}", "--labels", folder / f"labels{kind}")
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        assert made["micro_auc"] == pytest.approx(roc_auc_score(*joined))
        assert made["macro_auc"] == pytest.approx(np.mean(each)) and made["skipped_clips"] == ["c"]
        assert (made["clips"], made["frames"]) == (3, 180) and made["protocol"]["smoothing"] == {"kind": "none"}


def test_auc_under_a_protocol(vadistill, clips):
    folder, scores, labels = clips
    paths = ("auc", "--scores", folder / "scores", "--labels", folder / "labels.npz")
    made = json.loads(vadistill(*paths, "--protocol", "fast_aed").stdout)
    each = [roc_auc_score(labels[name], fast_aed_smooth(scores[name])) for name in ("01_0014", "a b")]
    assert made["macro_auc"] == pytest.approx(np.mean([*each, 1.0]))
    smoothed = json.loads(vadistill(*paths, "--sigma", "5").stdout)
    assert smoothed["protocol"]["smoothing"]["sigma_frames"] == 5.0
    assert smoothed["micro_auc"] != made["micro_auc"]
    done = vadistill(*paths, "--protocol", "fast_aed", "--sigma", "5")
    assert done.returncode == 1 and "--sigma 5: protocol fast_aed has its own smoothing" in done.stderr
    done = vadistill(*paths, "--protocol", "other")
    assert done.returncode == 1 and done.stderr.startswith("error: protocol 'other': unknown; known are vadistill,")


def broken(folder, case):
    """Break the scores or the labels; return which, and what the line must say."""
    target = folder / "scores" / "c.npy"
    match case:
        case "no folder":
            return folder / "nothing", "nothing: missing; expected a folder"
        case "empty folder":
            (folder / "empty").mkdir()
            return folder / "empty", "empty: no clips"
        case "one array":
            return target, "c.npy: no clip '01_0014', which"
        case "not npy":
            target.write_text("0.1 0.2")
        case "cut":
            target.write_bytes(target.read_bytes()[:100])
        case "pickled":
            np.save(target, np.array([{}], dtype=object), allow_pickle=True)
        case "two dimensions":
            np.save(target, np.zeros((30, 1)))
            return folder / "scores", "c.npy: shape (30, 1); expected (T,)"
        case "nan":
            np.save(target, np.full(30, np.nan))
            return folder / "scores", "c.npy: holds float64 or numbers that are not finite"
        case "text":
            np.save(target, np.array(["a"] * 30))
        case "too few":
            np.save(target, np.zeros(29))
            return folder / "scores", "scores: clip 'c' has 29 scores, and"
        case "no such clip":
            target.unlink()
            return folder / "scores", "scores: no clip 'c', which"
        case "one clip more":
            np.save(folder / "scores" / "d.npy", np.zeros(3))
            return folder / "scores", "labels: no clip 'd', which"
        case "bad archive":
            (folder / "bad.npz").write_bytes((folder / "scores.npz").read_bytes()[:300])
            return folder / "bad.npz", "bad.npz: not a readable"
        case "damaged archive":
            np.savez_compressed(folder / "packed.npz", **{"01_0014": np.arange(60.0)})
            content = bytearray((folder / "packed.npz").read_bytes())
            content[100] ^= 255
            (folder / "bad.npz").write_bytes(content)
            return folder / "bad.npz", "bad.npz: clip '01_0014' is not a readable"
    return folder / "scores", "c.npy: "


CASES = (
    *("no folder", "empty folder", "one array", "not npy", "cut", "pickled", "two dimensions", "nan", "text"),
    *("too few", "no such clip", "one clip more", "bad archive", "damaged archive"),
)


@pytest.mark.parametrize("case", CASES)
def test_bad_scores_end_in_one_line_that_names_the_file(vadistill, clips, case):
    folder, *_ = clips
    path, told = broken(folder, case)
    done = vadistill("auc", "--scores", path, "--labels", folder / "labels")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and told in done.stderr, done.stderr


def test_labels_other_than_0_and_1(vadistill, clips):
    folder, *_ = clips
    np.save(folder / "labels" / "c.npy", np.full(30, 255))
    done = vadistill("auc", "--scores", folder / "scores", "--labels", folder / "labels")
    assert done.returncode == 1 and "c.npy: holds other things than 0 and 1" in done.stderr


def same_as_arrays(vadistill, folder, scores, labels):
    """Whether the command says of two paths what it says of the arrays that they stand for."""
    made = vadistill("auc", "--scores", scores, "--labels", labels)
    assert made.returncode == 0, made.stderr
    return made.stdout == vadistill("auc", "--scores", folder / "scores", "--labels", folder / "labels").stdout


def test_tables_and_lists_of_scores(vadistill, clips):
    folder, scores, _ = clips
    for kind in ("csv", "txt"):
        (folder / kind).mkdir()
    for name, values in scores.items():
        rows = "".join(f"{frame},{frame / 25:.3f},{score!r}\n" for frame, score in enumerate(values.tolist()))
        (folder / "csv" / f"{name}.csv").write_text("frame,time_s,score\n" + rows)
        (folder / "csv" / f"{name}.npz").write_bytes(b"its maps")
        (folder / "txt" / f"{name}.txt").write_text("\n".join(map(repr, values.tolist())))
    for kind in ("csv", "txt"):
        assert same_as_arrays(vadistill, folder, folder / kind, folder / "labels")


@pytest.mark.parametrize("shape", [(180,), (1, 180), (180, 1)])
def test_labels_of_all_clips_in_a_row(vadistill, clips, shape):
    folder, _, labels = clips
    joined = np.concatenate([labels[name] for name in ("01_0014", "a b", "c")])
    np.save(folder / "all.npy", joined.reshape(shape))
    assert same_as_arrays(vadistill, folder, folder / "scores", folder / "all.npy")


def test_labels_in_a_row_are_divided_in_natural_order(vadistill, tmp_path):
    (tmp_path / "scores").mkdir()
    for name, values in {"10": [0.1, 0.9], "9": [0.5, 0.6, 0.7]}.items():
        np.savetxt(tmp_path / "scores" / f"{name}.txt", values)
    np.save(tmp_path / "labels.npy", [[0, 0, 1, 0, 1]])
    made = json.loads(vadistill("auc", "--scores", tmp_path / "scores", "--labels", tmp_path / "labels.npy").stdout)
    assert made["macro_auc"] == 1.0 and made["skipped_clips"] == []


def test_intervals_as_labels(vadistill, clips):
    folder, _, labels = clips
    rows = [f"{name}.mp4;{t};{t + 1}" for name, values in labels.items() for t in np.flatnonzero(values)]
    (folder / "labels.csv").write_text("\n".join(["clip;start;end", *rows]))
    assert same_as_arrays(vadistill, folder, folder / "scores", folder / "labels.csv")


@pytest.mark.parametrize(
    ("name", "write", "told"),
    [
        ("all.npy", lambda path: np.save(path, np.zeros(179, int)), "179 labels of all clips in a row; expected 180"),
        ("all.npy", lambda path: np.save(path, np.zeros((2, 90), int)), "shape (2, 90); expected (T,) or (1, T)"),
        ("all.npy", lambda path: np.save(path, np.array([[0] * 60, [0]], object)), "holds Python objects"),
        ("all.npz", lambda path: np.savez(path, c=np.array([None] * 30)), "holds Python objects"),
        ("all.npy", lambda path: path.write_bytes(b"\x80\x04}."), "holds Python objects, or is of another format"),
        ("labels.csv", lambda path: path.write_text("clip,start,end\nd,0,1\n"), "names the clip 'd'"),
        ("labels.csv", lambda path: path.write_text("clip,start,end\nc,0,31\n"), "clip 'c' has 30 frames; the labels"),
        ("all.txt", lambda path: path.write_text("0 1 x"), "not a file of numbers"),
        ("all.mat", lambda path: path.write_bytes(b"MATLAB 5.0"), "a file of another kind; expected a folder"),
    ],
)
def test_bad_labels_end_in_one_line(vadistill, clips, name, write, told):
    folder, *_ = clips
    write(folder / name)
    done = vadistill("auc", "--scores", folder / "scores", "--labels", folder / name)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {folder / name}: ") and told in done.stderr
    assert done.stderr.count("\n") == 1 and "allow_pickle" not in done.stderr


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("frame,time_s\n0,0.0\n", "has the columns frame,time_s; expected one named score"),
        ("frame,score\n0,1\n2,1\n", "frames are not 0, 1, 2"),
        ("frame,score\n0,high\n", "not a table of numbers"),
        ("frame,score\n0\n", "not a table of numbers"),
        ("frame,score\n", "expected (T,), one number a frame"),
        ("", "has the columns ; expected"),
    ],
)
def test_bad_tables_of_scores_end_in_one_line(vadistill, clips, table, told):
    folder, *_ = clips
    (folder / "tables").mkdir()
    (folder / "tables" / "c.csv").write_text(table)
    done = vadistill("auc", "--scores", folder / "tables", "--labels", folder / "labels")
    assert done.returncode == 1 and "c.csv: " in done.stderr and told in done.stderr and done.stderr.count("\n") == 1


def test_a_single_file_of_scores_is_the_clip_of_its_name(vadistill, tmp_path):
    """As ``vadistill score --output x.csv`` writes one."""
    (tmp_path / "gate.csv").write_text("frame,time_s,score\n0,0.0,0.1\n1,0.04,0.7\n2,0.08,0.4\n")
    (tmp_path / "gate.txt").write_text("0.1\n0.7\n0.4\n")
    np.save(tmp_path / "gate.npy", [0.1, 0.7, 0.4])
    (tmp_path / "labels.csv").write_text("clip,start,end\ngate,1,2\n")
    np.save(tmp_path / "labels.npy", [0, 1, 0])
    for scores in ("gate.csv", "gate.txt", "gate.npy"):
        for labels in ("labels.csv", "labels.npy"):
            done = vadistill("auc", "--scores", tmp_path / scores, "--labels", tmp_path / labels)
            assert json.loads(done.stdout)["micro_auc"] == 1.0, done.stderr


@pytest.mark.slow
def test_as_a_module(clips):
    folder, *_ = clips
    paths = ["--scores", str(folder / "scores"), "--labels", str(folder / "labels")]
    done = subprocess.run([sys.executable, "-m", "vadistill", "auc", *paths], capture_output=True, text=True)
    assert done.returncode == 0 and 0 < json.loads(done.stdout)["micro_auc"] < 1, done.stderr


def write(folder, name, rows):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows))


def test_regions(vadistill, tmp_path):
    tracks, found = tmp_path / "tracks", tmp_path / "found"
    write(tracks, "a", ["0,3,10,10,20,30", "0,4,11,10,21,30", "1,4,50,50,60,60"])
    write(tracks, "b", [])
    write(found, "a", ["3,10,10,20,30,0.9", "4,11,10,21,30,0.8"])
    write(found, "b", ["0,1,1,5,5,0.1"])
    done = vadistill("regions", "--tracks", tracks, "--detections", found, "--num-frames", 10)
    assert done.returncode == 0, done.stderr
    # Two of three regions and one of two tracks before the first false alarm, which is the last detection.
    assert json.loads(done.stdout) == {"rbdc": pytest.approx(2 / 3), "tbdc": pytest.approx(1 / 2)}


def test_bad_region_files_end_in_one_line_that_names_file_and_row(vadistill, tmp_path):
    tracks, found = tmp_path / "tracks", tmp_path / "found"
    write(tracks, "a", ["0,3,10,10,20,30"])
    write(found, "a", ["3,10,10,20,30,0.9", "3,10,10,20,high,0.9"])
    done = vadistill("regions", "--tracks", tracks, "--detections", found, "--num-frames", 10)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "a.txt" in done.stderr and "row 2" in done.stderr
    assert vadistill("regions", "--tracks", tracks, "--detections", found, "--num-frames", 0).returncode == 2
    write(found, "a", ["30,10,10,20,30,0.9"])
    done = vadistill("regions", "--tracks", tracks, "--detections", found, "--num-frames", 30)
    assert done.returncode == 1 and "--num-frames 30: the files name frames of at least 31" in done.stderr
