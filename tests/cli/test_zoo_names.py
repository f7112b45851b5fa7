"""Commands take names of the zoo wherever they take weights or a model."""

from __future__ import annotations

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
            ("segment", video, "--weights", "tiny", "--labels", "labels"),
            ("profile", video, "--weights", "tiny", "--frames", 1),
            ("flops", "--model", "tiny", "--height", 72, "--width", 96),
        )
    ):
        code, _, err = arseg(*arguments)
        assert code == 0, (number, err)


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
