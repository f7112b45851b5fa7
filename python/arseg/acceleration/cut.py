"""Where a network can be cut, and whether a cut gives what the network itself gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arseg.errors import InputError

from .cut_network import Cut, CutNetwork, known_cut, logits_of
from .sizes import first_line

CutPoint = str | nn.Module | Callable[[Any, Tensor], Tensor] | None
"""A submodule's name, the submodule itself, a function of the network and its input, or what is to be found."""


@torch.no_grad()
def own_logits(network: nn.Module, image: Tensor, size: tuple[int, int]) -> Tensor:
    """What the network makes of the image; one sentence where it does not run or gives something else."""
    try:
        return logits_of(network(image))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"model: does not run on a {size[0]}x{size[1]} image: {first_line(error)}") from error


@torch.no_grad()
def cut(
    whole: nn.Module,
    features: CutPoint,
    classifier: CutPoint,
    original: nn.Module,
    image: Tensor,
    output: Tensor,
) -> CutNetwork:
    """The network cut where the arguments say, or where it can be.

    Args:
        whole: the network; the cut is around this object.
        original: what `whole` is a copy of, to which submodules in `features` and `classifier` belong.
        image, output: of random content, and what `whole` makes of it.
    """
    if features is None and classifier is None:
        if isinstance(whole, CutNetwork):
            return whole
        preset = known_cut(whole)
        if preset is not None:
            with suppress(Exception):  # members of the same names that are something else: look on
                compare(CutNetwork(whole, preset), image, output)
                return CutNetwork(whole, preset)
    if classifier is None:
        found = find_classifier(whole, image, output)
        if found is None and _are_probabilities(output):
            raise InputError(
                "model: gives values from 0 to 1, not logits; build it without its last softmax or sigmoid "
                "(smp: without activation)"
            )
        if found is None:
            raise InputError(
                "classifier: no submodule's output is the model's own output, resized or not; name the last one, or "
                "give functions: features(model, image) and classifier(model, feature)"
            )
        classifier = found
    return CutNetwork(whole, Cut(_named(features, original, "features"), _named(classifier, original, "classifier")))


def _named(part: Any, network: nn.Module, argument: str) -> Any:
    """A submodule's name where the submodule itself was given."""
    if not isinstance(part, nn.Module):
        return part
    for name, module in network.named_modules():
        if module is part and name:
            return name
    raise InputError(f"{argument}: this {type(part).__name__} is no submodule of the model; give one, or its name")


@torch.no_grad()
def compare(high: CutNetwork, image: Tensor, output: Tensor) -> Tensor:
    """The feature of `image`; refuses a classifier that does not give the model's own output.

    Leaves with `high` how its scores become that: `upsampling`, `upsampling_corners` and `align_corners`.
    """
    feature = high.features(image)
    if high.is_published:  # its output may be log-probabilities
        return feature
    where = high.cut
    names = [repr(part) if isinstance(part, str) else "your function" for part in (where.classifier, where.features)]
    from_what = "its input" if where.features is None else f"the output of {names[1]}"
    end = "name the last submodule before the logits, or give functions for both"
    try:
        logits = high.classifier(feature)
    except Exception as error:
        raise InputError(
            f"classifier: {names[0]} does not take {from_what}, {list(feature.shape)}: {first_line(error)}; {end}"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape[:2] != output.shape[:2]:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"classifier: {names[0]} gives {got} where the model gives logits {list(output.shape)}; {end}")
    way = way_of(logits, output, image)
    if way is None:
        off = min(difference(logits, output, align) for align in (False, True))
        raise InputError(
            f"classifier: {names[0]} does not give the model's own output from {from_what}: on a random image they "
            f"differ by up to {100 * off:.2g} % of the largest logit; {end}"
        )
    high.upsampling, high.upsampling_corners, high.align_corners = way
    return feature


def find_classifier(network: nn.Module, image: Tensor, wanted: Tensor) -> str | None:
    """The submodule whose output is the network's own logits, but for bilinear resizing.

    The last layer that is; or else the innermost module of several, such as a linear layer between permutations.

    Args:
        image: `[1, 3, H, W]`, of random content.
        wanted: what the network makes of it.
    """
    layers: list[tuple[str, Tensor]] = []
    others: list[tuple[str, Tensor]] = []
    hooks = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            maps = isinstance(output, Tensor) and output.dim() == 4 and output.shape[1] == wanted.shape[1]
            given = arguments[0] if arguments else None
            if maps and isinstance(given, Tensor) and given.dim() == 4 and given.shape != image.shape:
                (layers if any(True for _ in module.parameters(recurse=False)) else others).append(
                    (name, output.clone())
                )

        return hook

    for name, module in network.named_modules():
        if name and any(True for _ in module.parameters()):
            hooks.append(module.register_forward_hook(watch(name)))
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    names = [name for name, _ in [*layers, *others]]
    for name, output in [*reversed(layers), *others]:
        if names.count(name) == 1 and way_of(output, wanted, image) is not None:
            return name
    return None


def way_of(logits: Tensor, output: Tensor, image: Tensor) -> tuple[int, bool, bool] | None:
    """`upsampling`, `upsampling_corners` and `align_corners` that make `output` of `logits`; None where nothing does.

    An output that is not of the image's size is taken to be brought there as is usual, by `align_corners=False`.
    """
    align = resizing(logits, output)
    if align is None:
        return None
    if output.shape[2:] == image.shape[2:]:
        return 1, False, align
    factor = output.shape[2] // logits.shape[2]
    if output.shape[2:] != (logits.shape[2] * factor, logits.shape[3] * factor):
        return None
    return factor, align, False


def resizing(logits: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> bool | None:
    """`align_corners` of the bilinear resizing that makes `wanted` of `logits`, to `tolerance` of the largest.

    None where neither does.
    """
    if logits.shape[:2] != wanted.shape[:2]:
        return None
    found = [difference(logits, wanted, align) for align in (False, True)]
    return found[1] < found[0] if min(found) <= tolerance else None


def _are_probabilities(output: Tensor) -> bool:
    return bool(output.min() >= 0 and output.max() <= 1)


def difference(logits: Tensor, wanted: Tensor, align_corners: bool = False) -> float:
    """Largest absolute difference after resizing, as a share of the largest of `wanted`; infinite where one is NaN."""
    resized = logits.float()
    if logits.shape[-2:] != wanted.shape[-2:]:
        resized = F.interpolate(resized, size=wanted.shape[-2:], mode="bilinear", align_corners=align_corners)
    wanted = wanted.float()
    share = (resized - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float(share) if torch.isfinite(share) else float("inf")
