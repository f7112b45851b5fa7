"""The low-resolution network with its fusion, as the paper trains it: it starts from a reference warped already."""

from __future__ import annotations

from torch import Tensor, nn

from .base import Outputs, SplitNetwork
from .fusion import make_fusion


class FusedNetwork(nn.Module):
    """A network for shrunken frames, and the fusion of its feature with the keyframe's.

    Args:
        network: for the shrunken frames; its `classifier` is the high-resolution network's, frozen in training.
        window: side of the local attention, odd.
        fusion: one of `arseg.networks.fusion.FUSIONS`; "none" is the low-resolution network alone.
        grid: of the fusion's own warp, where it is given motion; see `arseg_ext.ops.flow_warp`.
    """

    def __init__(self, network: SplitNetwork, *, window: int = 7, fusion: str = "attention", grid: str = "legacy"):
        super().__init__()
        self.network = network
        self.fusion = make_fusion(fusion, network.channels, window, grid)

    def features(self, image: Tensor) -> Tensor:
        """`[N, 3, h, w]` normalised RGB, a shrunken frame -> its feature `[N, C, h', w']`."""
        return self.network.features(image)

    def forward(self, image: Tensor) -> Tensor:
        """`[N, 3, h, w]` normalised RGB -> the network's main output, without fusion."""
        return self.network(image)

    def fuse(self, low_res: Tensor, warped: Tensor) -> tuple[Tensor, Tensor]:
        """Feature of the shrunken frame `[N, C, h', w']`, warped reference `[N, C, H', W']` -> (logits, fused feature).

        The fused feature is `[N, C, H', W']`. The logits are as the published network leaves them: of the feature's
        size (PSPNets; log-probabilities for CamVid), or eight times as large (BiSeNets).
        """
        fused = self.fusion.join(warped, low_res)
        return self.network.output(fused), fused

    def forward_train(self, image: Tensor, warped: Tensor | None = None) -> Outputs:
        """One training pass: `[N, 3, h, w]`, and the warped reference `[N, C, H', W']` where fusion has begun.

        The auxiliary outputs are those of the shrunken image; `feature` is the fused one where there is a reference.
        """
        size = (image.shape[2], image.shape[3])
        feature, maps = self.network.encode(image)
        auxiliary = () if self.network.auxiliary is None else self.network.auxiliary_outputs(maps, size)
        if warped is None:
            return Outputs(self.network.output(feature, size), auxiliary, feature)
        logits, fused = self.fuse(feature, warped)
        return Outputs(logits, auxiliary, fused)
