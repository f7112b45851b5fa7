"""`arseg vectors`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.video_clips import pan, write_av

from arseg.video.vector_files import read_stream
from arseg.video.vectors import read_vectors


def test_a_folder(arseg, video):
    code, out, err = arseg("vectors", video, "-o", "v", "--gop", 5, "--block", 8, "--what", "keyframe,records")
    assert (code, out, err) == (0, "v: 14 frames in 4 groups, fields exact\n", "")
    frames = list(read_vectors(video, gop=5, block=8))
    assert sorted(path.name for path in Path("v").iterdir()) == [f"{i:08d}.npz" for i in (0, 5, 10, 12)]
    with np.load("v/00000005.npz") as group:
        assert "to_previous" not in group and "images" not in group
        np.testing.assert_array_equal(group["to_keyframe"][3], frames[8].to_keyframe.vectors)


@pytest.mark.slow
def test_through_a_pipe(video):
    program = [sys.executable, "-m", "arseg.cli", "vectors", str(video), "-o", "-", "--images"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stderr is not None
        found = [array["images"].copy() for array, _ in read_stream(running.stdout)]
        assert b"-: 14 frames in 2 groups, fields exact" in running.stderr.read()
    frames = list(read_vectors(video, images=True))
    assert running.returncode == 0 and len(found) == 14
    np.testing.assert_array_equal(found, [frame.image for frame in frames])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "v", "--what", "motion"], "--what: expected some of records,keyframe,previous, got 'motion'"),
        (["-o", "v.csv"], "v.csv: expected .parquet, .npy, or a folder (no ending), got .csv"),
        (["-o", "-", "--compress"], "-: the standard output is a stream, which is not compressed"),
        (["-o", "v", "--block", "5"], "--block: expected 4, 8 or 16, got 5"),
        (["-o", "full"], "full: exists already and is not an empty folder"),
    ],
)
def test_what_cannot_be_done(arseg, video, arguments, said):
    Path("full").mkdir()
    Path("full/mine").write_text("")
    code, out, err = arseg("vectors", video, *arguments)
    assert (code, out) == (2, "") and err.startswith(f"arseg: {said}") and err.count("\n") == 1
    assert [str(path) for path in Path().iterdir()] == ["full"]


def test_not_over_the_video(arseg, video):
    code, _, err = arseg("vectors", video, "-o", video)
    assert code == 2 and "is the video itself" in err


def test_a_stream_without_vectors_is_encoded_again(arseg, tmp_path):
    write_av(tmp_path / "vp9.webm", pan(4, (48, 64), 2, 1), codec="libvpx-vp9")
    code, out, err = arseg("vectors", "vp9.webm", "-o", "v.npy")
    assert (code, out) == (0, "v.npy: 4 frames in 1 groups, fields transcoded\n")
    assert err.count("\n") == 1 and "finding vectors by transcoding while reading" in err
    code, _, err = arseg("vectors", "vp9.webm", "-o", "w.npy", "--no-transcode")
    assert code == 2 and err.startswith("arseg: vp9.webm") and not Path("w.npy").exists()


def test_damage_ends_it_or_is_told(arseg, video):
    Path("cut.ts").write_bytes(_cut(video))
    code, out, err = arseg("vectors", "cut.ts", "-o", "v")
    assert (code, out) == (2, "") and err.startswith("arseg: cut.ts") and not Path("v").exists()
    code, out, err = arseg("vectors", "cut.ts", "-o", "v", "--on-error", "resync")
    assert code == 0 and out.startswith("v: ") and err.startswith("cut.ts: ")


def _cut(video: Path) -> bytes:
    """As a transport stream, without its middle."""
    import av

    with av.open(str(video)) as source, av.open("whole.ts", "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = Path("whole.ts").read_bytes()
    Path("whole.ts").unlink()
    middle = len(data) // 188 // 2 * 188
    return data[: middle - 188 * 4] + data[middle:]


def test_so_many_frames(arseg, video):
    code, out, _ = arseg("vectors", video, "-o", "v", "--frames", 7, "--what", "records")
    assert (code, out) == (0, "v: 7 frames in 1 groups\n")
    with np.load("v/00000000.npz") as group:
        assert len(group["index"]) == 7 and "to_keyframe" not in group and len(group["records"])
