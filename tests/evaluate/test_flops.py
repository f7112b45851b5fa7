"""The paper's table of compute, cell by cell, and counts that can be done by hand."""

import pytest
import torch
from torch import nn

from arseg.evaluate.flops import gmacs, gop_average, network_compute, paper_table
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.pyramid import PyramidNet

ARCHS = ("camvid-psp18", "camvid-bise18", "cityscapes-psp18", "cityscapes-bise18")
PUBLISHED = {
    1.0: "308.64                39.12              539.98                118.34",
    0.9: "260.05 (255.63)       32.84 (32.27)      451.62 (443.59)       99.59 (97.88)",
    0.8: "212.04 (203.26)       26.46 (25.31)      365.91 (350.08)       81.34 (77.98)",
    0.7: "169.68 (157.04)       21.26 (19.63)      291.69 (269.11)       64.58 (59.69)",
    0.6: "132.96 (116.99)       16.53 (14.48)      226.20 (197.67)       50.65 (44.49)",
    0.5: "101.89 (83.10)        12.71 (10.30)      170.89 (137.33)       38.05 (30.75)",
    0.4: "76.48 (55.37)         9.32 (6.61)        128.02 (90.57)        28.69 (20.54)",
    0.3: "56.71 (33.80)         6.89 (3.96)        92.52 (51.85)         21.11 (12.27)",
}


@pytest.fixture(scope="module")
def table():
    return paper_table()


def written(cell):
    return f"{cell.average:.2f}" + ("" if cell.between is None else f" ({cell.between:.2f})")


@pytest.mark.slow
def test_all_cells_of_the_papers_table(table):
    assert len(table) == 32
    for scale, row in PUBLISHED.items():
        found = [written(cell) for arch in ARCHS for cell in table if (cell.arch, cell.scale) == (arch, scale)]
        assert " ".join(found) == " ".join(row.split()), f"at {scale}"


def test_averages_and_order():
    model = ARSegNet(PyramidNet(num_classes=3, channels=8, wide=8), channels=8)
    counts = gmacs(model, 96, 128)
    assert counts["lr"] < counts["ar"] < counts["hr"]
    assert gop_average(counts["hr"], counts["ar"], 1) == counts["hr"]
    assert gop_average(12.0, 0.0) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("window", [3, 7])
def test_fusion_counts_attention_and_three_depthwise_convolutions(window):
    """At 64x720x960 the paper has 4.34 and 1.19 GMACs for a window of 7."""
    cells = {w: paper_table(["camvid-psp18"], [0.5], window=w)[0].between for w in (window, 9)}
    pixels = 720 * 960 * 64 / 1e9
    assert cells[9] - cells[window] == pytest.approx(2 * pixels * (81 - window**2), rel=1e-6)
    if window == 7:
        assert f"{2 * pixels * 49:.2f} {27 * pixels:.2f}" == "4.34 1.19"


def test_any_network_is_counted_with_its_parts():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
            self.head = nn.Linear(4, 5)

        def forward(self, image):
            return self.head(self.features(image).permute(0, 2, 3, 1))

    for device in ("cpu", "meta"):
        with torch.device(device):
            found = network_compute(Net(), 10, 12)
        pixels = 5 * 6
        parts = {"features": pixels * (8 * 27 + 8 * 4) / 1e9, "head": pixels * 4 * 5 / 1e9}
        assert found.parts == pytest.approx(parts)
        assert found.total == pytest.approx(sum(parts.values()))
        assert found.parameters == pytest.approx((8 * 28 + 4 * 9 + 25) / 1e6)


def test_layers_in_a_list_are_parts():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 2, 1))])

        def forward(self, image):
            return self.layers[1](self.layers[0](image))

    found = network_compute(Net(), 10, 12)
    assert found.parts == pytest.approx({"layers.0": 120 * 12 / 1e9, "layers.1": 120 * 8 / 1e9})
