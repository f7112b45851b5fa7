"""What the commands take as a video: odd names, `file:` URLs, addresses on the network, one stream of several."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from arseg.networks.arseg_net import ARSegNet
from arseg.weights.build import build
from arseg.weights.files import save_checkpoint

CONFIG = {"classes": 11, "channels": 8, "wide": 8}
SECRETS = ("alice", "hunter2", "t0ken")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    net = ARSegNet(build("hr", CONFIG), channels=8)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(net.state_dict(), path, kind="ar", config={**CONFIG, "scale": 0.5, "window": 7})
    return path


# A colon, a colon that looks like a protocol, percent signs, spaces, a leading dash, brackets of rich's markup, text
# that is none in UTF-8.
NAMES = [
    "10:00.mp4",
    "concat:a.mp4",
    "http:x.mp4",
    "50%d %20.mp4",
    "-o.mp4",
    "[red]a[bold].mp4",
    "straße 日本.mp4",
    os.fsdecode(b"\xff\xfe.mp4"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "absolute"),
    [(name, absolute) for name in NAMES for absolute in (False, True)[: 1 + (":" in name)]],
    ids=ascii,
)
def test_names_of_files(arseg, weights, video, tmp_path, name, absolute):
    try:
        shutil.copy(video, tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system does not take the name")
    source = str(tmp_path / name) if absolute else name
    options = ("--weights", weights, "--height", 36, "--frames", 3)
    code, out, err = arseg("segment", *options, "-o", "out.mp4", "--", source)
    assert (code, out) == (0, "out.mp4: 3 frames\n"), err
    code, out, err = arseg("inspect", "--json", "--frames", 3, "--", source)
    assert code == 0 and json.loads(out)["frames"]["read"] == 3, err
    code, out, err = arseg("inspect", "--frames", 3, "--", source)
    assert code == 0 and "3 read" in out, err
    code, out, err = arseg("encode", "-o", "again.mp4", "--", source)
    assert (code, out) == (0, "again.mp4: 14 frames\n"), err


def test_file_urls(arseg, video, tmp_path):
    shutil.copy(video, tmp_path / "a b:c.mp4")
    for source in ("file:a b:c.mp4", f"file:{tmp_path}/a b:c.mp4", f"file://{tmp_path}/a%20b:c.mp4"):
        code, out, err = arseg("encode", source, "-o", "out.mp4")
        assert (code, out) == (0, "out.mp4: 14 frames\n"), err
    code, _, err = arseg("encode", "file:a b:c.mp4", "-o", "a b:c.mp4")
    assert code == 2 and "is the input itself" in err
    code, _, err = arseg("inspect", "file:a b:c.mp4", "-o", "a b:c.mp4")
    assert code == 2 and "is the video itself" in err
    code, _, err = arseg("segment", "file:a b:c.mp4", "-o", "a b:c.mp4")
    assert code == 2 and "need names of their own" in err
    code, _, err = arseg("inspect", "10:30.mp4")
    assert (code, err) == (2, "arseg: 10:30.mp4 does not exist: check the path\n")


def test_adapt_takes_files_alone(arseg, video, tmp_path):
    code, _, err = arseg("adapt", "https://alice:hunter2@h/a.mp4?k=t0ken", "--model", "x:y", "-o", "a.safetensors")
    assert code == 2 and "https://***@h/a.mp4?k=***: is a URL, and this needs a file" in err
    shutil.copy(video, tmp_path / "10:00.mp4")
    code, _, err = arseg("adapt", "file:10:00.mp4", "--model", "torchvision:nothing", "-o", "a.safetensors")
    assert code == 2 and "nothing" in err and "10:00" not in err


@pytest.fixture(scope="module")
def host(video) -> Iterator[str]:
    """HOST:PORT of a server of the folder with the short street."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(video.parent))
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


