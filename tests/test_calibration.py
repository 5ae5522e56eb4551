import numpy as np
import pytest

from vadistill.calibration import fit_affine
from vadistill.settings import Calibration


def test_percentiles_go_to_their_values_and_order_is_kept():
    scores = np.random.default_rng(0).gamma(2, 3, 5000)
    affine = fit_affine(scores, Calibration())
    assert affine(np.percentile(scores, 0.5)) == pytest.approx(0.05)
    assert affine(np.percentile(scores, 99.5)) == pytest.approx(0.6)
    values = affine.map_values(np.sort(np.r_[scores, -1e3, 1e3]))
    assert values[0] == 0 and values[-1] == 1 and (np.diff(values) >= 0).all()


def test_equal_scores_do_not_divide_by_zero():
    affine = fit_affine(np.full(100, 0.3), Calibration())
    assert affine.map_values(np.array([0.3, 0.5])) == pytest.approx([0.05, 0.25])
