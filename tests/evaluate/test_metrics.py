import numpy as np
import pytest

from arseg.evaluate.metrics import ConfusionMatrix


def test_iou_by_hand():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[0, 0, 1], [1, 1, 11]]), np.array([[0, 1, 1], [1, 0, 2]]))
    # class 0: 1 hit, union 3; class 1: 2 hits, union 4; class 2 occurs nowhere, for its pixel is ignored
    np.testing.assert_allclose(matrix.iou(), [1 / 3, 2 / 4, np.nan])
    assert matrix.miou() == pytest.approx(100 * (1 / 3 + 1 / 2) / 2)


def test_one_matrix_for_all_frames():
    whole, parts = ConfusionMatrix(4), ConfusionMatrix(4)
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 5, (2, 6, 7, 9))
    predicted %= 4
    whole.add(truth, predicted)
    for t, p in zip(truth, predicted, strict=True):
        parts.add(t, p)
    np.testing.assert_array_equal(whole.counts, parts.counts)


def test_nothing_seen_is_nan_not_a_crash():
    assert np.isnan(ConfusionMatrix(2).miou())


def test_maps_must_fit():
    with pytest.raises(ValueError, match=r"predicted: expected ids below 2, got 2"):
        ConfusionMatrix(2).add(np.zeros((2, 2), int), np.full((2, 2), 2))
    with pytest.raises(ValueError, match=r"predicted: expected the truth's shape \(2, 2\), got \(2, 3\)"):
        ConfusionMatrix(2).add(np.zeros((2, 2), int), np.zeros((2, 3), int))
