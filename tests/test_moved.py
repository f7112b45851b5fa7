"""What older code imports still works, and says where it is now."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

from arseg._moved import MODULES, PACKAGES


@pytest.mark.parametrize("old", MODULES)
def test_a_module_under_its_old_name_is_the_same(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=rf"^{old} is {MODULES[old]} now, .* from version 0\.3 on$") as told:
        found = importlib.import_module(old)
    assert found is importlib.import_module(MODULES[old])
    assert len(told) == 1


@pytest.mark.parametrize(
    ("package", "place", "name"),
    [(package, place, name) for package, places in PACKAGES.items() for place in places for name in places[place]],
)
def test_a_name_of_an_old_package(package, place, name):
    module = importlib.import_module(package)
    with pytest.warns(DeprecationWarning, match=rf"^{package}\.{name} is {place}\.{name} now"):
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(place), name)


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"arseg\.models\.nothing"):
        importlib.import_module("arseg.models.nothing")
    with pytest.raises(AttributeError, match=r"module 'arseg\.engine' has no attribute 'Nothing'"):
        _ = importlib.import_module("arseg.engine").Nothing


def test_the_new_names_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from arseg import VideoReader, VideoSegmenter, accelerate, load  # noqa: F401


def test_an_argument_under_its_old_name():
    from arseg.networks import PyramidNet

    with pytest.warns(DeprecationWarning, match=r"^argument classes is num_classes now"):
        net = PyramidNet(classes=3, channels=8, wide=8)
    assert net.classifier.out_channels == 3
