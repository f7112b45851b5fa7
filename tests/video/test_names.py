"""Names of videos: files, URLs, devices; what FFmpeg is told and what may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from arseg.video.names import default_stem, ffmpeg_name, is_url, local_path, shown, without_secrets


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.mp4", "a.mp4"),
        ("/x/a.mp4", "/x/a.mp4"),
        ("10:00.mp4", "file:10:00.mp4"),
        ("/x/10:00.mp4", "file:/x/10:00.mp4"),
        (Path("http:/x"), "file:http:/x"),
        ("file:a.mp4", "a.mp4"),
        ("file:///x/a.mp4", "/x/a.mp4"),
        ("file://localhost/x/a.mp4", "/x/a.mp4"),
        ("file:///x/a%20b.mp4", "/x/a b.mp4"),
        ("file:10:00.mp4", "file:10:00.mp4"),
        ("rtsp://h/a", "rtsp://h/a"),
        ("concat:a.ts|b.ts", "concat:a.ts|b.ts"),
    ],
)
def test_what_ffmpeg_is_told(source, expected):
    assert ffmpeg_name(source) == expected


def test_a_device_keeps_its_name():
    assert ffmpeg_name(":0.0", format="x11grab") == ":0.0"


def test_a_file_that_exists_is_a_file_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("concat:a").touch()
    Path("a%20b").touch()
    assert local_path("concat:a") == Path("concat:a")
    assert local_path("file:a%20b") == Path("a%20b")
    assert not is_url("concat:a")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rtsp://user:pass@cam:554/a", "rtsp://***@cam:554/a"),
        ("rtsp://user:p@ss@cam/a", "rtsp://***@cam/a"),
        ("rtsp://user:pa/ss@cam/a", "rtsp://***@cam/a"),
        ("rtsp://token@cam/a", "rtsp://***@cam/a"),
        ("https://h/a.m3u8?token=abc&x=1#t=2", "https://h/a.m3u8?token=***&x=***#t=***"),
        ("srt://h:9000?passphrase=abc", "srt://h:9000?passphrase=***"),
        ("rtsp://user:pa?ss@cam/a", "rtsp://***@cam/a"),
        ("rtsp://user:pa#ss@cam/a", "rtsp://***@cam/a"),
        ("https://h/a?secret", "https://h/a?***"),
        ("https://h/a?k=v;w#x", "https://h/a?k=***;***#***"),
        ("udp://@239.0.0.1:5000", "udp://@239.0.0.1:5000"),
        ("concat:http://u:p@h/a|http://u:p@i/b?c=d", "concat:http://***@h/a|http://***@i/b?c=***"),
        ("async:http://u:p@h/a", "async:http://***@h/a"),
        ("data:video/mp4;base64,AAAA", "data:video/mp4;base64,***"),
        (Path("http://u:p@h/a?k=v"), "http:/***@h/a?k=***"),
        ("a\nb\x1b[31m\udcff.mp4", r"a\nb\x1b[31m\udcff.mp4"),
        ("日本 a.mp4", "日本 a.mp4"),
        ("rtsp://h/a@b", "rtsp://h/a@b"),
        ("rtsp://h:554/a@b", "rtsp://h:554/a@b"),
        ("a@b=c.mp4", "a@b=c.mp4"),
    ],
)
def test_what_is_shown(source, expected):
    assert shown(source) == expected
    assert shown(expected) == expected.replace("\n", r"\n")


def test_a_file_keeps_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "http:/u:p@h/a?k=v"
    Path(name).parent.mkdir(parents=True)
    Path(name).touch()
    assert shown(name) == shown(Path(name)) == name


def test_a_url_in_a_sentence():
    error = "[Errno 111] Connection refused: 'rtsp://me:secret@h/a?k=v'; last error"
    assert without_secrets(error) == "[Errno 111] Connection refused: 'rtsp://***@h/a?k=***'; last error"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("10:00.mp4", "10:00"),
        ("/x/a.b.mp4", "a.b"),
        ("rtsp://me:secret@cam/live/front.sdp?token=1", "front"),
        ("rtsp://me:secret@cam", "cam"),
        ("http://h/..%2Fa%2Fb", "b"),
        ("concat:a.ts|b.ts", "b"),
        ("rtsp://user:pa?ss@cam/a", "a"),
        ("https://h/a;jsessionid=1", "a"),
        ("https://h/?token", "h"),
        ("data:video/mp4;base64,AAAA", "video"),
    ],
)
def test_what_results_are_called(source, expected):
    assert default_stem(source) == expected
