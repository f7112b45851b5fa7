"""What a build takes over from its surroundings: compilers of several words, flags that change results, and libraries
that crash."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "csrc"))
import surroundings  # noqa: E402

GXX = shutil.which("g++")
needs_gxx = pytest.mark.skipif(GXX is None, reason="g++ is not installed")


def test_a_compiler_of_several_words_becomes_one(tmp_path):
    environment = {"CXX": "g++ -static-libstdc++", "CC": "/usr/bin/gcc"}
    assert surroundings.one_word_compilers(environment, tmp_path) == ["CXX"]
    assert environment["CC"] == "/usr/bin/gcc" and "TORCH_NO_COMPILER_WRAPPER" not in environment
    script = Path(environment["CXX"])
    assert script.name == "g++" and os.access(script, os.X_OK)  # torch looks at the name
    if GXX:
        done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == subprocess.run([GXX, "--version"], capture_output=True, text=True, check=True).stdout


@needs_gxx
@pytest.mark.parametrize("wrapped", ["env g++", "env LC_ALL=C g++ -pipe", "LC_ALL=C g++"])
def test_wrapped_compilers_compile(tmp_path, wrapped):
    environment = {"CXX": wrapped}
    surroundings.one_word_compilers(environment, tmp_path / "with a space")
    assert Path(environment["CXX"]).name == "g++"
    source = tmp_path / "x.cpp"
    source.write_text("int x;")
    subprocess.run([environment["CXX"], "-c", source, "-o", tmp_path / "x.o"], check=True)


def test_torch_puts_no_second_ccache_before_a_compiler_that_has_one(tmp_path):
    environment = {"CXX": "ccache g++"}
    surroundings.one_word_compilers(environment, tmp_path)
    assert Path(environment["CXX"]).name == "g++" and environment["TORCH_NO_COMPILER_WRAPPER"] == "1"


def test_a_compiler_of_one_word_stays(tmp_path):
    for value in ("g++", "/usr/bin/x86_64-conda-linux-gnu-c++", ""):
        environment = {"CXX": value}
        assert surroundings.one_word_compilers(environment, tmp_path) == [] and environment == {"CXX": value}


@pytest.mark.parametrize(
    "given, kept, dropped",
    [
        ("-use_fast_math", "", ["-use_fast_math"]),
        ("--use_fast_math -lineinfo", "-lineinfo", ["--use_fast_math"]),
        ("-ftz=true --prec-div=false -O2", "-O2", ["-ftz=true", "--prec-div=false"]),
        ("-ftz true -ftz false", "--ftz=false", ["--ftz=true"]),
        ("-ccbin g++-12 -Xcompiler -ffast-math", "-ccbin g++-12", ["-ffast-math"]),
        ("-Xcompiler=-fPIC,-Ofast,-march=native", "-Xcompiler=-fPIC", ["-Ofast", "-march=native"]),
        ("-allow-unsupported-compiler -I'a b'", "-allow-unsupported-compiler '-Ia b'", []),
    ],
)
def test_flags_of_nvcc(given, kept, dropped):
    assert surroundings.exact_nvcc_flags(given) == (kept, dropped)


def test_what_is_left_out_is_said(tmp_path):
    environment = {"CFLAGS": "-O2 -march=native -ffast-math", "NVCC_APPEND_FLAGS": "--use_fast_math -lineinfo"}
    nvcc, host = surroundings.prepare(environment, tmp_path)
    assert nvcc == "NVCC_APPEND_FLAGS: --use_fast_math is left out, for the operators promise exact results."
    assert host.startswith("-ffast-math -march=native of the environment has no effect here")
    assert environment["NVCC_APPEND_FLAGS"] == "-lineinfo"
    assert surroundings.prepare({"CFLAGS": "-O2 -pipe", "LDFLAGS": "-Wl,-O1"}, tmp_path) == []


MATHS = """
#include <string>
extern "C" int is_nan(double x) { return x != x; }
extern "C" int strings() { return _GLIBCXX_USE_CXX11_ABI; }
extern "C" int vectors() {
#ifdef __AVX__
  return 1;
#else
  return 0;
#endif
}
"""
ASK = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
normal = sys.float_info.min / 4 * 1.0 > 0
print(library.is_nan(ctypes.c_double(float("nan"))), library.strings(), library.vectors(), normal)
"""


