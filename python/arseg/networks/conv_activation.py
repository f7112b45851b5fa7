"""Convolutions that apply the activation after them as they write, for inference in float32 on a CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import dropwhile

import torch
from torch import Tensor, nn

from arseg_ext._torch_private import has_hooks, mkldnn_convolution

ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""oneDNN's names of activations, with their bounds."""


class ConvActivation(nn.Conv2d):
    """A convolution, and `activation` after it, in one pass; with its weight and bias.

    Of a 1x1 convolution on one thread torch writes the map three times (bias, product, activation), and it is larger
    than the caches. Under autograd it is computed as it was.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None):
        size = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation
        super().__init__(*size, conv.groups, conv.bias is not None, device="meta")  # type: ignore[arg-type]
        self.weight, self.bias = conv.weight, conv.bias
        self.activation = activation
        self._attribute = ("none", []) if activation is None else ACTIVATIONS[type(activation)]

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return super().forward(x) if self.activation is None else self.activation(super().forward(x))
        shape = list(self.padding), list(self.stride), list(self.dilation), self.groups  # type: ignore[arg-type]
        return mkldnn_convolution(x, self.weight, self.bias, *shape, *self._attribute, "")


def fuse_activations(module: nn.Module, leave: Collection[nn.Module] = ()) -> None:
    """Puts `ConvActivation` in place of the plain convolutions in `module`.

    Each takes over the activation after it where both are in an `nn.Sequential`, which says that it comes next; past an
    `nn.Identity`, as folding leaves it. What is used in more than one place, or has hooks, stays.

    Args:
        leave: modules that stay as they are, with what is in them.
    """
    if mkldnn_convolution is None or not torch.backends.mkldnn.enabled:  # type: ignore[attr-defined]
        return
    uses = Counter(id(m) for _, m in module.named_modules(remove_duplicate=False))
    kept = {id(m) for one in leave for m in one.modules()}

    def alone(found: nn.Module) -> bool:
        return uses[id(found)] == 1 and id(found) not in kept and not has_hooks(found)

    for parent in list(module.modules()):
        children = list(parent.named_children())
        for place, (name, conv) in enumerate(children):
            if not (alone(conv) and _is_plain(conv)):
                continue
            after = next(_not_identity(children[place + 1 :]), None) if isinstance(parent, nn.Sequential) else None
            taken = after is not None and type(after[1]) in ACTIVATIONS and alone(after[1])
            setattr(parent, name, ConvActivation(conv, after[1] if taken else None))  # type: ignore[index, arg-type]
            if taken:
                setattr(parent, after[0], nn.Identity())  # type: ignore[index]


def _not_identity(children: list[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    return dropwhile(lambda child: type(child[1]) is nn.Identity and not has_hooks(child[1]), children)


def _is_plain(conv: nn.Module) -> bool:
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    return conv.weight.dtype == torch.float32 and conv.weight.device.type == "cpu"
