"""What to try next: from the scores of a run to settings of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import FitConfig

Curve = Sequence[float | None]
"""mIoU in percent at each distance; None where no frame was met."""


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    Attributes:
        why: what the scores say, in a sentence.
        settings: of the next run, by dotted name.
    """

    why: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def below(ar: Curve, warp: Curve) -> dict[int, float]:
    """The distances past 0 at which AR is below the warp in figures of one decimal, and by how much."""
    pairs = [(d, a, w) for d, (a, w) in enumerate(zip(ar, warp, strict=True)) if d and a is not None and w is not None]
    return {d: w - a for d, a, w in pairs if round(a, 1) < round(w, 1)}


def advise(curves: Mapping[str, Curve], config: FitConfig, *, phase: str, made: bool, videos: bool) -> list[Advice]:
    """What to change where AR is below the warp; empty where it is nowhere.

    Args:
        curves: of "hr", "lr", "ar" and "warp" by distance; "hr" may be missing, where it is the truth.
        phase: that made the fusion, "ar" or "adapt": its table has the settings.
        made: whether the motion was made from stills.
        videos: whether the run had any.
    """
    lost = below(curves["ar"], curves["warp"])
    if not lost:
        return []
    recipe = config.ar_recipe if phase == "ar" else config.adapt
    found: list[Advice] = []

    def add(why: str, **settings: Any) -> None:
        known = {f"{phase}.{key}": value for key, value in settings.items() if hasattr(recipe, key)}
        if known:
            found.append(Advice(why, known))

    near, far = (_at(lost, keep) for keep in (lambda d: d <= len(curves["ar"]) // 3, lambda d: True))
    gap, fusion = _mean_gap(curves.get("hr"), curves["lr"]), _mean_gap(curves["lr"], curves["ar"])
    if near and phase == "ar":
        weight = getattr(recipe, "keyframe_weight", 0.0)
        add(
            f"AR is below the warp near the keyframe, {near}: let the keyframe's own result count more.",
            keyframe_weight=2 * weight or 1.0,
            **({} if getattr(recipe, "keyframe_detail", 1.0) else {"keyframe_detail": 1.0}),
        )
    if gap is not None and gap > 3:
        stage = "low_steps" if getattr(recipe, "low_steps", 0) else "steps"
        add(
            f"The low-resolution branch alone is {gap:.1f} below full resolution: train it for longer.",
            **{stage: 2 * getattr(recipe, stage, 0)},
        )
        add(
            f"It may not see enough at {recipe.scale:g}× ({gap:.1f} lost): give it larger frames, at more compute.",
            scale=min(1.0, round(1.4 * recipe.scale, 2)),
        )
    if fusion is not None and fusion > 0:
        add(
            f"The fusion takes {fusion:.1f} from the low-resolution branch: train it for longer, in smaller steps.",
            steps=2 * recipe.steps,
            lr=recipe.lr / 2,
        )
    if not found:
        add(f"AR is below the warp, {far}: train branch and fusion for longer.", steps=2 * recipe.steps)
    if phase == "ar" and not videos:
        found.append(
            Advice(
                "Pairs made of stills show too little of what real motion hides and uncovers: give unlabelled videos.",
                {"data.videos": ["VIDEO.mp4"]},
            )
        )
    if made:
        found.append(
            Advice(
                "Motion made of stills is kind to the warp: score on real motion before you trust this comparison "
                "(frames before the labelled ones, or a consecutive val)."
            )
        )
    return found


def _at(lost: Mapping[int, float], keep: Any) -> str:
    """Such as "at d = 1, 2 by up to 0.8"."""
    where = [d for d in lost if keep(d)]
    return f"at d = {', '.join(map(str, where))} by up to {max(lost[d] for d in where):.1f}" if where else ""


def _mean_gap(high: Curve | None, low: Curve) -> float | None:
    """How much `low` is below `high` in the mean of the distances that both have, but for the keyframe."""
    if high is None:
        return None
    gaps = [h - v for d, (h, v) in enumerate(zip(high, low, strict=True)) if d and h is not None and v is not None]
    return sum(gaps) / len(gaps) if gaps else None
