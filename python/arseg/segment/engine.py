"""The network as it runs on a device: batches of decoded frames in, label maps out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from arseg.errors import InputError
from arseg.labels import LabelSet
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.bidirectional import bidirectional_logits, moved_logits, pixel_luma, with_own
from arseg.networks.executor import Executor
from arseg.networks.fusion import enlarged
from arseg.networks.prepared import prepared
from arseg.networks.trust import KeyframeSignals
from arseg.preprocess import as_tensor, input_size, network_inputs

from .fetched import Labels
from .graphs import CudaGraphs, Eager, Tensors
from .modes import BRANCH, FROM_KEYFRAME, TWO_SIDED, Mode, Way
from .ways import see

if TYPE_CHECKING:  # a machine with a GPU may have no PyAV
    from arseg.video import VideoFrame


@dataclass
class Keyframe:
    """What later frames need of one: its feature `[1, C, h, w]` and logits `[1, classes, h, w]`.

    `signals`: what trust needs besides, None where the network does not ask for it (`ARSegNet.keyframe_signals`).
    `luma`: of its picture, `[1, 1, h, w]`, where frames before it may take from it, too.
    """

    reference: Tensor
    key_logits: Tensor
    signals: KeyframeSignals | None = None
    luma: Tensor | None = None

    @classmethod
    def of(cls, reference: Tensor, key_logits: Tensor, *signals: Tensor) -> Keyframe:
        """What `tensors` had."""
        return cls(reference, key_logits, KeyframeSignals(*signals) if signals else None)

    def tensors(self) -> Tensors:
        return self.reference, self.key_logits, *(() if self.signals is None else self.signals.tensors())


class Engine:
    """Runs a network in one mode on batches of frames that share size, block size of their fields, and keyframe.

    It runs a copy of the network where there is one that is faster, made for the first frame (see `prepared`). On a GPU
    nothing here waits for the device but what `Labels` returns.

    Args:
        net: in eval mode, on `device`.
        mode: see `VideoSegmenter`.
        label_set: how images are normalised, and how many classes there are.
        height: of the images that the network sees; None: the frames'.
        half: whether to compute in bfloat16.
        ways: what is made of frames between keyframes; None: what `mode` says.
        keep_logits: whether `Labels` have logits, too.
        graphs: how functions are called; None: as CUDA graphs on CUDA, as they are on the CPU.
    """

    def __init__(
        self,
        net: Executor,
        mode: Mode,
        label_set: LabelSet,
        *,
        height: int | None,
        half: bool,
        device: torch.device,
        ways: Collection[Way] | None = None,
        keep_logits: bool = False,
        graphs: Eager | None = None,
    ):
        self.net, self.mode, self.label_set = net, mode, label_set
        self.ways: frozenset[Way] = frozenset([mode] if ways is None else ways)
        self.height, self.half, self.device = height, half, device
        self.keep_logits = keep_logits
        self.on_cuda = device.type == "cuda"
        modules = net if isinstance(net, ARSegNet) else None  # what is exported runs as it is
        self._to_prepare = modules
        self.graphs = graphs or (CudaGraphs(device) if self.on_cuda and modules is not None else Eager(device))
        self._ready: Executor | None = None
        self._autocast = False

    # --- label maps of many frames -----------------------------------------------------------------------------------

    @torch.inference_mode()
    def keyframes(
        self, frames: Sequence[VideoFrame], ways: Collection[Way] | None = None
    ) -> tuple[Labels, list[Keyframe]]:
        """Keyframes of one size: their label maps, and what frames around each need in some ways; None: in all."""
        ways = self.ways if ways is None else frozenset(ways)
        pixels = self._pixels(frames)
        work = self._keyframes if "ar" in ways else self._bare_keyframes
        labels, *found = self._call(work, frames, 0, pixels)
        fetched = Labels.of(labels, found[1] if self.keep_logits else None)
        each = zip(*(self.graphs.kept(x).split(1) for x in found), strict=True)
        keys = [Keyframe.of(*tensors) for tensors in each]
        if not ways.isdisjoint(TWO_SIDED):
            for place, key in enumerate(keys):
                key.luma = pixel_luma(pixels[place : place + 1].to(self.device), key.key_logits.shape[2:])
        return fetched, keys

    @torch.inference_mode()
    def low_keyframe(self, frame: VideoFrame) -> tuple[Labels, Keyframe]:
        """What stands in for a keyframe until its network is done: its result at low resolution.

        Of the branch for that, where some way asks for one: it mostly knows better than the keyframe's own network. Of
        what is exported, the classifier takes the keyframes' features alone.
        """
        branch = isinstance(self.net, ARSegNet) and not BRANCH.isdisjoint(self.ways)
        work = self._branch_keyframes if branch else self._low_keyframes
        found = self._call(work, [frame], 0, self._pixels([frame]))
        labels, *tensors = (self.graphs.kept(x) for x in found)
        return Labels.of(labels, tensors[1] if self.keep_logits else None), Keyframe.of(*tensors)

    @torch.inference_mode()
    def after(self, frames: Sequence[VideoFrame], key: Keyframe, way: Way | None = None) -> Labels:
        """Frames after a keyframe, in the mode or another way of `FROM_KEYFRAME`."""
        motion, block = self._fields(frames)
        way = way or self.mode
        if way != "ar":
            move = self._kept if way == "keep" else self._warped
            return Labels.of(*self._call(move, frames, block, motion, key.key_logits))
        distance = self._pinned(torch.tensor([frame.distance for frame in frames]))
        inputs = self._pixels(frames), motion, distance, *key.tensors()
        return Labels.of(*self._call(self._after, frames, block, *inputs))

    @torch.inference_mode()
    def beside(self, frames: Sequence[VideoFrame], key: Keyframe, own_weight: Tensor) -> Labels:
        """Frames with no keyframe after them: that before, warped, and their own result at low resolution.

        Args:
            own_weight: what the latter counts beside a keyframe one frame away.
        """
        return Labels.of(*self._beside_it(self._beside, frames, key, own_weight))

    @torch.inference_mode()
    def beside_and_parts(self, frame: VideoFrame, key: Keyframe, own_weight: Tensor) -> tuple[Labels, Tensors]:
        """`beside` of one frame that will be a keyframe; and for `told` what was joined in it, for any weight."""
        *labels, moved, own = self._beside_it(self._beside_and_parts, [frame], key, own_weight)
        return Labels.of(*labels), (self.graphs.kept(moved), self.graphs.kept(own))

    @torch.inference_mode()
    def told(self, parts: Tensors, key: Keyframe, weights: Tensor) -> Tensor:
        """How well a keyframe was told without it: shares of its pixels whose class was right, of each weight.

        Args:
            parts: of its frame: logits moved there, which count as they are, and those of the frame itself.

        Nothing waits for the device here.
        """
        moved, own = parts
        classes = key.key_logits.argmax(1)
        return torch.stack([((moved + weight * own).argmax(1) == classes).float().mean() for weight in weights])

    def _beside_it(
        self, work: Callable[..., Tensors], frames: Sequence[VideoFrame], key: Keyframe, own_weight: Tensor
    ) -> Tensors:
        assert key.luma is not None
        motion, block = self._fields(frames)
        distance = self._pinned(torch.tensor([frame.distance for frame in frames]))
        inputs = self._pixels(frames), motion, distance, key.key_logits, key.luma, key.reference, own_weight
        return self._call(work, frames, block, *inputs)

    @torch.inference_mode()
    def between(
        self,
        frames: Sequence[VideoFrame],
        onward: Sequence[np.ndarray],
        before: Keyframe,
        after: Keyframe,
        length: int,
        own_weight: Tensor | None = None,
    ) -> Labels:
        """Frames between two keyframes `length` frames apart.

        Args:
            onward: vectors from each frame to the later keyframe, int16 `[Hb, Wb, 2]`.
            own_weight: what the frame's own result at low resolution counts; None: nothing, it is not made.
        """
        assert before.luma is not None and after.luma is not None
        motion, block = self._fields(frames)
        distance = torch.tensor([frame.distance for frame in frames])
        where = self._pinned(distance), self._pinned(length - distance)
        inputs = self._pixels(frames), motion, self._stacked(onward), *where
        keys = before.key_logits, before.luma, after.key_logits, after.luma
        if own_weight is None:
            return Labels.of(*self._call(self._between, frames, block, *inputs, *keys))
        return Labels.of(*self._call(self._ensemble, frames, block, *inputs, *keys, before.reference, own_weight))

    @torch.inference_mode()
    def own_agreement(self, frame: VideoFrame, before: Keyframe, key: Keyframe, length: int, weights: Tensor) -> Tensor:
        """`told` of the keyframe before, `length` frames ago, warped, and the frame's own result at low resolution."""
        assert frame.link is not None and before.luma is not None and key.luma is not None
        motion, size = self._stacked([frame.link.vectors]).to(self.device), frame_size(frame)
        net = self._net()
        with self._computing():
            own = self._own(net, self._image(self._pixels([frame]).to(self.device), size), key.reference)
            sides = before.key_logits, before.luma, motion, key.luma
            moved, trusted = moved_logits(*sides, block=frame.link.block, frame_size=size)
        return self.told((moved * (trusted / length).to(moved.dtype), own), key, weights)

    @torch.inference_mode()
    def each(self, frames: Sequence[VideoFrame], way: Way | None = None) -> Labels:
        """Frames by themselves, in the mode or another way that takes nothing from a keyframe."""
        work = self._low if (way or self.mode) == "lr" else self._high
        return Labels.of(*self._call(work, frames, 0, self._pixels(frames)))

    # --- logits of one frame -----------------------------------------------------------------------------------------

    def logits(self, frame: VideoFrame, key: Keyframe | None) -> tuple[Tensor, Keyframe | None]:
        """Logits `[1, classes, h, w]`, and where it is a keyframe that later frames need, what they need of it."""
        size, block, image, motion, made = frame_size(frame), 0, None, None, None
        if key is not None:
            motion, block = self._fields([frame])
            motion = motion.to(self.device)
        if key is None or self.mode == "ar":
            image = self._image(self._pixels([frame]).to(self.device), size)
        net = self._net(image)
        with self._computing():
            if key is None and self.mode in FROM_KEYFRAME:
                assert image is not None
                key = made = self._keyframe(net, image, signals="ar" in self.ways)
            logits = self._see(net, image, motion, frame.distance, key, self.mode, block=block, frame_size=size)
        return self._checked(logits), made

    def release(self) -> None:
        """Gives back what memory can be had again: recordings, and what torch keeps for later."""
        self.graphs.clear()
        if self.on_cuda:
            torch.cuda.empty_cache()

    # --- functions of static shapes ----------------------------------------------------------------------------------

    def _call(self, work: Callable[..., Tensors], frames: Sequence[VideoFrame], block: int, *inputs: Tensor) -> Tensors:
        """`work(size, block, *inputs)` on the device, recorded where that is possible."""
        size = frame_size(frames[0])

        def function(*tensors: Tensor) -> Tensors:
            with self._computing():
                return work(size, block, *tensors)

        if self._to_prepare is not None and self._ready is None and work not in (self._warped, self._kept):
            self._net(self._image(inputs[0][:1].to(self.device), size))  # the first image
        return self.graphs((work.__name__, size, block), function, inputs)

    def _keyframes(self, size: tuple[int, int], block: int, pixels: Tensor) -> Tensors:
        return self._seen_whole(size, pixels, signals=True)

    def _bare_keyframes(self, size: tuple[int, int], block: int, pixels: Tensor) -> Tensors:
        return self._seen_whole(size, pixels, signals=False)

    def _seen_whole(self, size: tuple[int, int], pixels: Tensor, *, signals: bool) -> Tensors:
        net = self._net()
        key = self._keyframe(net, self._image(pixels, size), signals=signals)
        return net.labels(self._checked(key.key_logits), size), *key.tensors()

    def _low_keyframes(self, size: tuple[int, int], block: int, pixels: Tensor) -> Tensors:
        net = self._net()
        return self._seen_small(net, net.keyframe(net.shrink(self._image(pixels, size))), size)

    def _branch_keyframes(self, size: tuple[int, int], block: int, pixels: Tensor) -> Tensors:
        net = self._net()
        return self._seen_small(net, net.low_res(self._image(pixels, size)), size)

    def _seen_small(self, net: Executor, reference: Tensor, size: tuple[int, int]) -> Tensors:
        logits = net.classifier(reference)
        return net.labels(self._checked(logits), size), reference, logits

    def _after(
        self, size: tuple[int, int], block: int, pixels: Tensor, motion: Tensor, distance: Tensor, *key: Tensor
    ) -> Tensors:
        net, seen = self._net(), (self._image(pixels, size), motion, distance, Keyframe.of(*key))
        return self._labelled(net, self._see(net, *seen, "ar", block=block, frame_size=size), size)

    def _warped(self, size: tuple[int, int], block: int, motion: Tensor, key_logits: Tensor) -> Tensors:
        return self._moved("warp", size, block, motion, key_logits)

    def _kept(self, size: tuple[int, int], block: int, motion: Tensor, key_logits: Tensor) -> Tensors:
        return self._moved("keep", size, block, motion, key_logits)

    def _moved(self, mode: Mode, size: tuple[int, int], block: int, motion: Tensor, key_logits: Tensor) -> Tensors:
        net = self._net()
        logits = see(net, mode, None, None, key_logits, motion, block=block, frame_size=size)
        return self._labelled(net, logits, size)

    def _between(self, size: tuple[int, int], block: int, pixels: Tensor, *inputs: Tensor) -> Tensors:
        logits = self._both(size, block, pixels, *inputs)
        return self._labelled(self._net(), logits, size)

    def _ensemble(self, size: tuple[int, int], block: int, pixels: Tensor, *inputs: Tensor) -> Tensors:
        *sides, reference, weight = inputs
        net = self._net()
        own = self._own(net, self._image(pixels, size), reference)
        return self._labelled(net, self._both(size, block, pixels, *sides, own=own, own_weight=weight), size)

    def _beside(self, size: tuple[int, int], block: int, pixels: Tensor, *inputs: Tensor) -> Tensors:
        *labels, _, _ = self._beside_and_parts(size, block, pixels, *inputs)
        return tuple(labels)

    def _beside_and_parts(self, size: tuple[int, int], block: int, pixels: Tensor, *inputs: Tensor) -> Tensors:
        motion, distance, logits, picture, reference, own_weight = inputs
        net = self._net()
        own = self._own(net, self._image(pixels, size), reference)
        sides = logits, picture, motion, pixel_luma(pixels, logits.shape[2:])
        moved, weight = moved_logits(*sides, block=block, frame_size=size)
        weight = weight / distance.view(-1, 1, 1, 1).to(torch.float32)
        labels = self._labelled(net, with_own(moved, weight, own, own_weight), size)
        return *labels, moved * weight.to(moved.dtype), own

    def _both(
        self,
        size: tuple[int, int],
        block: int,
        pixels: Tensor,
        motion: Tensor,
        onward: Tensor,
        distance: Tensor,
        left: Tensor,
        *keys: Tensor,
        own: Tensor | None = None,
        own_weight: Tensor | float = 0.0,
    ) -> Tensor:
        before, luma_before, after, luma_after = keys
        seen = before, after, motion, onward, distance, left, pixel_luma(pixels, before.shape[2:])
        how: dict[str, Any] = {"block": block, "frame_size": size, "own": own, "own_weight": own_weight}
        return bidirectional_logits(*seen, luma_before, luma_after, **how)

    def _own(self, net: Executor, image: Tensor, reference: Tensor) -> Tensor:
        """Logits of frames by themselves at low resolution, at the size of a keyframe's."""
        return net.classifier(enlarged(net.low_res(image), reference))

    def _high(self, size: tuple[int, int], block: int, pixels: Tensor) -> Tensors:
        return self._alone("hr", size, block, pixels)

    def _low(self, size: tuple[int, int], block: int, pixels: Tensor) -> Tensors:
        return self._alone("lr", size, block, pixels)

    def _alone(self, mode: Mode, size: tuple[int, int], block: int, pixels: Tensor) -> Tensors:
        net, image = self._net(), self._image(pixels, size)
        logits = see(net, mode, image, None, None, None, block=block, frame_size=size)
        return self._labelled(net, logits, size)

    def _keyframe(self, net: Executor, image: Tensor, *, signals: bool = True) -> Keyframe:
        """`signals`: whether there are to be those that the method asks for, where the network has some."""
        reference = net.keyframe(image)
        logits = net.classifier(reference)
        return Keyframe(reference, logits, net.keyframe_signals(image, reference, logits) if signals else None)

    def _see(
        self,
        net: Executor,
        image: Tensor | None,
        motion: Tensor | None,
        distance: int | Tensor,
        key: Keyframe | None,
        mode: Mode,
        **where: Any,
    ) -> Tensor:
        reference, key_logits, signals = (None,) * 3 if key is None else (key.reference, key.key_logits, key.signals)
        return see(net, mode, image, reference, key_logits, motion, distance, signals=signals, **where)

    def _labelled(self, net: Executor, logits: Tensor, size: tuple[int, int]) -> Tensors:
        """Label maps of frames of `size`, and the logits where they are kept."""
        labels = net.labels(self._checked(logits), size)
        return (labels, logits) if self.keep_logits else (labels,)

    def _image(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        return network_inputs(pixels, input_size(size, self.height), self.label_set)

    def _checked(self, logits: Tensor) -> Tensor:
        if logits.shape[1] != len(self.label_set.classes):
            raise InputError(
                f"model: gives {logits.shape[1]} classes, and its label_set says {self.label_set}; give the label set "
                "of this network"
            )
        return logits

    # --- the network -------------------------------------------------------------------------------------------------

    def _net(self, image: Tensor | None = None) -> Executor:
        """The network to run; a copy is made at the first image, which it is tried on."""
        if self._to_prepare is not None and self._ready is None and image is not None:
            with torch.autocast(self.device.type, enabled=False):
                ready = prepared(self._to_prepare, image[:1], torch.bfloat16 if self.half else torch.float32)
            self._autocast = self.half and ready is None
            self._ready = self._to_prepare if ready is None else ready
        return self._ready or self.net

    def _computing(self) -> Any:
        # A recorded function may take nothing from autocast's cache, which is gone when it is replayed.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast, cache_enabled=False)

    # --- to the device and back --------------------------------------------------------------------------------------

    def _fields(self, frames: Sequence[VideoFrame]) -> tuple[Tensor, int]:
        """Vectors `[N, Hb, Wb, 2]` from the keyframe to each frame, and the side of their blocks."""
        fields = [frame.motion for frame in frames]
        return self._stacked([field.vectors for field in fields if field is not None]), block_of(frames[0])

    def _pixels(self, frames: Sequence[VideoFrame]) -> Tensor:
        return self._stacked([frame.image for frame in frames])

    def _stacked(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Arrays of one shape as `[N, ...]`, in memory that a copy to a GPU need not wait for."""
        if not self.on_cuda:
            return as_tensor(arrays[0])[None] if len(arrays) == 1 else torch.from_numpy(np.stack(arrays))
        first = as_tensor(arrays[0])
        # torch keeps such memory for the next time, and gives it out when the copy has been made.
        stacked = torch.empty((len(arrays), *first.shape), dtype=first.dtype, pin_memory=True)
        np.stack(arrays, out=stacked.numpy())
        return stacked

    def _pinned(self, x: Tensor) -> Tensor:
        return x.pin_memory() if self.on_cuda else x


def frame_size(frame: VideoFrame) -> tuple[int, int]:
    return frame.image.shape[0], frame.image.shape[1]


def block_of(frame: VideoFrame) -> int:
    """Side of its field's blocks; 0 for a keyframe."""
    return 0 if frame.motion is None else frame.motion.block
