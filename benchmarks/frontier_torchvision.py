"""A network of torchvision for the frontier: LRASPP on ResNet-18, trained a little on CamVid's `train`.

    python benchmarks/frontier_torchvision.py CAMVID resnet18.pth lraspp18.pt

Not a good one: 350 steps of four crops of 320x240, 16 minutes on one busy CPU core. It has no branch of its own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.lraspp import LRASPP

from arseg import accelerate
from arseg.data.datasets import picture_files
from arseg.labels import CAMVID
from arseg.networks.arseg_net import ARSegNet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP = 240, 320
BATCH, RATE, BACKBONE_RATE = 4, 2e-3, 3e-4


def build(encoder: Path | None = None) -> LRASPP:
    """`encoder`: a state dict of torchvision's ResNet-18."""
    backbone = resnet18(weights=None)
    if encoder is not None:
        state = torch.load(encoder, weights_only=True)
        backbone.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=False)
    maps = IntermediateLayerGetter(backbone, {"layer2": "low", "layer4": "high"})
    return LRASPP(maps, 128, 512, len(CAMVID.classes))


def load(path: Path) -> ARSegNet:
    """The trained network, in AR-Seg's form; its branch is untrained."""
    network = build()
    network.load_state_dict(torch.load(path, weights_only=True))
    return accelerate(network.eval(), mean=MEAN, std=STD, classes=CAMVID.classes).eval()


def example(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A crop, scaled, lit and mirrored at random: `[1, 3, h, w]` in 0..1, and ids `[1, h, w]`."""
    scale = rng.choice([0.67, 0.8, 1.0])
    height, width = int(CROP[0] / scale), int(CROP[1] / scale)
    y, x = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
    part, truth = (torch.from_numpy(a[y : y + height, x : x + width].copy()).float() for a in (image, labels))
    pixels = F.interpolate(part.permute(2, 0, 1)[None] / 255, CROP, mode="bilinear")
    ids = F.interpolate(truth[None, None], CROP, mode="nearest")[:, 0].long()
    pixels = (pixels * rng.uniform(0.7, 1.3)).clamp(0, 1)
    return (pixels.flip(3), ids.flip(2)) if rng.random() < 0.5 else (pixels, ids)


def train(camvid: Path, encoder: Path, out: Path, steps: int) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    data = [
        (
            np.asarray(Image.open(path).convert("RGB")),
            np.asarray(Image.open(camvid / "trainannot" / f"{path.stem}.png")),
        )
        for path in picture_files(camvid / "train", "CamVid's frames")
    ]
    network = build(encoder).train()
    for module in network.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    named = list(network.named_parameters())
    groups = [[p for name, p in named if name.startswith("backbone") == inside] for inside in (False, True)]
    rates = [RATE, BACKBONE_RATE]
    optimizer = torch.optim.AdamW(
        [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True)], weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, steps)
    count = np.bincount(np.concatenate([labels.ravel() for _, labels in data[::8]]), minlength=12)[:11]
    weight = torch.tensor(1 / np.log(1.1 + count / count.sum()), dtype=torch.float32)
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
    began = time.perf_counter()
    for step in range(steps):
        pixels, ids = zip(*(example(*data[rng.integers(len(data))], rng) for _ in range(BATCH)), strict=True)
        scores = network((torch.cat(pixels) - mean) / std)["out"]
        loss = F.cross_entropy(scores, torch.cat(ids), weight=weight, ignore_index=11)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {time.perf_counter() - began:.0f} s", flush=True)
    torch.save(network.state_dict(), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("encoder", type=Path, help="torchvision's ResNet-18, trained on ImageNet")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=350)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    train(asked.camvid, asked.encoder, asked.out, asked.steps)


if __name__ == "__main__":
    main()
