"""The weights that lie beside a release and are not in the tree: made of trained files, with their cards and checksums.

`python tools/release_weights.py psp18=runs/psp18/ar.safetensors bise18=runs/bise18/ar.safetensors -o dist/weights`

Of each trained file (kind "ar", `arseg train ar --preset camvid-psp18` and its like) the two networks without their
fusion, and the constants of the residual that takes its place (docs/notes/residual-training.md). The same file in, the
same bytes out. SHA256SUMS has what `sha256sum -c` takes. Exits with 1 where a file is not the one of the zoo's entry:
another training gives another file, and its checksum, figures and card are to be written anew before it is published.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from arseg.errors import InputError
from arseg.weights import read_checkpoint, save_checkpoint
from arseg.zoo import ZOO, checksum

CARDS = Path(__file__).resolve().parent.parent / "docs" / "cards"
CONSTANTS = {
    "psp18": {"keyframe_residual": 0.74, "residual_tau": 33.6},
    "bise18": {
        "keyframe_residual": 1.0,
        "residual_tau": 32.0,
        "keyframe_weight": 16.0,
        "keyframe_decay": 1.0,
        "keyframe_tau": 3.0,
    },
}


def with_residual(trained: Path, name: str, folder: Path) -> Path:
    """`trained` without its fusion and with the residual's constants, as the file of the zoo's entry; its path."""
    kind, config, state = read_checkpoint(trained)
    if kind != "ar" or config.get("arch") != f"camvid-{name}":
        found = f'kind "{kind}" of {config.get("arch", "another network")}'
        raise InputError(f'{trained}: expected weights of kind "ar" of camvid-{name}, got {found}')
    path = folder / ZOO[f"{name}-residual"].file
    networks = {key: value for key, value in state.items() if not key.startswith("fusion.")}
    save_checkpoint(networks, path, kind=kind, config={**config, "fusion": "none", **CONSTANTS[name]})
    return path


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trained", nargs="+", metavar="NAME=FILE", help=f"NAME: {' or '.join(CONSTANTS)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("dist/weights"))
    arguments = parser.parse_args(given)
    others = []
    for pair in arguments.trained:
        name, separator, file = pair.partition("=")
        if not separator or name not in CONSTANTS:
            parser.error(f"{pair}: expected NAME=FILE with a name of {', '.join(CONSTANTS)}")
        arguments.output.mkdir(parents=True, exist_ok=True)
        try:
            path = with_residual(Path(file), name, arguments.output)
        except InputError as error:
            parser.error(str(error))
        if checksum(path) != ZOO[f"{name}-residual"].sha256:
            others.append(f"{path} is not the file of {name}-residual in arseg.zoo: its card and figures are another's")
        card = path.with_suffix(".md")
        text = (CARDS / card.name).read_text(encoding="utf-8")
        card.write_text(re.sub(r"\[([^]]+)\]\(\.\.[^)]*\)", r"\1", text), encoding="utf-8")  # links lead nowhere there
        print(path)
    sums = [f"{checksum(path)}  {path.name}\n" for path in sorted(arguments.output.glob("*.safetensors"))]
    (arguments.output / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    for sentence in others:
        print(sentence, file=sys.stderr)
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
