"""`make quick` leaves out what is marked slow: nothing that builds, emulates or trains is without the mark."""

from __future__ import annotations

import pytest

# Fixtures that do so, by the file that defines them; a test that takes one is to be marked.
SLOW_FIXTURES = {
    "tests/emulator/conftest.py": {"library", "emulated"},
    "tests/emulator/test_selftest.py": {"programs"},
    "tests/ops/test_device_primitives.py": {"primitives"},
    "tests/train/default/test_training.py": {"phases"},
    "tests/train/paper/test_train.py": {"teacher"},
    "tests/train/test_adapt.py": {"adapted"},
    "tests/train/test_distributed.py": {"together"},
    "tests/docs/test_snippets.py": {"folder"},
}


def test_what_builds_emulates_or_trains_is_slow(request: pytest.FixtureRequest) -> None:
    """Of the tests that are collected: all where all run, the quick ones in `make quick`."""
    root = request.config.rootpath
    unmarked = []
    for item in request.session.items:
        place = item.path.relative_to(root).as_posix()
        takes = set(getattr(item, "fixturenames", ()))
        for where, names in SLOW_FIXTURES.items():
            here = place == where or (where.endswith("conftest.py") and place.startswith(where[: -len("conftest.py")]))
            if here and takes & names and item.get_closest_marker("slow") is None:
                unmarked.append(item.nodeid)
    assert unmarked == []


@pytest.mark.parametrize(("place", "names"), SLOW_FIXTURES.items())
def test_the_fixtures_are_there(pytestconfig: pytest.Config, place: str, names: set[str]) -> None:
    """A fixture that is renamed is renamed here."""
    text = (pytestconfig.rootpath / place).read_text(encoding="utf-8")
    assert all(f"\ndef {name}(" in text for name in names), place
