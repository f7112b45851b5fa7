"""Which segmentation networks of transformers, segmentation_models_pytorch, torchvision and timm can be cut, and how.

Networks have random weights and, where their config allows it, few channels: nothing is fetched. For each line:
where it is cut, which sizes it takes, whether classifier(features(image)) is its own output to the bit, whether both
branches are exported by torch.export, whether it learns. Writes benchmarks/results/cut_networks.json, and the table of
docs/networks.md from it.

    python benchmarks/cut_networks.py            # all; minutes
    python benchmarks/cut_networks.py --table    # the page from the results
"""

from __future__ import annotations

import argparse
import json
import platform
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from arseg.acceleration import accelerate, split
from arseg.acceleration.cut import difference
from arseg.acceleration.sizes import Sizes
from arseg.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "cut_networks.json"
PAGE = ROOT / "docs" / "networks.md"
CLASSES = 5
PACKAGES = ("torch", "transformers", "segmentation_models_pytorch", "torchvision", "timm")
VIT = "hidden_size=16&num_hidden_layers=4&num_attention_heads=2&intermediate_size=32&image_size=64"
STAGES = '"out_features":["stage1","stage2","stage3","stage4"]'
TRANSFORMERS = {
    "beit": f"{VIT}&out_indices=[1,2,3,4]&use_relative_position_bias=true",
    "data2vec-vision": f"{VIT}&out_indices=[0,1,2,3]",
    "dpt": f"{VIT}&backbone_out_indices=[0,1,2,3]&neck_hidden_sizes=[16,16,16,16]&fusion_hidden_size=16",
    "mobilenet_v2": "depth_multiplier=0.35",
    "mobilevit": "hidden_sizes=[16,16,16]&neck_hidden_sizes=[8,8,8,8,8,8,16]&num_attention_heads=2"
    "&aspp_out_channels=16",
    "mobilevitv2": "width_multiplier=0.25&aspp_out_channels=16",
    "sapiens2": "hidden_size=32&num_hidden_layers=2&num_attention_heads=2&num_key_value_attention_heads=2"
    "&num_key_value_heads_per_layer=[2,2]&intermediate_size=32&image_size=64&num_first_full_attention_layers=1"
    '&num_last_full_attention_layers=1&out_features=["stage2"]&out_indices=[2]&stage_names=["stem","stage1","stage2"]'
    '&head_config={"upsample_out_channels":[16,8],"upsample_kernel_sizes":[4,4],"conv_out_channels":[8],'
    '"conv_kernel_sizes":[1]}',
    "segformer": "depths=[1,1,1,1]&hidden_sizes=[8,16,16,16]&decoder_hidden_size=16&num_attention_heads=[1,1,2,2]",
    "tipsv2_dpt": "neck_hidden_sizes=[8,8,8,8]&fusion_hidden_size=8&backbone_config="
    '{"model_type":"tipsv2_vision_model","hidden_size":16,"num_hidden_layers":4,"num_attention_heads":2,'
    f'"image_size":56,"reshape_hidden_states":false,{STAGES}}}',
    "upernet": "hidden_size=16&auxiliary_channels=8&backbone_config="
    f'{{"model_type":"convnext","hidden_sizes":[8,8,16,16],"depths":[1,1,1,1],{STAGES}}}',
}
"""All types that `AutoModelForSemanticSegmentation` has in transformers 5.24, and the options that make them small."""
OTHER_BACKBONES = {
    "upernet, Swin": "upernet?hidden_size=16&auxiliary_channels=8&backbone_config="
    f'{{"model_type":"swin","embed_dim":8,"depths":[1,1,1,1],"num_heads":[1,1,2,2],"window_size":4,{STAGES}}}',
    "upernet, ResNet": "upernet?hidden_size=16&auxiliary_channels=8&backbone_config="
    f'{{"model_type":"resnet","embedding_size":8,"hidden_sizes":[8,8,16,16],"depths":[1,1,1,1],{STAGES}}}',
    "dpt, hybrid": "dpt?is_hybrid=true&hidden_size=16&num_hidden_layers=4&num_attention_heads=2&intermediate_size=32"
    "&image_size=64&neck_hidden_sizes=[256,512,16,16]&fusion_hidden_size=16&backbone_out_indices=[0,1,2,3]"
    "&backbone_featmap_shape=[1,1024,4,4]&neck_ignore_stages=[0,1]&readout_type=project",
}
REFUSED = ("mask2former", "maskformer", "oneformer", "eomt", "detr", "clipseg", "sam", "seggpt")
"""Networks of transformers that segment, and not by logits of each pixel."""
ENCODERS = ("resnet18", "mit_b0", "tu-mobilenetv3_small_050")
ARCHITECTURES = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
    "Segformer",
)  # fmt: skip
TORCHVISION = (
    "fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip
TIMM = (
    "mobilenetv3_small_050", "efficientnet_lite0", "resnet18", "convnext_atto", "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
)  # fmt: skip


def lines() -> dict[str, str]:
    """What is tried: a name for the table, and its line."""
    found = {f"transformers:{name}": f"transformers:{name}?{options}" for name, options in TRANSFORMERS.items()}
    found |= {f"transformers:{name}": f"transformers:{line}" for name, line in OTHER_BACKBONES.items()}
    found |= {f"transformers:{name}": f"transformers:{name}" for name in REFUSED}
    found |= {f"smp:{a}, {e}": f"smp:{a}?encoder_name={e}" for a in ARCHITECTURES for e in ENCODERS}
    found["smp:DPT, tu-vit_tiny_patch16_224"] = "smp:DPT?encoder_name=tu-vit_tiny_patch16_224"
    found |= {f"torchvision:{name}": f"torchvision:{name}" for name in TORCHVISION}
    return found | {f"timm:{name}": f"timm:{name}" for name in TIMM}


class Branch(torch.nn.Module):
    """`features` or `classifier` of a network, for torch.export."""

    def __init__(self, network: Any, part: str):
        super().__init__()
        self.network, self.part = network, part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.network, self.part)(x)


