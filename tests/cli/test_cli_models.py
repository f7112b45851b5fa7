"""`arseg convert` and `arseg flops` as a newcomer meets them."""

import json

import numpy as np
import pytest
import torch
from helpers.dataset_trees import run_tree
from helpers.reference_weights import Samples, state_dict
from helpers.streets import pictures
from PIL import Image

from arseg.acceleration import split
from arseg.labels import CAMVID, CITYSCAPES
from arseg.video import encode


@pytest.mark.slow
def test_published_weights_segment_a_video(arseg, tmp_path):
    """From the authors' two files to label maps in Cityscapes' colours."""
    for part, name in (("hr", "hr.pth"), ("fused", "PSPNet_resnet18_0.5_92_.pth")):
        torch.save(state_dict(Samples("cityscapes-bise18").record[part]), tmp_path / name)
    code, out, err = arseg(
        "convert", "hr.pth", "--fused", "PSPNet_resnet18_0.5_92_.pth", "-o", "both.safetensors", "--half"
    )
    assert (code, err) == (0, "")
    assert out == "both.safetensors: cityscapes-bise18, both networks, for frames at 0.5x, 348 tensors\n"
    encode(pictures(3), tmp_path / "street.mp4", rate=15)
    code, _, _ = arseg("segment", "street.mp4", "--weights", "both.safetensors", "-o", "labels", "--height", 72)
    assert code == 0
    with Image.open(tmp_path / "labels" / "000002.png") as picture:
        assert picture.getpalette()[:57] == CITYSCAPES.palette[:19].ravel().tolist()
        assert picture.size == (96, 72) and np.asarray(picture).max() < 19
    code, out, _ = arseg("flops", "--model", "both.safetensors", "--height", 64, "--width", 96, "--json")
    found = json.loads(out)
    assert code == 0 and found["hr"] > found["average"] > found["ar"] > found["lr"] > 0
    code, _, err = arseg("demo", "--weights", "both.safetensors")
    assert code == 2 and "CamVid's 11 classes, and these weights know Cityscapes's 19 classes; give a video" in err
    assert arseg("demo", "street.mp4", "--weights", "both.safetensors", "-o", "d", "--height", 72)[0] == 0, (
        "its own classes, drawn"
    )
    for part in ("val", "valannot"):
        (tmp_path / "camvid" / part).mkdir(parents=True)
        Image.new("RGB" if part == "val" else "L", (32, 32)).save(tmp_path / "camvid" / part / "a.png")
    code, _, err = arseg("eval", "--camvid", "camvid", "--weights", "both.safetensors")
    assert code == 2 and err.count("\n") == 1
    assert "both.safetensors: know Cityscapes's 19 classes (road, " in err and "the data has CamVid's 11 (sky, " in err
    arseg("convert", "hr.pth", "-o", "hr.safetensors")
    small = ("--steps", 1, "--batch", 1, "--crop", "32x48", "--gop", 3, "--held-out", 0)
    code, _, err = arseg("adapt", "street.mp4", "--model", "hr.safetensors", "-o", "adapted.safetensors", *small)
    assert code == 0, err
    assert arseg("segment", "street.mp4", "--weights", "adapted.safetensors", "-o", "adapted")[0] == 0
    with Image.open(tmp_path / "adapted" / "000002.png") as picture:
        assert picture.getpalette()[:57] == CITYSCAPES.palette[:19].ravel().tolist()
    code, out, _ = arseg("flops", "--model", "adapted.safetensors", "--height", 64, "--width", 96, "--json")
    assert code == 0 and json.loads(out)["hr"] == pytest.approx(found["hr"])
    code, _, err = arseg("segment", "street.mp4", "--weights", "hr.safetensors", "-o", "more")
    assert code == 2 and "weights of the keyframe network alone" in err
    code, _, err = arseg("convert", "hr.pth", "-o", "new.safetensors", "--part", "fused")
    assert code == 2 and err.count("\n") == 1 and "hr.pth: state_dict: the keys do not fit: 6 missing (fuse_att" in err
    assert not (tmp_path / "new.safetensors").exists()


@pytest.mark.slow
def test_flops_of_the_paper(arseg):
    code, out, _ = arseg("flops", "--arch", "camvid-bise18")
    assert code == 0
    rows = [" ".join(line.replace("│", " ").split()) for line in out.splitlines()]
    assert "1.0 39.12" in rows and "0.5 12.71 (10.30)" in rows and "0.3 6.89 (3.96)" in rows
    code, out, _ = arseg("flops", "--arch", "camvid-bise18", "--json", "--window", 9)
    cells = json.loads(out)
    assert [cell["scale"] for cell in cells] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert cells[5]["between"] == pytest.approx(10.30 + 2 * 256 * 90 * 120 * (81 - 49) / 1e9, abs=0.005)


