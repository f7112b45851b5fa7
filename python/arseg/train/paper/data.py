"""Labelled frames and pairs as tensors, placed and coloured at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arseg.data.augment import jitter
from arseg.data.datasets import LabelledFrames
from arseg.data.pairs import Clip, cached_clips
from arseg.data.placement import Placement, random_placement
from arseg.data.prepared import Pair, Prepared, read_pair
from arseg.data.stills import camvid_stills, fingerprint
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CAMVID, IGNORED, NORMALIZATIONS, VOID
from arseg.preprocess import normalise
from arseg.train import distributed
from arseg.train.sampling import Sample

from .recipes import PaperArRecipe, PaperHrRecipe

BLOCK = 4


def frame_sample(image: np.ndarray, label: np.ndarray, recipe: PaperHrRecipe, rng: np.random.Generator) -> Sample:
    """A labelled frame as phase 1 takes it: `image` float32 `[3, H, W]`, `label` int64 `[H, W]`."""
    placement = random_placement(rng, label.shape, recipe.crop, recipe.scales, flip=recipe.flip)
    (shown,) = _coloured([placement.image(image)], recipe, rng)
    return {"image": shown, "label": _label(placement, label)}


def pair_sample(pair: Pair, recipe: PaperArRecipe, grid: tuple[int, int], rng: np.random.Generator) -> Sample:
    """A pair as phase 2 takes it: `key`, `image`, `label`, and `flow` float32 `[*grid, 2]` in the grid's pixels."""
    placement = random_placement(rng, pair.label.shape, recipe.crop, recipe.scales, flip=recipe.flip)
    key, image = _coloured([placement.image(pair.key), placement.image(pair.image)], recipe, rng)
    flow = torch.from_numpy(placement.flow(pair.vectors, BLOCK, grid))
    return {"key": key, "image": image, "label": _label(placement, pair.label), "flow": flow}


def _coloured(images: Sequence[np.ndarray], recipe: PaperHrRecipe, rng: np.random.Generator) -> list[Tensor]:
    tensors = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None] for image in images]
    return [normalised(x, recipe)[0] for x in jitter(tensors, rng, recipe.jitter)]


def _label(placement: Placement, label: np.ndarray) -> Tensor:
    return torch.from_numpy(placement.label(label).astype(np.int64))


def normalised(image: Tensor, recipe: PaperHrRecipe) -> Tensor:
    """RGB 0..255, `[N, 3, H, W]` -> the network's input."""
    return normalise(image, *NORMALIZATIONS[recipe.normalization])


class PairDataset:
    """Pairs by number, from a prepared folder or from clips in memory."""

    def __init__(self, count: int, read: Callable[[int, np.random.Generator], Pair], fingerprint: str):
        self._count, self._read, self.fingerprint = count, read, fingerprint

    def __len__(self) -> int:
        return self._count

    def read(self, index: int, rng: np.random.Generator) -> Pair:
        """One pair; where there are several distances of a frame, `rng` chooses."""
        return self._read(index, rng)


def prepared_pairs(folder: StrPath, recipe: PaperArRecipe) -> PairDataset:
    """Each labelled frame once an epoch, at one of the recipe's distances."""
    data = Prepared(folder)
    items = data.at(recipe.distances or None)
    by_name: dict[str, list] = {}
    for item in items:
        by_name.setdefault(item.name, []).append(item)
    names = sorted(by_name)
    void = data.classes.index(VOID) if recipe.void == "ignore" and VOID in data.classes else None
    if not names:
        raise InputError(f"{folder}: no labelled frame at the distances {list(recipe.distances)}")

    def read(index: int, rng: np.random.Generator) -> Pair:
        choice = by_name[names[index]]
        pair = read_pair(choice[rng.integers(len(choice))], decoded=recipe.images == "decoded")
        if void is None:
            return pair
        return replace(pair, label=np.where(pair.label == void, np.uint8(IGNORED), pair.label))

    return PairDataset(len(names), read, f"{data.dataset}, {len(items)} pairs")


def clip_pairs(clips: Sequence[Clip], recipe: PaperArRecipe) -> PairDataset:
    """Of clips made from labelled stills; their ignored label, 11, is Void where Void counts."""

    def read(index: int, rng: np.random.Generator) -> Pair:
        clip = clips[index]
        k = int(rng.integers(len(clip.distances)))
        label = clip.labels[k]
        if recipe.void == "ignore":
            label = np.where(label < len(CAMVID.classes), label, np.uint8(IGNORED))
        return Pair(clip.key, clip.images[k], label, clip.vectors[k], int(clip.distances[k]))

    return PairDataset(len(clips), read, f"{len(clips)} clips")


def still_pairs(root: StrPath, folder: StrPath, recipe: PaperArRecipe, report: Callable[[str], None]) -> PairDataset:
    """Pairs from CamVid's stills, for want of its videos: a window that drifts over each, encoded (see `data.pairs`).

    They are made in `folder`, once; of several processes the first makes them.
    """
    stills = camvid_stills(root)
    clips: list[Clip] = []
    with distributed.main_process_first():
        for _, clip in cached_clips(Path(folder), stills, 0, seed=recipe.seed):
            clips.append(clip)
            if distributed.is_main_process() and (len(clips) % 50 == 0 or len(clips) == len(stills)):
                report(f"pairs: {len(clips)} of {len(stills)} clips")
    pairs = clip_pairs(clips, recipe)
    return PairDataset(len(pairs), pairs.read, f"clips of stills {fingerprint(stills)}")


def data_fingerprint(data: LabelledFrames) -> str:
    """Tells one data set from another, without reading its pictures."""
    return f"{data.name}, {len(data)} frames, {data.frames[0].name} to {data.frames[-1].name}"
