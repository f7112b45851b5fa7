"""Files and folders that are there whole or not at all: links, mount points, other runs, runs that were killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from arseg.errors import InputError
from arseg.files import (
    BusyError,
    check_writable,
    filling,
    new_folder,
    part_of,
    replacing,
    save_json,
    save_png,
    working_in,
)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def killed(program: str, cwd: Path) -> None:
    """Runs the program until it kills itself with SIGKILL."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=cwd, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


KILL = "import os, signal; from pathlib import Path; import arseg.files as files"
DIE = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("form", ["new", "empty", "link", "dangling link", "dot", "ext4"])
def test_a_folder_new_or_empty(here: Path, form: str) -> None:
    target = {"dot": Path("."), "link": Path("link"), "dangling link": Path("link")}.get(form, Path("labels"))
    before: list[str] = []
    if form in ("link", "dangling link"):
        Path("far").mkdir()
        target.symlink_to("far/labels" if form == "dangling link" else "far")
    elif form in ("empty", "ext4"):
        target.mkdir()
    if form == "ext4":
        Path("labels/lost+found").mkdir()
        before = ["lost+found"]
    inode = target.stat().st_ino if target.exists() else None
    with new_folder(target) as work:
        (work / "0.png").write_bytes(b"0")
        (work / "1.png").write_bytes(b"1")
        assert not target.exists() or not (target / "0.png").exists()
    assert sorted(os.listdir(target)) == ["0.png", "1.png", *before]
    assert inode is None or target.stat().st_ino == inode, "a folder that was there is written in, not replaced"
    assert target.is_symlink() == form.endswith("link")
    assert [name for name in listing(here) if "arseg" in name or ".part" in name or ".lock" in name] == []


@pytest.mark.parametrize("form", ["new", "empty"])
def test_a_failure_leaves_a_folder_as_it_was(here: Path, form: str) -> None:
    if form == "empty":
        Path("labels").mkdir()
    before = listing(here)
    with pytest.raises(KeyboardInterrupt), new_folder(Path("labels")) as work:
        (work / "0.png").write_bytes(b"0")
        raise KeyboardInterrupt
    assert listing(here) == before


def test_a_folder_that_is_made_meanwhile_loses_nothing(here: Path) -> None:
    with new_folder(Path("labels")) as work:
        (work / "0.png").write_bytes(b"0")
        Path("labels").mkdir()
        Path("labels/theirs").touch()
    assert sorted(os.listdir("labels")) == ["0.png", "theirs"]


@pytest.mark.parametrize("form", ["new", "empty"])
def test_of_two_runs_the_second_is_refused_at_its_start(here: Path, form: str) -> None:
    if form == "empty":
        Path("labels").mkdir()
    with new_folder(Path("labels")) as work:
        (work / "0.png").write_bytes(b"0")
        with pytest.raises(BusyError, match="labels: another run is writing it"), new_folder(Path("labels")):
            raise AssertionError("entered")
    assert listing(here) == ["labels", "labels/0.png"]
    words = "labels: exists already and is not an empty folder"
    with pytest.raises(InputError, match=words), new_folder(Path("labels")):
        raise AssertionError("entered")
    assert listing(here) == ["labels", "labels/0.png"]


@pytest.mark.parametrize("form", ["new", "empty", "new, then empty"])
def test_what_a_killed_run_left_goes(here: Path, form: str) -> None:
    if form == "empty":
        Path("labels").mkdir()
    killed(
        f"""
        {KILL}
        with files.new_folder(Path("labels")) as work:
            (work / "0.png").write_bytes(b"old")
            (work / "1.png").write_bytes(b"old")
            {DIE}
        """,
        here,
    )
    assert [name for name in listing(here) if name.startswith("labels/") and ".arseg" not in name] == []
    assert len(listing(here)) > 2
    if form == "new, then empty":
        Path("labels").mkdir()
    with new_folder(Path("labels")) as work:
        assert os.listdir(work) == []
        (work / "0.png").write_bytes(b"new")
    assert listing(here) == ["labels", "labels/0.png"]
    assert Path("labels/0.png").read_bytes() == b"new"


def test_a_run_that_is_killed_while_it_moves_its_files(here: Path) -> None:
    """Half of them are in place; they go, and what is not the run's stays."""
    Path("labels").mkdir()
    killed(
        f"""
        {KILL}
        move = files.shutil.move
        def once(source, target):
            move(source, target)
            {DIE}
        with files.new_folder(Path("labels")) as work:
            for name in "012":
                (work / name).write_bytes(b"old")
            files.shutil.move = once
        """,
        here,
    )
    assert Path("labels/0").exists()
    with new_folder(Path("labels")) as work:
        (work / "9").write_bytes(b"new")
    assert listing(here) == ["labels", "labels/9"]


