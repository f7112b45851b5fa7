"""AR-Seg around networks that are not ours, adapted on unlabelled road videos: what it is worth, before and after.

    python benchmarks/accelerate_networks.py CAMVID VIDEO... [--folder runs/accelerate] [--json OUT]

Pretrained weights of these networks know other classes than a road's, so each is first trained on CamVid's `train` for
a few minutes. These teachers are weak; what is measured is how well the cheaper ways agree with them. The adaptation
sees the videos only: the last fifth of each is held out and measured. Can be stopped, and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import arseg
from arseg.acceleration.cut_network import logits_of
from arseg.acceleration.network_source import network_from
from arseg.data.augment import jitter, random_view
from arseg.data.stills import Still, camvid_stills, fingerprint
from arseg.evaluate.metrics import ConfusionMatrix
from arseg.files import save_json
from arseg.labels import CAMVID, IGNORED, LabelSet, targets
from arseg.preprocess import normalise
from arseg.train.adapt import AdaptRecipe, adapt
from arseg.train.loop import train
from arseg.train.losses import class_weights
from arseg.train.schedule import Schedule


@dataclass(frozen=True)
class Teacher:
    """A network and how it was trained."""

    model: str
    start: str
    steps: int
    batch: int = 6
    crop: tuple[int, int] = (192, 256)
    scales: tuple[float, float] = (0.6, 1.4)
    rate: float = 1e-3


TEACHERS = (
    Teacher("torchvision:lraspp_mobilenet_v3_large?num_classes=11", "random weights", 700),
    Teacher("timm:efficientnet_lite0?num_classes=11", "encoder with ImageNet weights", 500),
)
RECIPE = AdaptRecipe(steps=600, batch=4, crop=(192, 256), height=270, measured=16)
COUNT = len(CAMVID.classes)


def new_network(teacher: Teacher) -> nn.Module:
    torch.manual_seed(0)
    network = network_from(teacher.model)
    if teacher.start.startswith("encoder"):
        from arseg.networks.encoders import EfficientNetLite

        published = EfficientNetLite(0)
        published.load_imagenet_weights()
        state = network.encoder.state_dict()
        network.encoder.load_state_dict({key: published.net.state_dict().get(key, state[key]) for key in state})
    return network


def train_teacher(teacher: Teacher, stills: list[Still], folder: Path) -> Path:
    """Cross-entropy on random views of CamVid's `train`; the averaged weights."""
    path = folder / "teacher.safetensors"
    if path.is_file():
        return path
    network = new_network(teacher).to(memory_format=torch.channels_last).train()
    label_set = network.label_set
    weights = class_weights((label for _, label in stills), COUNT)

    def sample(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        images, labels = [], []
        for index in rng.integers(0, len(stills), teacher.batch):
            image, label = stills[index]
            view = random_view(rng, label.shape, teacher.crop, teacher.scales)
            images.append(view.image(image, teacher.crop))
            labels.append(view.label(label, teacher.crop))
        (image,) = jitter([torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)], rng, 0.3)
        return {
            "image": normalise(image, label_set.mean, label_set.std),
            "label": torch.from_numpy(targets(np.stack(labels), COUNT)),
        }

    def loss(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = logits_of(network(batch["image"]))
        return {"segmentation": F.cross_entropy(logits, batch["label"], weights, ignore_index=IGNORED)}

    state = train(
        network,
        [{"params": list(network.parameters())}],
        sample,
        loss,
        Schedule(teacher.steps, teacher.rate),
        folder / "teacher",
        settings={**asdict(teacher), "data": fingerprint(stills)},
    )
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return path


@torch.inference_mode()
def miou(network: nn.Module, label_set: LabelSet, stills: list[Still]) -> float:
    """Of the network at full resolution."""
    matrix = ConfusionMatrix(COUNT)
    for image, label in stills:
        logits = logits_of(
            network(normalise(torch.from_numpy(image.copy()).permute(2, 0, 1)[None], label_set.mean, label_set.std))
        )
        logits = F.interpolate(logits, size=label.shape, mode="bilinear", align_corners=False)
        matrix.add(label, logits.argmax(1)[0].numpy().astype(np.uint8))
    return round(matrix.miou(), 1)


def run(teacher: Teacher, root: Path, videos: list[Path], folder: Path) -> dict[str, object]:
    stills = camvid_stills(root)
    weights = train_teacher(teacher, stills, folder)
    net = arseg.accelerate(teacher.model, weights=weights, classes=CAMVID.classes, palette=CAMVID.palette[:COUNT])
    score = miou(net.high, net.label_set, camvid_stills(root, "val"))
    print(f"{teacher.model}: {score} mIoU on CamVid val at full resolution")
    record = adapt(net, videos, folder / "adapt", RECIPE)
    net.save(folder / "adapted.safetensors")
    return {
        "teacher": {**asdict(teacher), "camvid_val_miou": score},
        "recipe": asdict(RECIPE),
        "videos": [video.name for video in videos],
        **record,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path, default=Path("runs/accelerate"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/accelerate.json"))
    arguments = parser.parse_args()
    records = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
    for teacher in TEACHERS:
        name = teacher.model.split(":")[1].split("?")[0]
        folder = arguments.folder / name
        if name not in records:
            folder.mkdir(parents=True, exist_ok=True)
            records[name] = run(teacher, arguments.camvid, arguments.videos, folder)
            save_json(arguments.json, records)


if __name__ == "__main__":
    main()
