"""The table of an adaptation."""

from __future__ import annotations

from typing import Any

from rich.table import Table

HEADINGS = {
    "lr": "LR only",
    "warp": "keyframe warped",
    "ar before": "AR, before",
    "ar after": "AR, after",
}


def table(record: dict[str, Any]) -> Table:
    """What `adapt` returns: a row for each distance, the mean first; "pixels / mIoU" in percent.

    Then temporal consistency in percent and GMACs.
    """
    found, macs = record["agreement"], record["gmacs"]
    height, width = record["size"]
    title = f"agreement with the network at {width}x{height}, pixels / mIoU in percent, by distance to the keyframe"
    shown = Table("distance", title=title, title_justify="left")
    for name in found:
        shown.add_column(HEADINGS[name], justify="right")
    rows = found.values()
    means = [f"{row['mean_pixel_accuracy']:.1f} / {row['mean_miou']:.1f}" for row in rows]
    shown.add_row("mean", *means, end_section=True)
    for distance in range(record["gop"]):
        cells = [(row["pixel_accuracy"][distance], row["miou"][distance]) for row in rows]
        texts = ["" if pixels is None else f"{pixels:.1f} / {miou:.1f}" for pixels, miou in cells]
        shown.add_row(str(distance), *texts, end_section=distance == record["gop"] - 1)
    own = record.get("hr", {}).get("temporal_consistency")  # none in what an earlier version measured
    if own is not None:
        following = [row.get("temporal_consistency", {}).get("mean") for row in rows]
        shown.add_row("temporal consistency", *("" if value is None else f"{value:.1f}" for value in following))
    costs = {"lr": macs["lr"], "warp": 0.0, "ar before": macs["ar"], "ar after": macs["ar"]}
    shown.add_row("GMACs a frame", *(f"{costs[name]:.2f}" for name in found))
    keyframe = macs.get("keyframe", macs["hr"])  # not in what an earlier version measured
    shown.caption = (
        f"GMACs of frames between keyframes; a keyframe takes {keyframe:.2f}, a group of {record['gop']} in the mean "
        f"{macs['ar mean']:.2f} with AR"
    )
    if own is not None and own["mean"] is not None:
        shown.caption += f"; temporal consistency of the network on every frame: {own['mean']:.1f} %"
    return shown
