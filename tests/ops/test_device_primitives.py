"""The primitives of csrc/common/device.cuh against obvious numpy: on the emulator everywhere, and on a CUDA device.

What the emulator's kernels compute is worth something only if its primitives are those of the GPU; both are held to
the same expectations here, from one source, device_primitives.cu.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from emulator import emulator_build

pytestmark = pytest.mark.slow  # builds

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCE = HERE / "device_primitives.cu"
EMULATOR = ROOT / "tests" / "emulator"
DTYPES = ("float16", "bfloat16")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def nvcc() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [Path(home, "bin", "nvcc") for home in homes if home]
    return shutil.which("nvcc") or next((str(path) for path in places if path.exists()), None)


def emulator_command() -> list[str]:
    sources = [str(SOURCE), *(str(EMULATOR / name) for name in emulator_build.RUNTIME)]
    return [
        emulator_build.compiler(),
        *emulator_build.kernel_flags().split(),
        "-O2",
        "-shared",
        "-x",
        "c++",
        *sources,
        "-lpthread",
    ]


def gpu_command() -> list[str]:
    compiler = nvcc()
    if compiler is None:
        pytest.skip("nvcc is not installed")
    major, minor = torch.cuda.get_device_capability()
    flags = ["-std=c++20", "-O3", "-shared", "-Xcompiler", "-fPIC"]
    return [compiler, *flags, f"-gencode=arch=compute_{major}{minor},code=sm_{major}{minor}", str(SOURCE)]


def built(command: list[str]) -> Path:
    """The library that the command makes; kept until a source or the command changes."""
    digest = hashlib.sha256(" ".join(command).encode())
    for path in (SOURCE, ROOT / "csrc" / "common" / "device.cuh", *sorted(EMULATOR.glob("*.[hc]*"))):
        digest.update(path.read_bytes())
    library = ROOT / "build" / "primitives" / f"{digest.hexdigest()[:16]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        partial = library.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        partial.replace(library)
    return library


class Primitives:
    """Calls a function of the library with numpy arrays; those it writes are changed in place."""

    def __init__(self, library: Path, device: str):
        self.library, self.device = ctypes.CDLL(str(library)), device

    def __call__(self, name: str, *arguments: np.ndarray | int) -> None:
        tensors = [
            torch.from_numpy(x.view(np.uint8).reshape(-1).copy()).to(self.device) if isinstance(x, np.ndarray) else x
            for x in arguments
        ]
        if self.device == "cuda":
            torch.cuda.synchronize()
        code = getattr(self.library, name)(
            *(ctypes.c_int(x) if isinstance(x, int) else ctypes.c_void_p(x.data_ptr()) for x in tensors)
        )
        assert code == 0, f"{name} failed, see the standard error"
        for array, tensor in zip(arguments, tensors, strict=True):
            if isinstance(array, np.ndarray):
                array.view(np.uint8).reshape(-1)[:] = tensor.cpu().numpy()


@pytest.fixture(scope="module", params=["emulator", pytest.param("cuda", marks=[pytest.mark.cuda, GPU])])
def primitives(request):
    if request.param == "cuda":
        return Primitives(built(gpu_command()), "cuda")
    os.environ.setdefault("ARSEG_EMULATOR_FAILURE", "throw")
    return Primitives(built(emulator_command()), "cpu")


def to_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 rounded to the nearest value of the dtype, ties to even, as its bits."""
    values = np.asarray(values, np.float32)
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FFF, rounded).astype(np.uint16)


def from_bits(bits: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)


