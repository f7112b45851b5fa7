"""Clips with known motion, and broken ones, for the video tests."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


class Texture:
    """A smooth random picture without borders that can be looked at from any sub-pixel position.

    A sum of sinusoids with wavelengths of 6 pixels and more: sharp enough to be tracked, smooth enough that a codec's
    interpolation at quarter pixels meets it.
    """

    def __init__(self, seed: int = 0, waves: int = 60, shortest: float = 6.0, longest: float = 60.0) -> None:
        rng = np.random.default_rng(seed)
        length = np.exp(rng.uniform(np.log(shortest), np.log(longest), waves))
        angle = rng.uniform(0, 2 * np.pi, waves)
        self._kx = 2 * np.pi / length * np.cos(angle)
        self._ky = 2 * np.pi / length * np.sin(angle)
        self._phase = rng.uniform(0, 2 * np.pi, waves)
        self._scale = 45 / np.sqrt(waves / 2)

    def view(self, height: int, width: int, x: float = 0.0, y: float = 0.0) -> np.ndarray:
        """float64 `[height, width]`, 0..255: the picture from (x, y) on."""
        column = np.arange(width) + x
        row = np.arange(height) + y
        # sin(a + b) from the sines of rows and columns: a matrix product in place of a wave at a time
        a = self._kx[:, None] * column + self._phase[:, None]
        b = self._ky[:, None] * row
        return 128 + self._scale * (np.cos(b).T @ np.sin(a) + np.sin(b).T @ np.cos(a))


def grey(image: np.ndarray) -> np.ndarray:
    """uint8 `[H, W, 3]` of a float `[H, W]`."""
    return np.repeat(np.clip(np.round(image), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def pan(count: int, size: tuple[int, int], dx: float, dy: float, seed: int = 0) -> list[np.ndarray]:
    """A texture whose content moves by (dx, dy) pixels a frame; uint8 `[H, W, 3]` each."""
    texture = Texture(seed)
    return [grey(texture.view(*size, x=-dx * i, y=-dy * i)) for i in range(count)]


def busy_scene(count: int, size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """A panning background with two other textures moving across it: occlusion, several motions, new content."""
    height, width = size
    textures = [Texture(seed + i) for i in range(3)]
    frames = []
    for i in range(count):
        image = textures[0].view(height, width, x=1.5 * i, y=0.25 * i)
        for k, (speed_x, speed_y) in enumerate(((4.0, 0.5), (-2.75, 1.0)), start=1):
            side = height // 3
            left = round((width // 4 * k + speed_x * i) % (width - side))
            top = round((height // 4 * k + speed_y * i) % (height - side))
            patch = textures[k].view(side, side, x=(left - speed_x * i), y=(top - speed_y * i))
            image[top : top + side, left : left + side] = patch
        frames.append(grey(image))
    return frames


def luma(image: np.ndarray) -> np.ndarray:
    """float64 `[H, W]` of uint8 RGB `[H, W, 3]`."""
    return image @ np.array([0.299, 0.587, 0.114])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB, for signals of 0..255."""
    return float(10 * np.log10(255.0**2 / max(np.mean((a - b) ** 2), 1e-9)))


def write_av(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    rate: int = 30,
    gop: int = 12,
    b_frames: int = 0,
    container_options: dict[str, str] | None = None,
    interlaced: bool = False,
) -> Path:
    """Encode with PyAV alone, so that streams can be made which `arseg.video` does not write."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = None
        for index, image in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options or {})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pixels
                stream.codec_context.gop_size = gop
                stream.codec_context.max_b_frames = b_frames
                if interlaced:
                    stream.codec_context.flags |= av.codec.context.Flags.interlaced_dct
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """Half a second of silence, without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
