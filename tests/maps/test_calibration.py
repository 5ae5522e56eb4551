import json

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import zscore

from vadistill.maps.calibration import Calibrator, fit, fit_affine, map_values
from vadistill.settings import CalibrationConfig

NAMES = ("first", "second")


def objects(count=4000, seed=0):
    """Probability terms whose level depends on the row."""
    rng = np.random.default_rng(seed)
    row = rng.uniform(0.2, 1.0, count)
    return rng.beta(2, 5, (count, 2)) * row[:, None], row


def fitted(terms, row, scene=None, scenes=("",), **settings):
    scene = np.zeros(len(row), int) if scene is None else scene
    chosen = {"logits": False, "standardise": "none", "squash": False, **settings}
    return fit(NAMES, ("first",), terms, scene, row, scenes, CalibrationConfig(**chosen))


def test_percentiles_go_to_their_values_and_order_is_kept():
    scores = np.random.default_rng(0).gamma(2, 3, 5000)
    affine = fit_affine(scores, CalibrationConfig())
    assert affine(np.percentile(scores, 0.5)) == pytest.approx(0.05)
    assert affine(np.percentile(scores, 99.5)) == pytest.approx(0.6)
    values = map_values(affine(np.sort(np.r_[scores, -1e3, 1e3])))
    assert values[0] == 0 and values[-1] == 1 and (np.diff(values) >= 0).all()


def test_by_default_too_the_percentiles_of_the_training_scores_go_to_their_values():
    terms, row = objects(30_000)
    made = fit(NAMES, ("first",), terms, np.zeros(len(row), int), row, ("",), CalibrationConfig())
    assert np.percentile(made(terms, "", row), [0.5, 99.5]) == pytest.approx([0.05, 0.6])


def test_equal_scores_do_not_divide_by_zero():
    affine = fit_affine(np.full(100, 0.3), CalibrationConfig())
    assert map_values(affine(np.array([0.3, 0.5]))) == pytest.approx([0.05, 0.25])


def test_the_papers_form_is_the_mean_of_the_terms():
    terms, row = objects()
    made = fitted(terms, row)
    assert made.tables == () and made.squash is None
    mean = terms.mean(1)
    np.testing.assert_allclose(made(terms, "", row), np.maximum(fit_affine(mean, CalibrationConfig())(mean), 0))


def test_logits_are_taken_of_probabilities_only_and_stay_finite():
    terms, row = objects()
    terms[0] = (1.0, 1.0)
    made = fitted(terms, row, logits=True)
    assert made.logits == (True, False)
    cut = terms[:, 0].clip(1e-6, 1 - 1e-6)
    mean = (logit(cut) + terms[:, 1]) / 2
    np.testing.assert_allclose(made(terms, "", row), np.maximum(fit_affine(mean, CalibrationConfig())(mean), 0))


def test_standardised_by_all_objects_is_the_mean_z_score():
    terms, row = objects()
    mean = zscore(terms, axis=0).mean(1)
    made = fitted(terms, row, standardise="all")
    np.testing.assert_allclose(made(terms, "anywhere", row), np.maximum(fit_affine(mean, CalibrationConfig())(mean), 0))


def test_standardised_by_place_the_row_no_longer_tells_the_score():
    terms, row = objects()
    raw, scene = (fitted(terms, row, standardise=kind)(terms, "", row) for kind in ("none", "scene"))
    assert np.corrcoef(raw, row)[0, 1] > 0.4
    assert abs(np.corrcoef(scene, row)[0, 1]) < 0.1


def test_each_scene_has_its_table_and_an_unknown_one_takes_that_of_all():
    terms, row = objects()
    scene = (np.arange(len(row)) % 2).astype(int)
    terms[scene == 1] += 3
    made = fitted(terms, row, scene, ("a", "b"), standardise="scene")
    known = np.r_[made(terms[scene == 0], "a", row[scene == 0]), made(terms[scene == 1], "b", row[scene == 1])]
    assert abs(known[: len(known) // 2].mean() - known[len(known) // 2 :].mean()) < 0.02
    assert made.knows("b") and not made.knows("c")
    assert fitted(terms, row, standardise="all").knows("c") and fitted(terms, row).knows("c")
    unknown = made(terms, "c", row)
    assert unknown[scene == 1].mean() > unknown[scene == 0].mean() + 0.1


def test_squashing_bounds_scores_and_keeps_their_order():
    terms, row = objects()
    made = fitted(terms, row, standardise="all", squash=True)
    far = np.array([[0.2, 0.2], [5.0, 5.0], [500.0, 500.0]])
    values = made(far, "", np.full(3, 0.5))
    assert values[0] < values[1] <= values[2] < 1.2
    plain = fitted(terms, row, standardise="all")
    assert plain(far, "", np.full(3, 0.5))[2] > 100
    order = np.argsort(plain(terms, "", row), kind="stable")
    assert (np.diff(made(terms, "", row)[order]) >= -1e-12).all()


def test_squashing_is_a_tanh_from_the_median_to_a_high_percentile():
    terms, row = objects(30_000)
    mean = terms.mean(1)
    middle, high = np.percentile(mean, [50, 99.9])
    tanh = np.tanh((mean - middle) / (high - middle))
    low, top = np.percentile(tanh, [0.5, 99.5])
    expected = 0.05 + 0.55 * (tanh - low) / (top - low)
    np.testing.assert_allclose(fitted(terms, row, squash=True)(terms, "", row), expected.clip(0))


@pytest.mark.parametrize("standardise", ["none", "all", "scene"])
def test_what_is_stored_calibrates_alike(standardise):
    terms, row = objects()
    made = fitted(terms, row, standardise=standardise, squash=True, logits=True)
    again = Calibrator.from_json(json.loads(json.dumps(made.to_json())))
    np.testing.assert_array_equal(made(terms, "", row), again(terms, "", row))


def test_no_score_is_negative_and_a_term_that_never_varies_does_no_harm():
    terms, row = objects()
    terms[:, 1] = 0.5
    made = fitted(terms, row, standardise="scene")
    values = made(terms - 10, "", row)
    assert (values == 0).all() and np.isfinite(made(terms, "", row)).all()


def test_squashing_keeps_ranks_of_negative_scores():
    """Means of logits of normal objects are all negative."""
    terms, row = objects()
    terms = terms * 0.2
    made = fitted(terms, row, logits=True, squash=True)
    mean = (logit(terms[:, 0].clip(1e-6)) + terms[:, 1]) / 2
    assert np.percentile(mean, 99) < 0
    assert len(np.unique(made(terms, "", row).round(6))) > len(terms) / 2
