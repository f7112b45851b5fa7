"""DTensor sharded over the batch: two processes give what one gives, forward and backward."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).resolve().parents[1]


def python(code):
    path = f"import sys; sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent)!r}]; "
    return subprocess.Popen(
        [sys.executable, "-c", path + code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(process):
    text = process.communicate(timeout=120)[0]
    assert process.returncode == 0, text
    return text


needs_distributed = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed")


@needs_distributed
@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    case = "import torch; torch.set_num_threads(1); from helpers.sharded_case import main; main({!r}, {})"
    processes = [python(case.format(str(tmp_path), rank)) for rank in range(2)]
    for text in [finished(process) for process in processes]:
        assert "cases equal" in text


@needs_distributed
@pytest.mark.slow
def test_rules_come_with_the_module_and_the_module_not_with_us():
    code = """
import arseg_ext.ops, torch
print("torch.distributed.tensor" in sys.modules)
from torch.distributed.tensor import DTensor
print(torch.ops.arseg.mv_warp.default in DTensor._op_dispatcher.sharding_propagator.op_to_schema_info)
"""
    assert finished(python(code)).split() == ["False", "True"]
