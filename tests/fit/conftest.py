"""A tiny data set of one's own, and a short video without labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.folder_trees import folder_tree, names_of, three_classes
from helpers.texture_clips import moving_texture

from arseg.video import encode


@pytest.fixture(scope="session")
def labelled(tmp_path_factory) -> Path:
    """Twelve stills of 96x64 with three classes, of three videos."""
    names = [name for video in ("a_", "b_", "c_") for name in names_of(4, video)]
    return folder_tree(tmp_path_factory.mktemp("labelled"), three_classes(12, (64, 96)), names)


@pytest.fixture(scope="session")
def drive(tmp_path_factory) -> Path:
    """48 frames of 96x64 without labels."""
    path = tmp_path_factory.mktemp("drive") / "drive.mp4"
    encode(moving_texture(48), path, rate=15)
    return path