def tried(line: str, size: tuple[int, int] = (128, 192)) -> dict[str, Any]:
    """What becomes of a line; raises what `split` raises."""
    network: Any = split(line, num_classes=CLASSES, size=size)
    cut = getattr(network, "cut", None)
    sizes = getattr(network, "sizes", Sizes())
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, *sizes.nearest((128, 160)), generator=generator)
    with torch.no_grad():
        own, feature = network(image), network.features(image)
        scores = network.classifier(feature)
        parts = scores if cut is None else network.finish(scores)
        if parts.shape != own.shape:
            align = getattr(network, "align_corners", False)
            parts = F.interpolate(parts, size=own.shape[2:], mode="bilinear", align_corners=align)
        features, classifier = (
            torch.export.export(Branch(network, part), (x,)).module()(x)
            for part, x in (("features", image), ("classifier", feature))
        )
        exported = max(difference(features, feature), difference(classifier, scores))
    pointwise = isinstance(network.classifier, nn.Conv2d) and network.classifier.kernel_size == (1, 1)
    network.train()
    network(torch.cat([image, image.flip(2)])).square().mean().backward()
    learning = [p for name, p in network.named_parameters() if p.grad is not None]
    try:
        accelerate(network, size=(2 * size[0], 2 * size[1]))  # so that its half is as large as what was tried
        accelerated = "yes"
    except InputError as error:
        accelerated = str(error)
    return {
        "classifier": "its own" if cut is None or cut.preset == "own" else cut.preset or cut.classifier,
        "channels": network.channels,
        "stride": round(image.shape[2] / feature.shape[2], 2),
        "one pass": pointwise,
        "sizes": str(sizes),
        "to the bit": torch.equal(parts, own),
        "export, largest difference": exported,
        "parameters that learn": f"{len(learning)}/{sum(1 for _ in network.parameters())}",
        "accelerated": accelerated,
    }


def run(names: list[str]) -> None:
    """Tries networks; each result is kept at once beside those of the others, of the same versions."""
    versions = {package: version(package) for package in PACKAGES}
    record = {"versions": versions, "python": platform.python_version(), "networks": {}}
    if names and RESULTS.is_file():
        before = json.loads(RESULTS.read_text(encoding="utf-8"))
        if before["versions"] != versions:
            raise SystemExit("the results are of other versions; run all")
        record["networks"] = before["networks"]
    for name, line in lines().items():
        if names and not any(part in name for part in names):
            continue
        try:
            record["networks"][name] = tried(line)
        except InputError as error:
            record["networks"][name] = {"refused": str(error)}
        print(name, record["networks"][name], flush=True)
        RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of names, whose results are replaced; all without")
    parser.add_argument("--table", action="store_true", help="put the results into the page")
    given = parser.parse_args()
    if given.table:
        text = PAGE.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        _, _, tail = rest.partition(END)
        made = table(json.loads(RESULTS.read_text(encoding="utf-8")))
        PAGE.write_text(f"{head}{BEGIN}\n{made}\n{END}{tail}", encoding="utf-8")
        return
    warnings.simplefilter("ignore")
    run(given.names)


BEGIN, END = "<!-- cut_networks.py -->", "<!-- end -->"


REASONS = {
    "predicts masks": "refused: masks, each with a class",
    "is of another kind": "refused: no logits of each pixel",
}
"""Parts of the sentence with which `split` refuses a network, and the table's few words for it."""


def reason(refused: str) -> str:
    """The few words; of a network that its own package does not build, the package's."""
    known = [words for part, words in REASONS.items() if part in refused]
    return known[0] if known else f"refused: {refused.rpartition(': ')[2]}"


def shown(found: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a network that was cut."""
    where = found["classifier"] + ("" if found["one pass"] else " *")
    return (
        f"`{where}`" if " " not in where else where,
        found["sizes"],
        "yes" if found["to the bit"] else "no",
        "yes" if found["export, largest difference"] < 1e-5 else "no",
        "yes" if found["accelerated"] == "yes" else "no",
    )


def table(record: dict[str, Any]) -> str:
    """Rows of the page; networks of one library that differ in nothing shown share one."""
    rows: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for name in lines():
        found = record["networks"][name]
        library, _, rest = name.partition(":")
        what, _, encoder = rest.partition(", ")
        cells: tuple[str, ...] = (reason(found["refused"]), "", "", "", "") if "refused" in found else shown(found)
        row = rows.setdefault((library, what if encoder else "", *cells), {})
        row.setdefault(what, []).extend([encoder] if encoder else [])
    made = [
        "| network | cut before | image sizes | to the bit | export | `accelerate` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (library, _, *cells), names in rows.items():
        named = ", ".join(what + (f" ({', '.join(encoders)})" if encoders else "") for what, encoders in names.items())
        made.append(f"| {library}: {named} | " + " | ".join(cells) + " |")
    said = ", ".join(f"{package} {number.split('+')[0]}" for package, number in record["versions"].items())
    return "\n".join([*made, "", f"Tried with {said}."])


if __name__ == "__main__":
    main()
