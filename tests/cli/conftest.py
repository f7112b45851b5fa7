"""A command line in an empty folder, and a short street to give it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from helpers.streets import pictures

from arseg.cli import app as cli
from arseg.networks.arseg_net import ARSegNet
from arseg.video import encode
from arseg.weights.build import build
from arseg.weights.files import save_checkpoint


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Of a tiny network."""
    torch.manual_seed(0)
    config = {"classes": 11, "channels": 8, "wide": 8}
    net = ARSegNet(build("hr", config), channels=8)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(net.state_dict(), path, kind="ar", config={**config, "scale": 0.5, "window": 7})
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "street.mp4"
    encode(pictures(14), path, rate=15)
    return path


@pytest.fixture
def arseg(monkeypatch, capfd, tmp_path):
    """Runs a command in an empty folder; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["arseg", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return run
