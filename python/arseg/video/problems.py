"""What makes a stream unreadable half-way, found while fields are made, as errors for the user."""

from __future__ import annotations

from typing import Any

from .errors import (
    RESYNC_HINT,
    InterlacedError,
    ReferenceGapError,
    ResolutionChangedError,
    TruncatedStreamError,
    VideoError,
    encode_hint,
)


class Problem(Exception):
    """The stream cannot be read on at frame `number`; `kind` and `facts` say why, `error` puts it into words."""

    def __init__(self, kind: str, number: int, **facts: Any) -> None:
        super().__init__(kind)
        self.kind, self.number, self.facts = kind, number, facts

    def error(self, path: str) -> VideoError:
        """The error to raise for the video that is shown as `path`."""
        frame = self.number
        if self.kind == "interlaced":
            return InterlacedError(
                f"{path} is interlaced from frame {frame} on: {encode_hint(path)}", path=path, frame=frame
            )
        if self.kind == "size":
            (old_width, old_height), (width, height) = self.facts["old"], self.facts["new"]
            return ResolutionChangedError(
                f"{path} changes size at frame {frame}, from {old_width}x{old_height} to {width}x{height}, without an "
                "I frame: split it there and give the parts one by one",
                path=path,
                frame=frame,
            )
        if self.kind == "damaged":
            return TruncatedStreamError(
                f"{path} is damaged at frame {frame}: get the whole file again; {RESYNC_HINT} goes on at the next "
                "keyframe",
                path=path,
                frame=frame,
            )
        missing = self.facts["missing"]
        lost = f"{missing} frame{'s'[: missing != 1]}"
        what = {
            "start": f"does not start with a keyframe: its first {lost} cannot be decoded",
            "end": f"has {lost} after frame {frame - 1} that cannot be decoded",
            "gap": f"lacks {lost} before frame {frame} that later ones are predicted from",
        }[self.kind]
        return ReferenceGapError(
            f"{path} {what}: get the whole file again; {RESYNC_HINT} goes on at the next keyframe",
            path=path,
            frame=frame,
        )
