from collections.abc import Sequence

import numpy as np
from typing_extensions import Buffer

CELL: int
MAX_SIDE: int

def rasterize(records: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]: ...
def fill_holes(vectors: np.ndarray, valid: np.ndarray) -> np.ndarray: ...
def chain(
    step_vectors: np.ndarray, step_valid: np.ndarray, reference_vectors: np.ndarray, reference_valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]: ...
def pool(vectors: np.ndarray, valid: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]: ...

# A way to the keyframe: True for the keyframe itself, None where there is none, or vectors and mask.
Way = bool | tuple[np.ndarray, np.ndarray] | None
# Buffer, bytes from row to row, bytes a sample.
Luma = tuple[Buffer, int, int] | None

def step(
    records: np.ndarray,
    width: int,
    height: int,
    crop_left: int,
    crop_top: int,
    luma: Luma,
    key: Luma,
    past: Sequence[tuple[Way, Luma, int]],
    future: Sequence[tuple[Way, Luma, int]],
) -> tuple[np.ndarray, np.ndarray, int]: ...

class H264Picture:
    index: int
    kind: str
    idr: bool
    recovery: int
    reference: bool
    frame_num: int
    poc: int
    sequence: int
    past: tuple[int, ...]
    future: tuple[int, ...]
    entries: int
    weighted: bool
    gap: int
    started: bool
    interlaced: bool
    changed: bool
    reorders: bool
    crop: tuple[int, int, int, int]
    size: tuple[int, int]
    references: int
    slices: int
    error: str

class H264Headers:
    def __init__(self, extradata: Buffer = b"") -> None: ...
    @property
    def extradata_error(self) -> str: ...
    def push(self, packet: Buffer) -> H264Picture: ...
    def set_extradata(self, extradata: Buffer) -> None: ...
