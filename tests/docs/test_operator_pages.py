"""What docs/operators says of an operator is what it does: arguments, gradients, types, layouts, cost, figures."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from pathlib import Path

import pytest
import torch
from helpers.op_samples import creff_parameters, randn, vectors
from torch.utils.flop_counter import FlopCounterMode

from arseg_ext import ops

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOLDER = DOCS / "operators"
OPERATORS = tuple(ops.__all__)
SIZES = {"N": 2, "C": 3, "H": 6, "W": 8, "h": 3, "w": 4, "Hb": 3, "Wb": 4, "K": 5, "Cv": 4, "kh": 3, "kw": 5}
FIELD = {"block": 16, "frame_size": (48, 64)}


def page(op: str) -> str:
    return (FOLDER / f"{op}.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def tables(text: str) -> list[list[dict[str, str]]]:
    """Rows of each Markdown table, by the header's names."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines())
        found.append([dict(zip(header, row, strict=True)) for row in rows])
    return found


def code(cell: str) -> str:
    return cell.split("`")[1]


def tensors(op: str, dtypes: dict[str, torch.dtype] | None = None, *, flow: bool = False) -> dict[str, torch.Tensor]:
    """Tensors of a call by the names of its arguments; dtypes of some of them, float32 for the rest."""
    s = SIZES
    shape = s["N"], s["C"], s["H"], s["W"]
    weights = dict(
        zip(
            (f"{x}_{y}" for x in ("query", "key", "value") for y in ("weight", "bias")),
            creff_parameters(3),
            strict=True,
        )
    )
    fused = {"reference": randn(*shape), "low_res": randn(s["N"], s["C"], s["h"], s["w"], seed=1)}
    blocks, dense = vectors(s["N"], s["Hb"], s["Wb"], 2), randn(s["N"], s["H"], s["W"], 2, dtype=torch.float32)
    fused |= {"motion": dense if flow else blocks, **weights}
    head = {"classifier_weight": randn(s["K"], s["C"]), "classifier_bias": randn(s["K"])}
    made = {
        "mv_warp": {"feature": randn(*shape), "motion": blocks},
        "flow_warp": {"feature": randn(*shape), "flow": dense},
        "local_attention": {
            "query": randn(*shape),
            "key": randn(*shape, seed=1),
            "value": randn(s["N"], s["Cv"], s["H"], s["W"]),
        },
        "creff": fused,
        "creff_logits": {**fused, **head},
        "creff_labels": {**fused, **head},
        "resize_labels": {"logits": randn(s["N"], s["K"], s["h"], s["w"])},
    }[op]
    dtypes = dtypes or {}
    return {
        name: x.to(dtypes.get(name, dtypes.get("maps", torch.float32)))
        if x.dtype == torch.float64 or name in dtypes
        else x
        for name, x in made.items()
    }


def options(op: str, *, flow: bool = False) -> dict:
    window = {"window": (SIZES["kh"], SIZES["kw"])}
    return {
        "mv_warp": FIELD,
        "flow_warp": {},
        "local_attention": window,
        "resize_labels": {"size": (SIZES["H"], SIZES["W"])},
    }.get(op, {**window, **({} if flow else FIELD)})


def call(op: str, given: dict[str, torch.Tensor], *, flow: bool = False) -> torch.Tensor:
    return getattr(ops, op)(**given, **options(op, flow=flow))


def test_every_operator_has_a_page_and_the_index_names_it():
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == sorted([*OPERATORS, "README"])
    assert [code(row["operator"]) for row in tables(page("README"))[0]] == [
        "mv_warp", "flow_warp", "local_attention", "creff", "creff_logits", "creff_labels", "resize_labels"
    ]  # fmt: skip
    assert len(OPERATORS) == 7


@pytest.mark.parametrize("op", OPERATORS)
def test_arguments(op):
    (rows,) = tables(section(page(op), "Arguments"))
    parameters = inspect.signature(getattr(ops, op)).parameters
    assert [code(row["argument"]) for row in rows] == list(parameters)
    for row, parameter in zip(rows, parameters.values(), strict=True):
        if parameter.default is inspect.Parameter.empty:
            assert row["default"] == "required", parameter.name
        else:
            assert repr(parameter.default) == code(row["default"]).replace('"', "'"), parameter.name


@pytest.mark.parametrize("op", OPERATORS)
def test_gradients(op):
    text = section(page(op), "Gradients")
    flow = op in ("creff", "creff_logits")
    given = tensors(op, {"maps": torch.float64}, flow=flow)
    leaves = {name: x.requires_grad_() for name, x in given.items() if x.is_floating_point()}
    result = call(op, given, flow=flow)
    if not tables(text):
        assert text.strip().startswith("None:") and not result.requires_grad
        return
    result.sum().backward()
    (rows,) = tables(text)
    said = {code(row["argument"]): row["gradient"] for row in rows}
    assert list(said) == list(given)
    for name, sentence in said.items():
        assert sentence.startswith("no") == (name not in leaves), name
        assert name not in leaves or leaves[name].grad is not None, name


