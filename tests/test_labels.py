"""Label sets, and the one rule of what is ignored."""

from __future__ import annotations

import numpy as np
import pytest

from arseg.evaluate.metrics import ConfusionMatrix
from arseg.labels import CAMVID, CAMVID_VOID, CITYSCAPES, IGNORED, NORMALIZATIONS, LabelSet, targets


@pytest.mark.parametrize("label_set", [CAMVID, CAMVID_VOID, CITYSCAPES, LabelSet.of(5)])
def test_ids_past_the_classes_are_ignored_by_losses_and_scores(label_set):
    count = len(label_set.classes)
    label = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    wanted = targets(label, count)
    assert wanted.dtype == np.int64 and wanted.ravel()[:count].tolist() == list(range(count))
    assert (wanted.ravel()[count:] == IGNORED).all()
    matrix = ConfusionMatrix(count)
    matrix.add(label, np.zeros_like(label))
    assert matrix.counts.sum() == count == (wanted != IGNORED).sum()


def test_void_is_a_class_where_it_has_a_name():
    assert (CAMVID_VOID.void, CAMVID.void, CITYSCAPES.void) == (11, None, None)
    assert targets(np.array([[11]], np.uint8), len(CAMVID.classes)) == IGNORED


def test_three_ways_to_normalise():
    assert set(NORMALIZATIONS) == {"camvid", "imagenet", "cityscapes-bise"}
    assert NORMALIZATIONS["cityscapes-bise"] == ((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115))
    assert NORMALIZATIONS["imagenet"] == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert NORMALIZATIONS["camvid"][0] == (0.39068785, 0.40521392, 0.41434407)
