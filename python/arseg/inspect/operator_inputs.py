"""What a video gives the operators: its motion fields, and the sizes of a network's maps, for the profiler."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from arseg.errors import InputError


def operator_inputs(
    video: str | os.PathLike[str],
    frames: int = 4,
    *,
    weights: Path | None = None,
    height: int | None = None,
    gop: int = 12,
    stream: int | None = None,
    timeout: float | None = 10.0,
    progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Arguments of `arseg_ext.ops.creff_labels` and its like, by name, for `--inputs` of `arseg_ext.profiler`.

    Args:
        video: a file or URL, as for `VideoReader`.
        frames: at most so many motion fields, of the first frames that are not keyframes; they become one batch.
        weights: of the network whose maps are meant; None: those of the package.
        height: of the frames as the network sees them; None: the height that it was trained for.

    Returns:
        motion int16 [frames, Hb, Wb, 2], block, frame_size (Hv, Wv); shape [frames, C, h, w] of the reference,
        low_size (h', w') of the low-resolution map, and classes.

    Raises:
        InputError: no frame of the video has a motion field. The errors of `arseg.video` and of weights files.
    """
    from arseg.video import VideoReader

    fields, size = [], (0, 0)
    with VideoReader(video, gop=gop, stream=stream, timeout=timeout) as reader:
        for frame in reader:
            if frame.motion is not None and frame.image.shape[:2] == (reader.height, reader.width):
                fields.append(frame.motion)
                size = (reader.height, reader.width)
                progress(len(fields))
            if len(fields) == frames:
                break
    if not fields:
        raise InputError(f"{video}: has no frame with a motion field; give a video of two frames or more")
    return {
        "motion": np.stack([field.vectors for field in fields]),
        "block": fields[0].block,
        "frame_size": size,
        **_map_sizes(weights, size, height, len(fields)),
    }


def _map_sizes(weights: Path | None, frame: tuple[int, int], height: int | None, count: int) -> dict[str, Any]:
    """Found by running the network without its values."""
    import torch

    from arseg.networks.arseg_net import ARSegNet
    from arseg.preprocess import input_size
    from arseg.weights.files import load_checkpoint
    from arseg.zoo import DEFAULT

    path = weights or DEFAULT
    network = load_checkpoint(path)
    if not isinstance(network, ARSegNet):
        raise InputError(f"{path}: holds one network alone; expected weights of `arseg train ar`")
    seen = input_size(frame, network.input_height if height is None else height)
    network = network.eval().to("meta")
    with torch.no_grad():
        image = torch.empty(1, 3, *seen, device="meta")
        reference, low_res = network.keyframe(image), network.low_res(image)
        logits = network.classifier(reference)
    shape = (count, *reference.shape[1:])
    return {"shape": shape, "low_size": tuple(low_res.shape[2:]), "classes": logits.shape[1]}
