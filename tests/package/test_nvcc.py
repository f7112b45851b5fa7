"""The check of what nvcc makes of the kernels: reading its report, the table of budgets, and its sentences."""

import pytest
from package import check_nvcc
from package.check_nvcc import Usage, problems, read_report, read_table, write_table

REPORT = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN5arseg3gpu8classifyIfEEvi' for 'sm_80'
ptxas info    : Function properties for _ZN5arseg3gpu8classifyIfEEvi
    8 bytes stack frame, 4 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 60 registers, used 1 barriers, 464 bytes cmem[0]
ptxas info    : Compile time = 40.170 ms
ptxas info    : Compiling entry function '_ZN5arseg3gpu8classifyIfEEvi' for 'sm_90'
ptxas info    : Function properties for _ZN5arseg3gpu8classifyIfEEvi
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 72 registers, used 1 barriers, 1024 bytes smem, 464 bytes cmem[0]
"""
NAME = "_ZN5arseg3gpu8classifyIfEEvi"


def test_reports_are_by_kernel_and_architecture():
    assert read_report(REPORT) == {(NAME, "sm_80"): Usage(60, 20), (NAME, "sm_90"): Usage(72, 0, 1024)}
    assert read_report("nothing of kernels") == {}


def test_a_report_in_another_form_is_not_taken_for_a_good_one():
    with pytest.raises(SystemExit, match="another form"):
        read_report(REPORT.replace("Used", "Uses"))


@pytest.mark.parametrize(
    "found, words",
    [
        (Usage(60, 0), None),
        (Usage(60 + check_nvcc.SLACK, 0), None),
        (Usage(61 + check_nvcc.SLACK, 0), "takes 69 registers a thread, 60 are in"),
        (Usage(60, 4), "spills 4 bytes, 0 are in"),
        (Usage(60, 0, 16), "has 16 bytes of static shared memory"),
    ],
)
def test_what_rises_is_one_sentence(found, words):
    key = ("classify<float>", "sm_80")
    said = problems({key: found}, {key: Usage(60, 0)})
    assert len(said) == (words is not None)
    assert all(sentence.startswith("classify<float> for sm_80 ") and words in sentence for sentence in said)


def test_kernels_and_table_are_the_same():
    assert "is not in kernel_budgets.csv" in problems({("new", "sm_80"): Usage(1, 0)}, {})[0]
    assert "was not compiled" in problems({}, {("old", "sm_80"): Usage(1, 0)})[0]


def test_the_table(tmp_path):
    table = {("a<half, 64, 7>", "sm_80"): Usage(128, 0), ("b", "sm_90"): Usage(40, 20)}
    write_table(table, tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv") == table
    budgets = read_table()
    assert {architecture for _, architecture in budgets} == {"sm_80", "sm_90"}
    assert all(usage.registers <= 255 for usage in budgets.values())
    # What the published networks run: window 7, in the types they run in.
    channels = {"attention_forward_mma": ", 64, 7", "attention_backward_mma": ", 64, 7", "fused_attention": ", 7, "}
    listed = {
        key: usage
        for key, usage in budgets.items()
        if channels.get(key[0].split("<")[0], "not listed") in key[0] and "<float" not in key[0]
    }
    assert len(listed) == 2 * 2 * 6
    # The gradients of keys spill a little for two blocks a multiprocessor in place of one.
    of_keys = {key for key in listed if key[0].startswith("attention_backward_mma") and key[0].endswith("true>")}
    assert all(usage.spills <= (400 if key in of_keys else 0) for key, usage in listed.items())


def test_where_there_is_no_nvcc_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(check_nvcc, "nvcc", lambda: None)
    monkeypatch.setattr("sys.argv", ["check_nvcc.py"])
    assert check_nvcc.main() == 0
    assert capsys.readouterr().out == "nvcc-check: not run, nvcc is not installed here\n"
