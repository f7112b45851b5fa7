"""Hostile input, sent to a real server: each is answered in one sentence, nothing stays, and the server goes on."""

from __future__ import annotations

import socket

import pytest

from .conftest import SIDE, video_of, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def client(server):
    with server.client as opened:
        server.quiet()
        yield opened
        server.quiet()
        assert opened.get("/health").status_code == 200
    wait_for(lambda: server.left() == [], 15)


def failure_of(client, data: bytes, name: str = "video.mp4") -> str:
    """What is told of a video that is taken, and then is none."""
    answer = client.post("/jobs", files={"video": (name, data)})
    assert answer.status_code == 202, answer.text
    with client.stream("GET", answer.json()["events"]) as events:
        assert "event: failed" in [*events.iter_lines()]
    job = client.get(f"/jobs/{answer.json()['id']}").json()
    assert job["state"] == "failed" and job["results"] == {}
    client.delete(f"/jobs/{job['id']}")
    return job["error"]


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.m3u8", PLAYLIST),
        ("a.mp4", PLAYLIST),
        ("a.ffconcat", b"ffconcat version 1.0\nfile /etc/passwd\n"),
        ("a.mpd", b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>'),
        ("a.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        ("a.mp4", b"GIF89a" + bytes(4000)),
        ("a.mp4", bytes(100_000)),
        ("a.mp4", bytes(range(256)) * 400),
        ("a.txt", b"hello\n" * 1000),
    ],
)
def test_what_is_no_video_or_names_others(client, name, data):
    error = failure_of(client, data, name)
    assert "no video that is taken" in error and "passwd" not in error and "/" not in error


def test_a_playlist_that_names_a_video_of_this_machine(client, street):
    playlist = PLAYLIST.replace(b"/etc/passwd", str(street).encode())
    assert "no video that is taken" in failure_of(client, playlist, "a.m3u8")
    listed = f"ffconcat version 1.0\nfile '{street}'\n".encode()
    assert "no video that is taken" in failure_of(client, listed, "a.ffconcat")


def test_frames_that_are_too_large(client, tmp_path):
    large = video_of(tmp_path / "large.mp4", [(8192, 4096)])
    assert large.stat().st_size < 2e6  # a small file
    assert "8192x4096, more than 90000 pixels" in failure_of(client, large.read_bytes())


def test_frames_that_become_too_large(client, tmp_path):
    joined = video_of(tmp_path / "joined.264", [(96, 72)] * 20 + [(4096, 4096)] * 2)
    assert "frame 2" in failure_of(client, joined.read_bytes(), "joined.264")  # 20 or a few before, which are under way


def test_too_long_and_too_many(client, tmp_path):
    slow = video_of(tmp_path / "slow.mp4", [(96, 72)] * 40, rate=1)
    assert "longer than 30 s" in failure_of(client, slow.read_bytes())
    many = video_of(tmp_path / "many.mp4", [(32, 32)] * 260, rate=60)
    assert "more than 250 frames" in failure_of(client, many.read_bytes())
    raw = video_of(tmp_path / "raw.264", [(32, 32)] * 260, rate=60)  # whose head does not tell
    assert "more than 250 frames" in failure_of(client, raw.read_bytes(), "raw.264")


