"""Operations and bytes that an operator cannot do without: what its speed is given in, and held to.

Operations: two for a multiply-accumulate, over every key of the window. Bytes: each input read once and each result
written once. A version that does more is slower for it; nothing it does besides is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 7
KEYS = WINDOW * WINDOW
CLASSES = 12


@dataclass(frozen=True)
class Shape:
    """A map of one image, a low-resolution map of half its sides, and a field of blocks of 16 video pixels."""

    channels: int
    height: int
    width: int
    stride: int = 1  # video pixels for one of the map

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def elements(self) -> int:
        return self.channels * self.pixels

    @property
    def low_elements(self) -> int:
        return self.channels * (self.height // 2) * (self.width // 2)

    @property
    def frame(self) -> tuple[int, int]:
        return self.height * self.stride, self.width * self.stride

    @property
    def blocks(self) -> tuple[int, int]:
        return -(-self.frame[0] // 16), -(-self.frame[1] // 16)


# Bilinear sampling of one value: four multiply-accumulates. Upsampling twice as large shares them along one axis.
WARP, RESIZE = 8.0, 4.4
CONVOLUTION = 2 * 9


def operations(op: str, shape: Shape) -> float:
    """Of one call, as floating-point operations. 0 for warps, which move data."""
    per_element = {
        "warp": 0.0,
        "warp backward": 0.0,
        "attention": 4 * KEYS,
        "attention backward": 10 * KEYS,  # logits again, dP, and dQ, dK, dV
        "creff": 4 * KEYS + 3 * CONVOLUTION + WARP + RESIZE,
        # Attention's; both gradients of the query's convolution, those of the other two weights; that of upsampling.
        "creff backward": 10 * KEYS + 4 * CONVOLUTION + RESIZE,
    }
    if op == "labels":
        # Values are projected to classes before they are summed.
        projected = shape.pixels * CLASSES * (2 * shape.channels + 2 * KEYS)
        return shape.elements * (2 * KEYS + 3 * CONVOLUTION + WARP + RESIZE) + projected
    return shape.elements * per_element[op]


def least_bytes(op: str, shape: Shape, itemsize: int) -> float:
    """Of one call: what must cross the memory bus where nothing is in a cache."""
    field = 4 * shape.blocks[0] * shape.blocks[1]
    maps = {
        "warp": 2,
        "warp backward": 2,
        "attention": 4,
        "attention backward": 7,  # grad, Q, K, V; dQ, dK, dV
        "creff": 2,
        "creff backward": 2,  # the gradient of the result, and the keyframe again
        "labels": 1,
    }[op]
    size = maps * shape.elements * itemsize
    if op == "attention backward":
        size += 4 * shape.pixels  # logsumexp
    if op in ("warp", "warp backward"):
        size += field
    if op in ("creff", "labels"):
        size += shape.low_elements * itemsize + field
    if op == "creff backward":
        size += 2 * shape.low_elements * itemsize + field  # the low-resolution map, and its gradient
    if op == "labels":
        size += shape.pixels
    return size


@dataclass(frozen=True)
class Ceilings:
    """What this device was measured to do: bytes a second of a copy, operations a second of a matrix product."""

    copy: float
    matmul: dict[str, float]  # by dtype: fp32, fp16, bf16


def speed(op: str, shape: Shape, dtype: str, itemsize: int, seconds: float, ceilings: Ceilings) -> dict[str, float]:
    """GB/s and TFLOP/s of a call, and the shares of what the device can do."""
    moved, done = least_bytes(op, shape, itemsize), operations(op, shape)
    found = {"GB/s": moved / seconds / 1e9, "share of copy": moved / seconds / ceilings.copy}
    if done:
        found |= {"TFLOP/s": done / seconds / 1e12, "share of matmul": done / seconds / ceilings.matmul[dtype]}
    return found
