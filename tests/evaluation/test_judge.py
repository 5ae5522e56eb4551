"""The judge of students against means and intervals by hand."""

from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.judge import judged, verdict
from vadistill.io.maps import write_clip
from vadistill.stages.judge_student import main

KINDS = ("fast", "pasted")
LABELS = np.array([0, 0, 0, 1, 1, 1], np.uint8)


def students(clips, shift, seeds=2):
    """Students whose scores of abnormal frames lie so far above those of normal ones."""
    labels = {f"clip{number}": LABELS for number in range(clips)}
    made = {}
    for number, kind in enumerate(KINDS):
        draws = np.random.default_rng(number)
        made[kind] = [
            judged({clip: draws.normal(size=6) + shift * LABELS for clip in labels}, labels, 0.0) for _ in range(seeds)
        ]
    return made


def test_the_mean_is_that_of_kinds_and_seeds_and_gains_are_differences():
    runs = {"base": students(6, 1.0), "better": students(6, 3.0)}
    table = verdict(runs, "base").set_index(["variant", "kind"])
    assert list(table.index.get_level_values("kind")) == [*KINDS, "mean"] * 2
    for variant, by_kind in runs.items():
        of_seed = [np.mean([by_kind[kind][seed].macro for kind in KINDS]) for seed in range(2)]
        row = table.loc[(variant, "mean")]
        assert row.macro_auc == pytest.approx(np.mean(of_seed)) and (row.runs, row.clips) == (2, 6)
        assert row.macro_auc_std == pytest.approx(np.std(of_seed, ddof=1))
        assert row.macro_auc_low < row.macro_auc < row.macro_auc_high
    gain = table.loc[("better", "mean")]
    assert gain.micro_auc_gain == pytest.approx(gain.micro_auc - table.loc[("base", "mean")].micro_auc)
    assert 0 < gain.macro_auc_gain_low < gain.macro_auc_gain < gain.macro_auc_gain_high
    drawn = [np.mean([student.draws.macro for kind in KINDS for student in runs[name][kind]], axis=0) for name in runs]
    ends = np.percentile(drawn[1] - drawn[0], [2.5, 97.5])
    assert [gain.macro_auc_gain_low, gain.macro_auc_gain_high] == pytest.approx(ends)
    assert table.loc[("base", "mean")].macro_auc_gain == table.loc[("base", "mean")].macro_auc_gain_high == 0
    assert table.configured.groupby("variant").all().to_dict() == {"base": True, "better": False}


def test_of_few_clips_or_one_seed_no_spread_is_claimed():
    row = verdict({"base": students(4, 1.0, seeds=1)}, "base").iloc[-1]
    assert row.kind == "mean" and row.clips == 4 and pd.isna(row.macro_auc_low) and pd.isna(row.micro_auc_std)


def test_clips_of_one_class_cannot_judge():
    with pytest.raises(InputError, match=r"lower validation\.share"):
        judged({"a": np.arange(6.0)}, {"a": np.ones(6, np.uint8)}, 0.0)


def test_every_student_is_judged_by_the_kind_that_it_did_not_see(tmp_path):
    groups, scores, boxes = {}, [], []
    for clip in ("a", "b"):
        for kind in KINDS:
            boxes.append(tmp_path / f"{clip}.{kind}.npy")
            np.save(boxes[-1], np.repeat(LABELS[:, None], 4, axis=1).astype(np.float32))
    for unseen in KINDS:
        run = f"demo.judge.base.{unseen}.0"
        groups[run] = f"base.{unseen}"
        scores.append(tmp_path / run / "student/scores/validation.h5")
        scores[-1].parent.mkdir(parents=True)
        with h5py.File(scores[-1], "w") as file:
            for path in boxes:
                # All wrong about what it has not seen, all right about the other kind.
                score = np.where(LABELS, *((0.0, 1.0) if path.stem.endswith(unseen) else (1.0, 0.0)))
                write_clip(file, path.stem, {1: score[:, None, None]}, score)
    settings = {"groups": groups, "configured": "base", "evaluation": {"smoothing_sigma": 0.0}}
    given = SimpleNamespace(settings=settings, scores=scores, boxes=boxes, output=tmp_path / "judge.csv")
    main(given)
    table = pd.read_csv(given.output)
    assert list(table.kind) == [*KINDS, "mean"] and (table.macro_auc == 0).all() and (table.clips == 2).all()
    one = {"groups": {"demo.judge.base.pasted.0": "base.fast+pasted"}}
    main(SimpleNamespace(**{**vars(given), "settings": settings | one, "scores": scores[1:]}))
    table = pd.read_csv(given.output).set_index("kind")
    assert table.macro_auc.to_dict() == {"fast": 1, "pasted": 0, "mean": 0.5}, "one student, judged by two kinds"
    with h5py.File(scores[0], "a") as file:
        del file["b.fast"]
    with pytest.raises(InputError, match=r"no scores of the validation clip b\.fast"):
        main(given)