def random(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def awkward() -> np.ndarray:
    """Ties, overflow, subnormal values, zeros of both signs, infinities and NaN, between ordinary numbers."""
    halves = np.array([1.00048828125, 1.00146484375, 2049, 2051, 65504, 65519, 65520, 1e9, 6e-8, 2.98e-8, 1e-7, 1e-40])
    brains = np.array([1.00390625, 1.01171875, 257, 259, 3.3895314e38, 3.4e38, 1e-38, 9.2e-41])
    special = np.array([0.0, np.inf, np.nan])
    some = np.concatenate([halves, brains, special, np.geomspace(1e-8, 1e8, 201)]).astype(np.float32)
    every = np.concatenate([some, -some])
    return every if every.size % 2 == 0 else every[:-1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_mma_m16n8k16_of_small_integers_is_exact(primitives, dtype):
    generator = np.random.default_rng(1)
    a, b, start = (generator.integers(-8, 9, size).astype(np.float32) for size in ((5, 16, 16), (5, 16, 8), (5, 16, 8)))
    got = start.copy()
    primitives(f"mma_m16n8k16_{dtype}", to_bits(a, dtype), to_bits(b, dtype), got, 5)
    assert np.array_equal(got, start + a @ b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mma_m16n8k16_of_any_numbers(primitives, dtype):
    a, b, got = to_bits(random(7, 16, 16), dtype), to_bits(random(7, 16, 8, seed=1), dtype), random(7, 16, 8, seed=2)
    start = got.astype(np.float64)
    left, right = from_bits(a, dtype).astype(np.float64), from_bits(b, dtype).astype(np.float64)
    primitives(f"mma_m16n8k16_{dtype}", a, b, got, 7)
    # Products are exact; a GPU may cut each of the sums instead of rounding it.
    allowed = 17 * 2.0**-23 * (np.abs(start) + np.abs(left) @ np.abs(right))
    assert (np.abs(got - (start + left @ right)) <= allowed).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_mma_m16n8k16_carries_infinities_and_nan(primitives, dtype):
    a, b, got = np.zeros((1, 16, 16)), np.ones((1, 16, 8)), np.zeros((1, 16, 8), np.float32)
    a[0, 3, 5], a[0, 9, 0] = np.inf, np.nan
    primitives(f"mma_m16n8k16_{dtype}", to_bits(a, dtype), to_bits(b, dtype), got, 1)
    assert (got[0, 3] == np.inf).all() and np.isnan(got[0, 9]).all()
    assert np.count_nonzero(got) == 16


def cut(values: np.ndarray) -> np.ndarray:
    """As TF32: the last 13 bits of float32 are 0."""
    return (np.asarray(values, np.float32).view(np.uint32) & 0xFFFFE000).view(np.float32)


def test_mma_m16n8k8_tf32(primitives):
    a, b, got = random(7, 16, 8), random(7, 8, 8, seed=1), random(7, 16, 8, seed=2)
    a[0, 3, 5], a[0, 9, 0], b[0] = np.inf, np.nan, np.abs(b[0]) + 1
    start, left, right = got.astype(np.float64), cut(a).astype(np.float64), cut(b).astype(np.float64)
    primitives("mma_m16n8k8_tf32", a, b, got, 7)
    with np.errstate(invalid="ignore"):
        expected, allowed = start + left @ right, 9 * 2.0**-23 * (np.abs(start) + np.abs(left) @ np.abs(right))
    finite = np.isfinite(expected)
    assert (np.abs(got - expected)[finite] <= allowed[finite]).all() and finite.sum() == finite.size - 16
    assert (got[0, 3] == np.inf).all() and np.isnan(got[0, 9]).all()


def test_cut_to_tf32(primitives):
    given = np.concatenate([awkward(), random(500, seed=6)])
    got = np.zeros_like(given)
    primitives("cut_to_tf32", given, got, given.size)
    numbers = ~np.isnan(given)
    assert np.array_equal(got[numbers], cut(given)[numbers]) and np.isnan(got[~numbers]).all()


def test_reciprocal_fast(primitives):
    given = np.concatenate([np.geomspace(2.0**-20, 2.0**20, 40001), [0.0, np.nan]]).astype(np.float32)
    got = np.zeros_like(given)
    primitives("reciprocal_fast", given, got, given.size)
    exact = 1 / given[:-2].astype(np.float64)
    assert (np.abs(got[:-2] - exact) <= 2.0**-23 * exact).all()  # one unit in the last place
    assert got[-2] == np.inf and np.isnan(got[-1])


def test_max_or_nan(primitives):
    given = np.array([1, 2, -np.inf, -3, np.nan, np.inf, 7, np.nan, np.nan, np.nan, -np.inf, -np.inf], np.float32)
    got = np.zeros(6, np.float32)
    primitives("max_or_nan", given, got, 6)
    assert np.array_equal(got, np.array([2, -3, np.nan, np.nan, np.nan, -np.inf], np.float32), equal_nan=True)


@pytest.mark.parametrize("slots", ["in order", "anywhere"])
@pytest.mark.parametrize("kind", ["plain", "transposed"])
def test_ldmatrix_x4(primitives, kind, slots):
    rows = np.random.default_rng(3).integers(0, 1 << 16, (32, 8)).astype(np.uint16)
    slot = np.arange(32) if slots == "in order" else np.random.default_rng(4).permutation(32)
    got = np.full((32, 4), 0xEEEEEEEE, np.uint32)
    primitives(f"ldmatrix_x4_{kind}", rows, slot.astype(np.int32), got)
    for lane in range(32):
        for m in range(4):
            matrix = rows[8 * m : 8 * m + 8]
            if kind == "transposed":
                matrix = matrix.T
            low, high = matrix[lane // 4, 2 * (lane % 4)], matrix[lane // 4, 2 * (lane % 4) + 1]
            assert got[lane, m] == int(low) | int(high) << 16, (lane, m)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_copies_and_fills_with_zero(primitives, share):
    generator = np.random.default_rng(5)
    given = generator.integers(1, 1 << 32, (3, 128, 4), dtype=np.uint32)
    valid = (generator.random((3, 128)) < share).astype(np.uint8)
    got = np.full_like(given, 0xEEEEEEEE)
    primitives("cp_async16", given, valid, got)
    assert np.array_equal(got, np.where(valid[..., None] != 0, given, 0))


def test_exp2_fast(primitives):
    given = np.concatenate([np.linspace(-140, 130, 40001), np.linspace(-1, 1, 4001), -np.geomspace(1e-30, 1, 99)])
    given = given.astype(np.float32)
    got = np.full_like(given, 7)
    primitives("exp2_fast", given, got, given.size)
    exact = np.exp2(given.astype(np.float64))
    normal = (exact >= 2.0**-125.9) & (exact < 2.0**127.99)
    assert (np.abs(got - exact)[normal] <= 2.0**-22 * exact[normal]).all()  # 2 units in the last place
    assert (got[exact < 2.0**-126.1] == 0).all()  # subnormal results are flushed
    assert np.isinf(got[exact >= 2.0**128]).all()


def test_exp2_fast_of_special_values(primitives):
    given = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, 1e-40, -1e-40, 3.0, -3.0, -1e30], np.float32)
    got = np.full_like(given, 7)
    primitives("exp2_fast", given, got, given.size)
    assert np.isnan(got[2])
    assert np.array_equal(np.delete(got, 2), np.array([0, np.inf, 1, 1, 1, 1, 8, 0.125, 0], np.float32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_pack(primitives, dtype):
    given = np.concatenate([awkward(), random(2000, seed=6)])
    got = np.zeros(given.size // 2, np.uint32)
    primitives(f"pack_{dtype}", given, got, got.size)
    found = got.view(np.uint16)  # the first value is in the low half
    numbers = ~np.isnan(given)
    assert np.array_equal(found[numbers], to_bits(given, dtype)[numbers])
    assert np.isnan(from_bits(found[~numbers], dtype)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_unpack_every_value(primitives, dtype):
    given = np.arange(1 << 16, dtype=np.uint16)
    got = np.zeros(given.size, np.float32)
    primitives(f"unpack_{dtype}", given, got, given.size // 2)
    expected = from_bits(given, dtype)
    numbers = ~np.isnan(expected)
    assert np.array_equal(got[numbers].view(np.uint32), expected[numbers].view(np.uint32))
    assert np.isnan(got[~numbers]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_vectors_keep_their_values(primitives, dtype):
    values = random(300 * 16, seed=7)
    given = to_bits(values, dtype) if dtype in DTYPES else values.astype(dtype)
    got = np.zeros_like(given)
    primitives(f"vector_{dtype}", given, got, given.nbytes // 16)
    assert np.array_equal(got, given)