@pytest.mark.slow
@needs_gxx
@pytest.mark.parametrize(
    "flags",
    [
        "-ffast-math",
        "-Ofast -march=native",
        "-funsafe-math-optimizations -ffinite-math-only",
        "-D_GLIBCXX_USE_CXX11_ABI=0 -ffinite-math-only",
    ],
)
def test_our_flags_win_over_those_of_the_environment(tmp_path, flags):
    """Where a compiler puts CFLAGS: before our own, in compiling and in linking. Without ours a NaN is a number, and
    loading the library takes denormal numbers from the process."""
    source, library = tmp_path / "x.cpp", tmp_path / "x.so"
    source.write_text(MATHS)

    def answers(ours_to_compile, ours_to_link):
        given = shlex.split(flags)
        compile_command = [GXX, "-O2", "-fPIC", *given, "-c", source, "-o", tmp_path / "x.o", "-O3", *ours_to_compile]
        subprocess.run(compile_command, check=True)
        subprocess.run([GXX, "-shared", *given, tmp_path / "x.o", "-o", library, *ours_to_link], check=True)
        done = subprocess.run([sys.executable, "-c", ASK, library], capture_output=True, text=True, check=True)
        return done.stdout.split()

    right = ["1", "1", "0", "True"] if platform.machine() in {"x86_64", "AMD64"} else ["1", "1"]
    assert answers(surroundings.compile_flags(), surroundings.link_flags(["-O3"]))[: len(right)] == right
    assert answers([], [])[: len(right)] != right  # else this test shows nothing


THROWS = """
#include <stdexcept>
#include <string>
extern "C" void fails(int n) { throw std::runtime_error("a sentence of " + std::to_string(n)); }
"""
CATCHES = """
#include <cstring>
#include <exception>
extern "C" void fails(int);
extern "C" int caught() {
  try {
    fails(7);
  } catch (const std::exception& error) {
    return std::strcmp(error.what(), "a sentence of 7") == 0;
  }
  return 0;
}
"""


@needs_gxx
def test_an_error_passes_out_of_a_library_with_a_libstdcxx_of_its_own(tmp_path):
    """From a library with everything linked in that can be, to one without: as from ours to torch."""
    (tmp_path / "throws.cpp").write_text(THROWS)
    (tmp_path / "catches.cpp").write_text(CATCHES)

    static = [GXX, "-static-libstdc++", "-static-libgcc", "-Wl,--as-needed"]
    library, other = tmp_path / "libthrows.so", tmp_path / "catches.so"

    def needed(*ours):
        subprocess.run([*static, "-shared", "-fPIC", tmp_path / "throws.cpp", "-o", library, *ours], check=True)
        done = subprocess.run(["readelf", "-dW", library], capture_output=True, text=True, check=True)
        return " ".join(re.findall(r"NEEDED.*", done.stdout))

    assert "libgcc_s" not in needed()  # an unwinder of its own, with which the error would end a process with torch
    libraries = needed(*surroundings.link_flags(["-O3"], [GXX]))
    assert "libgcc_s" in libraries and "libstdc++" not in libraries
    found = [f"-L{tmp_path}", "-lthrows", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run([GXX, "-shared", "-fPIC", tmp_path / "catches.cpp", "-o", other, *found], check=True)
    code = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).caught() != 1)"
    assert subprocess.run([sys.executable, "-c", code, other]).returncode == 0


@needs_gxx
def test_a_library_that_crashes_fails_the_build_in_a_sentence(tmp_path):
    """As far as loading, which is where it crashes here."""
    source, library = tmp_path / "x.cpp", tmp_path / "x.so"
    for code, how in (
        ("raise(SIGSEGV)", "calling it ends with SIGSEGV"),
        ("_exit(3)", "calling it fails: exit code 3"),
    ):
        source.write_text(
            f"#include <csignal>\n#include <unistd.h>\n__attribute__((constructor)) static void crash() {{ {code}; }}"
        )
        subprocess.run([GXX, "-shared", "-fPIC", source, "-o", library], check=True)
        environment = {**os.environ, "CXX": "", "CC": "", "CFLAGS": "-O1 -g", "LDFLAGS": ""}
        said = surroundings.trouble("arseg._libmotion", library, environment)
        assert said is not None and said.startswith(
            f"{library} was built, but {how}. The environment has CFLAGS=-O1 -g"
        )
        assert "CXX=/usr/bin/g++" in said


@pytest.mark.slow
def test_a_library_that_works_is_taken():
    from arseg_ext import _loader

    motion = next((ROOT / "python" / "arseg").glob("_libmotion.*so"))
    assert surroundings.trouble("arseg_ext._C", _loader.find_library()) is None
    assert surroundings.trouble("arseg._libmotion", motion) is None


