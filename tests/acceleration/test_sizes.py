"""Which images a network takes is found by trying; others are resized to these, and the parts stay its own output."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.other_networks import Plain, seeded
from torch import nn

import arseg
from arseg.acceleration import split
from arseg.acceleration.sizes import Sizes, find_sizes
from arseg.errors import InputError


class Steps(Plain):
    """Refuses sides that are not multiples of 32, as smp's do."""

    def forward(self, image):
        if image.shape[2] % 32 or image.shape[3] % 32:
            raise RuntimeError(f"Wrong input shape height={image.shape[2]}, width={image.shape[3]}.")
        return super().forward(image)


class Square(Plain):
    """A grid that must be square, as in DPT."""

    def forward(self, image):
        feature = self.body(image)
        side = int((feature.shape[2] * feature.shape[3]) ** 0.5)
        feature = feature.flatten(2).reshape(len(feature), -1, side, side)
        return F.interpolate(self.head(feature), image.shape[2:], mode="bilinear")


class Patches(nn.Module):
    """Leaves out what is too little for another patch of 16, and says nothing."""

    def __init__(self):
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 8, 16, stride=16), nn.Conv2d(8, 5, 1)

    def forward(self, image):
        return F.interpolate(self.head(self.patches(image)), image.shape[2:], mode="bilinear")


class Only(Plain):
    image_size = (48, 80)

    def forward(self, image):
        if tuple(image.shape[2:]) != self.image_size:
            raise ValueError(f"Input image size {tuple(image.shape[2:])} doesn't match model {self.image_size}.")
        return super().forward(image)


CASES = [
    (Plain, Sizes(), "any", (100, 150)),
    (Steps, Sizes(32), "multiples of 32", (96, 160)),
    (Square, Sizes(1, square=True), "squares", (122, 122)),
    (Patches, Sizes(16), "multiples of 16", (96, 144)),
    (Only, Sizes(only=(48, 80)), "48x80 alone", (48, 80)),
]


@pytest.mark.parametrize(("make", "sizes", "said", "seen"), CASES)
@torch.no_grad()
def test_the_rule_is_found(make, sizes, said, seen):
    model = seeded(make).eval()
    assert find_sizes(model, (192, 256)) == sizes and str(sizes) == said
    assert Sizes.from_json(sizes.to_json()) == sizes
    assert sizes.nearest((100, 150)) == seen and sizes.nearest(seen) == seen
    network = split(model, size=(64, 96))
    image = torch.randn(2, 3, *seen)
    parts = network.finish(network.classifier(network.features(image)))
    assert torch.equal(F.interpolate(parts, seen, mode="bilinear"), model(image)), "seen as it is"
    other = torch.randn(2, 3, 100, 150)
    assert network(other).shape == (2, 5, 100, 150)
    assert torch.equal(network.features(other), network.features(sizes.fit(other)))


@torch.no_grad()
def test_a_small_frame_is_fitted_anew():
    net = arseg.accelerate(seeded(Steps), size=(64, 96))
    image = torch.randn(1, 3, 100, 150)
    reference = net.keyframe(image)
    assert reference.shape[2:] == (24, 40) and net.low_res(image).shape[2:] == (16, 16)
    motion = torch.zeros(1, 25, 38, 2, dtype=torch.int16)
    assert net(image, reference, motion, 1, block=4, frame_size=(100, 150)).shape == (1, 5, 100, 150)


def test_one_size_alone_can_be_trained_and_not_accelerated():
    assert split(seeded(Only), size=(64, 96)).sizes.only == (48, 80)
    with pytest.raises(InputError, match=r"runs on images of 48x80 alone .* so that a smaller frame costs as much"):
        arseg.accelerate(seeded(Only), size=(64, 96))


def test_what_runs_nowhere_says_why():
    with pytest.raises(InputError, match=r"model: does not run on a 64x96 image: Given groups=1, weight of size"):
        find_sizes(nn.Conv2d(4, 5, 1), (64, 96))


def test_counting_needs_no_values():
    with torch.device("meta"):
        model = Steps()
    assert find_sizes(model, (100, 150)) == Sizes(32)
