"""Hot loops of the CPU kernels under llvm-mca: what is taken out of listings and reports, and the sentences."""

import dataclasses

import pytest
from package import cpu_cycles
from package.cpu_cycles import Loop, problems, read_table, write_table

LISTING = """
build/x.o:     file format elf64-x86-64

0000000000000000 <void ns::sum<float>(float const*)>:
   0:\tvxorps %xmm0,%xmm0,%xmm0
   4:\tvmovups (%rdi),%ymm1
   8:\tvfmadd231ps (%rsi),%ymm1,%ymm0
   c:\tvmulps 0x0(%rip),%ymm1,%ymm2        # 14 <table>
  10:\tadd    $0x20,%rdi
  14:\tjne    4 <void ns::sum<float>(float const*)+0x4>
  16:\tvmovups (%rdx),%ymm3
  1a:\tjl     16 <void ns::sum<float>(float const*)+0x16>
  1c:\tjne    0 <void ns::sum<float>(float const*)>
  1e:\tret
"""

REPORT = """Iterations:        200
Instructions:      800
Total Cycles:      812

Resources:
[0]   - P0
[1]   - P1
[2.0] - P23

Resource pressure per iteration:
[0]    [1]    [2.0]
2.00   4.00    -

Resource pressure by instruction:
"""


def test_the_innermost_loop_with_most_products_is_found():
    bodies = cpu_cycles.functions(LISTING.splitlines())
    assert list(bodies) == ["void ns::sum<float>(float const*)"]
    lines = cpu_cycles.hottest_loop(*bodies.values())
    assert [line.split()[0] for line in lines] == ["vmovups", "vfmadd231ps", "vmulps", "add", "jne"]
    assert lines[2] == "vmulps 0x0(%rip),%ymm1,%ymm2" and lines[-1] == "jne loop"
    assert sum(map(cpu_cycles.is_product, lines)) == 2


def test_a_report_says_cycles_and_the_busiest_port():
    assert cpu_cycles.judged(REPORT, products=4, a_cycle=2) == Loop(4.1, 4, 2.0, "P1", 4.0)
    with pytest.raises(SystemExit, match="printed no cycles"):
        cpu_cycles.judged("", products=4, a_cycle=2)


def test_what_takes_more_cycles_fails_with_a_sentence(tmp_path):
    key, before = ("values", "znver3"), Loop(10.0, 10, 5.0, "P0", 9.0)
    write_table({key: before}, tmp_path / "table.csv")
    table = read_table(tmp_path / "table.csv")
    assert table == {key: before}
    assert problems({key: dataclasses.replace(before, cycles=20.4, products=20)}, table) == []  # unrolled twice
    (sentence,) = problems({key: dataclasses.replace(before, cycles=10.4, port="P1")}, table)
    assert sentence == (
        "values on znver3 takes 10.4 cycles for 10 products, limited by P1: 10.0 for 10 are in cpu_cycles.csv"
    )
    assert "is not in cpu_cycles.csv" in problems({key: before}, {})[0]


def test_the_table_has_every_loop_on_every_processor():
    expected = {
        (loop, name) for name, (target, _) in cpu_cycles.PROCESSORS.items() for loop in cpu_cycles.LOOPS[target]
    }
    assert set(read_table()) == expected


@pytest.mark.slow  # compiles the kernels of a target: a minute
def test_this_tree_keeps_to_the_table():
    if missing := cpu_cycles.missing_packages():
        pytest.skip(f"needs {' and '.join(missing)}")
    here = {name: cpu_cycles.version_of(name) for name in ("g++", cpu_cycles.tool() or "llvm-mca")}
    if list(here.values()) != [cpu_cycles.COMPILER, cpu_cycles.TOOL]:
        pytest.skip(f"the table is of g++ {cpu_cycles.COMPILER} and llvm-mca {cpu_cycles.TOOL}, here are {here}")
    assert problems(cpu_cycles.look(["znver3"]), read_table()) == []
