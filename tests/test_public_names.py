"""The packages use the names that torch promises to keep, so that they go on with later ones."""

import ast
from pathlib import Path

import pytest

import arseg_ext

ROOT = Path(arseg_ext.__file__).resolve().parent.parent
PACKAGES = ("arseg_ext", "python/arseg")


def private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__")


def aliases(tree: ast.AST) -> dict[str, str]:
    """What names of a module stand for of torch."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    found[alias.asname or "torch"] = alias.name if alias.asname else "torch"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


# Attributes of torch's own objects, which no import gives away.
ATTRIBUTES = {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_parameters", "_buffers", "_modules"}
ALLOWED = "arseg_ext/_torch_private.py"


def private_names(source: str) -> list[str]:
    """Dotted names of torch's with a part that begins with an underscore."""
    tree = ast.parse(source)
    known = aliases(tree)
    names = set(known.values())
    names |= {
        a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names if a.name.startswith("torch")
    }
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        names |= {f"torch.{part}" for part in parts if part in ATTRIBUTES}
        if isinstance(node, ast.Name) and node.id in known:
            names.add(".".join([known[node.id], *reversed(parts)]))
    ours = "torch.ops.arseg."
    return sorted(name for name in names if not name.startswith(ours) and any(map(private, name.split("."))))


def test_the_search_finds_them():
    for source in (
        "import torch\nx = torch._C._dispatch_has_kernel('a')",
        "from torch._prims_common import suggest_memory_format",
        "import torch._dynamo",
        "from torch.library import _x",
        "import torch.nn.functional as F\nF._pad",
        "from torch import _C",
        "import torch as t\nt.library._f()",
        "def f(module):\n    return module._forward_hooks",
    ):
        assert private_names(source), source
    assert not private_names("import torch\ntorch.ops.arseg._creff(torch.__version__)")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_private_name_of_torch(package):
    files = sorted(path for path in (ROOT / package).rglob("*.py") if path != ROOT / ALLOWED)
    assert files
    found = {str(path.relative_to(ROOT)): private_names(path.read_text(encoding="utf-8")) for path in files}
    assert not {path: names for path, names in found.items() if names}
