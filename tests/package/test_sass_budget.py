"""Counting instructions of SASS: ways through branches, loops and how often they run, and the sentences."""

import pytest
from package import sass, sass_budget
from package.sass import Loop, Way
from package.sass_budget import problems, read_table, write_table

# A loop of five instructions that holds another of two, a branch around three, one that costs more, a slow path behind
# the end.
SASS = """
	code for sm_90
		Function : _Z6kernelv
	.headerflags	@"EF_CUDA_SM90"
        /*0000*/                   MOV R1, c[0x0][0x28] ;   /* 0x00000a0000017a02 */
                                                            /* 0x000fe40000000f00 */
        /*0010*/                   LDGSTS.E.128 [R2], [R4.64] ;
        /*0020*/                   IADD3 R2, R2, 0x1, RZ ;
        /*0030*/              @!P1 BRA 0x20 ;
        /*0040*/                   IADD3 R3, R3, 0x1, RZ ;
        /*0050*/               @P0 BRA 0x10 ;
        /*0060*/               @P2 BRA 0xa0 ;
        /*0070*/                   FSEL R5, R6, -INF , P3 ;
        /*0080*/                   FSEL R6, R6, -INF , P3 ;
        /*0090*/                   FSEL R7, R6, -INF , P3 ;
        /*00a0*/               @P4 BRA 0x100 ;
        /*00b0*/                   BRA.DIV UR4, 0x130 ;
        /*00c0*/                   FMUL R5, R5, R6 ;
        /*00d0*/                   CALL.REL.NOINC 0x130 ;
        /*00e0*/                   FADD R5, R5, R6 ;
        /*00f0*/                   BRA 0x110 ;
        /*0100*/                   MUFU.EX2 R5, R5 ;
        /*0110*/                   STG.E [R2.64], R5 ;
        /*0120*/                   EXIT ;
        /*0130*/                   MUFU.RCP R5, R5 ;
        /*0140*/                   RET.REL.NODEC R20 0x0 ;
        /*0150*/                   BRA 0x150;
"""
LOOPS = [Loop("LDGSTS", 3), Loop("IADD3", 2, within="LDGSTS")]


def count(way):
    return sass.count(sass.functions(SASS)["_Z6kernelv"], way)


def test_loops_and_the_longer_side():
    # MOV; a turn of the loop is 1 + 2 * 2 + 2 instructions; from 60 on 4, 1, 5 and the last two.
    assert count(Way(LOOPS)) == 1 + 3 * 7 + 4 + 1 + 5 + 2


def test_a_way_can_be_named():
    assert count(Way(LOOPS, through="MUFU.EX2")) == 1 + 3 * 7 + 4 + 1 + 1 + 2
    assert count(Way(LOOPS, around="FSEL.*-INF")) == 1 + 3 * 7 + 1 + 1 + 5 + 2
    assert count(Way(LOOPS, around="STG")) == count(Way(LOOPS))  # there is no way around it


def test_a_loop_that_does_not_run_counts_nothing_and_one_that_is_not_told_is_an_error():
    assert count(Way([Loop("LDGSTS", 0), Loop("IADD3", 9)])) == 1 + 4 + 1 + 5 + 2
    with pytest.raises(ValueError, match="how often the loop at 0x20 runs"):
        count(Way([Loop("LDGSTS", 3)]))


def test_a_branch_to_anywhere_is_an_error():
    code = sass.functions(SASS.replace("BRA 0x110", "BRX R4 -0x110"))["_Z6kernelv"]
    with pytest.raises(ValueError, match="not constants: BRX"):
        sass.count(code, Way(LOOPS))


@pytest.mark.parametrize(
    "instructions, words",
    [(1000, None), (1029, None), (500, None), (1031, "issues 1031 instructions a warp, 1000 are in")],
)
def test_what_rises_is_one_sentence(instructions, words):
    key = ("kernel<half>", "sm_90")
    said = problems({key: instructions}, {key: 1000.0})
    assert len(said) == (words is not None)
    assert all(sentence.startswith("kernel<half> for sm_90 ") and words in sentence for sentence in said)


def test_kernels_and_table_are_the_same(tmp_path):
    assert "is not in instruction_budgets.csv" in problems({("new", "sm_80"): 1.0}, {})[0]
    assert "was not compiled" in problems({}, {("old", "sm_80"): 1.0})[0]
    write_table({("a<half, 7>", "sm_90"): 12.4}, tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv") == {("a<half, 7>", "sm_90"): 12.0}


def test_the_table_has_every_hot_kernel():
    assert set(read_table()) == {(name, "sm_90") for name in sass_budget.named()}


def test_time_by_the_count():
    hot = sass_budget.hot_kernels()["fused_attention<{}, 7, 0>"]
    # 5400 tiles of 8 warps, 132 multiprocessors at 1980 MHz.
    assert hot.microseconds(1000) == pytest.approx(5400 * 8 * 1000 / (132 * 1980 * 2.5))
