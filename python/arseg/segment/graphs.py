"""Functions of tensors recorded once for their shapes, and replayed: what Python and launches cost is paid once."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arseg.memory import is_out_of_memory

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]

_log = logging.getLogger(__name__)


@dataclass
class Recording:
    """A function with the memory that it reads and writes.

    Attributes:
        inputs: buffers that hold its arguments while it runs.
        replay: runs it.
        outputs: where its results lie then.
    """

    inputs: Tensors
    replay: Callable[[], object]
    outputs: Tensors


class Eager:
    """Calls functions as they are. What `Graphs` does, without recordings.

    Args:
        device: where functions run; their arguments are copied there.
    """

    def __init__(self, device: torch.device):
        self.device = device

    def __call__(self, name: Hashable, function: Function, inputs: Sequence[Tensor]) -> Tensors:
        """The function's results; they may lie in memory that the next call writes to.

        Args:
            name: of the function; two that are called alike are taken for one.
            function: of tensors alone; what else it depends on is in `name`.
            inputs: its arguments, on any device.
        """
        return function(*(x.to(self.device, non_blocking=True) for x in inputs))

    def kept(self, x: Tensor) -> Tensor:
        """A result in memory of its own."""
        return x

    def clear(self) -> None:
        """Gives back the memory of all recordings."""


class Graphs(Eager, ABC):
    """Records functions, one for each name, shapes and types of the arguments, and replays them.

    A function is recorded when it is called for the second time with these shapes: rare ones are not. The one that was
    not called for the longest time is forgotten where there are more than `limit`. What cannot be recorded is called as
    it is, which is said once.

    Args:
        limit: of the number of recordings.
    """

    def __init__(self, device: torch.device, limit: int = 32):
        super().__init__(device)
        self.limit = limit
        self.recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self._seen: OrderedDict[Hashable, bool] = OrderedDict()  # whether it may be recorded
        self._said = False

    def __call__(self, name: Hashable, function: Function, inputs: Sequence[Tensor]) -> Tensors:
        key = (name, *((tuple(x.shape), x.dtype) for x in inputs))
        recording = self.recordings.get(key) or self._try(key, function, inputs)
        if recording is None:
            return super().__call__(name, function, inputs)
        self.recordings.move_to_end(key)
        for buffer, x in zip(recording.inputs, inputs, strict=True):
            buffer.copy_(x, non_blocking=True)
        recording.replay()
        return recording.outputs

    def kept(self, x: Tensor) -> Tensor:
        return x.clone()

    def clear(self) -> None:
        self.recordings.clear()
        self._seen.clear()

    @abstractmethod
    def record(self, function: Function, inputs: Tensors) -> Recording:
        """Records a function with these buffers as its arguments, after it has run with them."""

    def _try(self, key: Hashable, function: Function, inputs: Sequence[Tensor]) -> Recording | None:
        known = self._seen.pop(key, None)
        self._seen[key] = True if known is None else known
        while len(self._seen) > 8 * self.limit:
            self._seen.popitem(last=False)
        if not known:  # new, or it failed before
            return None
        while len(self.recordings) >= self.limit:
            self.recordings.popitem(last=False)
        buffers = tuple(torch.empty_like(x, device=self.device) for x in inputs)
        for buffer, x in zip(buffers, inputs, strict=True):
            buffer.copy_(x, non_blocking=True)
        try:
            recording = self.record(function, buffers)
        except Exception as error:
            self._seen[key] = False
            self._say(error)
            return None
        self.recordings[key] = recording
        return recording

    def _say(self, error: Exception) -> None:
        if self._said:
            return
        self._said = True
        why = "out of memory" if is_out_of_memory(error) else f"{type(error).__name__}: {error}".splitlines()[0]
        _log.warning("not recorded as a CUDA graph, and so slower, but as right: %s", why)


class CudaGraphs(Graphs):
    """Recordings are CUDA graphs, in one pool of memory: a replay may overwrite the results of another."""

    def __init__(self, device: torch.device, limit: int = 32):
        super().__init__(device, limit)
        self._pool: Any = None

    def record(self, function: Function, inputs: Tensors) -> Recording:
        with torch.cuda.device(self.device):
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            # First as it is, on a stream of its own: libraries find their algorithms and take their memory then.
            side, main = torch.cuda.Stream(), torch.cuda.current_stream()
            side.wait_stream(main)
            with torch.cuda.stream(side):
                for _ in range(2):
                    function(*inputs)
            main.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the device meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, stream=side, capture_error_mode="thread_local"):
                outputs = function(*inputs)
            main.wait_stream(side)
            return Recording(inputs, graph.replay, outputs)

    def clear(self) -> None:
        super().clear()
        self._pool = None


class StandIn(Graphs):
    """As `CudaGraphs`, without a GPU: replays write to the same memory, and recorded functions run again.

    Attributes:
        replays: how many there were.
    """

    def __init__(self, device: torch.device, limit: int = 32):
        super().__init__(device, limit)
        self.replays = 0

    def record(self, function: Function, inputs: Tensors) -> Recording:
        outputs = tuple(x.clone() for x in function(*inputs))

        def replay() -> None:
            self.replays += 1
            for buffer, x in zip(outputs, function(*inputs), strict=True):
                buffer.copy_(x)

        return Recording(inputs, replay, outputs)
