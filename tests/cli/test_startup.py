"""A quick start leaves the garbage collector as it was, and what was made within it alone."""

from __future__ import annotations

import gc
import sys

import pytest

from arseg.cli.startup import kept


@pytest.fixture
def before_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    yield
    gc.unfreeze()


def test_the_collector_rests_meanwhile(before_torch):
    frozen = gc.get_freeze_count()
    with pytest.raises(KeyError), kept():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() and gc.get_freeze_count() > frozen


def test_a_collector_that_is_off_stays_off(before_torch):
    gc.disable()
    try:
        with kept():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_later_than_the_start_it_does_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    frozen = gc.get_freeze_count()
    with kept():
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
