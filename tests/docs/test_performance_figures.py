"""Plots show what is in benchmarks/results: the PNG says what it was drawn from."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import frontier_plot
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures want the extra `plot`")
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"


def module_of(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"figures_{name}", FIGURES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    path = list(sys.path)
    specification.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.fixture(scope="module")
def performance() -> ModuleType:
    return module_of("performance")


def data_of(path: Path):
    with Image.open(path) as image:
        return json.loads(image.text["data"])


def test_plots_are_drawn_from_the_results(performance):
    for name, (data, _) in performance.PLOTS.items():
        drawn = data_of(FIGURES / "performance" / f"{name}.png")
        assert drawn == json.loads(json.dumps(data())), f"{name} is old: run python docs/figures/performance.py"
    assert {path.stem for path in (FIGURES / "performance").iterdir()} == set(performance.PLOTS)


@pytest.mark.slow
def test_the_motion_picture_is_what_inspect_draws(tmp_path):
    """Nearly: an encoder of another version chooses some vectors otherwise."""
    motion = module_of("motion")
    with Image.open(motion.draw(tmp_path / "motion.png")) as now, Image.open(motion.OUT) as kept:
        assert now.size == kept.size
        difference = np.abs(np.asarray(now.convert("RGB"), np.int16) - np.asarray(kept.convert("RGB"), np.int16))
    assert (difference.max(-1) > 48).mean() < 0.02, "it is old: run python docs/figures/motion.py"


def test_the_frontier_is_drawn_from_the_results():
    drawn = frontier_plot.drawn(ROOT / "benchmarks" / "results")
    assert data_of(FIGURES / "frontier.png") == json.loads(json.dumps(drawn)), "run benchmarks/frontier.py --draw"
    assert {name: len(panels) for name, panels in drawn.items()} == dict.fromkeys(frontier_plot.NETWORKS, 3)


def test_a_result_that_changed_is_seen(performance, monkeypatch):
    changed = copy.deepcopy(performance.load("memory_flat.json"))
    changed["resident_mib"]["1000"] += 0.1
    monkeypatch.setattr(performance, "load", lambda name: changed)
    data, _ = performance.PLOTS["memory"]
    assert data_of(FIGURES / "performance" / "memory.png") != json.loads(json.dumps(data()))


def test_a_plot_keeps_what_it_was_drawn_from(performance, tmp_path):
    (path,) = performance.draw(["memory"], tmp_path)
    assert data_of(path) == performance.memory_data()
    with pytest.raises(SystemExit, match="no plot speed: there are cpu, card"):
        performance.draw(["speed"], tmp_path)


def test_pages_show_every_plot(performance):
    shown = [
        name
        for page in ("performance.md", "howto/huggingface.md", "reproduce.md")
        for name in re.findall(r"figures/performance/(\w+)\.png\)", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    ]
    assert sorted(shown) == sorted(performance.PLOTS)
