"""Pictures of results, held to the plain formula."""

from __future__ import annotations

import numpy as np
import pytest

from arseg.segment.draw import BAND, colour, overlay


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.55, 1.0])
@pytest.mark.parametrize("height", [1, BAND, BAND + 3])
def test_overlay_is_the_mean_of_frame_and_colours(opacity, height):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, 37, 3), dtype=np.uint8)
    palette = rng.integers(0, 256, (12, 3), dtype=np.uint8)
    labels = rng.integers(0, 12, (height, 37), dtype=np.uint8)
    labels[0, :3] = 255  # past the palette
    mixed = image * (1 - opacity) + colour(labels, palette) * opacity
    found = overlay(image, labels, palette, opacity)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, mixed, rtol=0, atol=0.5 + 1e-3)
    assert np.array_equal(overlay(image[:, ::-1], labels[:, ::-1], palette, opacity), found[:, ::-1])
