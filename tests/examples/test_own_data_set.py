"""A data set from outside the package: pictures in SPLIT/, labels of two classes in SPLIT-labels/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.dataset_trees import save, street

from arseg.data.datasets import DataSet, LabelledFrame, LabelledFrames, picture_files
from arseg.data.prepare import Encoding, prepare
from arseg.data.prepared import Prepared
from arseg.data.registry import DATA_SETS
from arseg.evaluate.by_distance import evaluate_passes, prepared_passes
from arseg.labels import CAMVID, IGNORED, LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet

pytestmark = pytest.mark.slow  # encodes

ROAD = CAMVID.classes.index("road")


# The user's script.
class Roads(DataSet):
    labels = LabelSet.of(2, name="roads", classes=("road", "other"), palette=[(255, 0, 0), (0, 0, 255)])

    def frames(self, root, split="train", **_):
        images = picture_files(Path(root) / split, "the pictures of this split")
        frames = [LabelledFrame(image.stem, image, Path(root) / f"{split}-labels" / image.name) for image in images]
        return LabelledFrames("roads", self.labels.classes, self.labels.palette[:2], frames, np.asarray)


DATA_SETS.register("roads", Roads())


@pytest.fixture
def root(tmp_path):
    for place, (image, label) in enumerate(street(5)):
        ids = np.where(label == ROAD, 0, 1).astype(np.uint8)
        ids[:4] = IGNORED
        save(image, tmp_path / "val" / f"{place:03d}.png")
        save(ids, tmp_path / "val-labels" / f"{place:03d}.png")
    return tmp_path


def test_it_is_read_encoded_and_scored(root):
    """As `arseg prepare --consecutive` and `arseg eval --prepared` do it."""
    roads = DATA_SETS["roads"]
    image, label = roads.stills(root, "val")[0]
    assert image.shape == (72, 96, 3) and set(np.unique(label)) == {0, 1, IGNORED}
    encoding = Encoding(gop=2, rate=roads.run_rate, preset="ultrafast")
    prepare(roads.labelled_run(root), root / "prepared", encoding, range(2), whole_run=True, report=lambda line: None)
    data = Prepared(root / "prepared")
    assert (data.dataset, data.classes) == ("roads", ("road", "other"))
    torch.manual_seed(0)
    net = ARSegNet(PyramidNet(2, 8, 8), channels=8)
    net.label_set = roads.labels
    scores = evaluate_passes(net.eval(), prepared_passes(data), ["hr", "ar"], gop=2, report=lambda line: None)
    # Each frame but the first is scored at both distances; the ignored rows count nowhere.
    assert [matrix.counts.sum() for matrix in scores["ar"].by_distance] == [4 * 68 * 96] * 2