@pytest.mark.slow
def test_flops_of_any_network(arseg, tmp_path):
    (tmp_path / "my_net.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 5, 1))\n"
    )
    code, out, _ = arseg("flops", "--model", "my_net:make", "--height", 100, "--width", 200, "--json")
    found = json.loads(out)
    assert code == 0 and found["total"] == pytest.approx(100 * 200 * 80 / 1e9) and set(found["parts"]) == {"0", "1"}
    code, out, _ = arseg("flops", "--model", "torchvision:lraspp_mobilenet_v3_large", "--height", 360, "--width", 480)
    assert code == 0 and "backbone" in out and "1.32" in out
    sizes = ("--height", 64, "--width", 64, "--json")
    small, large = (arseg("flops", "--model", f"timm:mobilenetv3_small_050?channels={n}", *sizes) for n in (8, 64))
    assert {"encoder", "smooth", "classifier"} <= json.loads(small[1])["parts"].keys()
    assert json.loads(large[1])["total"] > json.loads(small[1])["total"]
    code, out, _ = arseg("flops", "--model", "timm.models:mobilenetv3_small_050", *sizes)
    assert code == 0 and json.loads(out)["parameters"] > 1, "the whole classifier"


def test_bad_input_is_one_line(arseg):
    for arguments, words in (
        (("flops", "--height", 3), "give --model, too"),
        (("flops", "--arch", "psp18"), "arch: expected one of camvid-psp18"),
        (("flops", "--model", "timm:resnet18"), "give --height and --width"),
        (("flops", "--model", "nothing", "--height", 9, "--width", 9), "got 'nothing'"),
        (("flops", "--model", "torch.nn:Linear", "--height", 9, "--width", 9), "torch.nn:Linear"),
        (
            ("flops", "--model", "torchvision:r3d_18", "--height", 9, "--width", 1),
            "does not take an image",
        ),
        (("convert", "no.pth", "-o", "out.safetensors"), "no.pth: no such file"),
    ):
        code, out, err = arseg(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert words in err


@pytest.mark.slow
def test_any_network_is_seen_and_scored(arseg, video, tmp_path):
    """--model means the same for segment, eval, adapt and flops; alone it has no trained branch."""
    line = "timm:mobilenetv3_small_050?channels=8&num_classes=11"
    code, _, err = arseg("segment", video, "--model", line, "-o", "labels", "--mode", "ar")
    assert code == 2 and "is a network alone; train its low-resolution branch with `arseg adapt`" in err
    assert arseg("segment", video, "--model", line, "-o", "moved.csv", "--frames", 5)[0] == 0
    keyframes = [row.split(",")[3] for row in (tmp_path / "moved.csv").read_text().splitlines()]
    assert keyframes == ["keyframe", "true", "false", "false", "true", "false"]
    assert arseg("segment", video, "--model", line, "--mode", "hr", "-o", "labels", "--frames", 2)[0] == 0
    assert len(list((tmp_path / "labels").iterdir())) == 2
    run_tree(tmp_path / "camvid", 3)
    network = split(line)
    network.label_set = CAMVID
    torch.save(network.state_dict(), tmp_path / "own.pth")
    given = ("eval", "--camvid", "camvid", "--quick", "--gop", 3, "--modes", "hr,ar", "--figures", "scores.json")
    code, _, err = arseg(*given, "--model", f"{tmp_path / 'nets.py'}:network")
    assert code == 2 and "nets.py: no such file" in err
    (tmp_path / "nets.py").write_text(
        "from arseg.acceleration import split\nfrom arseg.labels import CAMVID\n\n"
        f"def network():\n    net = split({line!r})\n    net.label_set = CAMVID\n    return net\n"
    )
    code, out, err = arseg(*given, "--model", "nets.py:network", "--weights", "own.pth")
    assert code == 0, err
    assert (tmp_path / "scores.json").is_file() and "HR every frame" in out
    code, _, err = arseg(*given[:-4], "--modes", "ar", "--model", "nets.py:network")
    assert code == 2 and "the keyframe network alone; ar needs what `arseg train ar` or `arseg adapt` makes" in err
    code, out, _ = arseg(
        "flops", "--model", "smp:FPN?encoder_name=resnet18&num_classes=3", "--height", 72, "--width", 96
    )
    assert code == 0 and "seen at 96x64" in " ".join(out.split()) and "decoder" in out
