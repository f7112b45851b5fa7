"""docs/messages.md: each message is what the command below it prints, word for word; … is a list that grows."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import av
import pytest
import torch

import arseg_ext
from arseg.cli import app as cli
from arseg.data.street import StreetScene
from arseg.video import encode

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")
ENTRIES = [
    (" ".join(message.split()), command)
    for message, command in re.findall(r"```text\n(.*?)\n```\n\n\*Printed by\* `arseg ([^`]+)`", PAGE, re.DOTALL)
]


class Pickled:
    """What only an unpickler that runs code makes again."""

    def __reduce__(self):
        return (print, ("run",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("messages")
    images = [image for image, _ in StreetScene(1, width=96, height=72).frames(24)]
    encode(iter(images), place / "drive.mp4", rate=15, gop=12)
    whole = (place / "drive.mp4").read_bytes()
    (place / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (place / "notes.mp4").write_text("<html>404</html>\n" * 20)
    with av.open(str(place / "drive.webm"), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=15)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for image in images[:3]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    (place / "full").mkdir()
    (place / "full" / "x.png").write_bytes(b"")
    torch.save({"state": Pickled()}, place / "evil.pth")
    torch.save({"a": torch.ones(3)}, place / "other.pth")
    return place


def memory_runs_out(monkeypatch):
    from arseg.networks.arseg_net import ARSegNet

    def keyframe(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(ARSegNet, "keyframe", keyframe)


def smp_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)


CIRCUMSTANCES = {"segment drive.mp4": memory_runs_out, "segment drive.mp4 -m smp:Unet": smp_is_missing}
"""By command: what is wrong with the machine."""


def test_every_message_has_its_command():
    assert len(ENTRIES) == PAGE.count("```text\n") >= 18


@pytest.mark.parametrize(("message", "command"), ENTRIES, ids=[command for _, command in ENTRIES])
def test_the_command_prints_the_message(message, command, folder, monkeypatch, capsys):
    if "--device cuda" in command and arseg_ext.build_config().get("with_cuda"):
        pytest.skip("this build has CUDA")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["arseg", *shlex.split(command)])
    if command in CIRCUMSTANCES:
        CIRCUMSTANCES[command](monkeypatch)
    before = set(folder.rglob("*"))
    with pytest.raises(SystemExit) as end:
        cli.main()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("arseg: ")]
    assert end.value.code == 2
    assert len(lines) == 1
    start, _, rest = message.partition("…")
    assert lines[0].startswith(start) and lines[0].endswith(rest)
    assert rest or lines[0] == message
    assert set(folder.rglob("*")) == before
