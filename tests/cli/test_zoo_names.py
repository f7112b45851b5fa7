"""Commands take names of the zoo wherever they take weights or a model."""

from __future__ import annotations

import json
import re

import pytest

from arseg import zoo


@pytest.fixture
def tiny(weights, monkeypatch):
    """A name for the file of the fixture `weights`."""
    published = zoo.Published(weights.name, zoo.checksum(weights), "tiny", "arseg train ar …", (0.1, 0.1), (1.0, 1.0))
    monkeypatch.setattr(zoo.ZOO, "_entries", {**zoo.ZOO._entries, "tiny": published})
    monkeypatch.setenv(zoo.VARIABLE, str(weights.parent))


@pytest.mark.slow
def test_a_name_is_taken(arseg, tiny, video):
    for number, arguments in enumerate(
        (
            ("segment", video, "--weights", "tiny", "-o", "labels"),
            ("profile", video, "--weights", "tiny", "--frames", 1, "--", "mv_warp"),
            ("flops", "--model", "tiny", "--height", 72, "--width", 96),
        )
    ):
        code, _, err = arseg(*arguments)
        assert code == 0, (number, err)


def test_training_takes_a_name(arseg, tiny):
    """It is read, and has a whole pair where one network is wanted."""
    for arguments in (("--teacher", "tiny"), ("--teacher", "lite00")):
        code, _, err = arseg("train", "ar", "--camvid", "CAMVID", *arguments)
        wanted = "expected weights of kind" if arguments[1] == "tiny" else "none of that name in the zoo"
        assert code == 2 and wanted in err, err


@pytest.mark.parametrize("command", ["segment", "demo", "profile"])
def test_a_name_that_is_none(arseg, video, command):
    code, _, err = arseg(command, video, "--weights", "lite00")
    assert code == 2 and err.startswith("arseg: lite00: no such weights file, and none of that name in the zoo")
    assert err.rstrip().endswith("did you mean lite0?") and err.count("\n") == 1


def test_a_file_that_is_not_there(arseg, video, monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path / "shipped")
    code, _, err = arseg("segment", video)  # the default is a name, too
    assert code == 2 and err.startswith(f"arseg: lite0: lite0-camvid.safetensors is not in {tmp_path / 'shipped'}; put")
    assert zoo.ZOO["lite0"].sha256 in err


def test_info_lists_the_zoo(arseg, tiny, weights, monkeypatch):
    code, out, err = arseg("info", "--json")
    found = json.loads(out)
    assert code == 0 and list(found) == [*zoo.ZOO] and found["tiny"]["path"] == str(weights), err
    assert found["lite0"]["sha256"] == zoo.ZOO["lite0"].sha256 and found["lite0"]["card"].endswith("lite0-camvid.md")
    assert found["tiny"]["card"] is None
    monkeypatch.delenv(zoo.VARIABLE)
    code, out, err = arseg("info")
    words = " ".join(re.sub("[│┃]", " ", out).split())
    assert code == 0 and "lite0" in words and "76.4, 76.6" in words and "is missing" in words, (out, err)


def test_info_takes_a_name(arseg, tiny):
    code, out, err = arseg("info", "tiny", "--json")
    assert code == 0 and json.loads(out)["kind"] == "ar" and json.loads(out)["path"].endswith("tiny.safetensors"), err
