"""What the motion fields are worth and what they cost.

    python benchmarks/motion_gain.py CLIP... [--size 960x720] [--frames N] [--parts quality,cost,memory] [--json OUT]

Each clip is encoded four times with x264, at equal crf (see `motion_clips.ENCODES`). With one reference frame (on each
side) it is known where each vector points: these are what the inferred fields of the other two are held against. FFmpeg
does not tell the true reference of a vector among several, so that no stream can be read both ways, except
that the exact one is also read with its references hidden ("guessed": pixels choose among the last three frames).

Quality: the keyframe's luma, warped by the field, against the decoded frame: PSNR, mean over distances 1 to 11.
Cost: CPU time of decoding with fields over that of plain decoding, at --size, one thread, both in turns. Memory: the
most that a process needs which reads a video of 2,000 frames, beside one of 200.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags2
from motion_clips import ENCODES, GOP, TITLES, facts, frames_of, lumas, save, synthetic, write

from arseg.inspect.likeness import psnr, warp
from arseg.video import BlockField, VideoReader
from arseg.video.codecs.h264 import H264Headers
from arseg.video.decoding import Decoding
from arseg.video.field_builder import FieldBuilder
from arseg.video.fields import PendingFrame
from arseg.video.motion import RECORD, chain, rasterize
from arseg.video.pictures import Coded
from arseg.video.source import open_source

CANDIDATES = 3

TIMED = ("refs1", "refs3", "default")


class Blind(H264Headers):
    """Headers that name the last three pictures of the group, so that pixels have to decide among them."""

    def __init__(self, extradata: bytes | None) -> None:
        super().__init__(extradata)
        self._group: list[int] = []

    def push(self, packet: av.Packet, index: int) -> Coded | None:
        coded = super().push(packet, index)
        if coded is None:
            return None
        if packet.is_keyframe:
            self._group = []
        past = tuple(self._group[: -CANDIDATES - 1 : -1])
        self._group.append(coded.index)
        return replace(coded, past=past)


def items(path: Path, headers: type[H264Headers] = H264Headers) -> Iterator[PendingFrame]:
    """Frames with their fields at 4x4, one thread, no RGB: the reader without its last step."""
    builder = FieldBuilder(4, 4 * GOP, report=print)
    source = open_source(path, {"ignore_editlist": "1"})
    with source.container:
        context = source.stream.codec_context
        context.thread_count = 1
        context.flags2 |= Flags2.export_mvs
        decoding = Decoding(source, headers(context.extradata), announce=builder.announce)
        for decoded in decoding.frames():
            yield from builder.add(decoded)
        yield from builder.flush()


def plain(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        container.streams.video[0].codec_context.thread_count = 1
        yield from container.decode(video=0)


def quality(path: Path, encode: str) -> dict:
    """PSNR by distance, and what the fields are."""
    sums: dict[int, Counter[str]] = {}
    origins: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    unfilled: tuple[np.ndarray, np.ndarray] | None = None
    blind = items(path, Blind) if encode == "refs1" else None
    # Groups are as the encoder made them: a longest group of 12 would end before the last anchor of one with B frames.
    with VideoReader(path, gop=4 * GOP) as reader:
        for frame, now in zip(reader, lumas(path), strict=True):
            kinds[frame.frame_type] += 1
            guess = next(blind) if blind else None
            if frame.motion is None:
                key, unfilled = now, None
                continue
            origins[frame.motion.origin] += 1
            row = sums.setdefault(frame.distance, Counter())
            row.update(frames=1, no_warp=psnr(key, now), warp=psnr(warp(key, frame.motion), now))
            row.update(intra=frame.intra, holes=frame.motion.missing)
            if guess is not None and frame.motion.origin == "exact":
                drawn = rasterize(_records(frame.records), reader.width, reader.height)
                unfilled = drawn if unfilled is None else chain(*drawn, *unfilled)
                row.update(unfilled=psnr(warp(key, BlockField(*unfilled, 4)), now))
                row.update(blind=psnr(warp(key, guess.motion), now))
    rows = [row for _, row in sorted(sums.items())]
    table = {name: [row[name] / row["frames"] for row in rows] for name in rows[0] if name != "frames"}
    return {
        "mean": {name: float(np.mean(values)) for name, values in table.items()},
        "origins": dict(origins),
        "types": dict(kinds),
        "frames_by_distance": [int(row["frames"]) for row in rows],
        "by_distance": table,
    }


def _records(records: np.ndarray | None) -> np.ndarray:
    return np.empty(0, RECORD) if records is None else records


def cost(path: Path, rounds: int) -> dict:
    """CPU seconds, plain and with fields in turns."""
    seconds: dict[str, list[float]] = {"decode": [], "fields": []}
    frames = 0
    for turn in range(rounds + 1):
        for name, read in (("decode", plain), ("fields", items)):
            start = time.process_time()
            frames = sum(1 for _ in read(path))
            if turn:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    ratios = [b / a for a, b in zip(seconds["decode"], seconds["fields"], strict=True)]
    return {
        "frames": frames,
        "decode_ms": 1000 * float(np.median(seconds["decode"])) / frames,
        "fields_ms": 1000 * float(np.median(seconds["fields"])) / frames,
        "ratio": float(np.median(ratios)),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "rounds": rounds,
    }


def memory(folder: Path) -> list[dict]:
    """Most memory of a process that reads short and long videos, with three references and with B frames."""
    rows = []
    for encode in ("refs3", "default"):
        for count in (200, 2000):
            path = folder / f"{encode}-{count}.mp4"
            write(synthetic(count), path, encode, preset="veryfast")
            command = [sys.executable, __file__, str(path), "--parts", "peak"]
            peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append({"encode": encode, "frames": count, "size": "640x480", "peak_mib": float(peak)})
            print(f"memory  {TITLES[encode]:24} {count:5} frames of 640x480: {rows[-1]['peak_mib']:.1f} MiB")
    return rows


def peak(path: Path) -> float:
    with VideoReader(path, gop=4 * GOP) as reader:
        for _ in reader:
            pass
    # Not ru_maxrss, which starts from what the parent had.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def show_quality(name: str, encode: str, found: dict, known: dict) -> None:
    mean = found["mean"]
    text = f"{name:24} {TITLES[encode]:24} no warp {mean['no_warp']:6.2f}  warped {mean['warp']:6.2f}"
    if "unfilled" in mean:
        text += f"  holes left {mean['unfilled']:6.2f}  reference guessed {mean['blind']:6.2f}"
    else:
        text += f"  against 1 reference {mean['warp'] - known['refs1']['mean']['warp']:+.2f}"
    if encode == "default":
        text += f", with B {mean['warp'] - known['refs1-b']['mean']['warp']:+.2f}"
    print(f"{text}  intra {mean['intra']:.1%}  holes {mean['holes']:.1%}  {found['origins']}", flush=True)


def show_cost(name: str, encode: str, row: dict) -> None:
    times = f"decoding {row['decode_ms']:.2f} ms, with fields {row['fields_ms']:.2f} ms"
    spread = f"x{row['ratio']:.3f} ({row['ratio_min']:.3f}-{row['ratio_max']:.3f}, {row['rounds']} rounds)"
    print(f"{name:24} {TITLES[encode]:24} {times}: {spread}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--size", default="960x720", help="of the timed encodes")
    parser.add_argument("--frames", type=int, help="of each clip, all unless told")
    parser.add_argument("--cost-frames", type=int, default=120, help="timed frames of each clip")
    parser.add_argument("--rounds", type=int, default=9, help="of timing")
    parser.add_argument("--parts", default="quality,cost,memory", help="which of them, others stay as they are in OUT")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if parts == ["peak"]:
        print(peak(arguments.clips[0]))
        return
    report = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    report |= {"preset": "medium", **facts()}
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "quality" in parts:
            report["quality"] = {}
            for clip in arguments.clips:
                found: dict = {}
                report["quality"][clip.name] = found
                for encode in ENCODES:
                    path = folder / f"{encode}.mp4"
                    write(frames_of(clip, None, arguments.frames), path, encode)
                    found[encode] = quality(path, encode)
                    show_quality(clip.stem, encode, found[encode], found)
        if "cost" in parts:
            if report.get("cost", {}).get("size") != arguments.size:
                report["cost"] = {"size": arguments.size, "clips": {}}
            for clip in arguments.clips:
                timed = report["cost"]["clips"].setdefault(clip.name, {})
                for encode in TIMED:
                    path = folder / f"{encode}.mp4"
                    write(frames_of(clip, (width, height), arguments.cost_frames), path, encode)
                    timed[encode] = row = cost(path, arguments.rounds)
                    show_cost(clip.stem, encode, row)
        if "memory" in parts:
            report["memory"] = memory(folder)
    if arguments.json:
        save(arguments.json, report)


if __name__ == "__main__":
    main()
