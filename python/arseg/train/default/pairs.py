"""Batches of pairs: frames of clips with their keyframes, at chosen distances, as random views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from arseg.data.augment import jitter, random_view
from arseg.data.pairs import GOP, Clip, cached_clips, cached_video_clips
from arseg.data.stills import Still
from arseg.errors import InputError
from arseg.labels import CAMVID, targets
from arseg.preprocess import normalise
from arseg.train.batches import Batch

from .recipes import ArRecipe

BLOCK = 4

Clips = Mapping[str, list[Clip]]
"""Of "still", "street" and "video"."""

ClipFrame = tuple[Clip, int]
"""A clip, and the number of one of its frames."""

Sources = Sequence[tuple[Sequence[ClipFrame], int]]
"""Frames to draw from, and how many of them make a batch, of each kind."""


def frames_at(clips: Sequence[Clip], distances: Sequence[int]) -> list[ClipFrame]:
    """The frames of `clips` that lie at one of `distances` from their keyframe; `InputError` where there is none."""
    found = [(clip, int(k)) for clip in clips for k in np.flatnonzero(np.isin(clip.distances, distances))]
    if not found:
        raise InputError(f"distances: expected some of 1..{GOP - 1}, none of the clips' frames is at {distances}")
    return found


def sample_pairs(sources: Sources, recipe: ArRecipe, rng: np.random.Generator) -> Batch:
    """Random views of pairs; `motion` is in the window's own pixels, `frame_size` is that window's size.

    All samples of a batch share one window size, so that their fields stack.
    """
    frame = sources[0][0][0][0].key.shape[:2]
    shape = random_view(rng, frame, recipe.crop, recipe.scales)
    keys, images, labels, motion, distances = [], [], [], [], []
    for frames, count in sources:
        for index in rng.integers(0, len(frames), count):
            clip, k = frames[index]
            view = shape.moved(rng, clip.key.shape[:2])
            keys.append(view.image(clip.key, recipe.crop))
            images.append(view.image(clip.images[k], recipe.crop))
            labels.append(view.label(clip.labels[k], recipe.crop))
            motion.append(view.field(clip.vectors[k], BLOCK) * np.int16(recipe.warp))
            distances.append(clip.distances[k])
    key, image = jitter([torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2) for x in (keys, images)], rng, 0.3)
    return {
        "key": normalise(key, CAMVID.mean, CAMVID.std),
        "image": normalise(image, CAMVID.mean, CAMVID.std),
        "label": torch.from_numpy(targets(np.stack(labels), len(CAMVID.classes))),
        "motion": torch.from_numpy(np.stack(motion)),
        "distance": torch.tensor(np.array(distances)),
        "frame_size": (shape.height, shape.width),
    }


def training_clips(
    stills: Sequence[Still],
    folder: Path,
    videos: Sequence[Path],
    recipe: ArRecipe,
    report: Callable[[str], None],
) -> Clips:
    """Clips of stills, streets and unlabelled videos; they are kept in `folder`."""
    clips: dict[str, list[Clip]] = {"still": [], "street": [], "video": []}
    total = len(stills) + recipe.streets
    for made, (source, clip) in enumerate(cached_clips(folder, stills, recipe.streets, seed=recipe.seed), 1):
        clips[source].append(clip)
        if made % 50 == 0 or made == total:
            report(f"pairs: {made} of {total} clips")
    for video in videos:
        found = list(cached_video_clips(folder, [video], seed=recipe.seed))
        if not found:
            raise InputError(f"{video}: expected at least {2 * GOP} frames, a group of every second one; it has fewer")
        clips["video"] += found
    if videos:
        report(f"pairs: {len(clips['video'])} clips of {len(videos)} videos")
    return clips


def training_pairs(clips: Clips, recipe: ArRecipe) -> Sources:
    """The frames of each kind of clip, with their number in a batch."""
    shares = {"street": recipe.street_share, "video": recipe.video_share}
    found = places_in_batch(recipe.batch, shares, clips)
    return [(frames_at(clips[kind], recipe.distances), count) for kind, count in found.items() if count]


def places_in_batch(batch: int, shares: Mapping[str, float], clips: Clips) -> dict[str, int]:
    """How many of a batch are of each kind: "still" first, which takes what kinds without clips or places leave."""
    others = {kind: round(batch * share) for kind, share in shares.items() if clips[kind]}
    return {"still": batch - sum(others.values()), **{kind: count for kind, count in others.items() if count}}
