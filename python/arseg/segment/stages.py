"""Work that overlaps: an iterator that runs in a thread of its own, a bounded number of items ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _End(Generic[Item]):
    """What comes after the last item: why there is no more, None at a good end."""

    def __init__(self, error: BaseException | None):
        self.error = error


@contextmanager
def ahead(items: Iterable[Item], count: int) -> Iterator[Iterator[Item]]:
    """The items, made by a thread that is `count` of them ahead at most.

    Whatever ends them comes after the items before it. At the end of the block the thread is at its end, too, and the
    iterator is closed, after the item that is under way.

    Args:
        items: used by that thread alone within the block.
    """
    queue: Queue[Item | _End[Item]] = Queue(maxsize=count)
    stopped = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        iterator: Iterator[Item] | None = None
        try:
            iterator = iter(items)
            for item in iterator:
                queue.put(item)
                del item
                if stopped.is_set():
                    break
        except BaseException as caught:
            error = caught
        try:
            getattr(iterator, "close", lambda: None)()
        except BaseException as caught:
            error = error or caught
        queue.put(_End(error))

    def results() -> Iterator[Item]:
        while True:
            item = queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item

    thread = threading.Thread(target=work, name="arseg stage", daemon=True)
    thread.start()
    try:
        yield results()
    finally:
        stopped.set()
        while thread.is_alive():  # it may wait for room
            _empty(queue)
            thread.join(0.01)
        _empty(queue)


def _empty(queue: Queue[Item]) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        pass
