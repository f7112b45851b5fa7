"""AR-Seg around any network: where to cut it, and the network that comes of it."""

from __future__ import annotations

from .cut_network import Cut, CutNetwork
from .network import AcceleratedNet, accelerate
from .parts import split

__all__ = ["AcceleratedNet", "Cut", "CutNetwork", "accelerate", "split"]
