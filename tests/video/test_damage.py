"""Lost and damaged frames: what is delivered, what is raised, what is reported, and where reading goes on."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from helpers.annex_b import IDR, annex_b, is_reference, kind, pictures, split, without
from helpers.video_clips import pan, write_av

from arseg.video import (
    Loss,
    NotAVideoError,
    ReferenceGapError,
    TruncatedStreamError,
    VideoError,
    VideoFrame,
    VideoReader,
    encode,
)

# Two groups of 12: I P … P I P … P
CLIP = pan(24, (64, 64), 2, 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "whole.264"
    encode(CLIP, path)
    return path


@pytest.fixture(scope="module")
def images(whole: Path) -> list[np.ndarray]:
    with VideoReader(whole) as reader:
        return [frame.image for frame in reader]


def stopped(path: Path, kind: type[VideoError] = VideoError) -> tuple[list[VideoFrame], VideoError]:
    """The frames before the error, and the error: one sentence with the file in it, and what to do."""
    frames = []
    with pytest.raises(kind) as caught, VideoReader(path) as reader:
        for frame in reader:
            frames.append(frame)
    text = str(caught.value)
    assert text.startswith(f"{path} ") and "\n" not in text and "on_error='resync'" in text
    assert caught.value.path == path or caught.value.path == str(path)
    return frames, caught.value


def resumed(path: Path) -> tuple[list[VideoFrame], list[Loss]]:
    with VideoReader(path, on_error="resync") as reader:
        frames = list(reader)
        assert [f.index for f in frames] == sorted({f.index for f in frames})
        assert all(f.keyframe == (f.motion is None) == (f.distance == 0) for f in frames)
        return frames, reader.losses


def assert_images(frames: list[VideoFrame], expected: list[np.ndarray]) -> None:
    assert len(frames) == len(expected)
    for frame, image in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, image, err_msg=f"frame {frame.index}")


@pytest.mark.parametrize(
    ("lost", "missing", "good_after"), [((4,), 1, 12), ((4, 5), 2, 12), ((4, 8), 1, 12), ((1,), 1, 12), ((15,), 1, 24)]
)
def test_lost_p_frames(
    tmp_path: Path, whole: Path, images: list[np.ndarray], lost: tuple[int, ...], missing: int, good_after: int
) -> None:
    path = without(tmp_path / "lost.264", whole, *lost)
    frames, error = stopped(path, ReferenceGapError)
    assert_images(frames, images[: lost[0]])
    assert error.frame == lost[0]
    assert f"lacks {missing} frame{'s' * (missing > 1)} before frame {lost[0]}" in str(error)

    frames, losses = resumed(path)
    assert_images(frames, images[: lost[0]] + images[good_after:])
    assert len(losses) == 1 and losses[0].frame == lost[0]
    delivered, known_lost = len(frames), losses[0].count
    assert known_lost is not None and delivered + known_lost in (24, 24 - len(lost) + missing)
    if good_after < 24:
        assert frames[lost[0]].keyframe and frames[lost[0]].frame_type == "I"


def test_last_frame_of_a_group_may_be_lost(tmp_path: Path, whole: Path, images: list[np.ndarray]) -> None:
    """Nothing is predicted from it, and nothing tells that there was one."""
    path = without(tmp_path / "lost.264", whole, 11)
    with VideoReader(path) as reader:
        assert_images(list(reader), images[:11] + images[12:])
        assert reader.losses == []


def test_starts_on_a_p_frame(tmp_path: Path, whole: Path, images: list[np.ndarray]) -> None:
    path = without(tmp_path / "headless.264", whole, 0)
    frames, error = stopped(path, ReferenceGapError)
    assert frames == [] and error.frame == 0
    assert "does not start with a keyframe: its first 11 frames cannot be decoded" in str(error)
    frames, losses = resumed(path)
    assert_images(frames, images[12:])
    assert frames[0].index == 0 and frames[0].keyframe
    assert losses == [Loss(0, 11, "before the first keyframe")]


def test_lost_keyframe(tmp_path: Path, whole: Path, images: list[np.ndarray]) -> None:
    path = without(tmp_path / "lost.264", whole, 12)
    frames, error = stopped(path, ReferenceGapError)
    assert_images(frames, images[:12])
    assert error.frame == 12
    frames, losses = resumed(path)
    assert_images(frames, images[:12])
    assert [loss.frame for loss in losses] == [12] and losses[0].count is not None and losses[0].count >= 11


def hurt(path: Path, source: Path, picture: int, change: str) -> Path:
    """Damage a picture behind its slice header."""
    units = [bytearray(unit) for unit in split(annex_b(source))]
    unit = units[pictures([bytes(u) for u in units])[picture]]
    if change == "flip":
        for i in range(len(unit) // 4, len(unit)):
            unit[i] ^= 0xFF
    elif change == "cut":
        del unit[len(unit) // 2 :]
    else:
        del unit[6:]
    path.write_bytes(b"".join(units))
    return path


@pytest.mark.parametrize("change", ["flip", "cut"])
@pytest.mark.parametrize("picture", [6, 1])
def test_damaged_p_frame(tmp_path: Path, whole: Path, images: list[np.ndarray], change: str, picture: int) -> None:
    """The decoder conceals it in silence, but says so where it is asked."""
    path = hurt(tmp_path / "hurt.264", whole, picture, change)
    frames, error = stopped(path, TruncatedStreamError)
    assert_images(frames, images[:picture])
    assert error.frame == picture and f"is damaged at frame {picture}" in str(error)
    frames, losses = resumed(path)
    assert_images(frames, images[:picture] + images[12:])
    assert [(loss.frame, loss.count) for loss in losses] == [(picture, 12 - picture)]


def test_picture_without_data(tmp_path: Path, whole: Path, images: list[np.ndarray]) -> None:
    path = hurt(tmp_path / "hurt.264", whole, 6, "drop")
    frames, error = stopped(path)
    assert_images(frames, images[:6])
    assert error.frame == 6
    frames, losses = resumed(path)
    assert_images(frames, images[:6] + images[12:])
    assert losses[0].frame == 6


@pytest.mark.parametrize("change", ["flip", "cut", "drop"])
def test_first_keyframe_is_broken(tmp_path: Path, whole: Path, images: list[np.ndarray], change: str) -> None:
    path = hurt(tmp_path / "hurt.264", whole, 0, change)
    frames, error = stopped(path)
    assert frames == [] and error.frame == 0
    frames, losses = resumed(path)
    assert_images(frames, images[12:])
    assert frames[0].keyframe
    assert losses and losses[0].frame == 0 and losses[0].count in (11, 12)


def test_cut_off_raw_stream(tmp_path: Path, whole: Path, images: list[np.ndarray]) -> None:
    units = split(whole.read_bytes())
    last = pictures(units)[8]
    path = tmp_path / "cut.264"
    path.write_bytes(b"".join(units[:last]) + units[last][: len(units[last]) // 2])
    frames, error = stopped(path, TruncatedStreamError)
    assert_images(frames, images[:8])
    assert error.frame == 8
    frames, losses = resumed(path)
    assert_images(frames, images[:8])
    assert [(loss.frame, loss.count) for loss in losses] == [(8, 1)]


def test_cut_off_at_a_frame(tmp_path: Path, whole: Path, images: list[np.ndarray]) -> None:
    """Such a raw stream is a good one."""
    units = split(whole.read_bytes())
    path = tmp_path / "cut.264"
    path.write_bytes(b"".join(units[: pictures(units)[8]]))
    with VideoReader(path) as reader:
        assert_images(list(reader), images[:8])


B_FRAMES = {
    "plain": ("b-pyramid=0", 3),
    "pyramid": ("b-pyramid=2", 3),
}


@pytest.fixture(params=B_FRAMES)
def with_b(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    params, count = B_FRAMES[request.param]
    options = {"x264-params": f"b-adapt=0:scenecut=0:open-gop=0:{params}"}
    return write_av(tmp_path / "b.264", CLIP, b_frames=count, options=options)


@pytest.mark.slow
def test_lost_b_frames(tmp_path: Path, with_b: Path) -> None:
    """Where nothing is predicted from it, the rest is as it was; else it is a gap."""
    units = split(with_b.read_bytes())
    with VideoReader(with_b) as reader:
        images = [frame.image for frame in reader]
    references = [is_reference(units[i]) for i in pictures(units)]
    assert False in references[:6]
    for number in range(2, 6):
        path = without(tmp_path / "lost.264", with_b, number)
        if references[number]:
            frames, error = stopped(path, ReferenceGapError)
            assert_images(frames, images[: len(frames)])
            assert error.frame is not None and error.frame >= len(frames)
            frames, losses = resumed(path)
            assert_images(frames[-12:], images[12:])
            assert losses
        else:
            with VideoReader(path) as reader:
                frames = list(reader)
                assert reader.losses == []
            assert len(frames) == 23
            at = next(i for i, frame in enumerate(frames) if not np.array_equal(frame.image, images[i]))
            assert_images(frames, images[:at] + images[at + 1 :])


def test_damaged_b_frame(tmp_path: Path) -> None:
    """It alone is left out: nothing is predicted from it."""
    options = {"x264-params": "b-adapt=0:b-pyramid=0:scenecut=0:open-gop=0", "crf": "4"}
    source = write_av(tmp_path / "b.264", CLIP, b_frames=2, options=options)
    with VideoReader(source) as reader:
        images = [frame.image for frame in reader]
        assert [frame.frame_type for frame in reader][:4] == ["I", "B", "B", "P"]
    path = hurt(tmp_path / "hurt.264", source, 3, "cut")
    frames, error = stopped(path, TruncatedStreamError)
    assert_images(frames, images[:2])
    assert error.frame == 2
    frames, losses = resumed(path)
    assert_images(frames, images[:2] + images[3:])
    assert losses == [Loss(2, 1, "damaged")]


def open_gop(tmp_path: Path) -> tuple[Path, int]:
    """A stream with open groups, and where in decoding order the second one starts."""
    options = {"x264-params": "b-adapt=0:b-pyramid=2:scenecut=0:open-gop=1"}
    path = write_av(tmp_path / "open.264", CLIP, b_frames=3, options=options)
    with av.open(str(path)) as container:
        kinds = [f.pict_type for p in container.demux(video=0) for f in p.decode()]
    second = kinds.index(1, 1)
    return path, second - sum(kinds[i] == 3 for i in range(second - 3, second))


def test_open_gop_cut_at_a_group(tmp_path: Path) -> None:
    """The B frames before its first keyframe cannot be decoded; nothing is predicted from them."""
    source, second = open_gop(tmp_path)
    with VideoReader(source) as reader:
        images = [frame.image for frame in reader]
    units = split(source.read_bytes())
    gone = set(pictures(units)[:second])
    first = pictures(units)[second]
    head = [unit for unit in units[:first] if kind(unit) in (7, 8)][:2]
    path = tmp_path / "second.264"
    path.write_bytes(b"".join([*head, units[first - 1], *(u for i, u in enumerate(units) if i >= first)]))
    assert kind(units[first - 1]) == 6 and gone  # the recovery point
    with VideoReader(path) as reader:
        frames = list(reader)
        losses = reader.losses
    assert_images(frames, images[12:])
    assert frames[0].keyframe and sum(loss.count or 0 for loss in losses) in (0, 3)


def container_file(tmp_path: Path, name: str) -> Path:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(24)]
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    return write_av(tmp_path / name, frames, options={"x264-params": "scenecut=0:ref=1"}, container_options=options)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_invalid_data_in_the_middle(tmp_path: Path, name: str) -> None:
    """A stretch of a file that is overwritten, as a broken disk does it."""
    source = container_file(tmp_path, name)
    with VideoReader(source) as reader:
        images = [frame.image for frame in reader]
    data = bytearray(source.read_bytes())
    middle = len(data) * 6 // 24
    data[middle : middle + len(data) // 24] = bytes(len(data) // 24)
    path = tmp_path / f"hurt {name}"
    path.write_bytes(data)
    frames, _ = stopped(path)
    assert_images(frames, images[: len(frames)])
    assert 2 <= len(frames) <= 8
    again, losses = resumed(path)
    assert_images(again, images[: len(frames)] + images[12:])
    assert losses


def test_truncated_mp4_goes_on_to_its_end(tmp_path: Path) -> None:
    source = container_file(tmp_path, "clip.mp4")
    data = source.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) * 3 // 5])
    frames, error = stopped(path, TruncatedStreamError)
    assert error.frame == len(frames)
    again, losses = resumed(path)
    assert len(again) == len(frames)
    assert losses and losses[-1].frame == len(frames)


def test_mp4_without_its_index(tmp_path: Path) -> None:
    data = write_av(tmp_path / "whole.mp4", CLIP[:6]).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: data.index(b"moov") - 4])
    for on_error in ("raise", "resync"):
        with pytest.raises(NotAVideoError, match="is no video file or is cut off"):
            VideoReader(path, on_error=on_error)  # type: ignore[arg-type]


def test_two_recordings_in_one_stream(tmp_path: Path, whole: Path, images: list[np.ndarray]) -> None:
    """Parts that start with a keyframe follow each other without a loss; one that does not is left out up to its
    next keyframe."""
    units = split(whole.read_bytes())
    path = tmp_path / "two.264"
    path.write_bytes(b"".join(units) * 2)
    with VideoReader(path) as reader:
        assert_images(list(reader), images * 2)
    second = [unit for i, unit in enumerate(units) if i not in pictures(units)[:4]]
    path.write_bytes(b"".join(units + second))
    frames, error = stopped(path, ReferenceGapError)
    assert_images(frames, images)
    assert error.frame == 24
    frames, losses = resumed(path)
    assert_images(frames, images + images[12:])
    assert losses


def test_losses_speak(whole: Path, tmp_path: Path) -> None:
    path = without(tmp_path / "lost.264", whole, 4)
    _, losses = resumed(path)
    assert str(losses[0]) == "frame 4: 8 frames lost (after missing reference frames)"
    assert str(Loss(3, None, "gone")) == "frame 3: an unknown number of frames lost (gone)"
    assert any(kind(unit) == IDR for unit in split(whole.read_bytes()))
