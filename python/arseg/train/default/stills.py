"""Batches of single frames: labelled stills as random views, rare things pasted among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from arseg.data.augment import jitter_draws, paste, random_view
from arseg.data.stills import Still
from arseg.train.batches import Batch

from .for_data import Census
from .recipes import HrRecipe


class Donors:
    """For each rare class the stills that show it, to be pasted from.

    Args:
        stills: labelled frames.
        classes: ids of the rare classes.
        least: pixels of a class that a still must have to show it.
        census: of the stills, where it is there already.
    """

    def __init__(self, stills: Sequence[Still], classes: Sequence[int], least: int = 100, census: Census | None = None):
        census = census or Census.of(stills)
        self.shown = {c: census.indices[census.counts[:, c] >= least] for c in classes}
        self.shown = {c: where for c, where in self.shown.items() if len(where)}

    def draw(self, rng: np.random.Generator) -> tuple[int, list[int]] | None:
        """A still's index, and which of its classes to paste: the one it was drawn for, and others by chance."""
        if not self.shown:
            return None
        classes = sorted(self.shown)
        chosen = classes[rng.integers(len(classes))]
        return int(rng.choice(self.shown[chosen])), [c for c in classes if c == chosen or rng.random() < 0.5]


def sample_stills(
    sources: Sequence[tuple[Sequence[Sequence[Still]], int]],
    donors: Donors,
    recipe: HrRecipe,
    rng: np.random.Generator,
) -> Batch:
    """A batch of random views: `count` frames of each `(versions, count)`; versions are the same stills, or one list.

    The donors' numbers are those of the first source. The batch is to be finished, see `arseg.train.finish`.
    """
    images, ids = [], []
    for source, (versions, count) in enumerate(sources):
        for _ in range(count):
            stills = versions[int(rng.integers(len(versions)))]
            image, label = stills[int(rng.integers(len(stills)))]
            drawn = donors.draw(rng) if source == 0 and rng.random() < recipe.pasted else None
            if drawn is not None:
                image, label = paste(image, label, stills[drawn[0]], drawn[1])
            view = random_view(rng, label.shape, recipe.crop, recipe.scales)
            images.append(view.image(image, recipe.crop))
            ids.append(view.label(label, recipe.crop))
    return {
        "image": torch.from_numpy(np.stack(images)),
        "label": torch.from_numpy(np.stack(ids)),
        "colour": jitter_draws(rng, len(images), 0.4),
    }
