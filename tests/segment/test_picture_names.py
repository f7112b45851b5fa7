"""What is written for pictures has their names, and no two have one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_segmenter import tiny_segmenter
from PIL import Image

from arseg.acceleration.network_source import anywhere
from arseg.segment.outputs import output_for
from arseg.segment.run import segment_file
from arseg.segment.selection import Selection
from arseg.segment.sources import sources_of
from arseg.video.picture_reader import PictureReader
from arseg.video.properties import VideoProperties


def pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((24, 32, 3), 40 * number, np.uint8)).save(path)


def named(folder: Path) -> list[str]:
    (source,) = sources_of([f"{folder}/**/*.*"])
    return list(PictureReader(source.pictures).names)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["x.png", "y.png"], ["x", "y"]),
        (["a/x.png", "b/y.png"], ["x", "y"]),
        (["x.bmp", "x.png"], ["x_bmp", "x_png"]),
        (["a/x.png", "b/x.png"], ["a_x", "b_x"]),
        (["a/x.bmp", "a/x.png", "b/x.png"], ["a_x_bmp", "a_x_png", "b_x_png"]),
        (["a/b/x.png", "a/x.png", "a_b/x.png"], ["000000_x", "000001_x", "000002_x"]),
    ],
)
def test_names_differ(tmp_path, files, names):
    pictures(tmp_path, *files)
    assert sorted(named(tmp_path)) == names


@pytest.mark.parametrize("kind", ["labels", "overlay-pictures"])
def test_each_picture_has_a_file(tmp_path, kind):
    pictures(tmp_path / "data", "a/x.png", "b/x.png", "b/y.png")
    (source,) = sources_of([f"{tmp_path}/data/**/*.png"])
    out = tmp_path / "out"
    reader = PictureReader(source.pictures)
    assert segment_file(tiny_segmenter(), reader, [output_for(f"{kind}:{out}/")]) == 3
    assert sorted(path.name for path in out.iterdir()) == ["a_x.png", "b_x.png", "b_y.png"]


def test_every_other_picture_keeps_its_name(tmp_path):
    pictures(tmp_path / "data", "u.png", "v.png", "w.png")
    (source,) = sources_of([str(tmp_path / "data")])
    out = tmp_path / "out"
    segment_file(
        tiny_segmenter(), PictureReader(source.pictures), [output_for(f"labels:{out}/")], selection=Selection(every=2)
    )
    assert sorted(path.name for path in out.iterdir()) == ["u.png", "w.png"]
    assert VideoProperties.of(PictureReader(source.pictures)).upright().names == ("u", "v", "w")


def test_a_line_that_leads_to_the_same_network_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("saved").mkdir()
    for name in ("net.py", "lraspp", "w.safetensors", "saved/config.json"):
        Path(name).touch()
    for line, expected in {
        "net.py:make": f"{tmp_path}/net.py:make",
        "w.safetensors": f"{tmp_path}/w.safetensors",
        "transformers:saved?num_labels=3": f"transformers:{tmp_path}/saved?num_labels=3",
        "transformers:segformer": "transformers:segformer",
        "torchvision:lraspp": "torchvision:lraspp",
        "package.module:make": "package.module:make",
        "lite0": "lite0",
    }.items():
        assert anywhere(line) == expected
