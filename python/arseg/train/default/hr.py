"""Phase 1: the network of the keyframes, on labelled single frames."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arseg.data.augment import jitter, paste, random_view
from arseg.data.stills import ROWS, Still, camvid_stills, compressed, fingerprint, street_stills
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CAMVID, IGNORED, targets
from arseg.networks.pyramid import PyramidNet
from arseg.preprocess import normalise
from arseg.train import distributed
from arseg.train.loop import Batch, Schedule, train
from arseg.weights.files import load_into, read_checkpoint, save_checkpoint


@dataclass(frozen=True)
class HrRecipe:
    """Phase 1's settings.

    `scales` are those of the frames as they are stored. `height` is that of the frames to be segmented later: smaller
    and larger ones are resized to it; 0: they stay as they are.
    """

    steps: int = 2500
    batch: int = 8
    crop: tuple[int, int] = (288, 384)
    scales: tuple[float, float] = (0.75, 1.75)
    rate: float = 1e-3
    overlap: float = 1.0
    pasted: float = 0.5
    qualities: tuple[float, ...] = (22.0, 28.0)
    street_scenes: int = 60
    street_share: float = 1 / 8
    channels: int = 64
    wide: int = 256
    height: int = 0
    seed: int = 0


LARGE = HrRecipe(steps=2300, batch=6, crop=(384, 512), scales=(1.1, 2.4), rate=6e-4, height=576, seed=1)
"""Goes on from the weights of a first run; the two made those that the package ships."""

RARE = tuple(CAMVID.classes.index(name) for name in ("pole", "sign", "fence", "car", "pedestrian", "bicyclist"))
"""Classes that are pasted from one training image into another."""


def class_weights(stills: Sequence[Still], classes: int) -> Tensor:
    """float32 `[classes]`, mean 1: the root of ENet's 1 / ln(1.02 + share), so that thin classes count."""
    counts = sum(np.bincount(label.ravel(), minlength=256)[:classes] for _, label in stills)
    weights = 1 / np.sqrt(np.log(1.02 + counts / np.sum(counts)))
    return torch.from_numpy(weights / weights.mean()).float()


def soft_overlap_loss(probability: Tensor, label: Tensor, ignore: int) -> Tensor:
    """1 - mean over the batch's classes of their soft IoU: what the score asks for, where cross-entropy counts pixels.

    0 for a batch without labels.

    Args:
        probability: `[N, classes, H, W]`.
        label: int64 `[N, H, W]`; pixels of `ignore` count nowhere.

    Source: the soft Jaccard index (Rahman and Wang, ISVC 2016).
    """
    counted = label != ignore
    truth = label.where(counted, 0)[:, None]
    hit = (probability.gather(1, truth) * counted[:, None]).flatten()
    shared, true = (
        distributed.total(hit.new_zeros(probability.shape[1]).index_add(0, truth.flatten(), values))
        for values in (hit, counted.flatten().to(hit.dtype))
    )
    found = distributed.total((probability * counted[:, None]).sum((0, 2, 3)))
    present = true > 0
    if not present.any():
        return probability.sum() * 0
    return 1 - (shared[present] / (found + true - shared)[present]).mean()


def segmentation_loss(logits: Tensor, label: Tensor, weights: Tensor, overlap: float) -> dict[str, Tensor]:
    """Weighted cross-entropy, and `overlap` times `soft_overlap_loss`."""
    log_probability = logits.float().log_softmax(1)
    return {
        "segmentation": distributed.nll_loss(log_probability, label, weights, ignore=IGNORED),
        "overlap": overlap * soft_overlap_loss(log_probability.exp(), label, IGNORED),
    }


class Donors:
    """For each rare class the stills that show it, to be pasted from."""

    def __init__(self, stills: Sequence[Still], classes: Sequence[int] = RARE, least: int = 100):
        counts = np.stack([np.bincount(label.ravel(), minlength=256) for _, label in stills])
        self.shown = {c: np.flatnonzero(counts[:, c] >= least) for c in classes}
        self.shown = {c: where for c, where in self.shown.items() if len(where)}

    def draw(self, rng: np.random.Generator) -> tuple[int, list[int]] | None:
        """A still's index, and which of its classes to paste: the one it was drawn for, and others by chance."""
        if not self.shown:
            return None
        classes = sorted(self.shown)
        wanted = classes[rng.integers(len(classes))]
        return int(rng.choice(self.shown[wanted])), [c for c in classes if c == wanted or rng.random() < 0.5]


