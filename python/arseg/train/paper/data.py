"""Labelled frames and pairs as tensors, placed and coloured at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from arseg.data.augment import jitter_draws
from arseg.data.cache import Kept
from arseg.data.datasets import LabelledFrames
from arseg.data.pairs import Clip, cached_clips
from arseg.data.placement import Placement, random_placement
from arseg.data.prepared import Pair, Prepared, read_pair
from arseg.data.stills import camvid_stills, fingerprint
from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import CAMVID, IGNORED, NORMALIZATIONS, VOID
from arseg.preprocess import as_tensor, normalise
from arseg.train import distributed
from arseg.train.finish import Finish
from arseg.train.sampling import Sample

from .recipes import PaperArRecipe, PaperHrRecipe

BLOCK = 4


def frame_sample(image: np.ndarray, label: np.ndarray, recipe: PaperHrRecipe, rng: np.random.Generator) -> Sample:
    """A labelled frame as phase 1 takes it, to be finished: `image` uint8 `[H, W, 3]`, `label` uint8 `[H, W]`."""
    placement = random_placement(rng, label.shape, recipe.crop, recipe.scales, flip=recipe.flip)
    return {**_placed({"image": image}, label, placement), "colour": jitter_draws(rng, 1, recipe.jitter)[0]}


def pair_sample(pair: Pair, recipe: PaperArRecipe, grid: tuple[int, int], rng: np.random.Generator) -> Sample:
    """A pair as phase 2 takes it: `key`, too, and `flow` float32 `[*grid, 2]` in the grid's pixels."""
    placement = random_placement(rng, pair.label.shape, recipe.crop, recipe.scales, flip=recipe.flip)
    flow = torch.from_numpy(placement.flow(pair.vectors, BLOCK, grid))
    placed = _placed({"key": pair.key, "image": pair.image}, pair.label, placement)
    return {**placed, "flow": flow, "colour": jitter_draws(rng, 1, recipe.jitter)[0]}


def _placed(images: Mapping[str, np.ndarray], label: np.ndarray, placement: Placement) -> Sample:
    found = {name: as_tensor(placement.image(image)) for name, image in images.items()}
    return {**found, "label": as_tensor(placement.label(label))}


def frame_loader(data: LabelledFrames, recipe: PaperHrRecipe) -> Callable[[int, np.random.Generator], Sample]:
    """What loads phase 1's samples by number; frames are decoded once, and kept in memory up to a bound."""
    frames = Kept(len(data), data.__getitem__, lambda frame: frame[0].nbytes + frame[1].nbytes)
    return lambda index, rng: frame_sample(*frames[index], recipe, rng)


def pair_loader(
    pairs: PairDataset, recipe: PaperArRecipe, grid: tuple[int, int]
) -> Callable[[int, np.random.Generator], Sample]:
    """What loads phase 2's samples by number; `grid`: see `pair_sample`."""
    return lambda index, rng: pair_sample(pairs.read(index, rng), recipe, grid, rng)


def finish_of(recipe: PaperHrRecipe) -> Finish:
    """What is done to these samples on the device."""
    return Finish(*NORMALIZATIONS[recipe.normalization])


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


def void_to_ignore(classes: Sequence[str], recipe: PaperArRecipe) -> int | None:
    """The id of CamVid's Void in prepared labels where the recipe has it ignored."""
    return classes.index(VOID) if recipe.void == "ignore" and VOID in classes else None


def ignoring(label: np.ndarray, void: int | None) -> np.ndarray:
    """A label whose pixels of a class are ignored; None: of none."""
    return label if void is None else np.where(label == void, np.uint8(IGNORED), label)


def prepared_pairs(folder: StrPath, recipe: PaperArRecipe) -> PairDataset:
    """Each labelled frame once an epoch, at one of the recipe's distances."""
    data = Prepared(folder)
    items = data.at(recipe.distances or None)
    by_name: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        by_name.setdefault(item.name, []).append(number)
    names = sorted(by_name)
    void = void_to_ignore(data.classes, recipe)
    if not names:
        raise InputError(f"{folder}: no labelled frame at the distances {list(recipe.distances)}")

    decoded = recipe.images == "decoded"
    pairs = Kept(len(items), lambda number: read_pair(items[number], decoded=decoded), _pair_bytes)

    def read(index: int, rng: np.random.Generator) -> Pair:
        choice = by_name[names[index]]
        pair = pairs[choice[rng.integers(len(choice))]]
        return pair if void is None else replace(pair, label=ignoring(pair.label, void))

    return PairDataset(len(names), read, f"{data.dataset}, {len(items)} pairs")


def _pair_bytes(pair: Pair) -> int:
    return sum(part.nbytes for part in (pair.key, pair.image, pair.label, pair.vectors))


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
