"""`arseg segment --mode ar` in whole beside what its parts take alone, beside HR and beside what it does by default.

    python benchmarks/segment_cpu.py VIDEO [--frames 24] [--rounds 5] [--threads 1 2] [--out results.json]

The shipped network, its usual height, groups of 12, an overlay as H.264, memory kept as `arseg segment` keeps it. All
ways take turns, with each number of torch's threads; medians and quartiles of seconds by the clock and of the
processor's, a frame. The processor's say more where other work runs. What network, decoding and encoding allow together
is said by two bounds, in frames a second on C cores:

* shared: C / (sum of the processor's seconds of the three alone), were no core ever idle;
* longest: 1 / (the clock's seconds of the longest of the three alone), were all else hidden behind it.

What is done by default ends with a keyframe: it is compared with AR on one frame more, so that both end with one.

The three alone are the network on images that are ready, down to logits, in the batches of the whole; PyAV that decodes
to RGB, without vectors; and PyAV that encodes the pictures of the same overlay. Threads of OpenMP that wait for one
another spin for a while, which counts as the processor's time: OMP_WAIT_POLICY=passive has them sleep.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from arseg.memory import keep_pages
from arseg.networks.compute import gmacs, gop_average
from arseg.preprocess import input_size
from arseg.segment import draw
from arseg.segment.engine import Keyframe, frame_size
from arseg.segment.opened import open_segmenter
from arseg.segment.outputs import Overlay
from arseg.segment.run import segment_file
from arseg.segment.segmenter import VideoSegmenter
from arseg.segment.ways import see
from arseg.video import VideoFrame, VideoReader
from arseg_ext.profiler.results import facts

GOP = 12
CORES = len(os.sched_getaffinity(0))

Work = Callable[[], object]


class Parts:
    """The parts of segmenting a video's first frames, each by itself, on what the ones before it have made."""

    def __init__(self, video: str, count: int, folder: str) -> None:
        self.video, self.count, self.target = video, count, Path(folder) / "overlay.mp4"
        self.segmenter, self.everywhere = VideoSegmenter(gop=GOP), VideoSegmenter(gop=GOP, mode="hr")
        self.usual = open_segmenter("cpu", None, None, {"gop": GOP})
        self.frames = self.decoding_with_vectors()
        self.count = len(self.frames)
        self.size = frame_size(self.frames[0])
        self.results = list(self.segmenter.segment_all(self.frames))
        next(self.everywhere.segment_all(self.frames[:1]))  # makes the copy that runs
        self.net = self.segmenter._engine._net()
        self.batches = []
        for start in range(0, self.count, GOP):
            key, *others = self.frames[start : start + GOP]
            most = self.segmenter.batch
            self.batches += [[key], *(others[at : at + most] for at in range(0, len(others), most))]
        self.images = self.preprocessing()
        self.pictures = self.colouring()
        with torch.inference_mode():
            self.logits = self.network()

    def decoding(self) -> int:
        with av.open(self.video) as container:
            container.streams.video[0].thread_type = "AUTO"
            frames = islice(container.decode(video=0), self.count)
            return sum(frame.to_ndarray(format="rgb24").size > 0 for frame in frames)

    def decoding_with_vectors(self) -> list[VideoFrame]:
        with VideoReader(self.video, gop=GOP) as reader:
            return list(islice(reader, self.count))

    def preprocessing(self) -> list[Tensor]:
        engine = self.segmenter._engine
        with torch.inference_mode():
            return [engine._image(engine._pixels(batch), self.size) for batch in self.batches]

    def network(self) -> list[Tensor]:
        """Images to logits, in the batches of the whole."""
        engine, found = self.segmenter._engine, []
        key: Keyframe | None = None
        for batch, image in zip(self.batches, self.images, strict=True):
            if batch[0].keyframe:
                key = engine._keyframe(self.net, image)
                found.append(key.key_logits)
                continue
            assert key is not None
            motion, block = engine._fields(batch)
            distance = torch.tensor([frame.distance for frame in batch])
            seen = image, key.reference, key.key_logits, motion, distance
            found.append(see(self.net, "ar", *seen, block=block, frame_size=self.size, signals=key.signals))
        return found

    def network_everywhere(self) -> list[Tensor]:
        """The same in HR, each image by itself."""
        where: dict[str, Any] = {"block": 0, "frame_size": self.size}
        return [see(self.net, "hr", one, None, None, None, **where) for x in self.images for one in x.split(1)]

    def labelling(self) -> list[Tensor]:
        return [self.net.labels(logits, self.size) for logits in self.logits]

    def colouring(self) -> list[np.ndarray]:
        palette = self.segmenter.label_set.palette
        return [draw.overlay(result.image, result.labels, palette) for result in self.results]

    def encoding(self) -> None:
        """As `VideoWriter` does: x264's veryfast, CRF 20."""
        with av.open(str(self.target), "w") as container:
            stream = container.add_stream("libx264", 30, {"preset": "veryfast", "crf": "20"})
            stream.height, stream.width = self.size
            stream.pix_fmt = "yuv420p"
            for picture in self.pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))

    def segmenting(self, overlap: bool = False, *, more: int = 0, segmenter: VideoSegmenter | None = None) -> None:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            output, silent = Overlay(self.target), Console(file=nowhere)
            how: dict[str, Any] = {"console": silent, "frames": self.count + more, "overlap": overlap}
            assert segment_file(segmenter or self.segmenter, self.video, [output], **how) == self.count + more

    def ways(self) -> dict[str, Work]:
        return {
            "whole": self.segmenting,
            "whole, overlapped": lambda: self.segmenting(True),
            "whole, one frame more": lambda: self.segmenting(more=1),
            "by default, one frame more": lambda: self.segmenting(more=1, segmenter=self.usual),
            "network": self.network,
            "network, HR everywhere": self.network_everywhere,
            "segmenting decoded frames": lambda: list(self.segmenter.segment_all(self.frames)),
            "segmenting decoded frames, HR everywhere": lambda: list(self.everywhere.segment_all(self.frames)),
            "decoding": self.decoding,
            "decoding with vectors": self.decoding_with_vectors,
            "preprocessing": self.preprocessing,
            "resize_labels": self.labelling,
            "colours": self.colouring,
            "encoding": self.encoding,
        }