def sample_stills(
    sources: Sequence[tuple[Sequence[Sequence[Still]], int]],
    donors: Donors,
    recipe: HrRecipe,
    rng: np.random.Generator,
) -> Batch:
    """A batch of random views: `count` frames of each `(versions, count)`; versions are the same stills, or one list.

    The donors' numbers are those of the first source.
    """
    images, labels = [], []
    for source, (versions, count) in enumerate(sources):
        for _ in range(count):
            stills = versions[int(rng.integers(len(versions)))]
            image, label = stills[int(rng.integers(len(stills)))]
            drawn = donors.draw(rng) if source == 0 and rng.random() < recipe.pasted else None
            if drawn is not None:
                image, label = paste(image, label, stills[drawn[0]], drawn[1])
            view = random_view(rng, label.shape, recipe.crop, recipe.scales)
            images.append(view.image(image, recipe.crop))
            labels.append(view.label(label, recipe.crop))
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    (jittered,) = jitter([stacked], rng, 0.4)
    return {
        "image": normalise(jittered, CAMVID.mean, CAMVID.std),
        "label": torch.from_numpy(targets(np.stack(labels), len(CAMVID.classes))),
    }


def rate_groups(net: nn.Module) -> list[dict[str, Any]]:
    """The optimiser's groups: the encoder, which has learned before, at half of the rate."""
    named = list(net.named_parameters())
    encoder = [p for name, p in named if name.startswith("encoder.")]
    rest = [p for name, p in named if not name.startswith("encoder.")]
    return [{"params": encoder, "scale": 0.5}, {"params": rest}]


def train_hr(
    root: StrPath,
    folder: StrPath,
    recipe: HrRecipe,
    report: Callable[[str], None] = print,
    start: StrPath | None = None,
    device: torch.device | str = "cpu",
    tensorboard: bool = False,
) -> Path:
    """Trains on CamVid's `train` in `root` and on synthetic streets; resumes what `folder` holds.

    Args:
        start: weights of an earlier phase 1 to go on from, in place of ImageNet's.
        device, tensorboard: see `loop.train`.

    Returns the path of the weights, `folder/hr.safetensors`.
    """
    folder, start = Path(folder), None if start is None else Path(start)
    torch.manual_seed(recipe.seed)
    real = camvid_stills(root, rows=ROWS)
    report(f"CamVid: {len(real)} frames; rendering {recipe.street_scenes} streets")
    with distributed.first_alone():
        streets = street_stills(folder / "streets", recipe.street_scenes)
    drawn = round(recipe.batch * recipe.street_share)
    sources = [
        ([real, *(compressed(real, crf) for crf in recipe.qualities)], recipe.batch - drawn),
        ([compressed(streets, 23)] if drawn else [], drawn),
    ]
    donors = Donors(real)

    def sample(_: int, rng: np.random.Generator) -> Batch:
        return sample_stills(sources, donors, recipe, rng)

    classes = len(CAMVID.classes)
    device = torch.device(device)
    weights = class_weights(real, classes).to(device)
    config: dict[str, Any] = {"classes": classes, "channels": recipe.channels, "wide": recipe.wide}
    net = PyramidNet(classes, recipe.channels, recipe.wide)
    if start is None:
        net.encoder.load_imagenet_weights()
    else:
        _start_from(net, config, start)
    net = net.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def loss(batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            logits = net(batch["image"])
        return segmentation_loss(logits, batch["label"], weights, recipe.overlap)

    state = train(
        net,
        rate_groups(net),
        sample,
        loss,
        Schedule(recipe.steps, recipe.rate, averaging=0.998),
        folder,
        settings={**asdict(recipe), "data": fingerprint(real), **start_settings(start)},
        seed=recipe.seed,
        report=report,
        device=device,
        tensorboard=tensorboard,
    )
    path = folder / "hr.safetensors"
    if distributed.is_first():
        height = {"height": recipe.height} if recipe.height else {}
        save_checkpoint(state, path, kind="hr", config={**config, **height})
    return path


def _start_from(net: PyramidNet, config: dict[str, Any], path: Path) -> None:
    kind, found, state = read_checkpoint(path)
    if kind != "hr" or any(found.get(key) != value for key, value in config.items()):
        raise InputError(
            f"{path}: expected weights of `arseg train hr` with "
            f"{', '.join(f'{key} {value}' for key, value in config.items())}, got {kind} with "
            f"{', '.join(f'{key} {value}' for key, value in found.items() if key != 'labels')}"
        )
    load_into(net, state, path)


def start_settings(start: Path | None, name: str = "start") -> dict[str, Any]:
    """What tells a run from one with another start; nothing without one, as in the states of earlier versions."""
    return {} if start is None else {name: zlib.crc32(start.read_bytes())}
