"""A real server of its own process, with a tiny network and narrow limits; and videos to send."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from arseg.networks.arseg_net import ARSegNet
from arseg.weights.build import build
from arseg.weights.files import save_checkpoint

pytest.importorskip("fastapi", reason="the extra `serve` is not installed: there is no server to test")
httpx = pytest.importorskip("httpx", reason="httpx is not installed: nobody asks the server")

ROOT = Path(__file__).resolve().parents[2]
SIDE = 200  # of the larger videos, within the limit
LIMITS = ("--upload-mb", "2", "--max-pixels", "90000", "--max-seconds", "30", "--max-frames", "250", "--waiting", "0")


@dataclass
class Running:
    """A server.

    Attributes:
        url: without a slash at the end.
        folder: where it keeps things.
    """

    process: subprocess.Popen
    url: str
    folder: Path

    @property
    def client(self):
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def worker(self) -> int:
        """The id of the process that holds the network."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def left(self) -> list[Path]:
        """Files and folders of jobs."""
        return [path for place in self.folder.iterdir() for path in place.iterdir()]

    def quiet(self) -> None:
        """Waits until no job is at work, which is where the next one may come."""
        with self.client as client:
            wait_for(lambda: "arseg_jobs_running 0.0" in client.get("/metrics").text)


def wait_for(done, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@contextmanager
def running(weights: Path, folder: Path, *options: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "arseg.cli", "serve", "-w", str(weights), "--port", "0", "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'python'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        url = process.stdout.readline().strip().rstrip("/")
        assert url.startswith("http://127.0.0.1:"), url
        yield Running(process, url, folder)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                process.kill()
        process.stdout.close()


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = {"classes": 11, "channels": 8, "wide": 8}
    net = ARSegNet(build("hr", config), channels=8)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(net.state_dict(), path, kind="ar", config={**config, "scale": 0.5, "window": 7})
    return path


@pytest.fixture(scope="session")
def server(weights, tmp_path_factory) -> Iterator[Running]:
    with running(weights, tmp_path_factory.mktemp("server"), *LIMITS) as started:
        yield started


@pytest.fixture(scope="session")
def street(tmp_path_factory) -> Path:
    return video_of(tmp_path_factory.mktemp("clip") / "street.mp4", [(96, 72)] * 14)


@pytest.fixture(scope="session")
def long(tmp_path_factory) -> Path:
    """A video that keeps a worker busy for some seconds."""
    path = tmp_path_factory.mktemp("clip") / "long.mp4"
    return video_of(path, [(SIDE, SIDE)] * 240)


def video_of(path: Path, sizes: list[tuple[int, int]], rate: int = 15) -> Path:
    """Grey frames of (width, height), of one size each in a row; raw H.264 may change it."""
    data = b""
    for size in dict.fromkeys(sizes):
        part = path.with_name(f"part-{size[0]}{path.suffix}") if len({*sizes}) > 1 else path
        with av.open(str(part), "w") as file:
            stream = file.add_stream("libx264", rate=rate, width=size[0], height=size[1], pix_fmt="yuv420p")
            stream.options = {"preset": "ultrafast"}
            for number in range(sizes.count(size)):
                picture = np.full((size[1], size[0], 3), 40 + number % 150, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            file.mux(stream.encode(None))
        data += part.read_bytes()
    if len({*sizes}) > 1:
        path.write_bytes(data)
    return path
