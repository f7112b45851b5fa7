"""Small segmentation networks as other people write them: every place where one can be cut, every form of output."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn


def body(channels=8):
    """To stride 4, with everything that differs between training and evaluation."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Dropout2d(0.5),
        nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
    )


class Plain(nn.Module):
    """Logits at the image's size, as a tensor."""

    align_corners = False

    def __init__(self, classes=5):
        super().__init__()
        self.body, self.head = body(), nn.Conv2d(8, classes, 1)

    def forward(self, image):
        logits = self.head(self.body(image))
        return F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=self.align_corners)


class Corners(Plain):
    """The same, resized the other way."""

    align_corners = True


class Dictionary(Plain):
    """As torchvision's, with an auxiliary head that runs last."""

    def __init__(self):
        super().__init__()
        self.aux = nn.Conv2d(8, 5, 1)

    def forward(self, image):
        feature = self.body(image)
        pair = {"out": self.head(feature), "aux": self.aux(feature)}
        size = image.shape[-2:]
        return {k: F.interpolate(v, size, mode="bilinear", align_corners=False) for k, v in pair.items()}


class SegFormerLike(nn.Module):
    """As in Hugging Face's transformers: keyword-like outputs with logits at a quarter of the size, a head of heads."""

    def __init__(self):
        super().__init__()
        self.encoder = body()
        self.decode_head = nn.Module()
        self.decode_head.linear_fuse = nn.Conv2d(8, 12, 1, bias=False)
        self.decode_head.dropout = nn.Dropout(0.1)
        self.decode_head.classifier = nn.Conv2d(12, 5, 1)

    def forward(self, pixel_values):
        fused = self.decode_head.dropout(F.relu(self.decode_head.linear_fuse(self.encoder(pixel_values))))
        return SimpleNamespace(logits=self.decode_head.classifier(fused), hidden_states=None)


class DeepHead(nn.Module):
    """Two layers and an upsampling after the feature: more than a 1x1 convolution."""

    def __init__(self):
        super().__init__()
        self.body = body()
        self.head = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(8, 5, 3, padding=1)
        )

    def forward(self, image):
        return F.interpolate(self.head(self.body(image)), image.shape[-2:], mode="bilinear", align_corners=False)


class OwnParts(nn.Module):
    """`features` and `classifier` of its own, as our networks have."""

    def __init__(self):
        super().__init__()
        self.body, self.classifier = body(), nn.Conv2d(8, 5, 1)

    def features(self, image):
        return self.body(image)

    def forward(self, image):
        return F.interpolate(self.classifier(self.features(image)), image.shape[-2:], mode="bilinear")


class Functional(nn.Module):
    """Nothing that a name leads to is its logits."""

    def __init__(self):
        super().__init__()
        self.body = body()
        self.weight = nn.Parameter(torch.randn(5, 8, 1, 1))

    def forward(self, image):
        logits = F.conv2d(self.body(image), self.weight)
        return F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)


def seeded(make, seed=0):
    """With statistics of batch normalisation other than 0 and 1, so that mode and copies show."""
    torch.manual_seed(seed)
    network = make()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network
