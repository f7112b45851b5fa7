"""A small training for test_parallel.py, which `torchrun` starts as a program: FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from arseg.train import distributed, losses
from arseg.train.loop import train
from arseg.train.losses import ohem_loss, weighted_iou_loss
from arseg.train.schedule import Schedule


def network() -> nn.Module:
    torch.manual_seed(0)
    first = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.3))
    return nn.Sequential(*first, nn.Conv2d(8, 8, 3), BatchNormAct2d(8), nn.Dropout(0.1), nn.Conv2d(8, 4, 1))


def sample(step, rng):
    label = torch.from_numpy(rng.integers(0, 4, (8, 6, 7)))
    label[0] = 255  # parts with different numbers of pixels that count
    label[5, :3] = 255
    return {"x": torch.from_numpy(rng.standard_normal((8, 3, 10, 11)).astype("float32")), "label": label}


def fit(folder: Path, *, accumulate: int = 1, stop: int | None = None) -> dict[str, Tensor]:
    """Twelve steps; stopped in the middle of step `stop`."""
    model, calls = network(), 0

    def loss(batch):
        nonlocal calls
        calls += 1
        if stop is not None and calls > stop:
            raise KeyboardInterrupt
        logits, label = model(batch["x"]), batch["label"]
        class_weight = torch.tensor([1.0, 2.0, 3.0, 0.5])
        ours = weighted_iou_loss(logits, label, class_weight, iou_loss_weight=0.5)
        return {**ours, "hard": ohem_loss(logits, label), "plain": losses.segmentation_loss(logits, label)}

    return train(
        model,
        [{"params": list(model.parameters())}],
        sample,
        loss,
        Schedule(12, 1e-2, warmup=3, log_every=4, save_every=5),
        folder,
        settings={},
        optimiser=lambda groups: torch.optim.SGD(groups, momentum=0.9),
        accumulate=accumulate,
        report=lambda line: None,
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with distributed.processes():
        results = {
            "whole": fit(folder / "whole"),
            "accumulated": fit(folder / "accumulated", accumulate=2),
            "resumed": fit(folder / "resumed"),
        }
        if distributed.is_main_process():
            torch.save(results, folder / "results.pt")
