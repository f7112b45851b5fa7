"""Whether tensors share memory, exactly: for results that are written where the caller says."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

# (step, count): adds step * i for some 0 <= i < count, in bytes.
Terms = list[tuple[int, int]]

# Answers that take longer are "yes": strides of ordinary maps need a few dozen steps.
_MOST_STEPS = 20_000


def _terms(tensor: Tensor) -> Terms:
    """Where the bytes of a tensor lie, from its first element on."""
    size = tensor.element_size()
    strides = zip(tensor.stride(), tensor.shape, strict=True)
    return [(stride * size, count) for stride, count in strides if count > 1] + [(1, size)]


def _reachable(target: int, ranges: dict[int, tuple[int, int]], zero_too: bool) -> bool:
    """Whether target = sum of step * i with lowest <= i <= highest for each step, not all i = 0 unless `zero_too`.

    ranges: step -> (lowest, highest).
    """
    steps = sorted(ranges, reverse=True)
    # What the steps after each can still add.
    least, most = [0] * (len(steps) + 1), [0] * (len(steps) + 1)
    for place in range(len(steps) - 1, -1, -1):
        lowest, highest = ranges[steps[place]]
        least[place] = least[place + 1] + steps[place] * lowest
        most[place] = most[place + 1] + steps[place] * highest
    left = _MOST_STEPS
    stack = [(0, target, zero_too)]
    while stack:
        place, rest, good = stack.pop()
        if place == len(steps):
            if rest == 0 and good:
                return True
            continue
        left -= 1
        if left < 0:
            return True
        step = steps[place]
        lowest, highest = ranges[step]
        first = max(lowest, -((most[place + 1] - rest) // step))
        last = min(highest, (rest - least[place + 1]) // step)
        stack.extend((place + 1, rest - step * i, good or i != 0) for i in range(first, min(last, first + left) + 1))
    return False


def _merged(positive: Terms, negative: Terms) -> dict[int, tuple[int, int]]:
    ranges: dict[int, tuple[int, int]] = {}
    for terms, sign in ((positive, 1), (negative, -1)):
        for step, count in terms:
            lowest, highest = ranges.get(step, (0, 0))
            ranges[step] = (lowest, highest + count - 1) if sign > 0 else (lowest - count + 1, highest)
    return ranges


def share_memory(a: Tensor, b: Tensor) -> bool:
    """Whether an element of one lies where one of the other does."""
    if a.device != b.device or a.numel() == 0 or b.numel() == 0:
        return False
    terms = _terms(a), _terms(b)
    spans = [sum(step * (count - 1) for step, count in of) for of in terms]
    between = b.data_ptr() - a.data_ptr()  # = what a's indices add - what b's do
    if between > spans[0] or -between > spans[1]:
        return False
    ranges = _merged(*terms)
    ranges.pop(0, None)  # expanded
    return _reachable(between, ranges, zero_too=True)


def shares_with_itself(tensor: Tensor) -> bool:
    """Whether two of its elements lie in one place, as after expand()."""
    terms = [(stride, count) for stride, count in zip(tensor.stride(), tensor.shape, strict=True) if count > 1]
    if tensor.numel() == 0:
        return False
    reach = 0
    for stride, count in sorted(terms):
        if stride <= reach:
            break
        reach += stride * (count - 1)
    else:
        return False  # each stride passes over all that the smaller ones reach
    if any(stride == 0 for stride, _ in terms) or len({stride for stride, _ in terms}) < len(terms):
        return True
    return _reachable(0, {stride: (1 - count, count - 1) for stride, count in terms}, zero_too=False)


def sharing(out: Tensor, inputs: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first input that shares memory with `out`."""
    return next((name for name, tensor in inputs if share_memory(out, tensor)), None)