def test_half_a_video(client, long):
    error = failure_of(client, long.read_bytes()[: long.stat().st_size // 3])
    assert error.startswith("video.mp4")


@pytest.mark.parametrize(
    "name, shown",
    [
        ("../../../../etc/cron.d/evil.mp4", "evil.mp4"),
        ("..\\..\\windows\\evil.mp4", "evil.mp4"),
        ("/etc/passwd", "passwd"),
        ("-i", "i"),
        ("..", "video"),
        ("concat:a|b.mp4", "concat_a_b.mp4"),
        ("<script>alert(1)</script>.mp4", "script_.mp4"),
        ("x" * 300 + ".mp4", "x" * 76 + ".mp4"),
        ("naïve\u202efdp.mp4", "na_ve_fdp.mp4"),
    ],
)
def test_names(client, street, name, shown, server):
    answer = client.post("/jobs", files={"video": (name, street.read_bytes())}, data={"results": "table"})
    assert answer.status_code == 202 and answer.json()["name"] == shown
    with client.stream("GET", answer.json()["events"]) as events:
        assert "event: done" in [*events.iter_lines()]
    assert all(path.resolve().is_relative_to(server.folder) for path in server.folder.rglob("*"))
    client.delete(f"/jobs/{answer.json()['id']}")


def test_addresses_of_other_files(client, street, server):
    job = client.post("/jobs", files={"video": street.read_bytes()}, data={"results": "table"}).json()
    with client.stream("GET", job["events"]) as events:
        [*events.iter_lines()]
    for path in (
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "frames.jsonl",
        "in/street.mp4",
        ".",
        "labels.mkv",
    ):
        assert client.get(f"/jobs/{job['id']}/results/{path}").status_code == 404, path
    for path in ("/jobs/%2e%2e", "/jobs/%00", "/jobs/" + "a" * 5000, "/../etc/passwd", "/docs", "/redoc"):
        assert client.get(path).status_code == 404, path
    client.delete(f"/jobs/{job['id']}")


def test_more_bytes_than_are_taken(client):
    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
        while True:
            yield bytes(1 << 16)

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        answer = client.post("/jobs", content=endless(), headers=kind)
    except Exception as error:  # the server hangs up on a client that goes on sending
        assert type(error).__name__ in ("WriteError", "RemoteProtocolError", "ReadError"), error
    else:
        assert answer.status_code == 413 and "2 MB" in answer.json()["error"]
    wait_for(lambda: 'arseg_refused_total{status="413"}' in client.get("/metrics").text)
    assert client.post("/jobs", files={"video": bytes(3_000_000)}).status_code == 413


@pytest.mark.parametrize("length, status", [("-5", b"400"), ("x", b"400"), ("99999999999", b"413")])
def test_lengths_that_are_stated(server, client, length, status):
    host, port = server.url[7:].split(":")
    head = f"POST /jobs HTTP/1.1\r\nHost: {host}:{port}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
        assert raw.recv(100).split()[1] == status


@pytest.mark.parametrize(
    "request_, status",
    [
        ({"content": b"abc", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b"abc", "headers": {"Content-Type": "video/mp4"}}, 415),
        ({"content": b"abc"}, 415),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"[" * 50_000, "headers": {"Content-Type": "application/json"}}, 400),
        ({"json": [1]}, 400),
        ({"json": {}}, 422),
        ({"json": {"url": 5}}, 422),
        ({"json": {"url": "http://example.com/a.mp4", "hidden": 1}}, 422),
        ({"content": b"abc", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"abc", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
        ({"files": {"video": b""}}, 422),
        ({"files": {"other": b"abc"}}, 422),
        ({"files": {"video": b"abc"}, "data": {"results": "overlay,../x"}}, 422),
        ({"files": {"video": b"abc"}, "data": {"opacity": "nan"}}, 422),
        ({"files": {"video": b"abc"}, "data": {"url": "http://example.com/"}}, 422),
        ({"files": [("video", b"abc"), ("video", b"abc")]}, 400),
    ],
)
def test_requests_that_are_wrong(client, request_, status):
    answer = client.post("/jobs", **request_)
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"] and len(answer.json()["error"]) < 200


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/a.mp4",
        "rtsp://example.com/a",
        "concat:/etc/passwd",
        "http://127.0.0.1/a.mp4",
        "http://localhost:8000/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://user:secret@1.1.1.1/",
        "http:///a",
        "http://1.1.1.1:99999/",
        "http://1.1.1.1/a b\r\nX: y",
        "http://1.1.1.1/" + "a" * 3000,
        "",
    ],
)
def test_urls_that_are_not_fetched(client, url):
    answer = client.post("/jobs", json={"url": url})
    assert answer.status_code == 422 and answer.json()["error"].startswith("url: "), answer.text
    assert "secret" not in answer.text


def test_pages_of_other_sites(client, server, street):
    for headers, status in (
        ({"Host": "evil.example"}, 421),  # whose name leads here now
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ):
        answer = client.post("/jobs", files={"video": street.read_bytes()}, headers=headers)
        assert answer.status_code == status and "error" in answer.json()
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    page = client.get("/")
    assert page.headers["x-frame-options"] == "DENY" and "default-src 'none'" in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers


def test_the_largest_that_is_taken():
    assert SIDE * SIDE <= 90_000
