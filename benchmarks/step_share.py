"""How much of a frame's time is the part that one fused operator would do: e, warps, weights and sums of logits.

    python benchmarks/step_share.py [--weights WEIGHTS]

Random pictures and vectors of 640x360, one thread, processor time: each way on the same frames in turn, the median of
the share over `--rounds`, with the quartiles. A group has a keyframe every `--gop` frames; the branch's pass on the
keyframe, which the residual needs, counts as a network's. Encoding, decoding and vectors are left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from arseg.networks.arseg_net import ARSegNet
from arseg.networks.bidirectional import bidirectional_logits, pixel_luma
from arseg.preprocess import input_size
from arseg.segment.segmenter import VideoSegmenter
from arseg.train.trust import PLAIN, having

SIZE, BLOCK, DISTANCE = (360, 640), 4, 4
RESIDUAL = {**PLAIN, "keyframe_weight": 2.0, "keyframe_tau": 12.0, "keyframe_residual": 0.74, "residual_tau": 33.6}


class Spent:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began


def once(net: ARSegNet, gop: int, rng: np.random.Generator) -> dict[str, float]:
    """Of each way, the share of a group's time that is joining; also that of a frame between keyframes, in ms."""
    spent, size = Spent(), input_size(SIZE, net.input_height)
    frame, key = torch.randn(2, 1, 3, *size).unbind(0)
    pictures = torch.from_numpy(rng.integers(0, 256, (3, 1, *SIZE, 3), np.uint8)).unbind(0)
    cells = (SIZE[0] // BLOCK, SIZE[1] // BLOCK)
    motion = torch.from_numpy(rng.integers(-40, 40, (1, *cells, 2), np.int16))
    where = {"block": BLOCK, "frame_size": SIZE}
    with spent.on("key"):
        reference = net.keyframe(key)
        kept = net.classifier(reference)
    with spent.on("out"):
        net.labels(kept, SIZE)
    steps = torch.tensor([DISTANCE])
    with spent.on("both"):
        lumas = [pixel_luma(picture, kept.shape[2:]) for picture in pictures]
        bidirectional_logits(kept, kept, motion, motion, steps, steps, *lumas, **where)
    with having(net, RESIDUAL):
        with spent.on("signals"):
            signals = net.keyframe_signals(key, reference, kept)
        with spent.on("low"):
            low = net.low_res(frame)
        with spent.on("fuse"):
            fused = net.fused_logits(low, reference, motion, **where)
        luma = net.keyframe_signals(frame, reference, kept).luma
        with spent.on("join"):
            net._with_keyframe(fused, low, reference, motion, DISTANCE, kept, luma, signals, **where)
    with having(net, {**RESIDUAL, "keyframe_residual": 0.0}), spent.on("join by trust"):
        net._with_keyframe(fused, low, reference, motion, DISTANCE, kept, luma, signals, **where)
    with having(net, {**RESIDUAL, "keyframe_tau": None, "keyframe_residual": 0.0}), spent.on("join as it is"):
        net._with_keyframe(fused, low, reference, motion, DISTANCE, kept, None, None, **where)
    s, others = spent.seconds, gop - 1
    ar = s["key"] + gop * s["out"] + others * (s["low"] + s["fuse"])
    found = {"ar": ("join as it is", ar), "ar, trust": ("join by trust", ar)}
    found |= {"ar, trust and residual": ("join", ar + s["signals"])}
    found |= {"bidirectional": ("both", s["key"] + gop * s["out"])}
    shares = {name: others * s[part] / (rest + others * s[part]) for name, (part, rest) in found.items()}
    return {**shares, **{f"{name}, ms": 1000 * s[part] for name, (part, _) in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="of kind ar; the package's")
    parser.add_argument("--gop", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        net = VideoSegmenter(asked.weights).model
        once(net, asked.gop, rng)
        rounds = [once(net, asked.gop, rng) for _ in range(asked.rounds)]
    for name in rounds[0]:
        quartiles = np.quantile([one[name] for one in rounds], (0.25, 0.5, 0.75)).round(4).tolist()
        print(json.dumps({"way": name, "quartiles": quartiles, "gop": asked.gop}))


if __name__ == "__main__":
    main()
