"""The name of `arseg_ext.oracle` before version 0.2; it goes in 0.3."""

import warnings

from arseg_ext.oracle import block_flow, creff, flow_warp, local_attention, mv_warp

__all__ = ["block_flow", "creff", "flow_warp", "local_attention", "mv_warp"]

warnings.warn("arseg_ext.reference is arseg_ext.oracle now, and goes in 0.3", DeprecationWarning, stacklevel=2)