@pytest.mark.slow
def test_one_that_was_loaded_under_the_wrong_name_is_not(tmp_path):
    motion = next((ROOT / "python" / "arseg").glob("_libmotion.*so"))
    said = surroundings.trouble("arseg_ext._C", motion)
    assert said is not None and "calling it fails: " in said


# --- a whole build with a libstdc++ inside and with flags as bad as they come --------------------------------------

SURROUNDINGS = {
    "CXX": "env g++ -static-libstdc++ -static-libgcc",
    "CC": "env gcc",
    "CFLAGS": "-ffast-math -march=native -D_GLIBCXX_USE_CXX11_ABI=0 -fvisibility=default",
    "LDFLAGS": "-static-libstdc++ -static-libgcc -Wl,--as-needed -Wl,-z,now",
    "FORCE_CUDA": "0",
    "DEBUG": "1",  # half the time; what is asked here is not the optimiser's
}
FIRST = """
import ctypes, importlib.util, pathlib, sys
folder = pathlib.Path(sys.argv[1])
order = sys.argv[2]
def motion():
    from arseg import _motion
    _motion._library = _motion.load_library(folder / "arseg")
    return _motion
if order == "before torch":
    module = motion()
    folder_of_torch = pathlib.Path(importlib.util.find_spec("torch").origin).parent / "lib"
    for name in ("libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(folder_of_torch / name))
    ctypes.CDLL(str(next((folder / "arseg_ext").glob("_C*.so"))))
import torch
from arseg_ext import _loader
_loader.find_library = lambda: next((folder / "arseg_ext").glob("_C*.so"))
_loader.load()
module = motion() if order == "after torch" else module
from helpers import op_samples
for sample in op_samples.samples(grad=False):
    sample.call()
for sample in op_samples.samples():
    result = sample.call()
    if isinstance(result, torch.Tensor) and result.requires_grad:
        result.sum().backward()
from arseg_ext import ops
try:
    ops.mv_warp(torch.ones(3, 4, 5), torch.zeros(1, 1, 1, 2, dtype=torch.int16), block=4, frame_size=(4, 4))
except ValueError as error:
    print(error)
try:
    torch.ops.arseg.flow_warp(torch.ones(3, 4, 5), torch.zeros(1))
except RuntimeError as error:
    print(error)
import numpy as np
from arseg.video.motion import RECORD
try:
    module.rasterize(np.zeros(1, RECORD), 8, 8)
except ValueError as error:
    print(error)
print(torch.ops.arseg._build_config())
print(f"{torch.tensor([1.5, 2.25])} {torch.tensor(1e-42) * 1 > 0}")
"""


@needs_gxx
@pytest.mark.slow
def test_a_build_with_a_static_libstdcxx_and_hostile_flags(tmp_path):
    environment = {**os.environ, **SURROUNDINGS}
    command = [
        sys.executable,
        "setup.py",
        "build_ext",
        "--build-temp",
        tmp_path / "objects",
        "--build-lib",
        tmp_path / "lib",
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "arseg: -ffast-math -march=native of the environment has no effect here" in done.stderr
    for library in tmp_path.glob("lib/*/*.so"):
        dynamic = subprocess.run(["readelf", "-dW", "--dyn-syms", library], capture_output=True, text=True, check=True)
        assert "libstdc++" not in re.findall(r"NEEDED.*", dynamic.stdout)
        exported = [
            line.split()[-1] for line in dynamic.stdout.splitlines() if re.search(r" (UNIQUE|GLOBAL) .* \d+ \w", line)
        ]
        assert not [name for name in exported if re.search(r"locale|stream|facet|num_put|ctype", name)], library
    for order in ("before torch", "after torch"):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'python'}:{ROOT / 'tests'}"}
        called = subprocess.run(
            [sys.executable, "-c", FIRST, tmp_path / "lib", order], env=environment, capture_output=True, text=True
        )
        assert called.returncode == 0, (order, called.returncode, called.stderr[-2000:])
        lines = called.stdout.splitlines()
        assert lines[0] == "mv_warp: feature must have 4 dimensions [N, C, H, W], got shape [3, 4, 5]"
        assert lines[1].startswith("flow_warp: feature must have 4 dimensions [N, C, H, W], got shape [3, 4, 5]")
        assert lines[2].startswith("motion record 0: expected source < 0") and '"debug": true' in lines[3]
        assert lines[4] == "tensor([1.5000, 2.2500]) True"
