"""Batches of pairs: frames of clips with their keyframes, at chosen distances, as random views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from arseg.data.augment import jitter_draws, random_view
from arseg.data.pairs import GOP, Clip, cached_video_clips, clip_files, stored_clips
from arseg.data.stills import Still
from arseg.errors import InputError
from arseg.train.batches import Batch

from .for_data import spread
from .recipes import ArRecipe

if TYPE_CHECKING:
    from arseg.data.datasets import LabelledFrames
    from arseg.data.prepared import Prepared

BLOCK = 4

Clips = Mapping[str, Sequence[Clip]]
"""Of "still", "real" (labelled videos), "street" and "video" (without labels)."""

ClipFrame = tuple[Clip, int]
"""A clip, and the number of one of its frames."""

Sources = Sequence[tuple[Sequence[ClipFrame], int]]
"""Frames to draw from, and how many of them make a batch, of each kind."""


class ClipFrames(Sequence[ClipFrame]):
    """Frames of clips, which may be read when they are asked for; `places`: number of the clip and of the frame."""

    def __init__(self, clips: Sequence[Clip], places: Sequence[tuple[int, int]]):
        self._clips, self._places = clips, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> ClipFrame: ...
    @overload
    def __getitem__(self, index: slice) -> list[ClipFrame]: ...
    def __getitem__(self, index: int | slice) -> ClipFrame | list[ClipFrame]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        clip, frame = self._places[index]
        return self._clips[clip], frame


def frames_at(clips: Sequence[Clip], distances: Sequence[int]) -> Sequence[ClipFrame]:
    """The frames of `clips` that lie at one of `distances` from their keyframe; `InputError` where there is none."""
    numbered = enumerate(clips)
    found = [(n, int(k)) for n, clip in numbered for k in np.flatnonzero(np.isin(clip.distances, distances))]
    if not found:
        raise InputError(f"distances: expected some of 1..{GOP - 1}, none of the clips' frames is at {distances}")
    return ClipFrames(clips, found)


def sample_pairs(sources: Sources, recipe: ArRecipe, rng: np.random.Generator) -> Batch:
    """Random views of pairs; `motion` is in the window's own pixels, `frame_size` is that window's size.

    All samples of a batch share one window size, so that their fields stack. The batch is to be finished, see
    `arseg.train.finish`.
    """
    first = sources[0][0][0][0].key.shape
    shape = random_view(rng, (first[0], first[1]), recipe.crop, recipe.scales)
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
    return {
        "key": torch.from_numpy(np.stack(keys)),
        "image": torch.from_numpy(np.stack(images)),
        "label": torch.from_numpy(np.stack(labels)),
        "colour": jitter_draws(rng, len(images), 0.3),
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
    size: tuple[int, int],
    frames: LabelledFrames | None = None,
    prepared: Prepared | None = None,
) -> Clips:
    """Clips of stills, streets and unlabelled videos, kept in `folder`; and of labelled videos, where there are some.

    Args:
        size: height and width of the clips.
        frames: the labelled frames of `stills`, of which some may have frames before them.
        prepared: a folder of `arseg prepare`.
    """
    files: dict[str, list[Path]] = {"still": [], "street": []}
    chosen = spread(len(stills), recipe.still_clips)
    total = len(chosen) + recipe.streets
    made = clip_files(folder, stills, recipe.streets, seed=recipe.seed, size=size, motion=recipe.motion, chosen=chosen)
    for count, (kind, path) in enumerate(made, 1):
        files[kind].append(path)
        if count % 50 == 0 or count == total:
            report(f"pairs: {count} of {total} clips")
    clips: dict[str, Sequence[Clip]] = {kind: stored_clips(paths) for kind, paths in files.items()}
    clips["video"] = _of_videos(folder, videos, recipe, size)
    if videos:
        report(f"pairs: {len(clips['video'])} clips of {len(videos)} video{'' if len(videos) == 1 else 's'}")
    clips["real"] = _of_labelled_videos(folder, recipe, size, frames, prepared)
    if clips["real"]:
        report(f"pairs: {len(clips['real'])} clips of labelled videos")
    return clips


def _of_videos(folder: Path, videos: Sequence[Path], recipe: ArRecipe, size: tuple[int, int]) -> Sequence[Clip]:
    for video in videos:
        if not len(cached_video_clips(folder, [video], seed=recipe.seed, size=size)):
            raise InputError(f"{video}: expected at least {2 * GOP} frames, a group of every second one; it has fewer")
    return cached_video_clips(folder, videos, seed=recipe.seed, size=size)


def _of_labelled_videos(
    folder: Path,
    recipe: ArRecipe,
    size: tuple[int, int],
    frames: LabelledFrames | None,
    prepared: Prepared | None,
) -> Sequence[Clip]:
    from arseg.data.real_pairs import prepared_clips, run_clips

    if prepared is not None:
        return prepared_clips(prepared, recipe.distances)
    return [] if frames is None else run_clips(folder, frames, size, recipe.seed)


def training_pairs(clips: Clips, recipe: ArRecipe) -> Sources:
    """The frames of each kind of clip, with their number in a batch."""
    shares = {"street": recipe.street_share, "video": recipe.video_share}
    found = places_in_batch(recipe.batch, shares, clips)
    if clips.get("real"):
        labelled = found.pop("still")
        real = labelled if not clips["still"] else round(labelled * recipe.prepared_share)
        found = {"still": labelled - real, "real": real, **found}
    return [(frames_at(clips[kind], recipe.distances), count) for kind, count in found.items() if count]


def places_in_batch(batch: int, shares: Mapping[str, float], clips: Clips) -> dict[str, int]:
    """How many of a batch are of each kind: "still" first, which takes what kinds without clips or places leave."""
    others = {kind: round(batch * share) for kind, share in shares.items() if clips[kind]}
    return {"still": batch - sum(others.values()), **{kind: count for kind, count in others.items() if count}}
