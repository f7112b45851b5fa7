"""What the motion fields are worth and what they cost, on real videos.

    python benchmarks/motion_gain.py VIDEO... [--block 4] [--gop 12] [--frames 300] [--json]

Gain: the keyframe's luma, warped by the field, against the decoded frame (PSNR, mean over frames), by distance to the
keyframe, beside the keyframe's luma as it is. Cost: CPU time for decoding with vectors, drawing and chaining them, over
the time for decoding alone, one thread each, taken in turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags2

from arseg.video import VideoError, VideoReader
from arseg.video.motion import BlockField, MotionChain

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def luma(image: np.ndarray) -> np.ndarray:
    """Luma, float32 `[H, W]`, of RGB uint8 `[H, W, 3]`."""
    return image.astype(np.float32) @ LUMA


def warp(reference: np.ndarray, field: BlockField) -> np.ndarray:
    """`reference` float32 `[H, W]`, read bilinearly at p + field(p), clamped to the frame."""
    height, width = reference.shape
    vectors = field.vectors.repeat(field.block, 0).repeat(field.block, 1)[:height, :width].astype(np.float32) / 4
    x = np.clip(np.arange(width, dtype=np.float32)[None, :] + vectors[..., 0], 0, width - 1)
    y = np.clip(np.arange(height, dtype=np.float32)[:, None] + vectors[..., 1], 0, height - 1)
    x0 = x.astype(np.int64)
    y0 = y.astype(np.int64)
    x1 = np.minimum(x0 + 1, width - 1)
    y1 = np.minimum(y0 + 1, height - 1)
    fx = x - x0
    fy = y - y0
    top = reference[y0, x0] * (1 - fx) + reference[y0, x1] * fx
    bottom = reference[y1, x0] * (1 - fx) + reference[y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of 8-bit signals in dB, at most 99."""
    error = float(np.mean((a - b) ** 2))
    return min(99.0, 10 * np.log10(255.0**2 / error)) if error > 0 else 99.0


def gain(path: str, block: int, gop: int, limit: int) -> list[dict[str, float]]:
    """By distance: number of frames, PSNR without and with warp, share of cells that had no vector."""
    rows: dict[int, list[tuple[float, float, float]]] = {}
    with VideoReader(path, block=block, gop=gop) as reader:
        for frame in reader:
            if frame.index >= limit:
                break
            current = luma(frame.image)
            if frame.motion is None:
                key = current
                continue
            rows.setdefault(frame.distance, []).append(
                (psnr(current, key), psnr(current, warp(key, frame.motion)), 1 - float(frame.motion.valid.mean()))
            )
    table = []
    for distance, values in sorted(rows.items()):
        plain, warped, holes = np.mean(values, axis=0)
        table.append(
            {
                "distance": distance,
                "frames": len(values),
                "no_warp_db": round(float(plain), 2),
                "warp_db": round(float(warped), 2),
                "gain_db": round(float(warped - plain), 2),
                "filled_share": round(float(holes), 4),
            }
        )
    return table


def decode_seconds(path: str, limit: int, use: Callable[[av.VideoFrame], None] | None) -> float:
    """CPU seconds to decode with one thread; with vectors, each frame given to `use`, where there is one."""
    with av.open(path, options={"ignore_editlist": "1"}) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if use is not None:
            stream.codec_context.flags2 |= Flags2.export_mvs
        start = time.process_time()
        for index, frame in enumerate(container.decode(stream)):
            if index >= limit:
                break
            if use is not None:
                use(frame)
        return time.process_time() - start


def cost(path: str, block: int, gop: int, limit: int, repeats: int) -> dict[str, float]:
    """Median seconds of plain decoding and of decoding with fields, and their ratio."""
    with VideoReader(path) as reader:
        width, height = reader.width, reader.height

    def fields() -> Callable[[av.VideoFrame], None]:
        chain = MotionChain(width, height, block)
        distance = 0

        def use(frame: av.VideoFrame) -> None:
            nonlocal distance
            distance = 0 if frame.key_frame or distance + 1 >= gop else distance + 1
            if distance == 0:
                chain.restart()
                return
            vectors = frame.side_data.get("MOTION_VECTORS")
            chain.step(None if vectors is None else vectors.to_ndarray())

        return use

    plain, full = [], []
    for _ in range(repeats):
        plain.append(decode_seconds(path, limit, None))
        full.append(decode_seconds(path, limit, fields()))
    ratios = [b / a for a, b in zip(plain, full, strict=True)]
    return {
        "decode_s": round(float(np.median(plain)), 4),
        "with_fields_s": round(float(np.median(full)), 4),
        "ratio": round(float(np.median(ratios)), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "repeats": repeats,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--block", type=int, default=4, choices=(4, 8, 16))
    parser.add_argument("--gop", type=int, default=12)
    parser.add_argument("--frames", type=int, default=10**9, help="at most this many frames of each video")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of timing; 0 leaves the cost out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    reports = []
    worse = 0
    for path in arguments.videos:
        try:
            table = gain(path, arguments.block, arguments.gop, arguments.frames)
            seconds = (
                cost(path, arguments.block, arguments.gop, arguments.frames, arguments.repeats)
                if arguments.repeats
                else None
            )
        except VideoError as error:
            print(error, file=sys.stderr)
            return 2
        worse += sum(row["gain_db"] <= 0 for row in table)
        reports.append({"video": Path(path).name, "block": arguments.block, "gain": table, "cost": seconds})

    if arguments.json:
        print(json.dumps(reports, indent=1))
        return 1 if worse else 0
    for report in reports:
        print(f"{report['video']}, block {report['block']}, GOP {arguments.gop}")
        print(f"{'distance':>8} {'frames':>6} {'no warp':>8} {'warp':>8} {'gain':>6} {'filled':>7}")
        for row in report["gain"]:
            print(
                f"{row['distance']:8d} {row['frames']:6d} {row['no_warp_db']:8.2f} {row['warp_db']:8.2f} "
                f"{row['gain_db']:6.2f} {row['filled_share']:7.1%}"
            )
        plain = np.mean([row["no_warp_db"] for row in report["gain"]])
        warped = np.mean([row["warp_db"] for row in report["gain"]])
        print(f"{'mean':>8} {'':6} {plain:8.2f} {warped:8.2f} {warped - plain:6.2f}")
        if report["cost"]:
            c = report["cost"]
            print(
                f"decoding {c['decode_s']} s, with fields {c['with_fields_s']} s: x{c['ratio']} "
                f"({c['ratio_min']}-{c['ratio_max']}, {c['repeats']} rounds, one thread)"
            )
        print()
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
