"""Whether an installed wheel works: run by the Python that has it, from outside of the checkout.

Prints a line for each part that passed, and ends with an exception at the first that does not.
`--operators` leaves out the pipeline, `--eager` what compiles or traces.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))  # behind what is installed
from helpers.op_samples import TOLERANCE, creff_parameters, error, randn, samples, vectors  # noqa: E402

import arseg_ext  # noqa: E402
from arseg_ext import ops, oracle  # noqa: E402

FIELD = {"block": 16, "frame_size": (40, 56)}


def calls() -> dict[str, tuple[list[torch.Tensor], dict]]:
    """Inputs in float64 and settings of every public operator, by its name."""
    feature, low, motion = randn(2, 3, 5, 7), randn(2, 3, 3, 4, seed=4), vectors(2, 3, 4, 2)
    qkv = [randn(2, channels, 5, 7, seed=seed) for seed, channels in enumerate((3, 3, 4))]
    classifier = [randn(6, 3, seed=8), randn(6, seed=9)]
    fusion = [feature, low, motion, *creff_parameters(3)]
    return {
        "mv_warp": ([feature, motion], FIELD),
        "flow_warp": ([feature, randn(2, 5, 7, 2, scale=2.0)], {"grid": "legacy"}),
        "local_attention": (qkv, {"window": (3, 5), "outside": "masked"}),
        "creff": (fusion, {"window": 3, **FIELD}),
        "creff_logits": ([*fusion, *classifier], {"window": 3, **FIELD}),
        "creff_labels": ([*fusion, *classifier], {"window": 3, **FIELD}),
        "resize_labels": ([randn(2, 6, 3, 4)], {"size": (7, 9)}),
    }


def expected_of(name: str, tensors: list[torch.Tensor], settings: dict) -> torch.Tensor:
    """The same by the oracle, and for what it does not have by PyTorch after it."""
    if name in {"creff_logits", "creff_labels"}:
        *fusion, weight, bias = tensors
        logits = torch.nn.functional.conv2d(oracle.creff(*fusion, **settings), weight[:, :, None, None], bias)
        return logits if name == "creff_logits" else logits.argmax(1)
    if name == "resize_labels":
        return torch.nn.functional.interpolate(*tensors, **settings, mode="bilinear").argmax(1)
    return getattr(oracle, name)(*tensors, **settings)


def cast(tensors: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


def check_values() -> str:
    assert set(calls()) == set(ops.__all__), "an operator has no call here"
    for name, (tensors, settings) in calls().items():
        for dtype in TOLERANCE:
            given = cast(tensors, dtype)
            got = getattr(ops, name)(*given, **settings)
            expected = expected_of(name, cast(given, torch.float64), settings)
            if got.is_floating_point():
                limit = TOLERANCE[dtype] * max(1.0, float(expected.abs().max()))
                assert error(got, expected) <= limit, f"{name}, {dtype}: error {error(got, expected)}"
            elif dtype is torch.float64:  # labels where two classes are close may differ in others
                assert torch.equal(got, expected.to(got.dtype)), name
    return f"{len(calls())} operators × {len(TOLERANCE)} dtypes"


def check_gradients() -> str:
    done = 0
    for name, (tensors, settings) in calls().items():
        if name.endswith("_labels"):
            continue
        leaves = [tensor.clone().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
        wanted = [tensor for tensor in leaves if tensor.requires_grad]
        outputs = (getattr(ops, name)(*leaves, **settings), expected_of(name, leaves, settings))
        weights = randn(*outputs[0].shape, seed=5)
        for got, expected in zip(*(torch.autograd.grad((out * weights).sum(), wanted) for out in outputs), strict=True):
            assert error(got, expected) <= 1e-10 * max(1.0, float(expected.abs().max())), f"gradient of {name}"
            done += 1
    return f"{done} gradients"


class Fusion(torch.nn.Module):
    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return 2 * ops.creff(*tensors, window=3, **FIELD)


def check_compile() -> str:
    given = cast(calls()["creff"][0], torch.float32)
    compiled = torch.compile(Fusion(), fullgraph=True)
    assert error(compiled(*given), Fusion()(*given)) <= 1e-5, "torch.compile changes the result"
    return "compile"


def check_export() -> str:
    given = tuple(cast(calls()["creff"][0], torch.float32))
    program = torch.export.export(Fusion(), given)
    assert torch.equal(program.module()(*given), Fusion()(*given)), "torch.export changes the result"
    return "export"


def check_opcheck() -> str:
    arseg_ext.load()
    for sample in samples():
        torch.library.opcheck(sample.overload, sample.args, sample.kwargs)
    return f"opcheck of {len(samples())} calls"


def check_pipeline() -> str:
    """`arseg segment` on two frames, as a user calls it."""
    import av
    import numpy as np

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with av.open(str(folder / "clip.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for index in range(2):
                image = np.random.default_rng(0).integers(0, 255, (64, 96 + index, 3), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, index:]), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        program = [str(Path(sys.executable).with_name("arseg")), "segment", "clip.mp4", "--labels", "labels"]
        done = subprocess.run([*program, "--height", "64"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-600:]
        assert len(list((folder / "labels").glob("*.png"))) == 2, "not two label maps"
    return "segment"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operators", action="store_true", help="without the pipeline")
    parser.add_argument("--eager", action="store_true", help="without compile, export and opcheck")
    options = parser.parse_args()
    assert Path(arseg_ext.__file__).parent.parent != ROOT, "the checkout is imported, not what was installed"
    checks = [check_values, check_gradients]
    checks += [] if options.eager else [check_compile, check_export, check_opcheck]
    checks += [] if options.operators else [check_pipeline]
    for check in checks:
        print(check(), flush=True)


if __name__ == "__main__":
    main()
