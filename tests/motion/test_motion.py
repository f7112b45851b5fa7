"""The C++ motion functions against slow references, by hand-made cases, and with bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import motion_reference as slow
from hypothesis import given, settings
from hypothesis import strategies as st

from arseg import _motion
from arseg.video import motion
from arseg.video.hops import hop, inverted
from arseg.video.motion import RECORD, BlockField, MotionChain
from arseg_ext._loader import find_library

QUICK = settings(max_examples=60)


def record(x: int, y: int, w: int, h: int, mx: int, my: int, scale: int = 4, source: int = -1) -> np.ndarray:
    """One record for the block whose top left corner is (x, y)."""
    one = np.zeros(1, RECORD)
    one["source"], one["w"], one["h"] = source, w, h
    one["dst_x"], one["dst_y"] = x + w // 2, y + h // 2
    one["motion_x"], one["motion_y"], one["motion_scale"] = mx, my, scale
    return one


def together(*ones: np.ndarray) -> np.ndarray:
    """One array of several records; `np.concatenate` would drop the padding between members."""
    records = np.zeros(len(ones), RECORD)
    for i, one in enumerate(ones):
        records[i] = one[0]
    return records


@st.composite
def record_arrays(draw: st.DrawFn) -> np.ndarray:
    block = st.tuples(
        st.integers(0, 60),
        st.integers(0, 60),
        st.sampled_from([4, 8, 16]),
        st.sampled_from([4, 8, 16]),
        st.integers(-(2**31), 2**31 - 1) | st.integers(-200, 200),
        st.integers(-200, 200),
        st.sampled_from([1, 2, 4, 3, 65535]),
    )
    blocks = draw(st.lists(block, max_size=12))
    return together(*(record(*b) for b in blocks))


@st.composite
def fields(draw: st.DrawFn, count: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` fields of one size, with masks from empty to full."""
    rows, cols = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    reach = draw(st.sampled_from([1, 40, 32767]))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    return [
        (rng.integers(-reach, reach + 1, (rows, cols, 2)).astype(np.int16), rng.random((rows, cols)) < share)
        for _ in range(count)
    ]