@pytest.mark.parametrize("op", OPERATORS)
def test_types(op):
    rows = tables(section(page(op), "Types and layout"))[0]
    assert len(rows) == 4
    for row in rows:
        *names, result, cast = row
        given = tensors(op, {name: getattr(torch, row[name]) for name in names})
        assert str(call(op, given).dtype) == f"torch.{row[result]}", row
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert str(call(op, given).dtype) == f"torch.{row[cast]}", row


@pytest.mark.parametrize("op", OPERATORS)
def test_layouts(op):
    rows = tables(section(page(op), "Types and layout"))[1]
    stored = {
        "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
        "contiguous": lambda x: x.contiguous(),
        "other strides": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    }
    formats = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    assert [row["first map"] for row in rows] == list(stored)
    for row in rows:
        given = tensors(op)
        first = next(iter(given))
        given[first] = stored[row["first map"]](given[first])
        assert call(op, given).is_contiguous(memory_format=formats[row["result"]]), row


@pytest.mark.parametrize("op", OPERATORS)
def test_cost(op):
    (rows,) = tables(section(page(op), "Cost"))
    formulas = {row[""]: code(row["formula"]) for row in rows}
    sizes = {**SIZES, "s": 4, "sf": 4}
    given = tensors(op)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = call(op, given)
    assert eval(formulas["FLOPs"], sizes) == counter.get_total_flops()
    moved = sum(x.numel() * x.element_size() for x in (*given.values(), result))
    assert eval(formulas["bytes"], sizes) == moved
    if "FLOPs of the backward" in formulas:
        for x in given.values():
            x.requires_grad_()
        result = call(op, given)
        with FlopCounterMode(display=False) as counter:
            result.sum().backward()
        assert eval(formulas["FLOPs of the backward"], sizes) == counter.get_total_flops()


@pytest.mark.parametrize(
    "op, sizes, flops, moved",
    [
        ("local_attention", {"C": 64, "Cv": 64}, "8.67 GFLOP", "0.71 GB"),
        ("creff", {"C": 64, "h": 360, "w": 480, "Hb": 45, "Wb": 60}, "11.1 GFLOP", "0.40 GB"),
    ],
)
def test_costs_in_the_text(op, sizes, flops, moved):
    text = section(page(op), "Cost")
    formulas = {row[""]: code(row["formula"]) for row in tables(text)[0]}
    sizes = {"N": 1, "H": 720, "W": 960, "kh": 7, "kw": 7, "s": 4, **sizes}
    for formula, said in (("FLOPs", flops), ("bytes", moved)):
        number, unit = said.split()
        assert said in text, f"{said} is not on the page any more"
        digits = len(number.partition(".")[2])
        assert f"{eval(formulas[formula], sizes) / 1e9:.{digits}f}" == number, unit


@pytest.mark.parametrize("op", OPERATORS)
def test_measured_figures_are_those_of_the_pages_they_cite(op):
    """Of a row's figures each stands, to the digit, in the section it links to."""
    for row in [row for table in tables(section(page(op), "Measured")) for row in table]:
        cited = re.search(r"\(\.\./(\w+\.md)#([\w-]+)\)", row["beside"])
        assert cited, row
        text = (DOCS / cited[1]).read_text(encoding="utf-8")
        titles = {re.sub(r"[^\w -]", "", x).lower().replace(" ", "-"): x for x in re.findall(r"^## (.*)$", text, re.M)}
        found = section(text, titles[cited[2]])
        for number in re.findall(r"\d+(?:\.\d+)?", row["time"]):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", found), (
                f"{op}: {number} is not in {cited[0]}"
            )


def test_the_figures_are_there_and_drawn_by_the_script():
    links = {op: re.findall(r"\]\((figures/.*?)\)", page(op)) for op in OPERATORS}
    assert links == {op: [f"figures/{op}.png"] for op in OPERATORS}
    files = sorted((FOLDER / "figures").iterdir())
    assert [path.name for path in files] == sorted(f"{op}.png" for op in OPERATORS)
    assert all(path.stat().st_size < 150_000 for path in files)


@pytest.mark.slow
def test_the_figures_can_be_drawn_again(tmp_path, monkeypatch):
    """Not byte by byte: other versions of the libraries draw other letters. Sizes and colours are the same."""
    pytest.importorskip("matplotlib", reason="figures want the extra `plot`")
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(sys, "path", [str(DOCS / "figures"), *sys.path])
    specification = importlib.util.spec_from_file_location("figures_draw", DOCS / "figures" / "draw.py")
    draw = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(draw)
    threads = torch.get_num_threads()
    try:
        drawn = draw.draw([], tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert sorted(path.name for path in drawn) == sorted(f"{op}.png" for op in OPERATORS)
    for path in drawn:
        with image.open(path) as new, image.open(FOLDER / "figures" / path.name) as old:
            assert new.size == old.size
            means = [torch.tensor(list(x.convert("RGB").resize((8, 8)).tobytes())).float() for x in (new, old)]
            assert (means[0] - means[1]).abs().mean() < 8, path.name
