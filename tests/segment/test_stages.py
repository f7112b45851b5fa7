"""Iterators in threads of their own: order, bounds, errors, and what is left at the end."""

from __future__ import annotations

import threading
import time

import pytest

from arseg.segment.stages import ahead


def stages() -> int:
    return sum(thread.name == "arseg stage" for thread in threading.enumerate())


def wait_until(true):
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert true()


def test_order_and_end():
    with ahead(range(100), 3) as items:
        assert list(items) == list(range(100))
    with ahead([], 3) as items:
        assert list(items) == []
    assert stages() == 0


def test_no_further_ahead_than_asked():
    made = []

    def source():
        for number in range(50):
            made.append(number)
            yield number

    with ahead(source(), 3) as items:
        wait_until(lambda: len(made) == 4)  # three wait, one has no room
        assert next(items) == 0
        wait_until(lambda: len(made) == 5)
        time.sleep(0.02)
        assert len(made) == 5


def test_work_overlaps():
    """A stage waits for the next item of the one before while the caller holds this one."""
    asked = threading.Event()

    def source():
        yield 0
        asked.set()
        yield 1

    with ahead(source(), 1) as items:
        next(items)
        assert asked.wait(10)


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(143)])
def test_errors_come_after_the_items_before(error):
    def source():
        yield 1
        yield 2
        raise error

    with pytest.raises(type(error)), ahead(source(), 5) as items:
        assert next(items) == 1 and next(items) == 2
        next(items)
    assert stages() == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whoever_leaves_early_leaves_no_thread(error):
    closed = []

    def source():
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            closed.append(threading.current_thread().name)

    with pytest.raises(error), ahead(source(), 2) as items:
        next(items)
        raise error
    assert stages() == 0 and closed == ["arseg stage"]


def test_stages_of_stages():
    with ahead(range(40), 2) as numbers, ahead((number * 2 for number in numbers), 2) as doubled:
        assert next(doubled) == 0
    assert stages() == 0
    with ahead(range(40), 2) as numbers, ahead((number * 2 for number in numbers), 2) as doubled:
        assert list(doubled) == list(range(0, 80, 2))
