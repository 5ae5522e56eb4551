"""The table of a detector's ablation against means and deviations by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vadistill.errors import InputError
from vadistill.evaluation.auc_json import DetectorAuc, DetectorResult
from vadistill.io.files import write_json
from vadistill.stages.compare_detector_ablation import main

AREAS = {"paper": (0.8, 0.9), "no_classifier": (0.6, 0.5)}


def arguments(folder, areas=AREAS):
    groups, results = {}, []
    for variant, values in areas.items():
        for seed, area in enumerate(values):
            run = f"demo.ablation.sdmae_{variant}.{seed}"
            scores = DetectorAuc(micro_auc=area, macro_auc=None if area is None else area / 2, per_clip={})
            known = {"trivial": {}, "frames": 9, "clips": 1, "repaired_frames": {}, "left_out_clips": {}, "labels": ""}
            known |= {"protocol": {}, "protocols": {}, "settings": {}, "provenance": {}, "warnings": []}
            made = DetectorResult(dataset=run, detector="sdmae", scores=scores, **known)
            results.append(folder / run / "sdmae/auc.json")
            results[-1].parent.mkdir(parents=True)
            write_json(results[-1], made.content())
            groups[run] = variant
    return SimpleNamespace(
        settings={"groups": groups}, results=results, output=folder / "ablation.csv", plot=folder / "ablation.png"
    )


def test_mean_and_deviation_of_every_variant(tmp_path):
    main(arguments(tmp_path))
    table = pd.read_csv(tmp_path / "ablation.csv").set_index("variant")
    assert list(table.index) == list(AREAS) and (table.split == "test").all()
    for variant, values in AREAS.items():
        assert table.micro_auc[variant] == pytest.approx(np.mean(values))
        assert table.micro_auc_std[variant] == pytest.approx(np.std(values, ddof=1), abs=1e-5)
        assert table.macro_auc[variant] == pytest.approx(np.mean(values) / 2)
    assert table.runs.tolist() == [2, 2] and (tmp_path / "ablation.png").stat().st_size > 5000


def test_a_run_without_labels_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no_classifier\.0/sdmae/auc\.json: has no AUC; expected"):
        main(arguments(tmp_path, AREAS | {"no_classifier": (None, None)}))
    assert not (tmp_path / "ablation.csv").exists()
