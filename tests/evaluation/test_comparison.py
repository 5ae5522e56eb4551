import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from vadistill.evaluation.comparison import compared
from vadistill.evaluation.localisation_json import DetectorRegions
from vadistill.report.comparison import Effort, page, table

CLIPS = [f"clip_{i}" for i in range(6)]
NAMES = ("student", "flow_cells", "sdmae")
REGIONS = {("detector", "student"): DetectorRegions(rbdc=0.25, tbdc=None)}


@pytest.fixture
def given():
    rng = np.random.default_rng(0)
    labels = {clip: (np.arange(40) >= rng.integers(10, 30)).astype(int) for clip in CLIPS}
    scores = {
        name: {clip: truth * worth + rng.normal(size=40) for clip, truth in labels.items()}
        for name, worth in (("student", 1.0), ("sdmae", 0.5), ("flow_cells", 2.0), ("teacher", 1.5))
    }
    return labels, scores


def rows_of(given):
    labels, scores = given
    detectors = {name: scores[name] for name in NAMES}
    return compared(detectors, {("teacher", "one"): scores["teacher"]}, labels, 0.0, REGIONS)


def test_every_score_stands_beside_the_first_one(given):
    rows, (labels, scores) = rows_of(given), given
    pairs = ("student + flow_cells", "student + sdmae", "flow_cells + sdmae")
    expected = [*(("detector", name) for name in NAMES), *(("together", pair) for pair in pairs), ("teacher", "one")]
    assert [(row.group, row.name) for row in rows] == expected
    truth = np.concatenate(list(labels.values()))
    joined = {name: np.concatenate(list(part.values())) for name, part in scores.items()}
    areas = {name: roc_auc_score(truth, values) for name, values in joined.items()}
    assert rows[0].auc.micro_auc == pytest.approx(areas["student"]) and rows[0].ahead is None
    assert rows[1].ahead.micro_auc == pytest.approx(areas["flow_cells"] - areas["student"])
    assert rows[1].ahead.micro_interval[0] > 0, "clearly better"
    ranks = rankdata(joined["student"]) + rankdata(joined["sdmae"])
    assert rows[4].auc.micro_auc == pytest.approx(roc_auc_score(truth, ranks), abs=1e-3), "but for ties"


def test_table_and_page_say_the_same(given):
    rows = rows_of(given)
    efforts = {"student": Effort(1234, 250_000_000, 61.0, 2.0), "flow_cells": Effort(9, None, None, None)}
    made = table(rows, efforts, 240)
    assert tuple(made.name[:3]) == NAMES and made.ahead_micro_auc.isna().tolist() == [True] + [False] * 6
    assert made.micro_auc[1] - made.micro_auc[0] == pytest.approx(made.ahead_micro_auc[1])
    taken = made[["parameters", "products", "training", "frames_per_second"]]
    assert taken.iloc[0].tolist() == [1234, 250_000_000, 61, 120] and taken.iloc[1:, 1:].isna().all(None)
    auc, effort = (section.tables[0] for section in page("demo", rows, efforts, 240, 0.0, ()).sections)
    assert auc.rows[1][1] == f"{100 * made.micro_auc[1]:.1f}" and auc.rows[0][3] == "\N{EN DASH}"
    assert auc.rows[0][-2:] == ["25.0", "\N{EN DASH}"] and made.rbdc[0] == 0.25 and made.rbdc[1:].isna().all()
    assert auc.rows[1][3].startswith("+") and auc.rows[6][0] == "teacher: one"
    assert list(effort.rows[0]) == ["student", "1,234", "0.25", "61", "2", "120"]
    assert list(effort.rows[1][2:]) == ["\N{EN DASH}"] * 4
