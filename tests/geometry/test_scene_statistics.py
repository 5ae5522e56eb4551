import numpy as np
import pytest

from vadistill.geometry.scene_statistics import BANDS, Bands, _merged, at_scene, fit_bands, fit_scenes


def mean_and_deviation(value):
    return np.concatenate([value.mean(0), value.std(0)])


def drawn(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    row = rng.uniform(0.2, 1.0, count)
    return row, np.stack([3 * row**2 + rng.normal(0, 0.1, count), rng.normal(5, 1 + row, count)], axis=1)


def test_statistics_lie_at_the_mean_rows_of_bands_of_equal_height():
    row, value = drawn()
    fitted = fit_bands(row, value, mean_and_deviation)
    edges = np.linspace(row.min(), row.max(), BANDS + 1)
    edges[-1] += 1
    for index in range(BANDS):
        inside = (row >= edges[index]) & (row < edges[index + 1])
        assert fitted.rows[index] == pytest.approx(row[inside].mean())
        expected = [*value[inside].mean(0), *value[inside].std(0)]
        np.testing.assert_allclose(fitted.values[index], expected)


def test_between_bands_it_is_linear_and_beyond_constant():
    table = Bands(np.array([0.2, 0.4, 0.8]), np.array([[1.0, 10], [3, 20], [5, 0]]))
    made = table(np.array([0.0, 0.2, 0.25, 0.6, 0.8, 9.0]))
    np.testing.assert_allclose(made, [[1, 10], [1, 10], [1.5, 12.5], [4, 10], [5, 0], [5, 0]])


def test_bands_with_few_objects_are_merged():
    assert _merged([60, 10, 10, 40, 70, 0, 5, 5], 50) == [(0, 1), (1, 4), (4, 8)]
    assert _merged([0, 0, 0, 9, 9, 0, 0, 0], 50) == [(0, 8)]
    assert _merged([50] * 8, 50) == [(index, index + 1) for index in range(8)]


@pytest.mark.parametrize("row", [[0.7], [0.3, 0.3, 0.3], [0.1, 0.5, 0.9]])
def test_few_objects_make_one_band(row):
    row = np.array(row)
    fitted = fit_bands(row, row[:, None], mean_and_deviation)
    np.testing.assert_allclose(fitted.rows, [row.mean()])
    np.testing.assert_allclose(fitted.values, [[row.mean(), row.std()]])


def test_each_scene_has_a_table_and_the_last_is_of_all_objects():
    row, value = drawn()
    scene = np.where(np.arange(len(row)) % 3 == 0, 2, 0)
    tables = fit_scenes(scene, row, value, mean_and_deviation, scenes=3)
    overall = fit_bands(row, value, mean_and_deviation)
    assert len(tables) == 4
    for table, expected in zip(
        tables,
        [
            fit_bands(row[scene == 0], value[scene == 0], mean_and_deviation),
            overall,  # a scene without objects
            fit_bands(row[scene == 2], value[scene == 2], mean_and_deviation),
            overall,
        ],
        strict=True,
    ):
        np.testing.assert_array_equal(table.rows, expected.rows)
        np.testing.assert_array_equal(table.values, expected.values)


def test_objects_are_looked_up_in_their_scene_in_their_order():
    tables = [Bands(np.array([0.0, 1.0]), np.array([[0.0, k], [1.0, k]])) for k in (10.0, 20.0, 30.0)]
    scene, row = np.array([1, 0, 2, 1, 7]), np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    made = at_scene(tables, scene, row)
    np.testing.assert_allclose(made, [[0.1, 20], [0.2, 10], [0.3, 30], [0.4, 20], [0.5, 30]])
