"""Pictures in files: what is darker stays darker, and what is no picture is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arseg.data.datasets import read_image
from arseg.errors import InputError
from arseg.video import VideoError
from arseg.video.picture_reader import PictureReader

RAMP = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(48, 0)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bits_are_brought_to_eight(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    Image.fromarray(RAMP).save(path)
    (frame,) = PictureReader((path,))
    expected = np.round(RAMP / 257).astype(np.uint8)[..., None].repeat(3, 2)
    np.testing.assert_array_equal(frame.image, expected)
    np.testing.assert_array_equal(read_image(path), expected)


def test_bytes_in_a_larger_type_are_bytes(tmp_path: Path) -> None:
    Image.fromarray(np.full((48, 64), 200, np.int32)).save(tmp_path / "a.tif")
    assert (read_image(tmp_path / "a.tif") == 200).all()


def test_what_has_no_range_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((48, 64), np.float32)).save(tmp_path / "f.tif")
    Image.fromarray(np.full((48, 64), 70_000, np.int32)).save(tmp_path / "i.tif")
    for name, words in (("f.tif", "floating point, whose range is not known"), ("i.tif", "beyond 16 bits")):
        with pytest.raises(VideoError, match=rf"{name} cannot be read \(its values are .*{words}\): give a picture"):
            PictureReader((tmp_path / name,))
        with pytest.raises(InputError, match=rf"{name}: cannot be read as a picture \(its values are .*{words}\)"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("place", range(8, 60))
def test_damaged_pictures_are_told(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 0x1F
    path.write_bytes(data)
    try:
        frames = list(PictureReader((path,)))
    except VideoError as error:
        assert "cannot be read (it is damaged, or no picture): give a picture" in str(error)
    else:
        assert frames[0].image.dtype == np.uint8
