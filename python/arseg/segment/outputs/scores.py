"""What the network says of each class: logits or probabilities, at the resolution of its maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from arseg.errors import InputError
from arseg.files import StrPath
from arseg.labels import LabelSet
from arseg.segment.result import SegmentedFrame
from arseg.video import VideoReader
from arseg.video.properties import VideoProperties

from .base import OUTPUTS, Orientation, Output, Write
from .label_streams import arrays_file


@OUTPUTS.register("logits")
class Logits(Output):
    """A compressed .npz as `LabelArrays`: float16 `[classes, h, w]` for each frame under its number.

    Args:
        target: the file.
        classes: names or ids of those to write, in this order; None: all.
    """

    endings = (".npz",)
    needs_logits = True
    needs_pictures = False

    def __init__(
        self, target: StrPath, *, classes: Sequence[str | int] | None = None, orientation: Orientation = "coded"
    ) -> None:
        super().__init__(target, orientation=orientation)
        self.classes = classes

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        chosen = ids_of(self.classes, label_set.classes)
        with arrays_file(self.target, tuple(label_set.classes[label] for label in chosen)) as add:

            def write(result: SegmentedFrame) -> None:
                if result.logits is None:
                    raise InputError(f"{self.target}: results have no logits; ask for VideoSegmenter(logits=True)")
                add(result, self.values(result.logits)[chosen].astype(np.float16))

            yield write

    def values(self, logits: np.ndarray) -> np.ndarray:
        """What is written of float32 `[classes, h, w]`."""
        limit = np.finfo(np.float16)
        return np.clip(logits, limit.min, limit.max)


@OUTPUTS.register("probabilities")
class Probabilities(Logits):
    """The same of probabilities, 0..1; those of all classes add up to 1."""

    def values(self, logits: np.ndarray) -> np.ndarray:
        powers = np.exp(logits - logits.max(0))
        shares: np.ndarray = powers / powers.sum(0)
        return shares


def ids_of(chosen: Sequence[str | int] | None, classes: tuple[str, ...]) -> list[int]:
    """Ids of classes by name or by id; raises `InputError` for one that is none."""
    if chosen is None:
        return list(range(len(classes)))
    found = []
    for one in chosen:
        text = str(one).strip()
        if text in classes:
            found.append(classes.index(text))
        elif text.isascii() and text.isdigit() and int(text) < len(classes):
            found.append(int(text))
        else:
            raise InputError(f"classes: expected names or ids of {', '.join(classes)}, got {text!r}")
    return found
