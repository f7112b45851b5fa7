"""What `arseg inspect` found, as text for a person."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .inspection import Inspection
from .likeness import Gain, mean

# Distances that have a row of their own in the table.
_ROWS = 11


def report(inspection: Inspection) -> Group:
    """The findings for a person, 80 columns wide."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in _lines(inspection):
        facts.add_row(name, Text(text))
    parts: list[Any] = [facts]
    if inspection.total is not None:
        label = " (transcoded)" * (inspection.needs_transcoding is not None)
        parts += [
            Text(f"\nWhat the vectors are worth{label}", style="bold"),
            Text(
                "How like a frame its keyframe, the first frame of its group, is: as it is, and moved along the "
                "vectors. PSNR of brightness in dB: higher is more alike, 6 dB more is half the error."
                + _places(inspection.pixel_step)
            ),
            _gain_table(inspection, inspection.total),
            Text(
                "distance: frames since the keyframe; filled: cells without a vector somewhere on the way to it, which "
                "get their neighbours'."
            ),
        ]
    return Group(*parts)


def _lines(found: Inspection) -> Iterator[tuple[str, str]]:
    """Name and text of each fact."""
    transcoded = found.needs_transcoding is not None
    yield "file", found.path
    if found.choice is not None:
        yield "streams", found.choice
    details = [
        f"profile {found.profile}" if found.profile else "",
        f"pixels {found.pixel_format}" if found.pixel_format else "",
        f"in a file of type {found.container_label}",
    ]
    yield "codec", ", ".join([found.codec_label, *filter(None, details)])
    sizes = ", then ".join(f"{width}x{height}" for width, height in found.sizes)
    yield "size", f"{sizes} pixels as coded, {float(found.rate):.4g} frames a second"
    if found.rotation or found.mirrored or found.pixel_aspect not in (None, 1):
        yield "shown", ", ".join(_shown(found))
    stated = "the file does not say how many" if found.stated is None else f"of {found.stated} that the file states"
    limit = "; reading ended at the limit, see --frames" if found.limited else ""
    yield "frames", f"{found.frames} read, {stated}{limit}"
    yield (
        "frame types",
        f"{found.types['I']} I (whole pictures), {found.types['P']} P (predicted from earlier frames), "
        f"{found.types['B']} B (from earlier and later ones)",
    )
    yield "GOP lengths", _gops(found)
    if found.references is not None and found.frames > found.types["I"]:
        yield "references", _references(found)
    yield "vectors", _vectors(found)
    if found.intra is not None:
        what = "the cells of predicted frames have no vector: content coded anew"
        yield "intra cells", f"{found.intra:.1%} of {what}{' (transcoded)' * transcoded}"
    if found.ended is not None:
        yield "ended early", found.ended
    yield "losses", _first(found.losses) or "none"
    if found.discontinuities:
        yield "times", _first(found.discontinuities)


_SHOWN = 5


def _first(sentences: tuple[str, ...]) -> str:
    more = len(sentences) - _SHOWN
    return "\n".join([*sentences[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _shown(found: Inspection) -> Iterator[str]:
    if found.mirrored:
        yield "mirrored left to right"
    if found.rotation:
        yield f"turned {abs(found.rotation)} degrees {'counter-' * (found.rotation > 0)}clockwise"
    if found.pixel_aspect not in (None, 1):
        assert found.pixel_aspect is not None
        yield f"with pixels {float(found.pixel_aspect):.4g} times as wide as high"


def _gops(found: Inspection) -> str:
    lengths = found.gop_lengths
    if not lengths:
        text = "a single I frame" if found.types["I"] else "no I frame"
    elif min(lengths) == max(lengths):
        text = f"an I frame every {_frames(lengths[0])}"
    else:
        text = f"from I frame to I frame {min(lengths)} to {max(lengths)} frames, median {median(lengths):g}"
    return f"{text}; read in {found.groups} group{'s'[: found.groups != 1]} of at most {_frames(found.gop)}"


def _references(found: Inspection) -> str:
    if found.references == 1:
        return "each frame is predicted from just one"
    most = f"a frame is predicted from up to {_frames(found.references or 0)}"
    return most if found.one_reference is None else f"{most}; {found.one_reference:.0%} of the P frames from just one"


def _vectors(found: Inspection) -> str:
    lines = [] if found.needs_transcoding is None else [f"needs transcoding: {found.needs_transcoding}"]
    for origin, meaning in _ORIGINS.items():
        if found.origins[origin]:
            lines.append(f"{origin} in {_frames(found.origins[origin])}: {meaning}")
    return "\n".join(lines) or "none: there is no frame that is predicted from another"


_ORIGINS = {
    "exact": "the stream proves which frame each vector points to",
    "inferred": "several frames are possible, and the one chosen looks most alike",
    "transcoded": "found by encoding the frames again in memory",
}


def _frames(count: int) -> str:
    return f"{count} frame{'s'[: count != 1]}"


def _places(step: int) -> str:
    return "" if step == 1 else f" Measured on every {'3rd' if step == 3 else f'{step}th'} pixel of every such row."


def _gain_table(found: Inspection, total: Gain) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in ("distance", "frames", "as it is", "moved", "gain", "filled"):
        table.add_column(name, justify="right")
    near = [gain for gain in found.gains if (gain.distance or 0) <= _ROWS]
    for gain in near:
        table.add_row(*_cells(str(gain.distance), gain))
    if len(near) < len(found.gains):
        table.add_row(*_cells(f"{_ROWS + 1} and more", mean(found.gains[len(near) :])))
    table.add_section()
    table.add_row(*_cells("all", total), style="bold")
    return table


def _cells(name: str, gain: Gain) -> tuple[str, ...]:
    figures = (f"{gain.still_db:.2f}", f"{gain.moved_db:.2f}", f"{gain.gain_db:+.2f}", f"{gain.filled:.1%}")
    return (name, str(gain.frames), *figures)
