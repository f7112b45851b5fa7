"""What a weights file says of itself: network, classes, normalisation, and how it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from arseg.files import StrPath
from arseg.labels import CAMVID, LabelSet
from arseg.zoo import record_of

from .build import FUSION
from .files import CheckpointError, tensor_shapes, weights_file

WHAT = {
    "hr": "the keyframe network alone, of `arseg train hr`",
    "ar": "AR-Seg: keyframe network, low-resolution branch and fusion",
    "fused": "the paper's low-resolution network with its fusion",
    "accelerated": "AR-Seg around another network, of `arseg adapt`",
}
"""By kind of file."""

_PRECISIONS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def weights_info(path: StrPath) -> dict[str, Any]:
    """What the file says, in JSON's terms; nothing is built, so that code named in it is not run.

    - path, bytes, kind, what;
    - network: its line, or the options of ours; cut: where it is cut; fusion: options of AR-Seg, of pairs;
    - parameters: values in all and by part; precision: of most of them;
    - labels: a `LabelSet` as JSON, None where the file does not say it and nothing is known otherwise;
    - height: of frames as the network sees them, None: as they are;
    - made: see `arseg.weights.made`; None in files of before version 0.3;
    - card: the file beside it that describes it, None where there is none.

    `path` may be a name of the zoo. Raises `CheckpointError` for a file that is none of ours.
    """
    path = weights_file(path)
    kind, config, shapes = tensor_shapes(path)
    parts: Counter[str] = Counter()
    precisions: Counter[str] = Counter()
    for key, (precision, count) in shapes.items():
        parts[_part(kind, key)] += count
        precisions[precision] += count
    if not shapes:
        raise CheckpointError(f"{path}: no tensors in it")
    (precision, _), *_ = precisions.most_common(1)
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "kind": kind,
        "what": WHAT.get(kind, f"weights of kind {kind}"),
        "network": _network(config),
        "cut": config.get("cut") or _old_cut(config),
        "fusion": {key: config[key] for key in FUSION if key in config},
        "parameters": {"all": sum(parts.values()), **dict(parts)},
        "precision": _PRECISIONS.get(precision, precision),
        "labels": _labels(config),
        "height": config.get("height"),
        "made": config.get("made") or record_of(path),
        "card": str(path.with_suffix(".md")) if path.with_suffix(".md").is_file() else None,
    }


def _part(kind: str, key: str) -> str:
    first = key.split(".")[0]
    return first if kind in ("ar", "accelerated") and first in ("high", "low", "fusion") else "network"


def _network(config: Mapping[str, Any]) -> dict[str, Any]:
    """A line as `--model` takes it, and options."""
    line = config.get("network", config.get("model"))
    if isinstance(line, Mapping):  # weights of ours were what an adaptation was made around
        return _network(line.get("config", {}))
    if line is None:
        line = config.get("arch", "pyramid")
    names = ("classes", "num_classes", "channels", "wide", "encoder", "stride", "auxiliary")
    found = {"line": line, **{name: config[name] for name in names if name in config}}
    if line == "transformers":
        found["type"] = config["settings"]["model_type"]
    return found


def _old_cut(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of an adaptation, whose file has the cut's parts at its top."""
    if "preset" not in config or "classifier" not in config:
        return None
    return {name: config.get(name) for name in ("features", "classifier", "preset")}


def _labels(config: Mapping[str, Any]) -> dict[str, Any] | None:
    if "labels" in config:
        return LabelSet.from_json(config["labels"]).to_json()
    count = config.get("classes", config.get("num_classes"))
    if count == len(CAMVID.classes):
        return CAMVID.to_json()  # as those that build such a network take it
    return None


def weights_report(info: Mapping[str, Any]) -> Group:
    """The findings for a person, 80 columns wide."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in _lines(info):
        facts.add_row(name, text)
    return Group(facts)


def _lines(info: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    network, parameters, made = info["network"], info["parameters"], info["made"]
    yield "file", Text(f"{info['path']}, {info['bytes'] / 1e6:.1f} MB")
    yield "holds", Text(info["what"])
    options = _listed({key: value for key, value in network.items() if key != "line"})
    yield "network", Text(network["line"] + (f" ({options})" if options else ""))
    if info["cut"]:
        cut = {key: value for key, value in info["cut"].items() if value is not None}
        sizes = {key: value for key, value in cut.pop("sizes", {}).items() if value not in (1, False, None)}
        cut |= {"sizes": sizes} if sizes else {}  # nothing: any
        yield "cut at", Text(_listed(cut))
    if info["fusion"]:
        yield "fusion", Text(_listed(info["fusion"]))
    parts = [f"{name} {count / 1e6:.2f}" for name, count in parameters.items() if name not in ("all", "network")]
    of = f" ({', '.join(parts)})" if parts else ""
    yield "parameters", Text(f"{parameters['all'] / 1e6:.2f} million{of}, {info['precision']}")
    yield from _label_lines(info["labels"])
    height = info["height"]
    yield "frames", Text(f"seen at a height of {height} pixels" if height else "seen at their own size")
    if made is None:
        yield "made", Text("not recorded: by an earlier version, or by a script")
    else:
        yield from _made_lines(made)
    if info["card"]:
        yield "card", Text(info["card"])


def _label_lines(labels: Mapping[str, Any] | None) -> Iterator[tuple[str, Text]]:
    if labels is None:
        yield "classes", Text("not recorded")
        return
    text = Text(f"{len(labels['classes'])}{' of ' + labels['name'] if labels['name'] else ''}: ")
    for place, (name, colour) in enumerate(zip(labels["classes"], labels["palette"], strict=False)):
        text.append(", " if place else "")
        text.append("██", style=f"rgb({','.join(map(str, colour))})").append(f" {name}")
    yield "classes", text
    mean, std = (" ".join(f"{value:.4g}" for value in labels[key]) for key in ("mean", "std"))
    yield "input", Text(f"RGB in 0..1, mean {mean}, deviation {std}")


def _made_lines(made: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    yield "licence", Text(str(made.get("licence") or "not stated"))
    if made.get("command"):
        yield "made by", Text(str(made["command"]))
    versions = _listed(made.get("versions") or {}, " ")
    commit = f", commit {made['commit']}" if made.get("commit") else ""
    if versions or commit:
        yield "with", Text(versions + commit)
    data = made.get("data")
    if data:
        text = f"{data.get('name')} ({data.get('layout')}): {data.get('frames')} labelled frames, {data.get('split')}"
        yield "data", Text(f"{text}; fingerprint {data.get('fingerprint')}")
    if made.get("videos"):
        yield "videos", Text(", ".join(map(str, made["videos"])))
    for role, file in (made.get("files") or {}).items():
        yield role, Text(str(file))
    if made.get("scores"):
        yield "scores", Text(_listed(made["scores"]))
    if made.get("recipe"):
        yield "recipe", Text(_listed(made["recipe"]))
    known = ("licence", "command", "versions", "commit", "data", "videos", "files", "scores", "recipe", "seed")
    for key, value in made.items():
        if key not in known and value is not None:
            yield key, Text(_listed(value) if isinstance(value, Mapping) else str(value))


def _listed(values: Mapping[str, Any], between: str = " ") -> str:
    return ", ".join(f"{key}{between}{_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_short, value))}]"
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    return "none" if value is None else str(value)
