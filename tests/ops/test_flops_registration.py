"""torch's FLOP counter knows our operators, whichever of the two is imported first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNT = """
q = torch.zeros(1, 2, 5, 7)
with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
    arseg_ext.ops.local_attention(q, q, q, window=3)
print(counter.get_total_flops())
"""


@pytest.mark.slow
@pytest.mark.parametrize("counter_first", [False, True])
def test_either_order(counter_first):
    ours = "import arseg_ext.ops\nassert ('torch.utils.flop_counter' in sys.modules) == " + str(counter_first)
    steps = [ours, "import torch.utils.flop_counter"]
    code = "\n".join(["import sys, torch", *(reversed(steps) if counter_first else steps), COUNT])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 2 * 5 * 7 * 9 * (2 + 2)
