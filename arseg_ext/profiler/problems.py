"""Calls of the public operators that tests, benchmarks and the profiler share: shapes, options, inputs, cost, oracle.

    from arseg_ext.profiler.problems import SMALL, STANDARD, Problem

    problem = Problem("creff", (1, 64, 720, 960), dtype="bfloat16")
    inputs = problem.inputs("cpu", seed=0)      # the same values on every device, whatever else changes
    result = problem.call(inputs)               # arseg_ext.ops.creff(**inputs.tensors, **inputs.options)
    exact = problem.oracle(inputs.to("float64"))    # arseg_ext.oracle, in the dtype of the inputs
    problem.name, problem.flops(), problem.bytes_read("backward"), problem.differentiable
    dataclasses.replace(problem, dtype="float32", window=(3, 5))    # another problem

`inputs.tensors` has the argument's names in the order of the signature. Importing this module does not import torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
"""Names of torch's dtypes, and the short ones that `Problem.name` has."""

ITEMSIZE = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8, "int16": 2, "uint8": 1}
LAYOUTS = ("channels_last", "contiguous", "sliced", "transposed", "expanded")
"""How maps are stored. "sliced": a step in every dimension; "expanded": one image for the whole batch, stride 0."""

DIRECTIONS = ("forward", "backward", "training")
"""Of a call; "training" is forward and backward in one."""

_PARAMETERS = ("query_weight", "query_bias", "key_weight", "key_bias", "value_weight", "value_bias")
_CLASSIFIER = ("classifier_weight", "classifier_bias")
_FUSED = ("reference", "low_res", "motion", *_PARAMETERS)
_BLOCKS = ("block", "frame_size", "grid")


@dataclass(frozen=True)
class Operator:
    """What a public operator takes: its tensors in order, those it is differentiable in, its options.

    `motion` is differentiable besides where it is a flow.
    """

    tensors: tuple[str, ...]
    differentiable: tuple[str, ...]
    options: tuple[str, ...]


def _floating(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name != "motion")


OPERATORS: dict[str, Operator] = {
    "mv_warp": Operator(("feature", "motion"), ("feature",), _BLOCKS),
    "flow_warp": Operator(("feature", "flow"), ("feature", "flow"), ("grid",)),
    "local_attention": Operator(("query", "key", "value"), ("query", "key", "value"), ("window", "outside", "scale")),
    "creff": Operator(_FUSED, _floating(_FUSED), ("window", *_BLOCKS, "outside")),
    "creff_logits": Operator(
        (*_FUSED, *_CLASSIFIER), _floating((*_FUSED, *_CLASSIFIER)), ("window", *_BLOCKS, "outside")
    ),
    "creff_labels": Operator((*_FUSED, *_CLASSIFIER), (), ("window", *_BLOCKS, "outside")),
    "resize_labels": Operator(("logits",), (), ("size", "align_corners")),
}
"""Every public operator, by its name in `arseg_ext.ops`."""

FUSIONS = ("creff", "creff_logits", "creff_labels")

# Standard deviations: logits of ordinary size, and a peaked softmax now and then.
_GAINS = {
    "query": 0.3,
    "key": 0.3,
    "query_weight": 0.2,
    "key_weight": 0.2,
    "value_weight": 0.33,
    "query_bias": 0.1,
    "key_bias": 0.1,
    "value_bias": 0.1,
    "classifier_bias": 0.1,
}
_FLOW = 3.0  # pixels
_REACH = 80  # quarter video pixels that a vector has at most