@pytest.mark.slow
def test_commands_keep_secrets(arseg, weights, host, tmp_path):
    """In what they print, in the names of what they write and in what is in that."""
    source = f"http://alice:hunter2@{host}/street.mp4?token=t0ken"
    short = f"http://***@{host}/street.mp4?token=***"
    code, out, err = arseg("segment", source, "--weights", weights, "--height", 36, "--frames", 3)
    assert (code, out) == (0, "street-segmented.mp4: 3 frames\n"), err
    told = out + err
    code, out, err = arseg("inspect", source, "--json", "-o", "picture.png")
    assert code == 0 and json.loads(out)["path"] == short, err
    told += out + err
    code, out, err = arseg("inspect", source, "--frames", 3)
    assert code == 0, err
    told += out + err
    code, out, err = arseg("encode", source, "-o", "out.mp4")
    assert (code, out) == (0, "out.mp4: 14 frames\n"), err
    told += out + err
    code, out, err = arseg("demo", source, "--weights", weights, "-o", "results")
    assert code == 0 and "street.mp4?token=***: 96x72, 14 frames" in out, err
    told += out + err
    for command in ("inspect", "segment", "encode", "demo"):
        extra = ("-o", "out.mp4") if command == "encode" else ()
        code, out, err = arseg(command, source.replace("street", "nowhere"), *extra)
        assert code == 2 and err.startswith(f"arseg: {short.replace('street', 'nowhere')} cannot be opened: "), err
        assert "(404)" in err and err.count("\n") == 1
        told += out + err
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, out, err = arseg("segment", f"rtsp://alice:hunter2@127.0.0.1:{port}/live?t0ken")
    assert code == 2 and "the connection was refused" in err and "no video file" not in err
    told += out + err
    for words in (("inspect", "a.mp4", source), (source,), ("encode", source), ("demo", "a.mp4", source)):
        code, out, err = arseg(*words)
        assert code == 2, err
        told += out + err
    told += " ".join(str(path) for path in tmp_path.rglob("*"))
    told += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert not any(secret in told for secret in SECRETS)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """A video of two tracks: 64x48 and 96x64."""
    path = tmp_path_factory.mktemp("two") / "two.mkv"
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        streams = []
        for width, height in ((64, 48), (96, 64)):
            stream = file.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        file.start_encoding()
        for stream in streams:
            for index in range(4):
                image = rng.integers(0, 256, (stream.height, stream.width, 3), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = index
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return path


def size_of(path: str) -> tuple[int, int]:
    with av.open(path) as file:
        return file.streams.video[0].width, file.streams.video[0].height


@pytest.mark.slow
def test_which_stream(arseg, weights, two):
    options = ("--weights", weights, "--height", "video")
    for number, size in ((0, (64, 48)), (1, (96, 64))):
        stream = ("--stream", number)
        code, _, err = arseg("segment", two, "-o", "out.mp4", *options, *stream)
        assert (code, err) == (0, "") and size_of("out.mp4") == size
        code, _, err = arseg("encode", two, "-o", "out.mp4", *stream)
        assert (code, err) == (0, "") and size_of("out.mp4") == size
        code, out, err = arseg("inspect", two, "--json", *stream)
        facts = json.loads(out)
        assert code == 0 and (facts["width"], facts["height"]) == size and facts["choice"] is None
        code, _, err = arseg("demo", two, "--weights", weights, "-o", "results", *stream)
        assert code == 0 and size_of("results/overlay.mp4") == size, err
    for command in (("segment", two, *options), ("encode", two, "-o", "out.mp4"), ("inspect", two)):
        code, out, err = arseg(*command)
        assert code == 0 and "has 2 video streams" in " ".join((out + err).split()) and "--stream N" in out + err
        code, out, err = arseg(*command, "--stream", 2)
        assert (code, err) == (2, f"arseg: --stream: {two} has video streams 0 to 1; got 2\n")


@pytest.mark.slow
def test_what_players_show_of_a_cut(arseg, weights, video):
    """A cut without encoding: its first five frames are in the file, since others are predicted from them."""
    with av.open(str(video)) as source, av.open("cut.mp4", "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size and packet.pts is not None and packet.dts is not None:
                shift = round(5 / 15 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                target.mux(packet)
    options = ("--weights", weights, "--height", 36)
    code, out, err = arseg("segment", "cut.mp4", *options, "-o", "out.mp4", "-o", "labels")
    assert (code, out) == (0, "out.mp4: 9 frames\nlabels: 9 frames\n"), err
    assert len(os.listdir("labels")) == 9
    code, out, err = arseg("encode", "cut.mp4", "-o", "again.mp4")
    assert (code, out) == (0, "again.mp4: 9 frames\n"), err
    for path in ("out.mp4", "again.mp4"):
        with av.open(path) as written:
            times = [frame.time for frame in written.decode(video=0)]
        assert times == pytest.approx([i / 15 for i in range(9)], abs=1e-3)
    code, out, err = arseg("inspect", "cut.mp4", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["frames"] == {"stated": 9, "read": 9, "limited": False}, err
    code, out, err = arseg("demo", "cut.mp4", "--weights", weights, "-o", "results")
    assert code == 0 and "cut.mp4: 96x72, 9 frames" in out, err
