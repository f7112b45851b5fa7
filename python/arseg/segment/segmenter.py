"""Streaming segmentation: keyframes at full resolution, the frames between them repaired from the keyframe."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from arseg import zoo
from arseg.device import check_device, in_bfloat16
from arseg.errors import InputError
from arseg.export.exported import ExportedNet, is_exported, load_exported
from arseg.labels import LabelSet
from arseg.memory import is_out_of_memory
from arseg.networks.arseg_net import ARSegNet
from arseg.networks.fused import FusedNetwork
from arseg.weights.files import CheckpointError, load_checkpoint

from .batches import KEYFRAMES, Batches, Group, too_large
from .clock import StageClock
from .costs import costs_of
from .engine import Engine
from .modes import BRANCH, FROM_KEYFRAME, MODES, TWO_SIDED, Mode
from .policies import Amount, Costs, Policy, Spaced
from .policies.amounts import LaterCosts
from .result import SegmentedFrame
from .spread import Spread
from .steered import Steered
from .steering import PolicyMaker, Steering

if TYPE_CHECKING:  # a machine with a GPU may have no PyAV, and frames from elsewhere
    from arseg.video import VideoFrame

__all__ = ["Group", "SegmentedFrame", "VideoSegmenter", "check_device"]

USUAL_BATCH = {"cpu": 4, "cuda": 16}
"""How many frames of a group the network sees at once at most, where nothing else is said."""


class VideoSegmenter:
    """Segments compressed video; of a stream it keeps nothing (see `Group`).

    Args:
        model: an `ARSegNet` (`arseg.accelerate` makes one of any network), the path of its weights, a folder of
            `arseg export`, a name in the zoo (`arseg.zoo`), or None for the default weights that the package ships
            (trained on CamVid, whose distribution is for non-commercial use; so are the zoo's).
        gop: a keyframe at least every `gop` frames; the stream's own keyframes always are keyframes.
        height: resize frames to this height for the network (the result keeps the video's size); "video": as they are;
            None: to the height that the network was trained for, if its weights say one.
        scale: resolution of the frames between keyframes, 0 < scale <= 1, where they are seen by a network; None: that
            which it was trained for, `trained_scale`. Any other costs less or more, and tells less.
        mode: "ar" (the method), or what it is compared with: "hr" (every frame at full resolution), "lr" (the keyframe
            network on every frame at low resolution), "warp" (the keyframe's result moved by the vectors, no network on
            other frames) and "keep" (the keyframe's result as it is).
        precision: "float32" or "bfloat16" (faster where the processor has bfloat16 arithmetic); None: bfloat16 on a GPU
            that has it, float32 elsewhere. In bfloat16, and on CUDA, a copy of the network runs, made when the first
            frame comes.
        device: where the network runs.
        batch: how many frames of a group the network sees at once; 1: each result comes before the next frame is read,
            where no policy waits for the next keyframe.
            From a whole group on (`gop` - 1), the keyframes of four groups are seen at once, too. None: a whole group
            on CUDA, 16 at most; 4 on the CPU. What waits for a batch is bounded by 512 MiB of decoded frames, too. Live
            sources are not waited for: 1.
        logits: whether results have them (`SegmentedFrame.logits`).
        budget: compute of the mean frame: "2gmacs", "40ms" or "25%" (of the network on every frame). Keyframes are
            then as often as it pays for, whatever `gop` says.
        slowest: the same of the slowest frame, for live streams: a keyframe's work is spread over several frames.
        policy: what is made of the frames between keyframes, and where these are: a name in
            `arseg.segment.policies.POLICIES`, or what makes one. None: "bidirectional" with a budget alone, and for
            what was exported without a branch; with a bound "ensemble", which makes frames' own results only while they
            prove to be worth it. `arseg segment` takes "ensemble" where nothing else is asked for, too: better labels,
            a group later.

    Its attribute `label_set` says what the ids in `labels` mean, and how images are normalised; it comes with the
    network, and one that has none is refused. `asked` has budget, slowest and policy as they were given.

    Raises `CheckpointError` for weights that are missing or do not fit, `InputError` (a `ValueError`) for the rest.

    Example:
        for result in VideoSegmenter().stream("in.mp4"):
            result.labels
    """

    def __init__(
        self,
        model: ARSegNet | ExportedNet | str | os.PathLike[str] | None = None,
        *,
        gop: int = 12,
        height: int | Literal["video"] | None = None,
        scale: float | None = None,
        mode: Mode | None = None,
        precision: Literal["float32", "bfloat16"] | None = None,
        device: str | torch.device = "cpu",
        batch: int | None = None,
        logits: bool = False,
        budget: str | Amount | None = None,
        slowest: str | Amount | None = None,
        policy: str | PolicyMaker | None = None,
    ):
        self._steering = Steering.of(budget, slowest, policy)
        self.asked = {"budget": budget, "slowest": slowest, "policy": getattr(policy, "__qualname__", policy)}
        if self._steering is not None and mode is not None:
            raise InputError(
                "mode: expected none beside a budget, a bound or a policy, which say what is made of each frame; leave "
                "it out"
            )
        mode = mode or "ar"
        if mode not in MODES:
            raise InputError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
        if not isinstance(gop, int) or gop < 1:
            raise InputError(f"gop: expected at least 1 frame, got {gop!r}")
        if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
            raise InputError(f"batch: expected at least 1 frame, got {batch!r}")
        if height not in (None, "video") and (not isinstance(height, int) or height < 16):
            raise InputError(f"height: expected at least 16 pixels, or 'video', got {height!r}")
        check_device(device)
        network = opened(model)
        if self._steering is not None and not (isinstance(network, ExportedNet) and not network.has_branch):
            self._steering = self._steering.for_branch(policy)
        self.trained_scale = network.scale
        ways = {mode} if self._steering is None else self._steering.ways
        if scale is not None:
            needed = slowest is not None or not {"ar", "lr", "ensemble"}.isdisjoint(ways)
            network = _at_scale(network, scale, needed=needed)
        if isinstance(network, ExportedNet):
            network.check_run(precision, device, branch=not BRANCH.isdisjoint(ways))
            self.half = network.half
        else:
            self.half = in_bfloat16(precision, device)
            network = network.eval().to(device)
        self.model: ARSegNet | ExportedNet = network
        self.scale: float = network.scale
        self.label_set: LabelSet = network.known_labels()
        self.height = self.model.input_height if height is None else None if height == "video" else height
        self.gop, self.mode, self.device = gop, mode, torch.device(device)
        self.keep_logits = bool(logits)
        self.batch = batch or min(max(gop - 1, KEYFRAMES), USUAL_BATCH[self.device.type])
        self._keyframes = KEYFRAMES if 1 < self.batch >= gop - 1 else 1
        steered = None if self._steering is None else self._steering.ways
        how: dict[str, Any] = {"height": self.height, "half": self.half, "device": self.device}
        self._engine = Engine(self.model, mode, self.label_set, ways=steered, keep_logits=self.keep_logits, **how)

    def stream(self, source: str | os.PathLike[str], **options: Any) -> Iterator[SegmentedFrame]:
        """Results in the order of presentation, as soon as the frames of a batch are decoded.

        `source` and `options` are `VideoReader`'s, such as `on_error="resync"`. Raises the errors of
        `arseg.video` for a file that cannot be read; frames before the fault come first.
        """
        from arseg.video import VideoReader
        from arseg.video.live import can_read_again

        policy = self.new_policy()
        with VideoReader(source, **{**self.reading(policy), **options}) as reader:
            live = not can_read_again(source, reader.duration, live=reader.live)
            self.begin(policy, (reader.height, reader.width), live=live)
            yield from self.segment_all(reader, reader.rotation, reader.display_matrix, live=live, policy=policy)

    def videos(
        self, sources: Iterable[str | os.PathLike[str]], **options: Any
    ) -> Iterator[tuple[str, Iterator[SegmentedFrame]]]:
        """Several videos, one after the other: the name of each, and its results as `stream` gives them.

        `sources` are files, URLs, folders and patterns such as "clips/*.mp4". A video is read while its results are
        taken; what is left of them ends with the next one. Raises `InputError` for what is not there.
        """
        from .sources import sources_of

        for source in sources_of([os.fspath(source) for source in sources]):
            if source.pictures:
                raise InputError(f"{source.video}: expected videos, got pictures; give them to segment_all one by one")
            results = self.stream(source.video, **options)
            yield source.video, results
            results.close()  # type: ignore[attr-defined]

    @property
    def bounded(self) -> bool:
        """Whether there is a budget, or a bound on the slowest frame."""
        return self._steering is not None and (self._steering.budget, self._steering.slowest) != (None, None)

    def plain(self) -> VideoSegmenter:
        """The same without a budget, a bound and a policy: the method; for pictures, of which each is a keyframe."""
        if self._steering is None:
            return self
        other = copy.copy(self)
        other._steering = None
        return other

    @property
    def repeatable(self) -> str | None:
        """Why another run cannot have the very same keyframes and labels from the middle on; None: it can."""
        if self._steering is None:
            return None
        if self._steering.slowest is not None:
            return "--live: its keyframes' work is spread over groups"
        if self._steering.unit == "ms":
            return "--budget in ms: is measured anew in each run; give gmacs or %"
        return None

    def new_policy(self) -> Policy | None:
        """The policy of one stream, where there is a budget, a bound or a policy."""
        if self._steering is None:
            return None
        policy = self._steering.policy()
        if isinstance(policy, Spaced) and not self.bounded:
            policy.longest = max(policy.longest, self.gop)
        return policy

    def reading(self, policy: Policy | None, *, live: bool = False) -> dict[str, Any]:
        """Arguments of `VideoReader` for a stream; `live`: it is known that the policy will begin so."""
        if policy is None:
            return {"gop": self.gop}
        return {
            "gop": policy.longest,
            "starts": policy.starts,
            "restarts": getattr(policy, "restarts", False),
            "previous": not (live or getattr(policy, "one_sided", False) or policy.ways.isdisjoint(TWO_SIDED)),
        }

    def begin(self, policy: Policy | None, size: tuple[int, int], *, live: bool) -> None:
        """To be called before the first frame is read; `size`: height and width of the frames."""
        if policy is not None and self._steering is not None:
            ways, unit = policy.ways, self._steering.unit

            def counted() -> Costs:  # once the policy has narrowed its ways
                return costs_of(self._engine, size, ways, unit, keyframes=policy.ways)

            policy.begin(LaterCosts(counted), gop=self.gop, live=live)

    def compute_saved(self, size: tuple[int, int], policy: Policy | None) -> Callable[[int, int], float]:
        """A function of the numbers of frames and of keyframes among them: the share of compute that is not spent.

        All of it is what the network takes on every frame of `size`, height and width; counted, as for a budget.
        """
        ways = {self.mode} if policy is None else policy.ways
        costs = costs_of(self._engine, size, ways, "hr")
        if policy is not None and policy.spread > 1:  # keyframes come besides
            dearest = max(map(costs.of, ways - {"lr"}))

            def saved(count: int, keyframes: int) -> float:
                own = getattr(policy, "own_results", count)
                return 1 - (costs.key * keyframes + dearest * own) / count

            return saved
        stands_in = {"lr"} if self._steering is not None and self._steering.slowest is not None else set()
        between = max(map(costs.of, ways - stands_in or ways))
        key = between if self.mode in ("hr", "lr") and policy is None else costs.key + costs.of("ensemble")
        return lambda count, keyframes: 1 - (key * keyframes + between * (count - keyframes)) / count

    def segment_all(
        self,
        frames: Iterable[VideoFrame],
        rotation: int = 0,
        display_matrix: tuple[int, ...] | None = None,
        *,
        live: bool = False,
        policy: Policy | None = None,
        clock: StageClock | None = None,
        wanted: Callable[[VideoFrame], bool] | None = None,
        alone: bool = False,
    ) -> Iterator[SegmentedFrame]:
        """`stream` for frames from elsewhere: any iterable that starts each group with its keyframe.

        Args:
            frames: the frames.
            rotation, display_matrix: for the results.
            live: whether they come as they are taken; each result then comes before the next frame is asked for.
            policy: `new_policy()` that the frames were read with (`reading`) and that has begun.
            clock: that waits for them already; None: a new one.
            wanted: with a policy, which frames are segmented; others are passed over. None: all.
            alone: with a policy, whether the network sees keyframes one by one, wherever frames begin to be wanted.
        """
        if (policy is None) != (self._steering is None):
            raise InputError(
                "policy: expected that which the frames are read with where the segmenter has a budget, a bound or a "
                "policy, and none elsewhere; see VideoSegmenter.new_policy, or use stream()"
            )
        batches = (
            self._steered(policy, live, wanted, alone)
            if policy is not None
            else Batches(self._engine)
            if live
            else self.batches()
        )
        waited = frames
        if clock is None:
            clock = StageClock()
            waited = clock.waiting_for(frames)
        batches.watch = clock.seen
        for frame, labels, logits in batches.run(waited):
            times = clock.of(frame)
            result = SegmentedFrame.of(frame, labels, rotation, display_matrix, self.label_set, times, logits)
            del frame, labels, logits
            with clock.stopped():
                yield result
            del result

    def batches(self) -> Batches:
        """What runs one stream in batches, from call to call."""
        return Batches(self._engine, self.batch, self._keyframes)

    def _steered(self, policy: Policy, live: bool, wanted: Callable[[VideoFrame], bool] | None, alone: bool) -> Batches:
        how: dict[str, Any] = {"policy": policy} | ({} if wanted is None else {"wanted": wanted})
        if policy.spread > 1:
            return Spread(self._engine, **how)
        if live:
            return Steered(self._engine, **how)
        return Steered(self._engine, self.batch, 1 if alone else self._keyframes, **how)

    def segment(self, frame: VideoFrame, group: Group) -> np.ndarray:
        """The label map of one frame, uint8 `[H, W]`; arguments and errors: see `logits`."""
        self._check_by_mode()
        ((_, labels, _),) = Batches(self._engine, group=group).run([frame])
        return labels

    @torch.inference_mode()
    def logits(self, frame: VideoFrame, group: Group) -> Tensor:
        """Of one frame at the fusion feature's resolution, `[1, classes, h, w]`.

        Frames of a group must come in order, its keyframe first. `group` carries the keyframe from call to call:
        `Group()` for a new stream.

        Raises `InputError` for a frame whose keyframe is not the last one that came, and where there is a budget, a
        bound or a policy; `MemoryLimitError` where the frame is too large for the memory there is.
        """
        self._check_by_mode()
        follows = self.mode in FROM_KEYFRAME and not frame.keyframe
        key = group.key_of(frame) if follows else None
        try:
            logits, key = self._engine.logits(frame, key)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_large(frame, self._engine) from error
        if key is not None:
            group.start(frame, key)
        return logits

    def _check_by_mode(self) -> None:
        if self._steering is not None:
            raise InputError(
                "budget, slowest, policy: single frames are segmented by a mode alone; use stream() or segment_all(), "
                "or leave them out"
            )


def opened(model: ARSegNet | ExportedNet | str | os.PathLike[str] | None) -> ARSegNet | ExportedNet:
    """The network that `VideoSegmenter`'s argument means."""
    if isinstance(model, (ARSegNet, ExportedNet)):
        return model
    if isinstance(model, torch.nn.Module):
        raise InputError(
            f"model: expected an ARSegNet or the path or name of its weights, got a {type(model).__name__}; "
            "arseg.accelerate makes one of a network"
        )
    path = zoo.DEFAULT if model is None else os.fspath(model)
    if is_exported(path):
        return load_exported(path)
    loaded = load_checkpoint(path)
    if not isinstance(loaded, ARSegNet):
        which = "low-resolution" if isinstance(loaded, FusedNetwork) else "keyframe"
        raise CheckpointError(
            f"{path}: weights of the {which} network alone; expected those of `arseg train ar`, or of "
            "`arseg convert` with --fused"
        )
    return loaded


def _at_scale(model: ARSegNet | ExportedNet, scale: float, *, needed: bool) -> ARSegNet | ExportedNet:
    """The network with frames between keyframes at another resolution; its state is shared with `model`."""
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale <= 1:
        raise InputError(f"scale: expected a factor above 0, up to 1, got {scale!r}")
    if not needed:
        raise InputError("scale: no network sees a frame at low resolution in this mode or policy; leave it out")
    if scale == model.scale:
        return model
    if isinstance(model, ExportedNet):
        raise InputError(
            f"scale: this folder was exported for frames at {model.scale:g}x; got {scale:g}; export the network again"
        )
    other = copy.copy(model)
    other.scale = scale
    return other