def timed(ways: dict[str, Work], count: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds a frame of each way, in turn, by the clock and by the processor."""
    found: dict[str, dict[str, list[float]]] = {name: {"clock": [], "processor": []} for name in ways}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, way in ways.items():
                clock, processor = time.perf_counter(), time.process_time()
                way()
                took = time.perf_counter() - clock, time.process_time() - processor
                if turn:  # the first ones warm up
                    found[name]["clock"].append(took[0] / count)
                    found[name]["processor"].append(took[1] / count)
    return found


def summary(values: list[float], digits: int) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(middle, digits), "low": round(low, digits), "high": round(high, digits)}


def shares(times: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Of each round: the whole over both bounds, and HR over AR, without decoding and with it."""

    def of(name: str, kind: str) -> np.ndarray:
        return np.array(times[name][kind])

    found = {}
    bounding = ("network", "decoding", "encoding")
    for whole in ("whole", "whole, overlapped"):
        longest = np.max([of(name, "clock") for name in bounding], axis=0)
        work = np.sum([of(name, "processor") for name in bounding], axis=0)
        found[f"{whole} / shared, processor"] = work / of(whole, "processor")
        found[f"{whole} / shared, clock"] = work / CORES / of(whole, "clock")
        found[f"{whole} / longest, clock"] = longest / of(whole, "clock")
    for kind in ("processor", "clock"):
        hr, ar = of("segmenting decoded frames, HR everywhere", kind), of("segmenting decoded frames", kind)
        found[f"HR / AR, network, {kind}"] = of("network, HR everywhere", kind) / of("network", kind)
        found[f"HR / AR, {kind}"] = hr / ar
        found[f"HR / AR, with decoding, {kind}"] = (hr + of("decoding", kind)) / (
            ar + of("decoding with vectors", kind)
        )
        found[f"by default / AR, {kind}"] = of("by default, one frame more", kind) / of("whole, one frame more", kind)
    return {name: summary(values.tolist(), 3) for name, values in found.items()}


def compute(parts: Parts) -> dict[str, float]:
    """GMACs of frames, and HR everywhere over the mean of a group."""
    counted = gmacs(parts.segmenter.model, *input_size(parts.size, parts.segmenter.height))  # type: ignore[arg-type]
    mean = gop_average(counted["keyframe"], counted["ar"], GOP)
    return {**{name: round(x, 3) for name, x in counted.items()}, "HR / AR": round(counted["hr"] / mean, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--frames", type=int, default=2 * GOP, help="whole groups")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch")
    parser.add_argument("--out", type=Path, help="JSON")
    given = parser.parse_args()
    report: dict[str, Any] = {"facts": facts(["cpu"]), "cores": CORES, "video": Path(given.video).name}
    report |= {"waiting threads": os.environ.get("OMP_WAIT_POLICY", "spin"), "rows": {}}
    keep_pages()
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(given.video, given.frames, folder)
        report |= {"frames": parts.count, "size": parts.size, "gmacs": compute(parts)}
        for threads in given.threads:
            torch.set_num_threads(threads)
            times = timed(parts.ways(), parts.count, given.rounds)
            ms = {
                name: {kind: summary([1e3 * x for x in values], 2) for kind, values in kinds.items()}
                for name, kinds in times.items()
            }
            row = {"ms a frame": ms, "shares": shares(times), "load": os.getloadavg()[0]}
            report["rows"][f"{threads} threads" if threads > 1 else "1 thread"] = row
            print(threads, json.dumps(row, indent=1), flush=True)
            if given.out:
                given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
