"""Image, label and vectors of a view must still belong together."""

import numpy as np
import pytest
import torch

from arseg.data.augment import View, jitter, paste, random_view
from arseg_ext import ops


def gradient(height: int, width: int) -> np.ndarray:
    """An image whose red and green say where each pixel was."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)


@pytest.mark.parametrize("flip", [False, True])
def test_image_and_label_show_the_same_place(flip):
    view = View(8, 12, 32, 48, flip)
    image = gradient(96, 128)
    label = image[..., 0]
    shown, named = view.image(image, (32, 48)), view.label(label, (32, 48))
    np.testing.assert_array_equal(shown[..., 0], named)
    assert shown[0, -1 if flip else 0, 0] == 12 and shown[0, 0, 1] == 8


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(32, 48), (64, 96), (16, 24)])
def test_vectors_still_lead_to_the_keyframe(flip, size):
    """Warping the view of the keyframe by the view's vectors gives the view of the frame, at any scale and mirrored."""
    rng = np.random.default_rng(1)
    coarse = torch.from_numpy(rng.random((1, 3, 16, 24)).astype(np.float32)) * 255
    key = torch.nn.functional.interpolate(coarse, (128, 192), mode="bicubic", align_corners=False).clamp(0, 255)
    key = key[0].permute(1, 2, 0).numpy().astype(np.uint8)
    dx, dy = 6, -5  # the frame shows at p what the keyframe shows at p + (dx, dy)
    frame = np.roll(key, (-dy, -dx), (0, 1))
    vectors = np.broadcast_to(np.array([4 * dx, 4 * dy], np.int16), (32, 48, 2))
    view = View(40, 60, 64, 96, flip)

    def tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(view.image(image, size)).permute(2, 0, 1)[None].float()

    motion = torch.from_numpy(view.field(vectors))[None]
    assert motion.shape == (1, 16, 24, 2)
    warped = ops.mv_warp(tensor(key), motion, block=4, frame_size=(view.height, view.width))
    margin = size[0] // 4
    inside = (slice(None), slice(None), slice(margin, -margin), slice(margin, -margin))
    error = (warped - tensor(frame))[inside].abs().mean()
    unwarped = (tensor(key) - tensor(frame))[inside].abs().mean()
    assert error < 0.15 * unwarped, (error, unwarped)


def test_random_views_fit_the_frame_and_the_grid():
    rng = np.random.default_rng(0)
    for _ in range(300):
        view = random_view(rng, (360, 480), (288, 384), (0.5, 2.0))
        assert view.top % 4 == view.left % 4 == view.height % 4 == view.width % 4 == 0
        assert view.top >= 0 and view.top + view.height <= 360
        assert view.left >= 0 and view.left + view.width <= 480
        assert 288 / view.height >= 0.8 - 1e-6


def test_jitter_treats_the_frames_of_a_sample_alike():
    key = torch.randint(60, 190, (4, 3, 8, 8), dtype=torch.uint8)
    changed, again = jitter([key, key], np.random.default_rng(3), 0.3)
    torch.testing.assert_close(changed, again)
    assert (changed - key.float()).abs().amax((1, 2, 3)).min() > 1
    (same,) = jitter([key], np.random.default_rng(3), 0.0)
    torch.testing.assert_close(same, key.float(), atol=1e-3, rtol=0)


def test_a_donor_of_another_size_is_pasted_whole_and_keeps_its_shape():
    image, label = np.zeros((40, 80, 3), np.uint8), np.zeros((40, 80), np.uint8)
    donor = np.full((20, 20, 3), 200, np.uint8), np.ones((20, 20), np.uint8)
    mixed, ids = paste(image, label, donor, [1])
    assert (ids[:, 20:60] == 1).all() and (ids[:, :20] == 0).all() and (ids[:, 60:] == 0).all()
    assert (mixed[ids == 1] == 200).all() and (mixed[ids == 0] == 0).all()
