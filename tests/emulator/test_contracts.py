"""What the tensor-core kernels may cost, in the emulator's counters: none of it may rise unnoticed."""

from __future__ import annotations

import pytest
import torch
from emulator.emulator_build import counters
from emulator.kernel_traits import kernel_traits
from helpers.op_samples import channels_last, creff_parameters, randn, vectors

TRAITS = kernel_traits()
TILE_HEIGHT, TILE_WIDTH = TRAITS["AttentionTraits::Mma::kTileHeight"], TRAITS["AttentionTraits::Mma::kTileWidth"]
CHUNK = TRAITS["AttentionTraits::Mma::kLargeChunk"]
CHANNELS_OF_FLOATS = TRAITS["AttentionTraits::Simt::kChunk"]
HEIGHT, WIDTH = 32, 48
BLOCKS = (HEIGHT // TILE_HEIGHT) * (WIDTH // TILE_WIDTH)
WARPS = TRAITS["AttentionTraits::Mma::kWarps"] * BLOCKS


def test_the_sizes_are_those_that_were_measured():
    """What follows counts with the traits; these are the figures of docs/cuda.md."""
    assert (TILE_HEIGHT, TILE_WIDTH, CHUNK, BLOCKS, WARPS) == (8, 16, 64, 12, 96)
    assert TRAITS["AttentionTraits::Mma::kThreads"] == TRAITS["CreffTraits::Depthwise::kThreads"] == 256
    assert TRAITS["AttentionTraits::Simt::forward_threads(7)"] == 128
    assert TRAITS["AttentionTraits::Simt::kTileHeight"] == TRAITS["CreffTraits::Depthwise::kTile"] == 16
    assert TRAITS["AttentionTraits::Simt::kTileWidth"] == 16 and TRAITS["AttentionTraits::Simt::kChunk"] == 8
    assert TRAITS["CreffTraits::Depthwise::kShared"] == 41_472


@pytest.fixture
def emulated(library):
    """Once: what is counted is the same under every schedule."""
    return library


def key_blocks(window):
    """Blocks of 8 and of 16 keys of a patch: rows of 16."""
    return 2 * (window + 1), window + 1


def halo_bytes(window, channels):
    """What the tiles of a map read of it, borders included; nothing is read outside the image."""
    reach = window // 2
    rows = sum(min(HEIGHT, y + TILE_HEIGHT + reach) - max(0, y - reach) for y in range(0, HEIGHT, TILE_HEIGHT))
    columns = sum(min(WIDTH, x + TILE_WIDTH + reach) - max(0, x - reach) for x in range(0, WIDTH, TILE_WIDTH))
    return 2 * channels * rows * columns


def halo_pixels(window):
    return (TILE_HEIGHT + window - 1) * (TILE_WIDTH + window - 1)


def chunk_bytes(window, channels):
    """Two chunks of the tile and its borders."""
    return 2 * halo_pixels(window) * min(channels, CHUNK) * 2


def maps(channels):
    return [channels_last(randn(1, channels, HEIGHT, WIDTH, seed=i, dtype=torch.bfloat16)) for i in range(3)]


@pytest.mark.parametrize("window", [3, 5, 7, 9])
@pytest.mark.parametrize("channels", [32, 64, 128])
def test_attention(emulated, channels, window):
    inputs = maps(channels)
    options = {"window": [window, window], "outside": "zero", "scale": 0.1}
    eights, sixteens = key_blocks(window)
    counters()
    out, logsumexp = emulated._local_attention(*inputs, **options)
    forward = counters()
    logits, sums = WARPS * eights * channels // 16, WARPS * sixteens * channels // 8
    assert forward["mma"] == logits + sums
    assert forward["ldmatrix"] == forward["mma"] // 2
    assert forward["shared_bytes"] == chunk_bytes(window, channels)
    assert forward["copy_bytes"] == 2 * halo_bytes(window, channels)  # each key and value once a tile
    emulated._local_attention_backward(out, *inputs, logsumexp, **options)
    backward = counters()
    # Logits and the gradients of probabilities for queries and for keys; sums for the query, the key and the value.
    assert backward["mma"] == 4 * logits + 3 * sums
    # More than one chunk is read a second time: what was multiplied first, and for keys the gradients of the result.
    again = 0 if channels <= CHUNK else 1
    assert backward["copy_bytes"] == (4 + 3 * again) * halo_bytes(window, channels)
    assert backward["shared_bytes"] == chunk_bytes(window, channels) + 8 * (TILE_HEIGHT + window - 1) * (
        TILE_WIDTH + window - 1
    )
    for counts in (forward, backward):
        assert counts["ldmatrix_conflicts"] == 0
        assert counts["atomics"] == 0


@pytest.mark.parametrize("window", [3, 5, 7, 9])
def test_shared_memory_of_attention_in_float32(emulated, window):
    inputs = [tensor.float() for tensor in maps(32)]
    options = {"window": [window, window], "outside": "zero", "scale": 0.1}
    counters()
    out, logsumexp = emulated._local_attention(*inputs, **options)
    emulated._local_attention_backward(out, *inputs, logsumexp, **options)
    counts = counters()
    side = TRAITS["AttentionTraits::Simt::kTileHeight"]
    assert (
        counts["shared_bytes"] == 2 * (side + window - 1) ** 2 * TRAITS["AttentionTraits::Simt::kChunk"] * 4
    )  # two chunks
    assert counts["atomics"] == 0


@pytest.mark.parametrize("window", [3, 7, 9])
def test_tf32(emulated, window):
    """Chunks of 32 channels, of as many bytes as 64 of 16 bits; a product has half of the channels, or of the keys."""
    channels = 64
    inputs = [tensor.float() for tensor in maps(channels)]
    options = {"window": [window, window], "outside": "zero", "scale": 0.1, "allow_tf32": True}
    eights, sixteens = key_blocks(window)
    counters()
    emulated.local_attention(*inputs, **options)
    counts = counters()
    logits = WARPS * eights * channels // 8
    assert counts["mma"] == logits + WARPS * sixteens * 2 * channels // 8
    assert counts["ldmatrix"] == logits // 2  # of keys alone
    assert counts["shared_bytes"] == chunk_bytes(window, CHUNK)
    assert counts["copy_bytes"] == 2 * 2 * halo_bytes(window, channels)
    assert counts["ldmatrix_conflicts"] == counts["atomics"] == 0


def test_fusion(emulated):
    reference, low_res = maps(64)[0], channels_last(randn(1, 64, HEIGHT // 2, WIDTH // 2, dtype=torch.bfloat16))
    parameters = creff_parameters(64, torch.bfloat16, scale=0.2)
    options = {"window": [7, 7], "block": 8, "frame_size": [HEIGHT, WIDTH], "grid": "aligned", "outside": "zero"}
    counters()
    emulated.creff(reference, low_res, vectors(1, HEIGHT // 8, WIDTH // 8, 2), *parameters, **options)
    counts = counters()
    eights, sixteens = key_blocks(7)
    side = TRAITS["CreffTraits::Depthwise::kTile"]
    tiles = -(-HEIGHT // side) * -(-WIDTH // side)  # of keys and values
    assert counts["blocks"] == BLOCKS + tiles + 3  # and the packing of three convolutions
    convolutions = 5 * (BLOCKS * 8 * TILE_HEIGHT + 2 * tiles * 8 * side)  # of eight channels, for a row of 16 pixels
    assert counts["mma"] == WARPS * (eights * 4 + sixteens * 8) + convolutions
    assert counts["copy_bytes"] >= 2 * halo_bytes(7, 64)  # and of the low-resolution map, and of the keyframe
    # Of blocks; and of each warp that writes keys over pixels, for every second row.
    assert counts["barriers"] == 5 * BLOCKS + 4 * tiles + 8 * tiles * side // 2
    assert counts["shared_bytes"] == 78_848  # of 101,376; two such blocks fit the 164 KB of an A100
    assert counts["ldmatrix_conflicts"] == 0


@pytest.mark.parametrize("classes", [12, 19])
def test_classes_of_many_channels(emulated, classes):
    """Values are classes before they are summed up: the keys alone pass through in chunks."""
    channels = 2 * CHUNK
    reference, low_res = (
        maps(channels)[0],
        channels_last(randn(1, channels, HEIGHT // 2, WIDTH // 2, dtype=torch.bfloat16)),
    )
    parameters = [*creff_parameters(channels, torch.bfloat16, scale=0.2)]
    parameters += [randn(classes, channels, seed=8, dtype=torch.bfloat16), randn(classes, seed=9, dtype=torch.bfloat16)]
    options = {"window": [7, 7], "block": 8, "frame_size": [HEIGHT, WIDTH], "grid": "aligned", "outside": "zero"}
    counters()
    emulated.creff_labels(reference, low_res, vectors(1, HEIGHT // 8, WIDTH // 8, 2), *parameters, **options)
    counts = counters()
    eights, sixteens = key_blocks(7)
    side, most = TRAITS["CreffTraits::Depthwise::kTile"], TRAITS["CreffTraits::Mma::kClasses"]
    few = TRAITS["CreffTraits::Mma::kFewClasses"]
    padded = few if classes <= few else most
    tiles = -(-HEIGHT // side) * -(-WIDTH // side)
    chunks = channels // CHUNK
    convolutions = 5 * 3 * chunks * tiles * 8 * side  # of eight channels, for a row of 16 pixels
    rows = (
        tiles * side + HEIGHT * WIDTH // 4 // 16
    )  # of 16 pixels that are projected: of values, and of the low-resolution map
    projected = rows * channels // 16 * padded // 8
    assert counts["mma"] == WARPS * (eights * channels // 16 + sixteens * padded // 8) + convolutions + projected
    low_res_blocks = -(-HEIGHT * WIDTH // 4 // (16 * TRAITS["CreffTraits::Classify::kThreads"] // 32))
    assert counts["blocks"] == BLOCKS + 2 * tiles + low_res_blocks + 3 + most // 8 * chunks  # and what is packed
    assert counts["copy_bytes"] >= halo_bytes(7, channels) + halo_bytes(7, padded)
    assert counts["shared_bytes"] == 78_848
    assert counts["ldmatrix_conflicts"] == 0
    assert counts["atomics"] == 0
