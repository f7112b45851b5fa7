"""The weights that the package ships do what the demo shows, on a street they have never seen."""

from __future__ import annotations

import pytest

from arseg.data.street import StreetScene
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet
from arseg.segment.segmenter import VideoSegmenter
from arseg.video import encode
from arseg.weights.files import DEFAULT_WEIGHTS, load_checkpoint


@pytest.fixture(scope="module")
def model() -> ARSegNet:
    loaded = load_checkpoint()
    assert isinstance(loaded, ARSegNet)
    return loaded


def test_file_and_card():
    assert DEFAULT_WEIGHTS.stat().st_size <= 24e6
    assert DEFAULT_WEIGHTS.with_suffix(".md").read_text().startswith(f"# {DEFAULT_WEIGHTS.name}")


@pytest.mark.slow
def test_terms_are_said_where_they_are_loaded(caplog):
    with caplog.at_level("INFO", logger="arseg"):
        load_checkpoint("lite0")
    assert caplog.messages == ["lite0: CamVid is for non-commercial use"]


def test_a_street_is_segmented(model, tmp_path):
    frames = list(StreetScene(90210).frames(12, start=50))
    encode((image for image, _ in frames), tmp_path / "street.mp4", rate=15)
    miou = {}
    for mode in ("hr", "lr", "ar"):
        scores = ConfusionMatrix(len(CAMVID.classes))
        for result in VideoSegmenter(model, mode=mode).stream(tmp_path / "street.mp4"):
            scores.add(frames[result.index][1], result.labels)
        miou[mode] = scores.miou()
    assert miou["hr"] > 55, miou
    assert miou["ar"] > miou["lr"] + 2, miou