def same(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert a[0].dtype == np.int16 and a[1].dtype == np.bool_


@QUICK
@given(record_arrays(), st.integers(1, 50), st.integers(1, 50))
def test_rasterize_equals_reference(records: np.ndarray, width: int, height: int) -> None:
    same(motion.rasterize(records, width, height), slow.rasterize(records, width, height))


@QUICK
@given(fields())
def test_fill_equals_reference(field: list[tuple[np.ndarray, np.ndarray]]) -> None:
    vectors, valid = field[0]
    np.testing.assert_array_equal(motion.fill_holes(vectors, valid), slow.fill_holes(vectors, valid))


@QUICK
@given(fields(count=2))
def test_chain_equals_reference(pair: list[tuple[np.ndarray, np.ndarray]]) -> None:
    same(motion.chain(*pair[0], *pair[1]), slow.chain(*pair[0], *pair[1]))


@QUICK
@given(fields(count=2), st.sampled_from([4, 8, 16]))
def test_unchain_equals_reference(pair: list[tuple[np.ndarray, np.ndarray]], block: int) -> None:
    now, other = (BlockField(*field, block) for field in pair)
    same(hop(now, other), slow.unchain(now.vectors, now.valid, other.vectors, block))
    everywhere = np.ones_like(other.valid)
    same(inverted(other), slow.unchain(np.zeros_like(other.vectors), everywhere, other.vectors, block))


@QUICK
@given(fields(), st.sampled_from([1, 2, 4]))
def test_pool_equals_reference(field: list[tuple[np.ndarray, np.ndarray]], factor: int) -> None:
    same(motion.pool(*field[0], factor), slow.pool(*field[0], factor))


def test_a_record_covers_its_cells_and_no_others() -> None:
    vectors, valid = motion.rasterize(record(8, 4, 8, 4, 5, -7), 24, 12)
    assert np.argwhere(valid).tolist() == [[1, 2], [1, 3]]
    assert vectors[1, 2].tolist() == [5, -7]
    assert not vectors[~valid].any()


def test_scale_becomes_quarter_pixels() -> None:
    half = motion.rasterize(record(0, 0, 16, 16, 3, -3, scale=2), 16, 16)[0]
    assert half[0, 0].tolist() == [6, -6]


def test_blocks_in_the_padding_are_clipped() -> None:
    # 1080 lines are coded as 1088: the last row of macroblocks reaches beyond the frame.
    records = together(record(16, 1072, 16, 16, 4, 4), record(48, 16, 16, 16, 1, 1))
    vectors, valid = motion.rasterize(records, 33, 1080)
    assert vectors.shape == (270, 9, 2)
    assert np.argwhere(valid).tolist() == [[y, x] for y in (268, 269) for x in range(4, 8)]


def test_no_records_is_all_holes() -> None:
    vectors, valid = motion.rasterize(np.empty(0, RECORD), 10, 6)
    assert vectors.shape == (2, 3, 2) and not vectors.any() and not valid.any()


def test_fill_is_exact_in_a_uniform_field_and_keeps_what_is_known() -> None:
    vectors = np.full((8, 9, 2), (7, -3), np.int16)
    valid = np.ones((8, 9), bool)
    valid[2:7, 1:8] = False
    broken = np.where(valid[..., None], vectors, np.int16(999))
    np.testing.assert_array_equal(motion.fill_holes(broken, valid), vectors)
    assert (broken[~valid] == 999).all(), "the input is not changed"


def test_fill_of_nothing_is_zero() -> None:
    assert not motion.fill_holes(np.full((3, 4, 2), 9, np.int16), np.zeros((3, 4), bool)).any()


def test_chain_adds_what_lies_where_the_vector_points() -> None:
    step = np.zeros((4, 4, 2), np.int16)
    step[1, 1] = (16, 32)  # one cell right, two down
    reference = np.zeros((4, 4, 2), np.int16)
    reference[3, 2] = (-5, 3)
    seen = np.ones((4, 4), bool)
    hole = seen.copy()
    hole[3, 2] = False
    vectors, valid = motion.chain(step, seen, reference, hole)
    assert vectors[1, 1].tolist() == [11, 35]
    assert not valid[1, 1] and valid[0, 0]


def test_chain_keeps_sub_pel_over_many_hops() -> None:
    chain = MotionChain(64, 64)
    records = together(*(record(x, y, 16, 16, 1, -1) for x in range(0, 64, 16) for y in range(0, 64, 16)))
    for distance in range(1, 9):
        field = chain.step(records)
        assert (field.vectors == (distance, -distance)).all() and field.valid.all()


def test_an_inverted_field_leads_back() -> None:
    field = BlockField(np.full((6, 8, 2), (20, -9), np.int16), np.ones((6, 8), bool), 4)
    vectors, valid = inverted(field)
    assert valid.all() and (vectors == [-20, 9]).all()


def test_chain_saturates() -> None:
    big = np.full((2, 2, 2), 30000, np.int16)
    seen = np.ones((2, 2), bool)
    assert (motion.chain(big, seen, big, seen)[0] == 32767).all()
    assert (motion.chain(-big, seen, -big, seen)[0] == -32768).all()


def test_inputs_need_not_be_contiguous() -> None:
    rng = np.random.default_rng(0)
    wide = rng.integers(-9, 9, (6, 10, 4)).astype(np.int16)
    mask = rng.random((12, 5)) < 0.5
    vectors, valid = wide[:, ::2, 1:3], mask[::2]
    same(motion.pool(vectors, valid, 2), slow.pool(vectors.copy(), valid.copy(), 2))
    records = together(*(record(0, 0, 16, 16, i, i) for i in range(4)))
    same(motion.rasterize(records[::-2], 16, 16), slow.rasterize(records[::-2], 16, 16))


def test_a_frame_without_records_passes_the_mask_on() -> None:
    chain = MotionChain(32, 16, block=8)
    first = chain.step(record(0, 0, 16, 16, 4, 4))
    assert first.vectors.shape == (2, 4, 2)
    assert first.valid.tolist() == [[True, True, False, False]] * 2
    assert (first.vectors == 4).all(), "holes take the vector beside them"
    second = chain.step(None)
    assert not second.valid.any() and (second.vectors == 4).all()
    chain.restart()
    assert not chain.step(None).vectors.any()


PACKED = np.dtype([(name, RECORD[name]) for name in RECORD.names or ()])
VECTORS, VALID = np.zeros((2, 3, 2), np.int16), np.zeros((2, 3), bool)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: motion.rasterize(record(0, 0, 8, 8, 0, 0), 0, 8), "width, height: expected 1..32767, got 0, 8"),
        (lambda: motion.rasterize(record(0, 0, 8, 8, 0, 0), 8, 40000), "got 8, 40000"),
        (lambda: motion.rasterize(np.zeros((4, 40), np.uint8), 8, 8), "40-byte AVMotionVector records, got uint8"),
        (lambda: motion.rasterize(np.zeros((2, 2), RECORD), 8, 8), "1-D array"),
        (lambda: motion.rasterize(np.zeros(2, PACKED), 8, 8), "got 32-byte records"),
        (lambda: motion.rasterize(np.zeros(2, [("source", "<i4"), ("rest", "V36")]), 8, 8), "no member 'w'"),
        (lambda: motion.rasterize(np.zeros(2, RECORD.newbyteorder(">")), 8, 8), "member 'source' of another type"),
        (lambda: motion.rasterize(record(0, 0, 8, 8, 0, 0, source=0), 8, 8), "record 0: expected source < 0"),
        (lambda: motion.rasterize(record(0, 0, 8, 8, 0, 0, scale=0), 8, 8), "expected motion_scale > 0, got 0"),
        (lambda: motion.rasterize(record(0, 0, 0, 8, 0, 0), 8, 8), "at least 1x1, got 0x8"),
        (lambda: motion.rasterize(record(-8, 0, 8, 8, 0, 0), 8, 8), "inside the coded frame, got centre"),
        (lambda: motion.fill_holes(VECTORS.astype(np.int32), VALID), "vectors: expected int16"),
        (lambda: motion.fill_holes(VECTORS[..., :1], VALID), "vectors: expected int16"),
        (lambda: motion.fill_holes(VECTORS[:0], VALID[:0]), "Hb, Wb >= 1"),
        (lambda: motion.fill_holes(VECTORS, VALID.T), r"valid: expected bool \[2, 3\], got bool \[3, 2\]"),
        (lambda: motion.fill_holes(VECTORS, VALID.astype(np.uint8)), "valid: expected bool"),
        (lambda: motion.chain(VECTORS, VALID, VECTORS[:1], VALID[:1]), "reference_vectors: expected the shape"),
        (
            lambda: hop(BlockField(VECTORS, VALID, 4), BlockField(VECTORS[:1], VALID[:1], 4)),
            "other_vectors: expected the",
        ),
        (lambda: motion.pool(VECTORS, VALID, 3), "factor: expected 1, 2 or 4, got 3"),
        (lambda: MotionChain(8, 8, block=5), "block: expected 4, 8 or 16, got 5"),
    ],
)
def test_bad_input_is_a_sentence(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        call()


def test_module_says_its_limits() -> None:
    assert _motion.CELL == motion.CELL == 4
    assert _motion.MAX_SIDE == 32767


def test_a_library_that_does_not_fit_is_told(tmp_path: Path) -> None:
    other = find_library()  # of another purpose
    with pytest.raises(ImportError, match=r"there is no _libmotion library in"):
        _motion.load_library(tmp_path)
    (tmp_path / "_libmotion.abi3.so").write_bytes(b"not a library")
    with pytest.raises(ImportError, match=r"_libmotion\.abi3\.so is damaged or of another platform"):
        _motion.load_library(tmp_path)
    (tmp_path / "_libmotion.abi3.so").write_bytes(other.read_bytes()[:9999])
    with pytest.raises(ImportError, match=r"_libmotion\.abi3\.so is damaged: it ends after 9999 of \d+ bytes"):
        _motion.load_library(tmp_path)
    (tmp_path / "_libmotion.abi3.so").unlink()
    (tmp_path / "_libmotion.abi3.so").symlink_to(other)
    with pytest.raises(ImportError, match=r"was built from other sources than _motion\.py beside it"):
        _motion.load_library(tmp_path)
