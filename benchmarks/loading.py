"""How fast batches are loaded: samples a second by recipe and number of worker processes, with a step without network.

    python benchmarks/loading.py CAMVID --json benchmarks/results/loading.json
    python benchmarks/loading.py CAMVID --device cuda --workers 0 4 8 --steps 100     # what a GPU would get

Below the rates there is the CPU time of one sample in one process, part by part. What n cores would give, n times the
share of it that the processes have, is an estimate, and called so. Rounds are interleaved, and medians shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from arseg.data.pairs import clip_files, stored_clips
from arseg.data.registry import DATA_SETS
from arseg.data.stills import compressed
from arseg.labels import CAMVID
from arseg.train.batches import MakeBatch, batches, moved
from arseg.train.default.pairs import frames_at, sample_pairs
from arseg.train.default.recipes import LARGE, ArRecipe, HrRecipe
from arseg.train.default.stills import Donors, sample_stills
from arseg.train.finish import Finish
from arseg.train.paper.data import clip_pairs, finish_of, frame_loader, pair_loader
from arseg.train.paper.recipes import AR_RECIPES, HR_RECIPES
from arseg.train.sampling import Sampler


@dataclass(frozen=True)
class Case:
    """A recipe's batches: what makes them, what finishes them, and how many samples one has."""

    make: MakeBatch
    finish: Finish
    batch: int


def cases(camvid: Path, folder: Path, most: int) -> dict[str, Case]:
    """On the first `most` stills; those of the paper's recipes with the crops that fit 480x360."""
    data = DATA_SETS["camvid"].frames(camvid, "train")
    data.frames = data.frames[:most]
    stills = [data[index] for index in range(len(data))]
    clips = stored_clips([path for _, path in clip_files(folder, stills, 0)])
    hr, ar = (replace(found["camvid-psp18"], crop=(360, 480)) for found in (HR_RECIPES, AR_RECIPES))
    donors, versions = Donors(stills, [2, 5, 6, 8, 9, 10]), [stills, compressed(stills, 28.0)]
    default, second, own = HrRecipe(), ArRecipe(), Finish.of(CAMVID)
    pairs, alone = clip_pairs(clips, ar), frames_at(clips, second.distances)
    count = len(data)

    def stills_of(recipe: HrRecipe) -> Case:
        places = [(versions, recipe.batch)]
        return Case(lambda _, rng: sample_stills(places, donors, recipe, rng), own, recipe.batch)

    return {
        "paper hr": Case(Sampler(frame_loader(data, hr), count, hr.batch), finish_of(hr), hr.batch),
        "paper ar": Case(Sampler(pair_loader(pairs, ar, (45, 60)), count, ar.batch), finish_of(ar), ar.batch),
        "default hr": stills_of(default),
        "default-large hr": stills_of(LARGE),
        "default ar": Case(lambda _, rng: sample_pairs([(alone, second.batch)], second, rng), own, second.batch),
    }


def rate(case: Case, workers: int, steps: int, device: torch.device) -> float:
    """Samples a second that reach a step which only looks at one number of each batch; without the start."""
    begun = 0.0
    warm = 2 * max(1, workers)  # until then what is made was made before the clock ran
    last = torch.zeros((), device=device)
    options: dict[str, Any] = {"workers": workers, "device": device, "finish": case.finish}
    for step, (part,) in batches(case.make, 0, warm + steps, 0, **options):
        last = last + moved(part, device, case.finish)["image"][0, 0, 0, 0]
        if step == warm - 1:
            last.item()
            begun = time.perf_counter()
    last.item()
    return steps * case.batch / (time.perf_counter() - begun)


def parts(case: Case, steps: int) -> dict[str, float]:
    """CPU milliseconds of a sample: what processes do ("made"), and what is left to the device ("finished")."""
    times: dict[str, list[float]] = {"made": [], "finished": []}
    for step in range(steps):
        times["made"].append(_seconds(lambda step=step: case.make(step, np.random.default_rng((0, step)))))
        batch = case.make(step, np.random.default_rng((0, step)))
        times["finished"].append(_seconds(lambda batch=batch: case.finish(batch)))
    return {name: round(1e3 * statistics.median(found[1:]) / case.batch, 3) for name, found in times.items()}


def _seconds(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def processor() -> str:
    """As the system names it, with the number of cores that this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=64, help="stills that are used")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    record: dict[str, Any] = {
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "frames": given.frames,
        "steps": given.steps,
        "rounds": given.rounds,
        "load": [round(value, 1) for value in os.getloadavg()],
        "recipes": {},
    }
    with TemporaryDirectory() as folder:
        for name, case in cases(given.camvid, Path(folder), given.frames).items():
            found: dict[int, list[float]] = {workers: [] for workers in given.workers}
            cpu = parts(case, 8)
            for _ in range(given.rounds):
                for workers, rates in found.items():
                    rates.append(round(rate(case, workers, given.steps, device), 1))
            record["recipes"][name] = {
                "batch": case.batch,
                "cpu_ms_a_sample": cpu,
                "samples_a_second": {str(workers): rates for workers, rates in found.items()},
                "estimate_ms_a_step_of_8_workers": round(cpu["made"] * case.batch / 8, 2),
            }
            shown = "  ".join(f"{w} workers {statistics.median(r):.0f}/s" for w, r in found.items())
            if given.json:
                given.json.write_text(json.dumps(record, indent=1) + "\n")
            print(
                f"{name:17} made {cpu['made']:.2f} ms, finished {cpu['finished']:.2f} ms a sample  {shown}", flush=True
            )


if __name__ == "__main__":
    main()
