"""What a network must have, and what ours share: features, a classifier, and the way from its scores to the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from arseg.labels import LabelSet


class SegmentationNetwork(Protocol):
    """What `ARSegNet`, weights files and the command line ask of a network, which is a `torch.nn.Module`.

    It need not be a subclass of anything of ours. A network without these parts can be cut: `arseg.accelerate`.

    Attributes:
        channels: of the fusion feature.
        classifier: the module from there to logits `[N, C, h, w] -> [N, num_classes, h, w]`. A 1x1 convolution with a
            bias is computed together with the fusion.

    It may have, besides:
        label_set: a `LabelSet`, what its classes are and how its input is normalised.
        input_height: the height of the frames that it was trained for.
        upsampling: factor by which the output is larger than the scores, before it is brought to the frame; 1.
        upsampling_corners: whether that upsampling keeps the corners in place; False.
        align_corners: how the scores are brought to the frame; False.
        auxiliary: heads that only training uses, or None.
    """

    @property
    def channels(self) -> int: ...
    @property
    def classifier(self) -> nn.Module: ...
    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, channels, h, w]`, of any stride."""
        ...

    def __call__(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the network's own logits, at the image's size or a smaller one."""
        ...


class EncoderDecoder(nn.Module):
    """A network of an encoder, layers that join its maps, and a 1x1 `classifier`; a `SegmentationNetwork`.

    Subclasses set `encoder`, `classifier` and `channels`, and define `decode` and `upsample`.
    """

    encoder: Any
    classifier: nn.Conv2d
    channels: int
    label_set: LabelSet | None = None

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """The encoder's maps -> the fusion feature `[N, channels, h, w]`."""
        raise NotImplementedError

    def upsample(self, scores: Tensor, size: tuple[int, int]) -> Tensor:
        """Scores at the feature's resolution -> at the image's, `[N, num_classes, *size]`."""
        raise NotImplementedError

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, channels, h, w]`."""
        return self.decode(self.encoder(image))

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> logits `[N, num_classes, H, W]`."""
        return self.upsample(self.classifier(self.features(image)), (image.shape[2], image.shape[3]))


class Outputs(NamedTuple):
    """What training needs of one forward pass.

    Attributes:
        logits: the main output, as `forward` gives it.
        auxiliary: one tensor for each auxiliary head, in the order of `arseg.train.losses`; empty without heads.
        feature: the fusion feature `[N, C, h, w]`, for feature similarity.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    feature: Tensor


class SplitNetwork(nn.Module):
    """A network of the paper, in the parts that the fusion and the paper's training need; a `SegmentationNetwork`.

    Subclasses define `encode`, `finish` and, for their heads, `auxiliary_outputs`; and the attributes:
        channels: of the fusion feature.
        classifier: the 1x1 convolution from there to classes.
        auxiliary: heads that only training uses, or None.
        upsampling: factor by which the output is larger than the scores, before it is brought to the frame.
        align_corners: how the scores are brought to the frame.
        label_set: classes and normalisation, where they are known.
    """

    channels: int
    classifier: nn.Conv2d
    auxiliary: nn.Module | None
    upsampling = 1
    align_corners = True
    label_set: LabelSet | None = None

    def encode(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature, and the maps that the auxiliary heads look at."""
        raise NotImplementedError

    def finish(self, scores: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The classifier's scores `[N, num_classes, h, w]` -> the main output, for an image of `size`.

        None: as the fused network gives it.
        """
        raise NotImplementedError

    def output(self, feature: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Fusion feature -> the main output, see `finish`."""
        return self.finish(self.classifier(feature), size)

    def auxiliary_outputs(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> tuple[Tensor, ...]:
        """The auxiliary heads' scores for an image of `size`."""
        raise NotImplementedError

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the fusion feature `[N, channels, h, w]`."""
        return self.encode(image)[0]

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, H, W]` normalised RGB -> the main output of the published network."""
        size = (image.shape[2], image.shape[3])
        return self.output(self.features(image), size)

    def forward_train(self, image: Tensor) -> Outputs:
        """`[N, 3, H, W]` normalised RGB -> main output, auxiliary outputs, fusion feature."""
        size = (image.shape[2], image.shape[3])
        feature, maps = self.encode(image)
        auxiliary = () if self.auxiliary is None else self.auxiliary_outputs(maps, size)
        return Outputs(self.output(feature, size), auxiliary, feature)
