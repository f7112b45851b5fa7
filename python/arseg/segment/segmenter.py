"""Streaming segmentation: keyframes at full resolution, the frames between them repaired from the keyframe."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from arseg import zoo
from arseg.errors import InputError, MemoryLimitError
from arseg.labels import LabelSet
from arseg.memory import is_out_of_memory
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fused import FusedNetwork
from arseg.preprocess import as_tensor, input_size, network_input
from arseg.video import VideoFrame, VideoReader
from arseg.weights.files import CheckpointError, load_checkpoint
from arseg_ext import build_config

from .modes import FROM_KEYFRAME, MODES, Mode
from .ways import see


@dataclass(frozen=True)
class SegmentedFrame:
    """One frame of the result.

    Attributes:
        index: 0-based, in the order of presentation.
        labels: uint8 `[H, W]`, class ids, at the video's coded size and orientation.
        image: uint8 `[H, W, 3]`, the decoded frame, RGB.
        frame_type: what the codec made of it, "I", "P" or "B".
        keyframe: whether it was segmented at full resolution.
        distance: frames since the keyframe.
        pts, time_base: the stream's own timestamp; `pts` is None where the stream has none.
        time: seconds from the stream's start of time, or None.
        rotation: degrees by which a player turns the picture (counter-clockwise), carried on unapplied.
        display_matrix: how it turns and mirrors it, FFmpeg's nine numbers, or None; `arseg.video.orientation.upright`
            applies it.
    """

    index: int
    labels: np.ndarray = field(repr=False)
    image: np.ndarray = field(repr=False)
    frame_type: str
    keyframe: bool
    distance: int
    pts: int | None
    time_base: Fraction
    time: float | None
    rotation: int
    display_matrix: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls, frame: VideoFrame, labels: np.ndarray, rotation: int = 0, display_matrix: tuple[int, ...] | None = None
    ) -> SegmentedFrame:
        """What `labels`, uint8 `[H, W]`, and a frame of a reader make."""
        return cls(
            index=frame.index,
            labels=labels,
            image=frame.image,
            frame_type=frame.frame_type,
            keyframe=frame.keyframe,
            distance=frame.distance,
            pts=frame.pts,
            time_base=frame.time_base,
            time=frame.time,
            rotation=rotation,
            display_matrix=display_matrix,
        )


@dataclass
class Group:
    """What a stream keeps from its keyframe for the frames after it; each stream has its own.

    Attributes:
        reference, key_logits: the keyframe's feature `[1, C, h, w]` and logits `[1, classes, h, w]`; None before the
            first.
        keyframe: which frame that was: the reading that it came from (`VideoFrame.stream`), and its index.
    """

    reference: Tensor | None = None
    key_logits: Tensor | None = None
    keyframe: tuple[object, int] | None = None


class VideoSegmenter:
    """Segments compressed video, one frame after the other; of a stream it keeps nothing (see `Group`).

    Args:
        model: an `ARSegNet` (`arseg.accelerate` makes one of any network), the path of its weights or their name in the
            zoo (`arseg.zoo`), or None for the default weights that the package ships.
        gop: a keyframe at least every `gop` frames; the stream's own keyframes always are keyframes.
        height: resize frames to this height for the network (the result keeps the video's size); "video": as they are;
            None: to the height that the network was trained for, if its weights say one.
        mode: "ar" (the method), or what it is compared with: "hr" (every frame at full resolution), "lr" (the keyframe
            network on every frame at low resolution), "warp" (the keyframe's result moved by the vectors, no network on
            other frames) and "keep" (the keyframe's result as it is).
        precision: "float32" or "bfloat16" (autocast; faster where the processor has bfloat16 arithmetic).
        device: where the network runs.

    Its attribute `label_set` says what the ids in `labels` mean, and how images are normalised; it comes with the
    network, and one that has none is refused.

    Raises `CheckpointError` for weights that are missing or do not fit, `InputError` (a `ValueError`) for the rest.

    Example:
        for result in VideoSegmenter().stream("in.mp4"):
            result.labels
    """

    def __init__(
        self,
        model: ARSegNet | str | os.PathLike[str] | None = None,
        *,
        gop: int = 12,
        height: int | Literal["video"] | None = None,
        mode: Mode = "ar",
        precision: Literal["float32", "bfloat16"] = "float32",
        device: str | torch.device = "cpu",
    ):
        if mode not in MODES:
            raise InputError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        if precision not in ("float32", "bfloat16"):
            raise InputError(f"precision: expected float32 or bfloat16, got {precision!r}")
        if not isinstance(gop, int) or gop < 1:
            raise InputError(f"gop: expected at least 1 frame, got {gop!r}")
        if height not in (None, "video") and (not isinstance(height, int) or height < 16):
            raise InputError(f"height: expected at least 16 pixels, or 'video', got {height!r}")
        check_device(device)
        if isinstance(model, torch.nn.Module) and not isinstance(model, ARSegNet):
            raise InputError(
                f"model: expected an ARSegNet or the path or name of its weights, got a {type(model).__name__}; "
                "arseg.accelerate makes one of a network"
            )
        if not isinstance(model, ARSegNet):
            path = zoo.DEFAULT if model is None else os.fspath(model)
            loaded = load_checkpoint(path)
            if not isinstance(loaded, ARSegNet):
                which = "low-resolution" if isinstance(loaded, FusedNetwork) else "keyframe"
                raise CheckpointError(
                    f"{path}: weights of the {which} network alone; expected those of `arseg train ar`, or of "
                    "`arseg convert` with --fused"
                )
            model = loaded
        self.model = model.eval().to(device)
        self.label_set: LabelSet = model.known_labels()
        self.height = self.model.input_height if height is None else None if height == "video" else height
        self.gop, self.mode, self.device = gop, mode, torch.device(device)
        self.half = precision == "bfloat16"

    def stream(self, source: str | os.PathLike[str], **options: Any) -> Iterator[SegmentedFrame]:
        """Results in the order of presentation, each as soon as its frame is decoded.

        `source` and `options` are `VideoReader`'s, such as `on_error="resync"`. Raises the errors of
        `arseg.video` for a file that cannot be read; frames before the fault come first.
        """
        with VideoReader(source, **{"gop": self.gop, **options}) as reader:
            yield from self.segment_all(reader, reader.rotation, reader.display_matrix)

    def segment_all(
        self, frames: Iterable[VideoFrame], rotation: int = 0, display_matrix: tuple[int, ...] | None = None
    ) -> Iterator[SegmentedFrame]:
        """`stream` for frames from elsewhere: any iterable that starts each group with its keyframe."""
        group = Group()
        for frame in frames:
            yield SegmentedFrame.of(frame, self.segment(frame, group), rotation, display_matrix)

    def segment(self, frame: VideoFrame, group: Group) -> np.ndarray:
        """The label map of one frame, uint8 `[H, W]`; arguments and errors: see `logits`."""
        with torch.inference_mode():
            return self.model.labels(self.logits(frame, group), _size(frame))[0].cpu().numpy()

    @torch.inference_mode()
    def logits(self, frame: VideoFrame, group: Group) -> Tensor:
        """Of one frame at the fusion feature's resolution, `[1, classes, h, w]`.

        Frames of a group must come in order, its keyframe first. `group` carries the keyframe from call to call:
        `Group()` for a new stream.

        Raises `InputError` for a frame whose keyframe is not the last one that came, `MemoryLimitError` where the
        frame is too large for the memory there is.
        """
        net, motion, image, block = self.model, None, None, 0
        if self.mode in FROM_KEYFRAME and not frame.keyframe:
            motion, block = self._motion(frame, group)
        size = input_size(_size(frame), self.height)
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                if motion is None or self.mode == "ar":
                    image = network_input(frame.image, size, self.label_set, self.device)
                if self.mode in FROM_KEYFRAME and motion is None:
                    assert image is not None
                    group.reference = net.keyframe(image)
                    group.key_logits = net.classifier(group.reference)
                    group.keyframe = (frame.stream, frame.index)
                seen = (image, group.reference, group.key_logits, motion, frame.distance)
                logits = see(net, self.mode, *seen, block=block, frame_size=_size(frame))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryLimitError(
                f"frame {frame.index}: not enough memory on {self.device} for the network at {size[1]}x{size[0]} "
                "pixels; choose a smaller height (--height)"
            ) from error
        if logits.shape[1] != len(self.label_set.classes):
            raise InputError(
                f"model: gives {logits.shape[1]} classes, and its label_set says {self.label_set}; give the label set "
                "of this network"
            )
        return logits

    def _motion(self, frame: VideoFrame, group: Group) -> tuple[Tensor, int]:
        """Vectors `[1, Hb, Wb, 2]` from the group's keyframe to the frame, and the side of their blocks."""
        if group.reference is None or frame.motion is None:
            raise InputError(f"frame {frame.index}: not a keyframe, and no keyframe came before it")
        if group.keyframe != (frame.stream, frame.index - frame.distance):
            raise InputError(
                f"frame {frame.index}: its keyframe is frame {frame.index - frame.distance} of its video, and the last "
                "one that came is another; give frames in order, and each video a Group of its own"
            )
        return as_tensor(frame.motion.vectors)[None].to(self.device), frame.motion.block


def _size(frame: VideoFrame) -> tuple[int, int]:
    return frame.image.shape[0], frame.image.shape[1]


def check_device(name: str | torch.device) -> None:
    """Raises `InputError` where the operators cannot run on that device."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device: expected a device of torch, such as cpu, cuda or cuda:1, got {name!r}") from None
    if device.type != "cpu" and not (device.type == "cuda" and build_config()["with_cuda"]):
        raise InputError(f"device: the operators of this build run on the CPU, got {device}; use device='cpu'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: torch finds no CUDA device here, got {device}; use device='cpu'")
