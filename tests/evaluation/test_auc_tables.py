import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from vadistill.errors import InputError
from vadistill.evaluation.auc_tables import Entry, compare, read_tables, spread
from vadistill.evaluation.protocols import columns

LABELS = {"a.fast": np.array([0, 0, 1, 1]), "b.pasted": np.array([0, 1, 1, 0]), "c.pasted": np.ones(4, int)}
KINDS = {"a.fast": "fast", "b.pasted": "pasted", "c.pasted": "pasted"}
SCORES = {"a.fast": [0.1, 0.4, 0.3, 0.9], "b.pasted": [0.2, 0.1, 0.8, 0.3], "c.pasted": [0.5, 0.6, 0.7, 0.8]}


def entry(name="x", shift=0.0):
    return Entry("teacher", name, "object", {clip: np.array(s) + shift for clip, s in SCORES.items()})


def test_every_kind_of_clips_has_its_row():
    table = compare([entry()], LABELS, KINDS, 0).set_index("kind")
    assert list(table.index) == ["all", "fast", "pasted"]
    joined = roc_auc_score(np.concatenate(list(LABELS.values())), np.concatenate(list(SCORES.values())))
    assert table.loc["all", "micro_auc"] == pytest.approx(joined)
    single = [roc_auc_score(LABELS[clip], SCORES[clip]) for clip in ("a.fast", "b.pasted")]
    assert table.loc["all", "macro_auc"] == pytest.approx(np.mean(single))
    assert table.loc["pasted", "macro_auc"] == pytest.approx(single[1])
    assert table["clips"].tolist() == [3, 1, 2] and table["skipped_clips"].tolist() == [1, 0, 1]


def test_every_row_says_how_its_numbers_were_made(tmp_path):
    table = compare([entry(), replace(entry("y"), mean_filter="9 frames")], LABELS, KINDS, 15.0).assign(split="test")
    assert set(table["protocol"]) == {"vadistill"} and set(table["sigma_frames"]) == {15.0}
    assert set(table["taps"]) == {121} and set(table["borders"]) == {"weights renormalised"}
    assert set(table["single_class_clips"]) == {"skipped"} and set(table["normalisation"]) == {"none"}
    assert table["mean_filter"].tolist() == ["none"] * 3 + ["9 frames"] * 3
    plain = compare([entry()], LABELS, KINDS, 0)
    assert plain.loc[0, ["sigma_frames", "taps", "borders"]].tolist() == [0, 1, "none"]
    # What is written is read again, and the mean over seeds says it, too: two protocols are not averaged.
    for name, made in (("one", table), ("two", table), ("raw", plain.assign(split="test"))):
        (tmp_path / name).mkdir()
        made.to_csv(tmp_path / name / "t.csv", index=False)
    read = read_tables(sorted(tmp_path.glob("*/t.csv")))
    joined = spread(read, dict.fromkeys(("one", "two", "raw"), "x"))
    rows = joined[(joined["kind"] == "all") & (joined["name"] == "x")]
    assert sorted(rows[["sigma_frames", "taps", "runs"]].to_numpy().tolist()) == [[0, 1, 1], [15, 121, 2]]
    assert rows["skipped_clips"].tolist() == [1, 1] and rows["mean_filter"].tolist() == ["none", "none"]


def test_a_table_without_its_protocol_is_refused_by_name(tmp_path):
    old = compare([entry()], LABELS, {}, 0).assign(split="test").drop(columns=["protocol", "mean_filter"])
    (tmp_path / "run").mkdir()
    old.to_csv(tmp_path / "run/teachers_test.csv", index=False)
    with pytest.raises(InputError, match=r"teachers_test\.csv: no column 'mean_filter'.*older version.*delete it"):
        read_tables([tmp_path / "run/teachers_test.csv"])


@pytest.mark.slow
def test_ablation_stage_keeps_frame_scores_and_joins_seeds(tmp_path):
    rows = [("all", "map"), ("fast", "map"), ("all", "4x4")]
    for run, value in (("d.ablation.x.0", 0.6), ("d.ablation.x.1", 0.8), ("d.ablation.y.0", 0.5)):
        (tmp_path / run).mkdir()
        for split in ("validation", "test"):
            table = pd.DataFrame(rows, columns=["kind", "level"]).assign(group="student", name="student", split=split)
            table = table.assign(mean_filter="none", **columns(LABELS, 15.0))
            table.assign(micro_auc=value, macro_auc=1 - value).to_csv(tmp_path / run / f"{split}.csv", index=False)
    groups = {"d.ablation.x.0": "x", "d.ablation.x.1": "x", "d.ablation.y.0": "y"}
    tables = sorted(tmp_path.glob("*/*.csv"))
    command = [
        sys.executable,
        "-m",
        "vadistill.stages.compare_ablation",
        "--settings",
        json.dumps({"groups": groups, "configured": "y"}),
    ]
    command += ["--tables", *map(str, tables), "--output", str(tmp_path / "a.csv"), "--plot", str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = pd.read_csv(tmp_path / "a.csv").set_index(["variant", "split"])
    assert len(made) == 4 and (tmp_path / "a.png").stat().st_size > 5000
    assert made.loc[("x", "test"), "micro_auc"] == pytest.approx(0.7)
    assert made.loc[("x", "test"), "micro_auc_std"] == pytest.approx(0.2 / 2**0.5, abs=1e-5)
    assert made.loc[("y", "validation"), "runs"] == 1
    assert set(made["protocol"]) == {"vadistill"} and set(made["sigma_frames"]) == {15} and set(made["clips"]) == {3}
    assert made["configured"].to_dict() == {key: key[0] == "y" for key in made.index}


def test_spread_is_the_mean_and_deviation_over_seeds():
    tables = {
        name: compare([entry()], LABELS, {}, 0).assign(split="test", micro_auc=value)
        for name, value in (("base", 0.7), ("seed1", 0.8), ("seed2", 0.9), ("other", 0.1))
    }
    made = spread(tables, {"base": "base", "seed1": "base", "seed2": "base", "other": "other"}).set_index("variant")
    assert made.loc["base", "runs"] == 3 and made.loc["other", "runs"] == 1
    assert made.loc["base", "micro_auc"] == pytest.approx(0.8)
    assert made.loc["base", "micro_auc_std"] == pytest.approx(np.std([0.7, 0.8, 0.9], ddof=1))
    assert made.loc["other", "micro_auc"] == pytest.approx(0.1)
    assert np.isnan(made.loc["other", "micro_auc_std"])
