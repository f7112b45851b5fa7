"""`arseg inspect`: what it says about streams of known make, and what it draws."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.video_clips import busy_scene, pan, write_av, write_sound
from PIL import Image

from arseg.errors import InputError
from arseg.inspect.likeness import psnr, warp
from arseg.inspect.reading import inspect
from arseg.inspect.samples import DrawnFrame, frame_numbers, samples
from arseg.inspect.sheet import sheet
from arseg.inspect.views import arrows, error_colours, field_colours, mask
from arseg.video import VideoReader, encode
from arseg.video.motion import BlockField

PAN = {"options": {"bf": "0", "refs": "1", "sc_threshold": "0", "g": "6", "keyint_min": "6"}, "gop": 6}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """15 frames of a pan by (3, 1) pixels a frame, an I frame every 6, one reference."""
    return write_av(tmp_path_factory.mktemp("clip") / "pan.mp4", pan(15, (96, 128), 3.0, 1.0), **PAN)


def only_line(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("arseg: ")
    return lines[0]


def test_json_tells_what_was_encoded(arseg, clip):
    code, out, err = arseg("inspect", clip, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["codec"], facts["width"], facts["height"], facts["rate"]) == ("h264", 128, 96, 30)
    assert facts["pixel_format"] == "yuv420p" and facts["rotation"] == 0
    assert facts["frames"] == {"stated": 15, "read": 15, "limited": False}
    assert facts["types"] == {"I": 3, "P": 12, "B": 0}
    assert facts["gop_lengths"] == {"count": 2, "min": 6, "median": 6, "max": 6}
    assert facts["references"] == {"most": 1, "share_of_p_with_one": 1}
    assert facts["verdict"] == "exact" and facts["needs_transcoding"] is None
    assert facts["fields"] == {"exact": 12, "inferred": 0, "transcoded": 0}
    assert 0 <= facts["intra"] < 0.2
    rows = facts["gain"]["by_distance"]
    assert [(row["distance"], row["frames"]) for row in rows] == [(1, 3), (2, 3), (3, 2), (4, 2), (5, 2)]
    assert all(row["gain_db"] > 6 for row in rows), "a pan is what vectors are best at"
    weights = [row["frames"] for row in rows]
    everything = facts["gain"]["all"]
    assert everything["frames"] == 12
    assert everything["moved_db"] == pytest.approx(np.average([r["moved_db"] for r in rows], weights=weights), abs=0.02)
    assert facts["losses"] == [] and facts["ended"] is None


def test_text_is_for_80_columns(arseg, clip, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = arseg("inspect", clip)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    said = " ".join(out.split())
    for fact in (
        "H.264, profile High",
        "128x96 pixels as coded, 30 frames a second",
        "15 read, of 15 that the file states",
        "3 I (whole pictures), 12 P",
        "an I frame every 6 frames",
        "each frame is predicted from just one",
        "exact in 12 frames",
        "have no vector",
        "losses none",
        "What the vectors are worth",
    ):
        assert fact in said, fact


def test_names_are_no_markup(arseg):
    write_av(Path("[bold]a.mp4"), pan(3, (32, 32), 1, 0), **PAN)
    code, out, _ = arseg("inspect", "[bold]a.mp4")
    assert code == 0 and "[bold]a.mp4" in out


def test_several_references_and_b_frames_are_inferred(arseg, tmp_path):
    options = {"refs": "4", "bf": "2", "b_strategy": "0", "sc_threshold": "0"}
    clip = write_av(tmp_path / "b.mp4", busy_scene(14, (96, 128)), options=options, b_frames=2, gop=24)
    facts = json.loads(arseg("inspect", clip, "--json")[1])
    assert facts["verdict"] in ("inferred", "partly inferred")
    assert facts["types"]["B"] > 0 and sum(facts["types"].values()) == 14
    assert facts["references"]["most"] > 1 and 0 <= facts["references"]["share_of_p_with_one"] < 1
    assert facts["gop_lengths"]["count"] == 0


def test_a_codec_without_vectors_is_transcoded_and_said_to_be(arseg, tmp_path):
    clip = write_av(tmp_path / "v.mkv", pan(9, (64, 96), 2, 0), codec="ffv1")
    facts = json.loads(arseg("inspect", clip, "--json")[1])
    assert facts["verdict"] == "needs transcoding" and "ffv1" in facts["needs_transcoding"]
    assert facts["fields"] == {"exact": 0, "inferred": 0, "transcoded": 8}
    assert facts["types"]["I"] == sum(facts["types"].values()) - facts["types"]["P"], "types of the codec itself"
    assert facts["references"]["most"] is None
    assert facts["gain"]["all"]["gain_db"] > 3
    code, out, _ = arseg("inspect", clip, "-o", "p.png")
    assert code == 0
    assert "needs transcoding" in out and "(transcoded)" in out
    assert Path("p.png").exists()


def test_interlaced_video_needs_transcoding(arseg, tmp_path):
    fields = {"options": {"x264-params": "tff=1"}, "interlaced": True}
    clip = write_av(tmp_path / "i.mkv", pan(6, (64, 96), 2, 0), **fields)
    code, out, err = arseg("inspect", clip, "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["verdict"] == "needs transcoding" and "interlaced" in facts["needs_transcoding"]
    assert sum(facts["types"].values()) == 6

    first = write_av(tmp_path / "first.h264", pan(6, (64, 96), 2, 0), **PAN).read_bytes()
    rest = write_av(tmp_path / "rest.h264", pan(6, (64, 96), 2, 0), **fields).read_bytes()
    (tmp_path / "later.h264").write_bytes(first + rest)
    code, out, err = arseg("inspect", "later.h264", "--json", "-o", "p.png")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["verdict"] == "needs transcoding" and "interlaced" in facts["needs_transcoding"]
    assert facts["frames"]["read"] >= 6 and Path("p.png").exists()


def test_damage_is_told_as_losses(arseg, clip, tmp_path):
    whole = clip.read_bytes()
    broken = tmp_path / "broken.ts"
    write_av(broken, pan(60, (96, 128), 3, 1), **PAN)
    data = bytearray(broken.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 188 * 12):
        data[place] = 0xFF
    broken.write_bytes(data)
    facts = json.loads(arseg("inspect", broken, "--json")[1])
    assert facts["losses"] and facts["frames"]["read"] < 60
    assert clip.read_bytes() == whole


def test_limit(arseg, clip):
    facts = json.loads(arseg("inspect", clip, "--frames", 4, "--json")[1])
    assert facts["frames"] == {"stated": 15, "read": 4, "limited": True}
    assert "see --frames" in " ".join(arseg("inspect", clip, "--frames", 4)[1].split())


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (2, 400), (400, 2)])
def test_smallest_and_thinnest(arseg, tmp_path, size):
    images = [np.full((*size, 3), 40 * i, np.uint8) for i in range(4)]
    clip = write_av(tmp_path / "small.mkv", images, codec="ffv1", pixels="bgr0")
    code, out, err = arseg("inspect", clip, "-o", "p.png", "--at", "0,1,3", "--json")
    assert code == 0, err
    assert json.loads(out)["frames"]["read"] == 4
    with Image.open("p.png") as picture:
        assert picture.width <= 2400


def test_a_single_frame(arseg, tmp_path):
    encode(pan(1, (32, 48), 0, 0), tmp_path / "one.mp4")
    code, out, err = arseg("inspect", "one.mp4", "-o", "p.png")
    assert code == 0, err
    assert "there is no frame that is predicted" in " ".join(out.split()) and "worth" not in out
    facts = json.loads(arseg("inspect", "one.mp4", "--json")[1])
    assert facts["verdict"] == "no motion" and facts["gain"]["all"] is None and facts["intra"] is None
    assert Path("p.png").exists()


def test_frames_of_changing_size(arseg, tmp_path):
    with open(tmp_path / "both.h264", "wb") as both:
        for size in ((64, 96), (96, 64)):
            both.write(write_av(tmp_path / "part.h264", pan(4, size, 1, 0), **PAN).read_bytes())
    code, out, err = arseg("inspect", "both.h264", "-o", "p.png", "--at", "1,6", "--json")
    assert code == 0, err
    assert json.loads(out)["sizes"] == [[96, 64], [64, 96]]


def test_picture_goes_to_its_file_and_json_alone_to_stdout(arseg, clip):
    code, out, err = arseg("inspect", clip, "-o", "p.png", "--at", "7, 0,8", "--json")
    assert code == 0
    assert json.loads(out)["codec"] == "h264" and err == "p.png: frames 0, 7, 8\n"
    assert os.listdir() == ["p.png"]
    with Image.open("p.png") as picture:
        assert picture.mode == "RGB" and 900 < picture.width <= 2400


def test_frames_chosen_without_being_asked(clip, tmp_path):
    assert inspect(clip).worth_drawing == (1, 3, 5)
    short = write_av(tmp_path / "short.mp4", pan(2, (64, 64), 1, 0), **PAN)
    assert inspect(short).worth_drawing == (1,)
    # The first group is too short to have three.
    scenes = [*pan(2, (64, 64), 1, 0), *pan(6, (64, 64), 1, 0, seed=5)]
    late = write_av(tmp_path / "late.mp4", scenes, options={"force_key_frames": "0", "bf": "0"}, gop=2)
    assert inspect(late).worth_drawing == (1,)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        ("15", "--at 15: .* read from frame 0 to 14"),
        ("300", "--at 300: only frames 0 to 299"),
        ("x", "--at x: expected"),
        ("1,,2", "--at 1,,2: expected"),
        ("-1", "--at -1: expected"),
        (",".join(map(str, range(30))), "--at: 30 frames are too many"),
    ],
)
def test_frames_that_cannot_be_drawn(arseg, clip, at, why):
    code, out, err = arseg("inspect", clip, f"--at={at}", "-o", "p.png")
    assert (code, out) == (2, "")
    assert re.search(why, only_line(err)), err
    assert os.listdir() == []


def test_faults_of_the_arguments(arseg, clip):
    for arguments, why in (
        (["-o", "no/p.png"], "no/p.png: cannot be written"),
        (["-o", str(clip)], "is the video itself"),
        (["--at", "1"], "give -o"),
    ):
        code, out, err = arseg("inspect", clip, *arguments)
        assert (code, out) == (2, "") and why in only_line(err)


def test_what_is_no_video_stays_an_error(arseg, tmp_path):
    (tmp_path / "text.mp4").write_text("no video\n" * 99)
    write_sound(tmp_path / "sound.mp4")
    for name in ("text.mp4", "sound.mp4", "missing.mp4"):
        code, out, err = arseg("inspect", name, "--json")
        assert (code, out) == (2, "") and name in only_line(err)


def test_warp_on_a_coarse_grid_reads_the_same_places():
    rng = np.random.default_rng(0)
    reference = rng.uniform(0, 255, (37, 50)).astype(np.float32)
    field = BlockField(rng.integers(-90, 90, (10, 13, 2), dtype=np.int16), np.ones((10, 13), bool), 4)
    whole = warp(reference, field)
    assert whole.shape == reference.shape and whole.dtype == np.float32
    np.testing.assert_array_equal(warp(reference, field, 3), whole[1::3, 1::3])
    # By hand: (x, y) = (20.5, 11.25) for the pixel (18, 11).
    field.vectors[2, 4] = (10, 1)
    a = reference[11, 20:22].mean() * 0.75 + reference[12, 20:22].mean() * 0.25
    assert warp(reference, field)[11, 18] == pytest.approx(a, rel=1e-5)


def test_psnr():
    assert psnr(np.zeros(4), np.zeros(4)) == 99
    assert psnr(np.zeros(4), np.full(4, 255.0)) == pytest.approx(0)


def test_frame_numbers_are_sorted_and_single():
    assert frame_numbers("5, 1,5", 10) == [1, 5]
    with pytest.raises(InputError, match="raise --frames"):
        frame_numbers("10", 10)


def test_samples_come_with_the_keyframe_of_their_group(clip):
    found = inspect(clip)
    drawn = list(samples(found, [7, 1]))
    assert [(s.frame.index, s.keyframe_index) for s in drawn] == [(1, 0), (7, 6)]
    with VideoReader(clip) as reader:
        image = next(frame.image for frame in reader if frame.index == 6)
    np.testing.assert_allclose(drawn[1].keyframe, image @ [0.299, 0.587, 0.114], rtol=1e-5)


def test_colours_of_the_field_tell_direction_and_length():
    # Vectors point to where content was: -x is content that moves right.
    vectors = np.array([[(0, 0), (-40, 0), (-20, 0), (40, 0), (-80, 0)]], np.int16)
    still, right, half, left, beyond = field_colours(vectors, 10.0)[0].astype(int)
    assert np.ptp(still) == 0
    assert tuple(right) == (255, 0, 0) and tuple(beyond) == tuple(right)
    assert tuple(left) == (0, 255, 255)
    assert still[0] < half[0] < right[0]


def test_colours_of_the_error_grow_brighter():
    levels = error_colours(np.arange(0, 70, dtype=np.float32)[None])[0].astype(int).sum(axis=1)
    assert levels[0] == 0 and (np.diff(levels) >= 0).all() and levels[64] == levels[69] > 700


def test_mask_colours_the_filled_cells_alone():
    image = np.full((10, 14, 3), 200, np.uint8)
    valid = np.ones((3, 4), bool)
    valid[1, 2] = False
    picture = mask(image, BlockField(np.zeros((3, 4, 2), np.int16), valid, 4))
    coloured = np.ptp(picture.astype(int), axis=2) > 30
    expected = np.zeros((10, 14), bool)
    expected[4:8, 8:12] = True
    np.testing.assert_array_equal(coloured, expected)


def test_arrows_lie_between_where_content_was_and_is():
    image = np.zeros((48, 48, 3), np.uint8)
    field = BlockField(np.zeros((3, 3, 2), np.int16), np.ones((3, 3), bool), 16)
    field.vectors[2, 2] = (-4 * 20, 0)  # content moved 20 pixels to the right, to (36, 36)
    picture, factor = arrows(image, field, (48, 48))
    assert picture.size == (48, 48)
    yellow = np.asarray(picture)[..., 0] > 120
    assert factor == 1
    assert yellow[36, 17:36].all() and not yellow[36, 40:].any()
    assert yellow[:, 30].sum() > yellow[:, 20].sum(), "the head is at the end"


def test_sheet_of_a_keyframe_is_one_panel(clip):
    found = inspect(clip)
    one = sheet("t", samples(found, [0]))
    three = sheet("a title that is much longer than there is room for " * 9, samples(found, [1]))
    assert one.dtype == np.uint8 and one.shape[1] < three.shape[1] <= 2400
    assert isinstance(next(iter(samples(found, [0]))), DrawnFrame)


def test_a_pipe_is_not_waited_for(arseg, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code, out, err = arseg("inspect", "pipe")
    assert (code, out) == (2, "") and "pipe: is a pipe, which can be read once" in err
