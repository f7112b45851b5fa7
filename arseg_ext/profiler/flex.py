"""Attention of a window by torch's flex_attention: which blocks of keys each block of queries sees, and a mask in them.

Pixels are put in the order of tiles, 8 x 16 of them a block of 128, which needs far fewer blocks than rows of pixels
would. Keys get a border of zeros as wide as the window reaches: keys outside the image have logit 0 and value 0, as in
`local_attention(outside="zero")`, or are left out of the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

TILE_HEIGHT, TILE_WIDTH = 8, 16
BLOCK = TILE_HEIGHT * TILE_WIDTH


def attention(scale: float) -> Callable[[Tensor, Tensor, Tensor, BlockMask], Tensor]:
    """Of [N, 1, pixels, C] in the order of tiles."""

    def function(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask) -> Tensor:
        return flex_attention(query, key, value, block_mask=mask, scale=scale)

    return function


class Tiles:
    """A map of height x width in the order of tiles, and the keys around it."""

    def __init__(self, height: int, width: int, window: tuple[int, int], outside: str = "zero"):
        self.size, self.window, self.outside = (height, width), window, outside
        self.radius = (window[0] // 2, window[1] // 2)
        self.rows, self.columns = -(-height // TILE_HEIGHT), -(-width // TILE_WIDTH)
        # Keys for the pixels that fill up the last tiles too: none is without any.
        self.more_rows, self.more_columns = (
            -(-2 * self.radius[0] // TILE_HEIGHT),
            -(-2 * self.radius[1] // TILE_WIDTH),
        )
        self.key_rows, self.key_columns = self.rows + self.more_rows, self.columns + self.more_columns

    def queries(self, x: Tensor) -> Tensor:
        return self._tiled(x, self.rows, self.columns, (0, 0))

    def keys(self, x: Tensor) -> Tensor:
        return self._tiled(x, self.key_rows, self.key_columns, self.radius)

    def restore(self, x: Tensor, of_keys: bool) -> Tensor:
        """Queries, keys, or a gradient of theirs, as a map."""
        rows, columns = (self.key_rows, self.key_columns) if of_keys else (self.rows, self.columns)
        top, left = self.radius if of_keys else (0, 0)
        tiles = x[:, 0].unflatten(1, (rows, columns, TILE_HEIGHT, TILE_WIDTH)).permute(0, 5, 1, 3, 2, 4)
        full = tiles.reshape(x.shape[0], x.shape[3], rows * TILE_HEIGHT, columns * TILE_WIDTH)
        return full[..., top : top + self.size[0], left : left + self.size[1]]

    @staticmethod
    def _tiled(x: Tensor, rows: int, columns: int, border: tuple[int, int]) -> Tensor:
        below, right = rows * TILE_HEIGHT - x.shape[2] - border[0], columns * TILE_WIDTH - x.shape[3] - border[1]
        x = F.pad(x.detach(), (border[1], right, border[0], below))
        tiles = x.unflatten(3, (columns, TILE_WIDTH)).unflatten(2, (rows, TILE_HEIGHT)).permute(0, 2, 4, 3, 5, 1)
        return tiles.reshape(x.shape[0], 1, rows * columns * BLOCK, x.shape[1]).contiguous()

    def in_window(self, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Any:
        """The mask of a pair, by their places in the order of tiles."""

        def place(index: Any, columns: int) -> tuple[Any, Any]:
            tile, pixel = index // BLOCK, index % BLOCK
            return (
                tile // columns * TILE_HEIGHT + pixel // TILE_WIDTH,
                tile % columns * TILE_WIDTH + pixel % TILE_WIDTH,
            )

        y, x = place(query, self.columns)
        key_y, key_x = place(key, self.key_columns)
        below, right = key_y - y, key_x - x
        seen = (below >= 0) & (below < self.window[0]) & (right >= 0) & (right < self.window[1])
        if self.outside == "masked":
            (top, left), (height, width) = self.radius, self.size
            seen = seen & (key_y >= top) & (key_y < top + height) & (key_x >= left) & (key_x < left + width)
        return seen

    def mask(self, device: torch.device) -> BlockMask:
        """Written down, since create_block_mask would ask for every pair of blocks."""
        ranges = (self.rows, self.columns, self.more_rows + 1, self.more_columns + 1)
        row, column, down, right = torch.meshgrid(*(torch.arange(n, device=device) for n in ranges), indexing="ij")
        seen = ((row + down) * self.key_columns + column + right).reshape(self.rows * self.columns, -1)
        blocks, keys = seen.shape[0], self.key_rows * self.key_columns
        indices = torch.zeros(1, 1, blocks, keys, dtype=torch.int32, device=device)
        indices[..., : seen.shape[1]] = seen
        return BlockMask.from_kv_blocks(
            torch.full((1, 1, blocks), seen.shape[1], dtype=torch.int32, device=device),
            indices,
            BLOCK_SIZE=BLOCK,
            mask_mod=self.in_window,
            seq_lengths=(blocks * BLOCK, keys * BLOCK),
        )