def test_folders_keep_the_umask(here: Path) -> None:
    before = os.umask(0o027)
    try:
        with new_folder(Path("labels")) as work:
            (work / "0.png").write_bytes(b"0")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("labels").stat().st_mode) == 0o750
    assert stat.S_IMODE(Path("labels/0.png").stat().st_mode) == 0o640


def test_a_folder_that_may_hold_something(here: Path) -> None:
    def refuse(names: list[str]) -> None:
        if "mine" in names:
            raise InputError(f"out: has {names}")

    with filling(Path("a/out"), refuse) as work:
        (work / "x").write_bytes(b"1")
    with filling(Path("a/out"), refuse) as work:
        (work / "x").write_bytes(b"2")
    assert listing(here) == ["a", "a/out", "a/out/x"] and Path("a/out/x").read_bytes() == b"2"
    Path("a/out/mine").touch()
    with pytest.raises(InputError, match="out: has"), filling(Path("a/out"), refuse):
        raise AssertionError("entered")
    Path("file").touch()
    with pytest.raises(InputError, match="file: exists already and is not a folder"), new_folder(Path("file")):
        pass
    with pytest.raises(InputError, match=r"file/labels: cannot be written"), new_folder(Path("file/labels")):
        pass


@pytest.mark.parametrize(
    "name", ["no/a.npz", "no/a.csv", "no/a.jsonl", "no/a.html", "no/a.mp4", "label-video:no/a.mkv"]
)
def test_the_folder_of_a_file_has_to_be_there(arseg, weights, video, name):
    """A folder that is written is made with those above it, and a file's folder is not."""
    code, _, err = arseg("segment", video, "-w", weights, "-o", name)
    assert code == 2 and "cannot be written: there is no folder no, make it first" in err and len(err.splitlines()) == 1
    assert not Path("no").exists()
    if name == "no/a.npz":
        code, out, _ = arseg("segment", video, "-w", weights, "-o", "no/labels", "--frames", "2")
        assert (code, out, len(os.listdir("no/labels"))) == (0, "no/labels: 2 frames\n", 2)


def test_files_follow_links_and_the_umask(here: Path) -> None:
    Path("far").mkdir()
    Path("link.json").symlink_to("far/a.json")
    Path("link.png").symlink_to("far/a.png")
    before = os.umask(0o077)
    try:
        for _ in range(2):  # not there yet, and there
            save_json(Path("link.json"), {"a": 1})
            save_png(Path("link.png"), np.zeros((4, 4, 3), np.uint8))
    finally:
        os.umask(before)
    assert listing(here) == ["far", "far/a.json", "far/a.png", "link.json", "link.png"]
    assert Path("link.json").is_symlink() and stat.S_IMODE(Path("far/a.json").stat().st_mode) == 0o600
    check_writable(Path("link.json"))
    Path("round").symlink_to("round")
    with pytest.raises(InputError, match="round: cannot be written"):
        check_writable(Path("round"))


def test_devices_and_pipes_are_written_themselves(here: Path) -> None:
    save_json(Path("/dev/null"), {})
    check_writable(Path("/dev/null"))
    assert Path("/dev/null").is_char_device()
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    save_json(Path("pipe"), [1])
    assert os.read(reader, 100) == b"[\n  1\n]\n"
    os.close(reader)
    assert listing(here) == ["pipe"]


def test_a_file_is_whole_or_as_it_was(here: Path) -> None:
    Path("a").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(Path("a")) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert Path("a").read_text() == "old" and listing(here) == ["a"]
    killed(
        f"""
        {KILL}
        with files.replacing(Path("a")) as part:
            part.write_text("half, and long")
            {DIE}
        """,
        here,
    )
    assert Path("a").read_text() == "old" and len(listing(here)) == 2
    with replacing(Path("a")) as part:
        part.write_text("new")
    assert Path("a").read_text() == "new" and listing(here) == ["a"]


def test_names_as_long_as_they_may_be(here: Path) -> None:
    names = ["x" * 255, "x" * 254 + "y", "ä" * 127]
    for name in names:
        with replacing(Path(name)) as part:
            part.write_text(name)
    assert listing(here) == sorted(names) and all(Path(name).read_text() == name for name in names)
    assert len({part_of(Path(name)) for name in names}) == 3


def test_a_folder_that_runs_go_on_with(here: Path) -> None:
    Path("run").mkdir()
    with working_in(Path("run")):
        Path("run/state").touch()
        with pytest.raises(BusyError, match="run: another run is writing it"), working_in(Path("run")):
            raise AssertionError("entered")
    killed(
        f"""
        {KILL}
        with files.working_in(Path("run")):
            {DIE}
        """,
        here,
    )
    with working_in(Path("run")):
        pass
    assert listing(here) == ["run", "run/state"]
