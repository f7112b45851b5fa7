"""COCO's results: a line of JSON for each frame, with a mask for each class that is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from arseg.files import replacing
from arseg.labels import LabelSet
from arseg.segment.result import SegmentedFrame
from arseg.video import VideoReader
from arseg.video.properties import VideoProperties

from .base import OUTPUTS, Output, Write
from .rle import encode_classes


@OUTPUTS.register("coco")
class CocoLines(Output):
    """Lines `{"image_id": 12, "time": 0.8, "size": [H, W], "annotations": [...]}`.

    An annotation has "image_id", "category_id" (the class id), "category" (its name), and "segmentation", "area" and
    "bbox" as in COCO's files; pycocotools reads them.
    """

    endings = chosen_by = (".jsonl",)
    needs_pictures = False

    @contextmanager
    def opened(self, reader: VideoReader | VideoProperties, label_set: LabelSet) -> Iterator[Write]:
        with replacing(self.target) as part, part.open("w") as file:

            def write(result: SegmentedFrame) -> None:
                annotations = []
                for label, mask in encode_classes(result.labels).items():
                    name = label_set.classes[label] if label < len(label_set.classes) else None
                    annotations.append({"image_id": result.index, "category_id": label, "category": name, **mask})
                size = list(result.labels.shape)
                line = {"image_id": result.index, "time": result.time, "size": size, "annotations": annotations}
                file.write(json.dumps(line, allow_nan=False) + "\n")

            yield write
