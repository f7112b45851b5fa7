"""The synthetic street: the same bits for the same seed, labels that agree with the picture, smooth motion."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from arseg.data.street import StreetScene
from arseg.data.street.world import World
from arseg.labels import CAMVID

pytestmark = pytest.mark.slow  # renders

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(len(CAMVID.classes))


@pytest.fixture(scope="module")
def scene() -> StreetScene:
    return StreetScene(6, width=240, height=180)


@pytest.fixture(scope="module")
def clip(scene: StreetScene) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(scene.frames(24, start=30))


def same(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_shapes_and_ids(clip: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for rgb, labels in clip:
        assert rgb.shape == (180, 240, 3) and rgb.dtype == np.uint8 and rgb.flags.c_contiguous
        assert labels.shape == (180, 240) and labels.dtype == np.uint8 and labels.flags.c_contiguous
        assert labels.max() < len(CAMVID.classes)


def test_same_bits_in_any_order(clip: list[tuple[np.ndarray, np.ndarray]]) -> None:
    fresh = StreetScene(6, width=240, height=180)
    for index in (53, 30, 41, 30):
        assert same(fresh.frame(index), clip[index - 30])


def test_frames_counts_and_starts(scene: StreetScene) -> None:
    assert list(scene.frames(0)) == []
    frames = list(scene.frames(2, start=7))
    assert len(frames) == 2 and same(frames[1], scene.frame(8))


def test_frame_may_be_changed_by_the_caller(scene: StreetScene) -> None:
    rgb, labels = scene.frame(3)
    rgb[:], labels[:] = 0, 0
    assert scene.frame(3)[0].any() and scene.frame(3)[1].any()


def test_seeds_differ() -> None:
    first, second = (StreetScene(seed, width=96, height=72).frame(5) for seed in (1, 2))
    assert np.mean(first[1] != second[1]) > 0.1
    assert np.abs(first[0].astype(int) - second[0]).mean() > 8


@pytest.mark.parametrize("seed", [0, 4])
def test_every_class_appears(seed: int) -> None:
    street = StreetScene(seed, width=240, height=180)
    counts = sum(np.bincount(street.frame(index)[1].ravel(), minlength=11) for index in range(0, 240, 12))
    shares = np.asarray(counts) / np.sum(counts)
    assert (shares > 0).all(), dict(zip(CAMVID.classes, shares, strict=True))
    assert 0.15 < shares[ROAD] < 0.5 and 0.04 < shares[SKY] < 0.35 and 0.05 < shares[BUILDING] < 0.5
    assert shares[[POLE, SIGN, PEDESTRIAN, BICYCLIST]].max() < 0.08


@pytest.mark.parametrize("seed", [3, 8])
def test_labels_agree_with_geometry(seed: int) -> None:
    street = StreetScene(seed, width=160, height=120)
    for index in (0, 60, 120):
        rgb, labels = street.frame(index)
        assert np.mean(labels[108:, 60:100] == ROAD) > 0.8
        assert not np.isin(labels[:30], (ROAD, PAVEMENT)).any()
        assert not (labels[80:] == SKY).any() and not (labels[:40] == PAVEMENT).any()
        if (labels == SKY).sum() > 200:
            brightness = rgb.astype(float).mean(-1)
            assert brightness[labels == SKY].mean() > brightness[labels == ROAD].mean()


def test_label_edges_follow_the_picture(clip: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """The picture changes more across an edge between labels than elsewhere."""
    for rgb, labels in clip[::8]:
        step = np.abs(np.diff(rgb.astype(int), axis=1)).sum(-1)
        edge = labels[:, 1:] != labels[:, :-1]
        assert step[edge].mean() > 3 * step[~edge].mean()


def test_labels_do_not_depend_on_the_size_much() -> None:
    small = StreetScene(11, width=120, height=90).frame(20)[1]
    large = StreetScene(11, width=360, height=270).frame(20)[1][1::3, 1::3]
    assert np.mean(small == large) > 0.9


def test_motion_is_smooth(clip: list[tuple[np.ndarray, np.ndarray]]) -> None:
    steps = [np.abs(a[0].astype(int) - b[0]).mean() for a, b in pairwise(clip)]
    assert min(steps) > 0.5 and max(steps) < 30
    assert max(steps) < 2.0 * float(np.median(steps))
    changed = [np.mean(a[1] != b[1]) for a, b in pairwise(clip)]
    assert min(changed) > 0 and max(changed) < 0.25


def test_a_higher_rate_gives_smaller_steps() -> None:
    steps = []
    for rate in (10.0, 60.0):
        first, second = (StreetScene(9, width=120, height=90, rate=rate).frame(index)[0] for index in (0, 1))
        steps.append(np.abs(first.astype(int) - second).mean())
    assert steps[1] < 0.5 * steps[0]


def test_same_moment_at_another_rate() -> None:
    slow, fast = (StreetScene(9, width=64, height=48, rate=rate) for rate in (10.0, 20.0))
    assert same(slow.frame(7), fast.frame(14))


@pytest.mark.parametrize("seed", [3, 10])
def test_texture_moves_with_the_road(seed: int) -> None:
    """A patch of road, looked up where the camera's motion says it was, is the same patch."""
    street = StreetScene(seed, width=240, height=180, speed=6.0)
    world = World(street.seed, street.speed)
    before, after = street.frame(40), street.frame(41)
    view_before, view_after = (
        world.drive.view(frame / street.rate, world.course, street.width, street.height) for frame in (40, 41)
    )
    rows, columns = np.mgrid[125:160, 90:150]
    depth = view_after.focal * view_after.height / (rows + 0.5 - view_after.horizon)
    across = (columns + 0.5 - view_after.centre_x) * depth / view_after.focal + view_after.across
    across = across - view_after.bend(depth)
    old_depth = depth + view_after.along - view_before.along
    x = view_before.x(across, old_depth) - 0.5
    y = view_before.y(0.0, old_depth) - 0.5
    flip = (lambda image: image[:, ::-1]) if world.mirror else (lambda image: image)
    old, new = flip(before[0]).astype(float).mean(-1), flip(after[0]).astype(float).mean(-1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - x0, y - y0
    top = old[y0, x0] * (1 - fx) + old[y0, x0 + 1] * fx
    bottom = old[y0 + 1, x0] * (1 - fx) + old[y0 + 1, x0 + 1] * fx
    warped = top * (1 - fy) + bottom * fy
    road = flip(after[1])[rows, columns] == ROAD
    assert road.mean() > 0.6
    still = np.abs(old[rows, columns] - new[rows, columns])[road].mean()
    moved = np.abs(warped - new[rows, columns])[road].mean()
    assert moved < 0.5 * still


@pytest.mark.parametrize(("width", "height"), [(16, 16), (1, 1), (97, 61), (33, 128)])
def test_odd_and_tiny_sizes(width: int, height: int) -> None:
    street = StreetScene(5, width=width, height=height)
    for index in (0, 33):
        rgb, labels = street.frame(index)
        assert rgb.shape == (height, width, 3) and labels.shape == (height, width)
        assert labels.max() < len(CAMVID.classes)


def test_standing_camera_and_late_frames() -> None:
    still = StreetScene(4, width=96, height=72, speed=0)
    change = np.abs(still.frame(0)[0].astype(int) - still.frame(1)[0]).mean()
    assert 0 < change < 15
    late = StreetScene(4, width=96, height=72).frame(1_000_000)
    assert np.mean(late[1] == ROAD) > 0.1


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"width": 0}, "width"),
        ({"height": -3}, "height"),
        ({"height": True}, "height"),
        ({"rate": 0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"speed": -1.0}, "speed"),
        ({"speed": "fast"}, "speed"),
    ],
)
def test_bad_arguments(arguments: dict, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        StreetScene(**arguments)


def test_bad_indices(scene: StreetScene) -> None:
    with pytest.raises(ValueError, match=r"^index must be"):
        scene.frame(-1)
    with pytest.raises(ValueError, match=r"^count must be"):
        scene.frames(-1)
    with pytest.raises(ValueError, match=r"^start must be"):
        scene.frames(1, start=-1)
