"""Folders as `save_pretrained` of transformers writes them, of networks with few channels and random weights."""

from __future__ import annotations

from pathlib import Path

import torch

CLASSES = ("road", "sky", "car", "tree")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def save_segformer(folder: Path, *, height: int = 72, classes: tuple[str, ...] = CLASSES) -> torch.nn.Module:
    """SegFormer with its image processor; the model is what lies there, in eval mode."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 16],
        decoder_hidden_size=16,
        num_attention_heads=[1, 1, 2, 2],
        id2label=dict(enumerate(classes)),
        label2id={name: label for label, name in enumerate(classes)},
        initializer_range=0.2,
    )
    model = SegformerForSemanticSegmentation(config).eval()
    torch.nn.init.normal_(model.decode_head.classifier.weight)
    model.save_pretrained(folder)
    SegformerImageProcessor(size={"height": height, "width": height}, image_mean=MEAN, image_std=STD).save_pretrained(
        folder
    )
    return model


def save_mobilevit(folder: Path) -> torch.nn.Module:
    """MobileViT, whose image processor gives blue, green, red, and does not normalise."""
    from transformers import MobileViTConfig, MobileViTForSemanticSegmentation, MobileViTImageProcessor

    torch.manual_seed(0)
    config = MobileViTConfig(
        hidden_sizes=[16, 16, 16],
        neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16],
        num_attention_heads=2,
        aspp_out_channels=16,
        num_labels=3,
        initializer_range=0.3,
    )
    model = MobileViTForSemanticSegmentation(config).eval()
    model.save_pretrained(folder)
    MobileViTImageProcessor(size={"shortest_edge": 96}, do_center_crop=False).save_pretrained(folder)
    return model
