"""What a long video takes: as much memory at its end as near its beginning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FRAMES = 4_000

PROGRAM = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from segment.test_memory import repeated
from segment.test_resume import outputs, tiny
from arseg import VideoSegmenter
from arseg.data.street import StreetScene
from arseg.segment import run
from arseg.video import encode

class Watched(VideoSegmenter):
    def segment_all(self, *args, **named):
        for result in super().segment_all(*args, **named):
            yield result  # and is written
            if result.index in ({FRAMES} // 5, {FRAMES} - 1):
                print(int(Path("/proc/self/statm").read_text().split()[1]), flush=True)

encode((image for image, _ in StreetScene(2, width=64, height=48).frames(24)), "clip.mp4", rate=25, gop=12)
repeated(Path("clip.mp4"), Path("long.mp4"), {FRAMES})
Path("out").mkdir()
assert run.segment_file(Watched(tiny(), gop=12, batch=11), "long.mp4", outputs(Path("out"))) == {FRAMES}
"""


def repeated(clip: Path, path: Path, frames: int) -> None:
    """The packets of a clip without B frames again and again."""
    import av

    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [(bytes(p), p.pts, p.duration, p.is_keyframe) for p in source.demux(video=0) if p.size]
        for number in range(frames):
            data, pts, duration, key = packets[number % len(packets)]
            packet = av.Packet(data)
            packet.pts = packet.dts = pts + number // len(packets) * len(packets) * duration
            packet.duration, packet.time_base, packet.is_keyframe = duration, source.streams.video[0].time_base, key
            packet.stream = stream
            target.mux(packet)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read the memory from")
def test_memory_is_flat_over_many_frames(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    early, late = map(int, done.stdout.split())
    print(f"{early * 4096 / 2**20:.0f} MiB at frame {FRAMES // 5}, {late * 4096 / 2**20:.0f} MiB at {FRAMES}")
    assert late < 1.015 * early
