"""The public modules: what they name is documented, and kept as the version policy says."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    # module: (title, names where it has no __all__ of its own)
    "arseg": ("The package", ()),
    "arseg.segment": ("Segmenting", ()),
    "arseg.segment.run": ("Segmenting into files", ("segment_file",)),
    "arseg.segment.outputs": ("Outputs", ()),
    "arseg.segment.policies": ("Policies for a budget", ()),
    "arseg.video": ("Video in and out", ()),
    "arseg.video.hops": ("Fields between any frames", ("hop", "inverted")),
    "arseg.video.vectors": ("Vectors by themselves", ("FrameVectors", "read_vectors")),
    "arseg.video.vector_files": ("Streams of vectors", ("read_stream",)),
    "arseg.labels": ("Classes and palettes", ("LabelSet", "CAMVID", "CITYSCAPES")),
    "arseg.networks": ("Networks", ()),
    "arseg.networks.motion": ("Motion for a network", ("resize_motion",)),
    "arseg.acceleration": ("Around your own network", ()),
    "arseg.export.make": ("Exporting a network", ("export_network",)),
    "arseg.export.exported": ("Exported networks", ("ExportedNet", "is_exported", "load_exported")),
    "arseg.export.formats": ("Formats of exported parts", ("FORMATS", "Format", "Traced")),
    "arseg.weights": ("Weights", ()),
    "arseg.zoo": ("Weights by name", ("ZOO", "Published", "listing")),
    "arseg.data.datasets": ("Data sets", ("DataSet", "LabelledFrame", "LabelledFrames", "picture_files")),
    "arseg.data.street": ("A synthetic street", ()),
    "arseg.train.adapt": ("Adapting", ("AdaptRecipe", "adapt")),
    "arseg.inspect.reading": ("Inspecting motion", ()),
    "arseg.evaluate.flops": ("Compute", ()),
    "arseg.registry": ("Tables that you can add to", ("Registry",)),
    "arseg.files": ("Files written whole", ("replacing",)),
    "arseg.errors": ("Errors", ()),
    "arseg_ext": ("Operators: the package", ()),
    "arseg_ext.ops": ("Operators", ()),
    "arseg_ext.nn": ("Operators as modules", ("CReFF", "LocalAttention", "MVWarp")),
    "arseg_ext.oracle": ("Operators in plain PyTorch", ()),
    "arseg_ext.compat.localattention": ("The authors' localAttention", ()),
}
"""By module, in the order of the site."""


def source_of(module: str) -> Path:
    """The file of a module."""
    top = ROOT if module.split(".")[0] == "arseg_ext" else ROOT / "python"
    path = top.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def names_of(module: str) -> list[str]:
    """The public names of a module, without importing it."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    if MODULES.get(module, ("", ()))[1]:
        return list(MODULES[module][1])
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            names: list[str] = ast.literal_eval(node.value)
            return [name for name in names if not name.startswith("__")]
    defined = (node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return [node.name for node in defined if not node.name.startswith("_")]