@dataclass
class Inputs:
    """Arguments of one call: `arseg_ext.ops.<op>(**inputs.tensors, **inputs.options)`."""

    tensors: dict[str, Tensor]
    options: dict[str, Any]

    def to(self, dtype: str, device: str | None = None) -> Inputs:
        """The same values without gradients, floating ones in `dtype`, a flow in float32 at least; layouts are kept."""
        exact = "float64" if dtype == "float64" else "float32"

        def moved(name: str, tensor: Tensor) -> Tensor:
            target = _torch_dtype(exact if name in ("flow", "motion") else dtype)
            tensor = tensor.detach()
            return tensor.to(device or tensor.device, target if tensor.is_floating_point() else tensor.dtype)

        return Inputs({name: moved(name, each) for name, each in self.tensors.items()}, dict(self.options))

    def with_gradients(self, names: Sequence[str]) -> Inputs:
        """The same values as leaves; those of `names` require a gradient."""
        leaves = {name: each.detach().requires_grad_(name in names) for name, each in self.tensors.items()}
        return Inputs(leaves, dict(self.options))


@dataclass(frozen=True)
class Problem:
    """One call of a public operator. Options that the operator does not have are left out of account.

    Fields:
        op: name in `arseg_ext.ops`.
        shape: [N, C, H, W] of the feature, query or reference; [N, K, h, w] of the logits of `resize_labels`.
        dtype, layout, device: of the maps; one of DTYPES, one of LAYOUTS, any device of torch.
        window, outside, scale, grid: as in `arseg_ext.ops`.
        motion: "blocks" or "flow", for the operators with `creff` in their names.
        block: side of a block in video pixels.
        frame_size: the video's (height, width); None: one pixel of video for one of the map.
        low_size: (h, w) of `low_res`; None: half the reference's.
        value_channels: channels of `value`; None: those of `query`.
        classes: K of the classifier.
        size: (H, W) of the result of `resize_labels`; None: twice that of the logits.
        frozen: differentiable arguments for which a backward makes no gradient.
    """

    op: str
    shape: tuple[int, int, int, int]
    dtype: str = "float32"
    layout: str = "channels_last"
    device: str = "cpu"
    window: tuple[int, int] = (7, 7)
    outside: str = "zero"
    scale: float = 1.0
    grid: str = "aligned"
    motion: str = "blocks"
    block: int = 16
    frame_size: tuple[int, int] | None = None
    low_size: tuple[int, int] | None = None
    value_channels: int | None = None
    classes: int = 12
    size: tuple[int, int] | None = None
    align_corners: bool = False
    frozen: tuple[str, ...] = ()
    label: str = field(default="", compare=False)
    """What the name begins with instead of operator and shape, for inputs out of a file."""

    def __post_init__(self) -> None:
        for what, given, known in (
            ("op", self.op, OPERATORS),
            ("dtype", self.dtype, DTYPES),
            ("layout", self.layout, (*LAYOUTS, "strided")),
        ):
            if given not in known:
                raise ValueError(f"Problem: {what} must be one of {', '.join(known)}, got {given!r}")

    def __str__(self) -> str:
        return self.name

    # --- what it is ----------------------------------------------------------------------------------------------

    @property
    def operator(self) -> Operator:
        return OPERATORS[self.op]

    @property
    def name(self) -> str:
        """Operator, shape (without a batch of 1) and dtype, then what is not the default."""
        batch, *rest = self.shape
        shape = "x".join(str(each) for each in (rest if batch == 1 else self.shape))
        words = [self.label or f"{self.op} {shape}", DTYPES[self.dtype]]
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in ("op", "shape", "dtype", "label") or value == each.default:
                continue
            if each.name in _EVERYWHERE or each.name in self.operator.options or self._shapes_depend_on(each.name):
                words.append(f"{each.name}={_short(value)}")
        return " ".join(words)

    def described(self) -> dict[str, Any]:
        """Fields that are not the default, and `op`, `shape`, `dtype`, for JSON: `Problem(**described)` is this one."""
        always = ("op", "shape", "dtype")
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if name in always or value != default}

    def _shapes_depend_on(self, name: str) -> bool:
        of = {"motion": FUSIONS, "low_size": FUSIONS, "classes": FUSIONS[1:], "value_channels": ("local_attention",)}
        return self.op in of.get(name, ())

    @property
    def differentiable(self) -> tuple[str, ...]:
        """Arguments that may have a gradient; empty where the result has none."""
        names = set(self.operator.differentiable)
        if names and self.op in FUSIONS and self.motion == "flow":
            names.add("motion")
        return tuple(name for name in self.operator.tensors if name in names)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Arguments whose gradients a backward makes: the differentiable ones that are not frozen."""
        return tuple(name for name in self.differentiable if name not in self.frozen)

    @property
    def frame(self) -> tuple[int, int]:
        return self.frame_size or self.shape[2:]

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the operator, beside its tensors."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.operator.options}
        if "frame_size" in values:
            values["frame_size"] = self.frame
        if "size" in values:
            values["size"] = self.result_shape[1:]
        if self.op in FUSIONS and self.motion == "flow":
            del values["block"], values["frame_size"]
        return values

    # --- shapes --------------------------------------------------------------------------------------------------

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every tensor, in the order of the signature."""
        batch, channels, height, width = self.shape
        low = self.low_size or (max(height // 2, 1), max(width // 2, 1))
        blocks = (batch, -(-self.frame[0] // self.block), -(-self.frame[1] // self.block), 2)
        flow = (batch, height, width, 2)
        known: dict[str, tuple[int, ...]] = {
            "low_res": (batch, channels, *low),
            "motion": flow if self.op in FUSIONS and self.motion == "flow" else blocks,
            "flow": flow,
            "value": (batch, self.value_channels or channels, height, width),
            "classifier_weight": (self.classes, channels),
            "classifier_bias": (self.classes,),
        }
        for name in _PARAMETERS:
            known[name] = (channels, 1, 3, 3) if name.endswith("weight") else (channels,)
        return {name: known.get(name, self.shape) for name in self.operator.tensors}

    @property
    def dtypes(self) -> dict[str, str]:
        """Of every tensor. A flow is never in a half type here, whose positions would be pixels off."""
        exact = "float64" if self.dtype == "float64" else "float32"
        flow = self.op in FUSIONS and self.motion == "flow"
        special = {"motion": exact if flow else "int16", "flow": exact}
        return {name: special.get(name, self.dtype) for name in self.operator.tensors}

    @property
    def result_shape(self) -> tuple[int, ...]:
        batch, channels, height, width = self.shape
        if self.op == "resize_labels":
            return (batch, *(self.size or (2 * height, 2 * width)))
        if self.op == "creff_labels":
            return batch, height, width
        if self.op == "creff_logits":
            return batch, self.classes, height, width
        return batch, (self.value_channels or channels) if self.op == "local_attention" else channels, height, width

    @property
    def result_dtype(self) -> str:
        return "uint8" if self.op.endswith("_labels") else self.dtype

    # --- cost: see arseg_ext.profiler.cost ---------------------------------------------------------------------------

    def flops(self, direction: str = "forward") -> float:
        """Floating-point operations that the result needs, two for a multiply-accumulate."""
        from arseg_ext.profiler import cost

        return cost.flops(self, direction)

    def bytes_read(self, direction: str = "forward") -> int:
        """Each input once."""
        from arseg_ext.profiler import cost

        return cost.bytes_read(self, direction)

    def bytes_written(self, direction: str = "forward") -> int:
        """Each result once."""
        from arseg_ext.profiler import cost

        return cost.bytes_written(self, direction)

    # --- calls ---------------------------------------------------------------------------------------------------

    def inputs(self, device: str | torch.device | None = None, seed: int = 0, *, grad: bool = False) -> Inputs:
        """Random maps and motion, made on the CPU: the same on every device. With `grad`, `wanted` are leaves.

        Half of the blocks are 0, the others have vectors of up to 20 video pixels; a flow is of a few pixels.
        """
        tensors = {}
        for name, shape in self.shapes.items():
            dtype = self.dtypes[name]
            made = (_vectors(shape, seed) if dtype == "int16" else _values(name, shape, seed)).to(_torch_dtype(dtype))
            if len(shape) == 4 and name not in ("motion", "flow", *_PARAMETERS):
                made = laid_out(made, self.layout)
            tensors[name] = made.to(device or self.device)
        inputs = Inputs(tensors, self.options)
        return inputs.with_gradients(self.wanted) if grad else inputs

    def call(self, inputs: Inputs) -> Tensor:
        """The operator of `arseg_ext.ops`."""
        from arseg_ext import ops

        return getattr(ops, self.op)(**inputs.tensors, **inputs.options)

    def oracle(self, inputs: Inputs) -> Tensor:
        """The same by `arseg_ext.oracle`, in plain PyTorch and in the dtype of the inputs."""
        return oracle(self.op)(**inputs.tensors, **inputs.options)

    def result_gradient(self, result: Tensor, seed: int = 0) -> Tensor:
        """A gradient of the result for a backward: the same values for every version, in the result's layout."""
        import torch

        return torch.empty_like(result).copy_(_values("gradient", tuple(result.shape), seed))


_EVERYWHERE = ("layout", "device", "frozen")


def oracle(op: str) -> Callable[..., Tensor]:
    """The function of `arseg_ext.oracle`, or its composition with a classifier or resizing; arguments of `ops`."""
    import torch.nn.functional as F

    from arseg_ext import oracle as plain

    def logits(*, classifier_weight: Tensor, classifier_bias: Tensor, **arguments: Any) -> Tensor:
        weight = classifier_weight.reshape(*classifier_weight.shape[:2], 1, 1)
        return F.conv2d(plain.creff(**arguments), weight, classifier_bias)

    def labels(**arguments: Any) -> Tensor:
        return logits(**arguments).argmax(1).byte()

    def resized(*, logits: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
        large = F.interpolate(logits, tuple(size), mode="bilinear", align_corners=align_corners)
        return large.argmax(1).byte()

    composed: dict[str, Callable[..., Tensor]] = {
        "creff_logits": logits,
        "creff_labels": labels,
        "resize_labels": resized,
    }
    return composed[op] if op in composed else getattr(plain, op)


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    """The values of a map [N, C, H, W] stored as one of LAYOUTS ("expanded": those of its first image)."""
    import torch

    if layout == "channels_last":
        return tensor.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        wide = tensor.new_full([2 * size + 1 for size in tensor.shape], float("nan"))
        view = wide[tuple(slice(1, None, 2) for _ in tensor.shape)]
        return view.copy_(tensor)
    if layout == "transposed":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "expanded":
        return tensor[:1].contiguous().expand(tensor.shape) if tensor.shape[0] else tensor
    return tensor.contiguous()


def layout_of(tensor: Tensor) -> str:
    """ "channels_last", "contiguous" or "strided" (channels_last where both are true)."""
    import torch

    if tensor.is_contiguous(memory_format=torch.channels_last):
        return "channels_last"
    return "contiguous" if tensor.is_contiguous() else "strided"


def problem_of(op: str, tensors: Mapping[str, Tensor], options: Mapping[str, Any], label: str = "") -> Problem:
    """The problem that given arguments of `arseg_ext.ops.<op>` are, for its name and cost."""
    if op not in OPERATORS:
        raise ValueError(f"op must be one of {', '.join(OPERATORS)}, got {op!r}")
    first = tensors[OPERATORS[op].tensors[0]]
    known: dict[str, Any] = {name: options[name] for name in OPERATORS[op].options if options.get(name) is not None}
    known = {name: _plain(name, value) for name, value in known.items()}
    n, c, h, w = first.shape
    if op in FUSIONS:
        known["low_size"] = tuple(tensors["low_res"].shape[2:])
        known["motion"] = "flow" if tensors["motion"].is_floating_point() else "blocks"
    if "classifier_weight" in tensors:
        known["classes"] = tensors["classifier_weight"].shape[0]
    if op == "local_attention":
        known["value_channels"] = tensors["value"].shape[1]
    defaults = {"low_size": (max(h // 2, 1), max(w // 2, 1)), "frame_size": (h, w), "value_channels": c}
    return Problem(
        op,
        (n, c, h, w),
        dtype=str(first.dtype).removeprefix("torch."),
        layout=layout_of(first),
        device=first.device.type,
        label=label,
        **{name: value for name, value in known.items() if name not in defaults or value != defaults[name]},
    )


def _plain(name: str, value: Any) -> Any:
    if name == "window" and isinstance(value, int):
        return value, value
    return tuple(int(each) for each in value) if name in ("window", "frame_size", "size") else value


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return ("x" if all(isinstance(each, int) for each in value) else "+").join(str(each) for each in value)
    return str(value)


def _torch_dtype(name: str) -> torch.dtype:
    import torch

    return getattr(torch, name)


def _generator(name: str, seed: int) -> torch.Generator:
    """By the argument's name and the seed alone, so that another option or argument changes no values."""
    import torch

    return torch.Generator().manual_seed(zlib.crc32(f"{name} {seed}".encode()))


def _values(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    import torch

    name, spread = ("flow", _FLOW) if shape[-1:] == (2,) else (name, _GAINS.get(name, 1.0))
    gain = shape[1] ** -0.5 if name == "classifier_weight" else spread
    return gain * torch.randn(shape, generator=_generator(name, seed))


def _vectors(shape: tuple[int, ...], seed: int) -> Tensor:
    import torch

    generator = _generator("motion", seed)
    vectors = torch.randint(-_REACH, _REACH + 1, shape, generator=generator)
    return vectors * (torch.rand(shape[:3], generator=generator) >= 0.5)[..., None]


# --- lists -----------------------------------------------------------------------------------------------------------


def _small() -> tuple[Problem, ...]:
    shape, frame = (2, 3, 5, 7), (40, 56)
    field_options: dict[str, Any] = {"frame_size": frame, "window": (3, 5), "low_size": (3, 4), "classes": 6}
    dense: dict[str, Any] = {"motion": "flow", "window": (5, 3), "outside": "masked", "low_size": (3, 4), "classes": 6}
    return (
        Problem("mv_warp", shape, frame_size=frame),
        Problem("mv_warp", shape, frame_size=frame, layout="contiguous", grid="legacy"),
        Problem("flow_warp", shape),
        Problem("flow_warp", shape, layout="contiguous", grid="legacy"),
        Problem("local_attention", shape, window=(3, 5), value_channels=4, scale=0.5),
        Problem("local_attention", shape, layout="contiguous", window=(3, 3), outside="masked"),
        *(Problem(op, shape, **field_options) for op in FUSIONS),
        *(Problem(op, shape, layout="contiguous", grid="legacy", **dense) for op in FUSIONS),
        Problem("resize_labels", (2, 6, 3, 4), size=(7, 9)),
        Problem("resize_labels", (2, 6, 3, 4), layout="contiguous", size=(7, 9), align_corners=True),
    )


SMALL = _small()
"""Two tiny calls of every operator, in float32 on the CPU; `dataclasses.replace` makes the other dtypes."""

# Maps [C, H, W], and pixels of video for one of the map: the default network's at full and half size, and those of the
# paper's networks on CamVid and Cityscapes.
MAPS = {
    (64, 720, 960): 1,
    (64, 360, 480): 1,
    (128, 90, 120): 8,
    (256, 90, 120): 8,
    (512, 128, 256): 8,
}


def standard(op: str, channels: int, height: int, width: int) -> Problem:
    """An operator at a map [C, H, W] as `STANDARD` has it; for `resize_labels` they are of the logits."""
    stride = MAPS.get((channels, height, width), 1)
    if op == "resize_labels":
        return Problem(op, (1, channels, height, width), size=(8 * height, 8 * width))
    frame = (height * stride, width * stride) if stride > 1 else None
    return Problem(op, (1, channels, height, width), frame_size=frame)


STANDARD = (
    *(standard(op, *map_) for op in OPERATORS if op != "resize_labels" for map_ in MAPS),
    standard("resize_labels", 12, 90, 120),
    standard("resize_labels", 19, 128, 256),
)
"""What profiler and benchmarks run unless told otherwise, in float32 on the CPU."""
