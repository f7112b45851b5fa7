"""Which CPU kernels run, in which threads, with how much memory."""

import json
import os
import subprocess
import sys
import threading

import pytest
import torch
from helpers.op_samples import randn

import arseg_ext
from arseg_ext import ops

CAPABILITIES = arseg_ext.build_config()["cpu_capabilities"]


def run_python(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_the_environment_chooses():
    program = "import json, arseg_ext.collect_env as c; print(json.dumps(c.collect()))"
    for capability in {CAPABILITIES[0], CAPABILITIES[-1]}:
        done = run_python(program, ARSEG_CPU_CAPABILITY=capability)
        assert json.loads(done.stdout)["operators cpu_capability"] == capability
    assert json.loads(run_python(program).stdout)["operators cpu_capability"] == CAPABILITIES[-1]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("capability", sorted({CAPABILITIES[0], CAPABILITIES[-1]}))
def test_fusion_needs_little_memory(capability):
    program = """
import torch
from arseg_ext import ops
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
torch.set_num_threads(2)
def run(h, w):
    sizes = (h, w), (h // 2, w // 2)
    maps = [torch.randn(1, 64, *size).contiguous(memory_format=torch.channels_last) for size in sizes]
    p = [torch.randn(64, *s) for s in ((1, 3, 3), ()) * 3]
    out = torch.zeros_like(maps[0])
    motion = torch.zeros(1, -(-h // 16), -(-w // 16), 2, dtype=torch.int16)
    before = peak()
    ops.creff(*maps, motion, *p, block=16, frame_size=(h, w), out=out)
    return peak() - before
run(16, 16)  # code and threads
print(run(200, 640))
"""
    done = run_python(program, ARSEG_CPU_CAPABILITY=capability)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 2 * 4096  # KiB, of two threads


def test_one_thread_means_one():
    maps = [randn(1, 32, 64, 128).float() for _ in range(3)]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        torch.ops.arseg._most_running_threads()
        ops.local_attention(*maps, window=7)
        assert torch.ops.arseg._most_running_threads() == 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_callers_at_once_share_the_threads():
    """Three Python threads, each with a team of its own: callers always work, helpers only below the limit."""
    program = """
import threading, torch
from arseg_ext import ops
torch.set_num_threads(4)
maps = [torch.randn(1, 64, 240, 320).contiguous(memory_format=torch.channels_last) for _ in range(3)]
expected = ops.local_attention(*maps, window=7)
assert 1 < torch.ops.arseg._most_running_threads() <= 4
results = [None] * 3
def work(i):
    results[i] = ops.local_attention(*maps, window=7)
workers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
for w in workers: w.start()
for w in workers: w.join()
assert all(torch.equal(expected, r) for r in results)
print(torch.ops.arseg._most_running_threads())
"""
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 4 + 2


class Fused(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        torch.ops.arseg._most_running_threads()
        maps = [torch.full((1, 16, 40, 60), float(index)) for _ in range(3)]
        ops.local_attention(*maps, window=5)
        return torch.tensor(torch.ops.arseg._most_running_threads())


@pytest.mark.slow
def test_workers_of_a_data_loader_use_one_thread_each():
    loader = torch.utils.data.DataLoader(Fused(), num_workers=2, multiprocessing_context="spawn")
    assert [int(count) for count in loader] == [1, 1, 1, 1]


@pytest.mark.slow
def test_an_unknown_capability_is_a_sentence():
    done = run_python("import arseg_ext; arseg_ext.build_config()", ARSEG_CPU_CAPABILITY="sse9")
    assert "ARSEG_CPU_CAPABILITY must be one that this processor can run (plain" in done.stderr
    assert "got 'sse9'" in done.stderr


def test_threads_do_not_disturb_each_other():
    """Scratch belongs to a thread: results of many at once are those of one after the other."""
    maps = [[randn(1, 16, 30 + 7 * i, 50, seed=3 * i + k).float() for k in range(3)] for i in range(4)]

    def fuse(i):
        return ops.local_attention(*maps[i], window=7)

    expected = [fuse(i) for i in range(4)]
    found = [None] * 4

    def work(i):
        for _ in range(5):
            found[i] = fuse(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
