"""`arseg segment --workers` over whole files, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.slow
def test_whole_files(video, weights, arseg):
    for name in "abc":
        Path(f"{name}.mp4").symlink_to(video)
    Path("c.mp4").unlink()
    Path("c.mp4").write_bytes(b"no video")
    files, options = ("a.mp4", "b.mp4", "c.mp4"), ("--weights", weights, "--gop", 5)
    code, out, err = arseg("segment", *files, "-o", "one/{stem}.npz", *options)
    shared = arseg("segment", *files, "-o", "two/{stem}.npz", *options, "--workers", 2, "--resume")
    assert code == shared[0] == 2
    assert sorted(shared[1].replace("two/", "one/").splitlines()) == sorted(out.splitlines())
    assert err == shared[2] and err.startswith("arseg: c.mp4") and err.count("\n") == 1
    for name in "ab":
        assert Path(f"one/{name}.npz").read_bytes() == Path(f"two/{name}.npz").read_bytes()
    notes = ["a.npz.resume", "b.npz.resume"]
    assert sorted(os.listdir("two")) == sorted(["a.npz", "b.npz", *notes]), "c.mp4 is left, so the next run needs them"
    Path("c.mp4").unlink()
    Path("c.mp4").symlink_to(video)
    for workers in (("--workers", 2), ()):
        changed = {name: os.stat(f"two/{name}.npz").st_mtime_ns for name in "ab"}
        code, out, err = arseg("segment", *files, "-o", "two/{stem}.npz", *options, "--resume", *workers)
        assert code == 0 and out.count(": 14 frames") == 3
        if workers:
            assert sorted(err.splitlines()) == [f"{name}.mp4: was finished by an earlier run" for name in "ab"]
            assert changed == {name: os.stat(f"two/{name}.npz").st_mtime_ns for name in "ab"}
        assert sorted(os.listdir("two")) == ["a.npz", "b.npz", "c.npz"]


def test_what_is_refused(arseg):
    assert arseg("segment", "a.mp4", "--workers", 2, "--low-latency")[0] == 2
    Path("a.mp4").touch()
    code, _, err = arseg("segment", "a.mp4", "-", "-o", "{stem}.npz", "--workers", 2)
    assert (
        code == 2
        and err == "arseg: -: the standard input is this process's alone; leave out --workers and --ray, or the -\n"
    )
