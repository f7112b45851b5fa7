"""Training curves for TensorBoard, where it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from arseg.extras import needs


class Events(Protocol):
    """Where the figures of a run go."""

    def write(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoardEvents:
    """Figures as TensorBoard's event files in `folder`.

    Raises `ImportError`, with what to install, where TensorBoard is not.
    """

    def __init__(self, folder: Path, first: int = 0):
        with needs("tensorboard", "--tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        # What an earlier, stopped run wrote after its last state is taken back.
        self._writer: Any = SummaryWriter(folder, purge_step=first)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
