"""Tables by name: adding, finding, refusing."""

from __future__ import annotations

import pytest

from arseg.errors import InputError
from arseg.registry import Registry, imported


@pytest.fixture
def table() -> Registry:
    table: Registry = Registry("shape")
    table.register("square", 4)
    return table


def test_registers_by_call_and_as_a_decorator(table: Registry) -> None:
    @table.register("circle")
    def circle() -> int:
        return 0

    assert table["circle"] is circle and table["square"] == 4
    assert table.register("line", 2) == 2


def test_keeps_the_order_of_registration(table: Registry) -> None:
    table.register("circle", 0)

    assert list(table) == ["square", "circle"] and len(table) == 2
    assert "circle" in table and "line" not in table


def test_refuses_a_name_twice(table: Registry) -> None:
    with pytest.raises(InputError, match=r"^shape: 'square' is registered already; take another name$"):
        table.register("square", 5)

    assert table["square"] == 4


def test_an_unknown_name_gets_the_list_and_the_nearest(table: Registry) -> None:
    table.register("circle", 0)

    with pytest.raises(InputError, match=r"one of square, circle, got 'sqare'; did you mean square\?$"):
        table["sqare"]


def test_a_function_is_imported_when_it_is_called() -> None:
    find, missing = imported("json:loads"), imported("no.such.module:name")
    assert find("[1]") == [1]
    with pytest.raises(ImportError, match="no"):
        missing()
