"""The batches of every recipe: the same from any number of processes, and those of before they were finished apart."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.dataset_trees import camvid_tree

from arseg.data.augment import jitter_draws, jittered
from arseg.data.camvid import camvid_frames
from arseg.data.pairs import still_clip
from arseg.data.stills import compressed
from arseg.labels import CAMVID, IGNORED, targets
from arseg.preprocess import normalise
from arseg.train import distributed
from arseg.train.batches import batches
from arseg.train.default.low import _Frames
from arseg.train.default.pairs import frames_at, sample_pairs
from arseg.train.default.recipes import ArRecipe, HrRecipe
from arseg.train.default.stills import Donors, sample_stills
from arseg.train.finish import Finish
from arseg.train.paper.data import clip_pairs, finish_of, frame_loader, pair_loader
from arseg.train.paper.recipes import AR_RECIPES, HR_RECIPES
from arseg.train.sampling import Sampler

CROP = (64, 96)
STEPS = 4


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return camvid_frames(camvid_tree(tmp_path_factory.mktemp("camvid"), before=0, size=(96, 128)))


@pytest.fixture(scope="module")
def recipes(frames):
    """By name: (makes the maker of batches of a process, what finishes them, whether each process has its own)."""
    stills = [frames[index] for index in range(len(frames))]
    clips = [still_clip(still, np.random.default_rng(n), keep=3) for n, still in enumerate(stills)]
    hr, ar = (replace(found["camvid-psp18"], crop=CROP) for found in (HR_RECIPES, AR_RECIPES))
    default_hr, default_ar = HrRecipe(crop=CROP), ArRecipe(crop=CROP)
    donors = Donors(stills, list(range(11)), least=1)
    versions = [([stills, compressed(stills, 28.0)], 4), ([_Frames(clips)], 2)]
    pairs, alone = clip_pairs(clips, ar), frames_at(clips, default_ar.distances)
    own = Finish.of(CAMVID)
    return {
        "paper hr": (lambda: Sampler(frame_loader(frames, hr), len(frames), 6), finish_of(hr), True),
        "paper ar": (lambda: Sampler(pair_loader(pairs, ar, (8, 12)), len(pairs), 6), finish_of(ar), True),
        "hr": (lambda: lambda _, rng: sample_stills(versions, donors, default_hr, rng), own, False),
        "ar": (lambda: lambda _, rng: sample_pairs([(alone, 6)], default_ar, rng), own, False),
    }


def hashes(recipe, first=0, **options):
    make, finish, sharded = recipe
    found = []
    for step, parts in batches(make(), first, STEPS, 3, sharded=sharded, finish=finish, **options):
        for part in parts:
            digest = hashlib.sha256()
            for key in sorted(part):
                value = part[key]
                digest.update(key.encode())
                digest.update(value.contiguous().numpy().tobytes() if torch.is_tensor(value) else repr(value).encode())
            found.append((step, digest.hexdigest()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paper hr", "paper ar", "hr", "ar"])
def test_processes_make_the_batches_of_one(recipes, name, monkeypatch):
    whole = hashes(recipes[name])
    assert len(set(whole)) == STEPS
    assert hashes(recipes[name], workers=1) == whole
    assert hashes(recipes[name], workers=3) == whole
    assert hashes(recipes[name], first=2, workers=2) == whole[2:], "after resuming"
    ranks = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "world", lambda: 2)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        ranks.append(hashes(recipes[name]))
        assert hashes(recipes[name], workers=2) == ranks[-1]
    assert ranks[0] != ranks[1]


def jitter_of_before(images, rng, strength):
    """As it was when processes sent finished batches: in the order of the pixels, with torch's own mean."""
    draws = torch.from_numpy(rng.uniform(1 - strength, 1 + strength, (3, len(images[0]), 1, 1, 1)).astype(np.float32))
    brightness, contrast, saturation = draws
    mean = images[0].float().mean((1, 2, 3), keepdim=True)
    out = []
    for image in images:
        x = image.float()
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * saturation
        out.append(((x - mean) * contrast + mean * brightness).clamp_(0, 255))
    return out


def test_what_finishes_a_batch_is_the_arithmetic_of_before():
    """Labels to the bit, images within 2e-6 of their deviation: float32's rounding. On a GPU, see the test below."""
    batch, expected, rng = finished_before()
    drawn = jitter_draws(np.random.default_rng(5), 6, 0.5)
    found = Finish.of(CAMVID)({**batch, "colour": drawn})
    assert "colour" not in found and found["flow"] is batch["flow"]
    assert torch.equal(found["label"], expected["label"]) and found["label"].dtype == torch.int64
    for name in ("key", "image"):
        assert found[name].stride() == expected[name].stride()
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=2e-6)
    next_draw = np.random.default_rng(5)
    jitter_draws(next_draw, 6, 0.5)
    assert next_draw.random() == rng.random(), "as many draws as before"
    parts = [Finish.of(CAMVID)({k: v[at : at + 2] for k, v in {**batch, "colour": drawn}.items()}) for at in (0, 2, 4)]
    assert torch.equal(torch.cat([part["image"] for part in parts]), found["image"]), "a part is a part of the whole"


def finished_before():
    """A batch in bytes, what became of it, and the generator afterwards."""
    rng = np.random.default_rng(0)
    bytes_of = {name: torch.from_numpy(rng.integers(0, 256, (6, 33, 47, 3), np.uint8)) for name in ("key", "image")}
    labels = rng.integers(0, 14, (6, 33, 47)).astype(np.uint8)
    labels[0, :5] = IGNORED
    rng = np.random.default_rng(5)
    both = jitter_of_before([value.permute(0, 3, 1, 2) for value in bytes_of.values()], rng, 0.5)
    expected = {k: normalise(x, CAMVID.mean, CAMVID.std) for k, x in zip(bytes_of, both, strict=True)}
    expected["label"] = torch.from_numpy(targets(labels, len(CAMVID.classes)))
    return {**bytes_of, "label": torch.from_numpy(labels), "flow": torch.zeros(6, 2)}, expected, rng


@pytest.mark.cuda
def test_a_gpu_finishes_as_the_cpu_does():
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device here")
    batch, expected, _ = finished_before()
    batch["colour"] = jitter_draws(np.random.default_rng(5), 6, 0.5)
    found = Finish.of(CAMVID)({name: value.cuda() for name, value in batch.items()})
    assert torch.equal(found["label"].cpu(), expected["label"])
    for name in ("key", "image"):
        torch.testing.assert_close(found[name].cpu(), expected[name], rtol=0, atol=4e-6)


def test_colours_do_not_depend_on_the_number_of_threads():
    image = torch.randint(0, 256, (2, 3, 360, 480), dtype=torch.uint8)
    drawn, before = jitter_draws(np.random.default_rng(0), 2, 0.5), torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(jittered([image], drawn)[0])
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
