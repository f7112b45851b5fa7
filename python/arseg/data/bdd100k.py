"""BDD100K's 10,000 images with semantic labels: Cityscapes' 19 classes, 1280x720.

Source: Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning", CVPR 2020.
"""

from __future__ import annotations

from dataclasses import replace

from arseg.labels import CITYSCAPES

from .split_folders import SplitFolders


class Bdd100k(SplitFolders):
    """BDD100K; its labels are ids of the classes already, and 255."""

    labels = replace(CITYSCAPES, name="BDD100K")
    images, masks = "images/10k/{split}", "labels/sem_seg/masks/{split}"
