"""Image, label and motion of a placement must still belong together, at any scale, crop and mirrored or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arseg.data.placement import Placement, random_placement
from arseg_ext import ops

HEIGHT, WIDTH = 128, 192


@pytest.fixture(scope="module")
def scene():
    """A smooth keyframe, a frame that shows it warped by a motion that varies from place to place, and the vectors."""
    rng = np.random.default_rng(1)
    coarse = torch.from_numpy(rng.random((1, 3, 16, 24)).astype(np.float32)) * 255
    key = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic", align_corners=False).clamp(0, 255)
    # Whole regions move differently: left half one way, right half another.
    vectors = np.zeros((HEIGHT // 4, WIDTH // 4, 2), np.int16)
    vectors[:, : WIDTH // 8] = (22, -17)
    vectors[:, WIDTH // 8 :] = (-13, 26)
    motion = torch.from_numpy(vectors)[None]
    frame = ops.mv_warp(key.contiguous(), motion, block=4, frame_size=(HEIGHT, WIDTH))
    as_image = [x[0].permute(1, 2, 0).round().clamp(0, 255).numpy().astype(np.uint8) for x in (key, frame)]
    return *as_image, vectors


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()


CASES = [
    pytest.param(Placement(1.0, 0, 0, (HEIGHT, WIDTH)), id="as it is"),
    pytest.param(Placement(1.0, 30, 41, (64, 96)), id="crop"),
    pytest.param(Placement(1.0, 30, 41, (64, 96), True), id="crop and flip"),
    pytest.param(Placement(2.0, 0, 0, (2 * HEIGHT, 2 * WIDTH)), id="scale up"),
    pytest.param(Placement(0.5, 0, 0, (HEIGHT // 2, WIDTH // 2)), id="scale down"),
    pytest.param(Placement(1.0, 0, 0, (HEIGHT, WIDTH), True), id="flip"),
    pytest.param(Placement(1.75, 57, 33, (120, 160), True), id="scale, crop and flip"),
    pytest.param(Placement(0.675, 11, 20, (60, 80)), id="scale down and crop"),
]


@pytest.mark.parametrize("placement", CASES)
def test_warping_then_placing_is_placing_then_warping(scene, placement):
    """With the motion left as it was (the published code's fault at forced scales) the same comparison fails."""
    key, frame, vectors = scene
    placed_key, placed_frame = tensor(placement.image(key)), tensor(placement.image(frame))
    flow = placement.flow(vectors, 4, placement.size)
    warped = ops.flow_warp(placed_key, torch.from_numpy(flow)[None])
    unwarped_error = error(placed_key, placed_frame, placement)
    assert error(warped, placed_frame, placement) < 0.12 * unwarped_error
    if placement.scale != 1:
        wrong = ops.flow_warp(placed_key, torch.from_numpy(flow / placement.scale)[None])
        assert error(wrong, placed_frame, placement) > 0.25 * unwarped_error
    if placement.flip:
        unturned = flow * np.array([-1, 1], np.float32)
        assert error(ops.flow_warp(placed_key, torch.from_numpy(unturned)[None]), placed_frame, placement) > (
            0.5 * unwarped_error
        )


def error(a: torch.Tensor, b: torch.Tensor, placement: Placement) -> float:
    """Mean difference away from the border, across which content comes in from outside the crop."""
    margin = int(np.ceil(8 * placement.scale))
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    return float((a - b).abs()[inside].mean())


def test_flow_on_a_coarser_map_is_in_its_pixels(scene):
    """Constant motion: a feature at stride 8 moves by an eighth of the pixels, in both axes apart."""
    vectors = np.broadcast_to(np.array([16, -8], np.int16), (HEIGHT // 4, WIDTH // 4, 2))
    flow = Placement(1.5, 10, 20, (96, 144)).flow(vectors, 4, (12, 36))
    assert flow.shape == (12, 36, 2)
    np.testing.assert_allclose(flow[..., 0], 4 * 1.5 * 36 / 144)
    np.testing.assert_allclose(flow[..., 1], -2 * 1.5 * 12 / 96)


def test_label_and_image_show_the_same_place():
    """Nearest labels are those of the pixel that the picture shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([x, y, y], -1).astype(np.uint8)
    for placement in (case.values[0] for case in CASES):
        shown, named = placement.image(image)[..., 0].astype(int), placement.label(image[..., 0]).astype(int)
        inside = slice(4, -4)
        assert np.abs(shown - named)[inside, inside].max() <= 1 + 1 / placement.scale


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    frame=st.tuples(st.integers(8, 80), st.integers(8, 80)),
    crop=st.tuples(st.integers(4, 90), st.integers(4, 90)),
)
def test_a_crop_lies_in_its_frame_whatever_the_sizes(seed, frame, crop):
    """Where the scaled frame would be smaller than the crop, it is scaled up to hold it."""
    placement = random_placement(np.random.default_rng(seed), frame, crop, (0.5, 1.0, 2.0))
    assert placement.scale >= max(c / f for c, f in zip(crop, frame, strict=True)) - 1e-9
    for corner, side, c in zip((placement.top, placement.left), frame, crop, strict=True):
        assert corner >= 0 and corner + c <= side * placement.scale + 1e-6
    image = np.random.default_rng(0).integers(0, 256, (*frame, 3), dtype=np.uint8)
    assert placement.image(image).shape == (*crop, 3) and placement.label(image[..., 0]).shape == crop
    vectors = np.ones((-(-frame[0] // 4), -(-frame[1] // 4), 2), np.int16)
    assert np.isfinite(placement.flow(vectors, 4, (3, 5))).all()


def test_draws_are_the_seeds_and_half_are_mirrored():
    first, again = (
        [random_placement(np.random.default_rng(7), (72, 96), (64, 64), (0.5, 1, 2)) for _ in range(2)]
        for _ in range(2)
    )
    assert first == again
    rng = np.random.default_rng(0)
    flips = [random_placement(rng, (72, 96), (64, 64), (1.0,)).flip for _ in range(400)]
    assert 150 < sum(flips) < 250
    assert not any(random_placement(rng, (72, 96), (64, 64), (1.0,), flip=0).flip for _ in range(20))
