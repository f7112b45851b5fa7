"""What the server takes, and for how long it keeps what it made."""

from __future__ import annotations

from dataclasses import dataclass, fields

from arseg.errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Attributes are limits; what goes beyond is refused with a sentence.

    Attributes:
        upload_mb: of a video that is sent or fetched.
        upload_seconds: for sending or fetching it.
        video_seconds: length of a video.
        frames: of a video.
        pixels: of a frame.
        job_seconds: for segmenting one.
        waiting: jobs that wait for a worker, beside those that run.
        kept_mb: of results; the oldest go first.
        kept_seconds: after which results go.
    """

    upload_mb: float = 500
    upload_seconds: float = 600
    video_seconds: float = 600
    frames: int = 20_000
    pixels: int = 3840 * 2160
    job_seconds: float = 3600
    waiting: int = 4
    kept_mb: float = 4000
    kept_seconds: float = 3600

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), 0 if each.name == "waiting" else 1e-9
            if not least <= value < float("inf"):
                raise InputError(f"{each.name}: expected a number above 0, got {value!r}")

    @property
    def upload_bytes(self) -> int:
        return round(self.upload_mb * 1e6)

    @property
    def kept_bytes(self) -> int:
        return round(self.kept_mb * 1e6)
