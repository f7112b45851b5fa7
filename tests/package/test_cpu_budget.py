"""Counting the instructions of the CPU kernels: the emulator's log, and the sentences. `cpu_budget.py` counts them."""

import pytest
from package import cpu_budget
from package.cpu_budget import problems, read_table, write_table

# Two blocks, the second run twice; the first is translated again and has become longer.
LOG = """
----------------
IN: main
0x00401000:  31 ed                    xorl     %ebp, %ebp
0x00401002:  49 89 d1                 movq     %rdx, %r9
Trace 0: 0x7f6e4c000100 [0000000000000000/0000000000401000/1040c0b3/00000200] main
----------------
IN: main
0x00401005:  5e                       popq     %rsi
Trace 0: 0x7f6e4c000200 [0000000000000000/0000000000401005/1040c0b3/00000200] main
Trace 0: 0x7f6e4c000200 [0000000000000000/0000000000401005/1040c0b3/00000200] main
----------------
IN: main
0x00401000:  31 ed                    xorl     %ebp, %ebp
0x00401002:  49 89 d1                 movq     %rdx, %r9
0x00401005:  5e                       popq     %rsi
Trace 0: 0x7f6e4c000300 [0000000000000000/0000000000401000/1040c0b3/00000200] main
"""


def test_a_log_is_counted():
    assert cpu_budget.executed(LOG.splitlines()) == 2 + 1 + 1 + 3


@pytest.mark.parametrize("instructions, wrong", [(1000, False), (1029, False), (500, False), (1031, True)])
def test_what_rises_is_one_sentence(instructions, wrong):
    key = ("mv_warp float32", "avx2")
    said = problems({key: instructions}, {key: 1000.0})
    sentence = f"mv_warp float32 on avx2 takes {instructions} instructions a pixel, 1000 are in cpu_budgets.csv"
    assert said == [sentence] * wrong


def test_a_kernel_without_a_budget_and_the_table(tmp_path):
    assert "is not in cpu_budgets.csv" in problems({("new float32", "avx2"): 1.0}, {})[0]
    write_table({("a float32", "plain"): 12.4}, tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv") == {("a float32", "plain"): 12.0}


def test_the_table_has_known_kernels_alone():
    assert {kernel for kernel, _ in read_table()} == set(cpu_budget.KERNELS)
    assert {target for _, target in read_table()} <= set(cpu_budget.TARGETS)
