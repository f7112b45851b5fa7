"""Whether segmenting a long video takes more memory at its end than near its beginning, with the shipped network.

    python benchmarks/memory_flat.py [--frames 10000] [--size 64x48] [--json OUT]

A street is encoded, and its packets repeated to a video of so many frames; `segment_file` writes an overlay, label
arrays and a table of it. What the process holds (resident pages) is read at each tenth of the frames.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from motion_clips import facts, save

from arseg import VideoSegmenter
from arseg.data.street import StreetScene
from arseg.segment.outputs import output_for
from arseg.segment.result import SegmentedFrame
from arseg.segment.run import segment_file
from arseg.video import encode

CLIP = 48


def repeated(clip: Path, path: Path, frames: int) -> Path:
    """The packets of a clip of `CLIP` frames without B frames again and again, to `frames` frames."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [(bytes(p), p.pts, p.duration, p.is_keyframe) for p in source.demux(video=0) if p.size]
        assert len(packets) == CLIP
        base = source.streams.video[0].time_base
        for number in range(frames):
            data, pts, duration, key = packets[number % CLIP]
            packet = av.Packet(data)
            packet.pts = packet.dts = pts + number // CLIP * CLIP * duration
            packet.duration, packet.time_base, packet.is_keyframe, packet.stream = duration, base, key, stream
            target.mux(packet)
    return path


class Watched(VideoSegmenter):
    """Reads the memory at each tenth of the frames, when what was made of the frame is written."""

    every = 1
    mib: dict[int, float]

    def segment_all(self, *args: Any, **named: Any) -> Iterator[SegmentedFrame]:
        self.mib = {}
        for result in super().segment_all(*args, **named):
            yield result
            done = result.index + 1
            if done % self.every == 0:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                self.mib[done] = pages * 4096 / 2**20
                print(f"{done} frames: {self.mib[done]:.1f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--size", default="64x48")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    watched = Watched(height="video")
    watched.every = args.frames // 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encode((image for image, _ in StreetScene(2, width=width, height=height).frames(CLIP)), folder / "clip.mp4")
        video = repeated(folder / "clip.mp4", folder / "long.mp4", args.frames)
        outputs = [output_for(str(folder / name)) for name in ("o.mp4", "a.npz", "t.csv")]
        count = segment_file(watched, video, outputs)
    assert count == args.frames, count
    early, late = watched.mib[2 * watched.every], watched.mib[args.frames]
    print(f"{100 * (late / early - 1):+.1f} % from a fifth to the end")
    if args.json:
        about = {name: value for name, value in facts().items() if name in ("machine", "av", "date")}
        mib = {str(number): round(value, 1) for number, value in watched.mib.items()}
        save(args.json, {**about, "network": "lite0", "frames": count, "size": args.size, "resident_mib": mib})


if __name__ == "__main__":
    main()
