"""Sources on the network: what is said when they cannot be read, and what never is."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.video_clips import write_av

from arseg.inspect.reading import inspect
from arseg.video import (
    NotAVideoError,
    TruncatedStreamError,
    UnsupportedCodecError,
    VideoError,
    VideoReader,
    diagnosis,
    transcode,
)
from arseg.video.errors import encode_hint

SECRETS = ("alice", "hunter2", "t0ken")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A noisy video in several containers, and one whose vectors cannot be read."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(20)]
    made = {
        name: write_av(folder / name, frames, container_options=options)
        for name, options in (("a.mkv", {}), ("a.mp4", {"movflags": "faststart"}), ("a.flv", {}))
    }
    made["jpeg.mkv"] = write_av(folder / "jpeg.mkv", frames[:3], codec="mjpeg", pixels="yuvj420p")
    return {name: path.read_bytes() for name, path in made.items()}


@contextmanager
def server(clips: dict[str, bytes], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """`/full/NAME` serves a clip, `/hang/NAME` two thirds of it and then nothing, `/close/NAME` breaks off there.

    `/404` and the like answer that, `/silent` nothing at all, `/page` a web page. Gives HOST:PORT.
    """
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.close_connection = True
            kind, _, name = self.path.partition("?")[0].strip("/").partition("/")
            if kind.isdigit():
                self.send_response(int(kind))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif kind == "silent":
                done.wait(20)
            else:
                self.send(kind, clips[name] if name else b"<html><p>hello</p></html>" * 50)

        def send(self, kind: str, data: bytes) -> None:
            start = int((self.headers.get("Range") or "bytes=0-")[len("bytes=") :].partition("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            try:
                self.wfile.write(data[start : len(data) * 2 // 3] if kind in ("hang", "close") else data[start:])
                self.wfile.flush()
                if kind == "hang":
                    done.wait(20)
            except OSError:
                pass  # the reader has gone

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.daemon_threads = True
    if tls is not None:
        serving.socket = tls.wrap_socket(serving.socket, server_side=True)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{serving.server_port}"
    finally:
        done.set()
        serving.shutdown()
        serving.server_close()


@pytest.fixture(scope="module")
def host(clips: dict[str, bytes]) -> Iterator[str]:
    with server(clips) as address:
        yield address


def nobody() -> str:
    """HOST:PORT where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def url(host: str, path: str, scheme: str = "http") -> str:
    return f"{scheme}://alice:hunter2@{host}{path}?token=t0ken"


def masked(host: str, path: str, scheme: str = "http") -> str:
    return f"{scheme}://***@{host}{path}?token=***"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if error.__cause__ is not None and error.__context__ is not None:
            yield from chain(error.__context__)
        error = error.__cause__ or error.__context__


def keeps_secrets(error: BaseException) -> str:
    """The message of an error that tells no secret anywhere: message, arguments, attributes, causes, traceback."""
    told = ["".join(traceback.format_exception(error))]
    for each in chain(error):
        told += [str(each), repr(each), repr(each.args), repr(getattr(each, "filename", "")), repr(vars(each))]
    for text in told:
        # The traceback quotes lines of this file, none of which holds a secret.
        assert not any(secret in text for secret in SECRETS), text
    return str(error)


def refusal(source: str, **options: float) -> str:
    with pytest.raises(NotAVideoError) as caught:
        VideoReader(source, **options)  # type: ignore[arg-type]
    return keeps_secrets(caught.value)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "the server wants a name and a password, or refuses those given (401)"),
        (403, "the server forbids it (403)"),
        (404, "the server has no such file or stream (404): check the path"),
        (400, "did not understand the request (400)"),
        (429, "refuses the request"),
        (500, "the server has a fault of its own (5xx): try again later"),
    ],
)
def test_what_the_server_answers(host: str, status: int, reason: str) -> None:
    text = refusal(url(host, f"/{status}"))
    assert text.startswith(f"{masked(host, f'/{status}')} cannot be opened: ") and reason in text
    assert "no video file" not in text


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtmp", "tcp"])
def test_nobody_listens(scheme: str) -> None:
    address = nobody()
    text = refusal(url(address, "/a", scheme))
    assert text == (
        f"{masked(address, '/a', scheme)} cannot be opened: the connection was refused: check that the server runs, "
        "and the port"
    )


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "tcp"])
def test_silence(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and says nothing
        text = refusal(url(f"127.0.0.1:{listener.getsockname()[1]}", "/a", scheme), timeout=0.3)
    assert "it gave no data for 0.3 s: check that it sends" in text


def test_no_such_protocol_no_tls_no_video(host: str) -> None:
    assert "does not know the protocol gopherx: check how the URL begins" in refusal(url(host, "/a", "gopherx"))
    assert "the secure connection (TLS) cannot be made" in refusal(url(host, "/full/a.mkv", "https"))
    assert "no video" in refusal(url(host, "/page"))
    assert "the address or an option in it is not valid" in refusal(url("127.0.0.1:99999", "/a"))


def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = av.error.OSError(5, "Input/output error", "http://alice:hunter2@nosuch.invalid/")
    text = diagnosis.not_opened("http://alice:hunter2@nosuch.invalid/", error)
    assert text == (
        "http://***@nosuch.invalid/ cannot be opened: the name nosuch.invalid is not known (DNS): check it, and the "
        "network"
    )


def test_a_video_over_http(host: str) -> None:
    for name in ("a.mkv", "a.mp4", "a.flv"):
        with VideoReader(url(host, f"/full/{name}")) as reader:
            assert len(list(reader)) == 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.flv"])
@pytest.mark.parametrize(("kind", "words"), [("hang", "gave no data for 0.3 s"), ("close", "broke the connection off")])
def test_what_stops_in_the_middle(host: str, name: str, kind: str, words: str, tmp_path: Path) -> None:
    """Never the end of the video, and never for ever."""
    frames = []
    with (
        pytest.raises(TruncatedStreamError) as caught,
        VideoReader(url(host, f"/{kind}/{name}"), timeout=0.3) as reader,
    ):
        for frame in reader:
            frames.append(frame)
    text = keeps_secrets(caught.value)
    assert text.startswith(f"{masked(host, f'/{kind}/{name}')} {words} at frame {len(frames)}")
    assert 8 <= len(frames) < 20 and caught.value.frame == len(frames)
    with pytest.raises(TruncatedStreamError) as caught:
        transcode(url(host, f"/{kind}/{name}"), tmp_path / "out.mp4", timeout=0.3)
    assert words in keeps_secrets(caught.value) and not list(tmp_path.iterdir())


def test_what_comes_with_an_error_of_the_video_keeps_secrets_too(host: str) -> None:
    with pytest.raises(UnsupportedCodecError) as caught:
        VideoReader(url(host, "/full/jpeg.mkv"), transcode=False)
    text = keeps_secrets(caught.value)
    assert f"`arseg encode '{masked(host, '/full/jpeg.mkv')}' -o OUT.mp4`" in text
    assert caught.value.path == masked(host, "/full/jpeg.mkv")


def test_inspection_keeps_secrets(host: str) -> None:
    found = inspect(url(host, "/full/a.mkv"))
    assert found.path == masked(host, "/full/a.mkv") and found.frames == 20
    assert not any(secret in f"{found!r}{found.facts()}{found.title}" for secret in SECRETS)


def test_a_url_that_became_a_path() -> None:
    with pytest.raises(NotAVideoError, match="a URL is given as a string") as caught:
        VideoReader(Path(url("127.0.0.1", "/a")))
    assert keeps_secrets(caught.value).startswith("http:/***@127.0.0.1/a?token=*** does not exist")


def test_a_url_that_is_no_text() -> None:
    assert r"http://***@127.0.0.1\ud800/a?token=*** cannot be opened" in refusal(url("127.0.0.1\ud800", "/a"))


def test_the_hint_can_be_pasted() -> None:
    assert encode_hint("-a b.mp4") == "run `arseg encode './-a b.mp4' -o OUT.mp4` and use OUT.mp4"
    assert encode_hint("rtsp://alice:hunter2@h/a?x=t0ken&y=1").startswith(
        "run `arseg encode 'rtsp://***@h/a?x=***&y=***' -o OUT.mp4`"
    )


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf")])
def test_limits_of_time(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout: expected seconds above 0"):
        VideoReader("a.mp4", timeout=timeout)


@pytest.mark.parametrize("reconnect", [-1, 1.5, True])
def test_numbers_of_attempts(reconnect: int) -> None:
    with pytest.raises(ValueError, match="reconnect: expected a number of attempts"):
        VideoReader("a.mp4", reconnect=reconnect)


def test_a_file_waits_for_nobody(tmp_path: Path, clips: dict[str, bytes]) -> None:
    """A time limit is not for files, however slow the disk."""
    (tmp_path / "a.mkv").write_bytes(clips["a.mkv"])
    with VideoReader(tmp_path / "a.mkv", timeout=1e-6) as reader:
        assert len(list(reader)) == 20
    with pytest.raises(VideoError, match="does not exist"):
        VideoReader(tmp_path / "b.mkv", timeout=1e-6)


def test_https(clips: dict[str, bytes], tmp_path: Path) -> None:
    """A server with a certificate of its own, which FFmpeg takes as browsers would not."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    new = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(new.split(), cwd=tmp_path, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    (tmp_path / "a.mp4").write_bytes(clips["a.mp4"])
    with server(clips, tls) as host:
        try:
            with VideoReader(url(host, "/full/a.mp4", "https"), timeout=10) as reader:
                found = [frame.image for frame in reader]
        except NotAVideoError as error:  # this FFmpeg was built without TLS, and says so
            assert "protocol" in str(error).lower() and not any(secret in str(error) for secret in SECRETS)
            pytest.skip(str(error))
        with pytest.raises(VideoError, match="404") as caught:
            VideoReader(url(host, "/404", "https"), timeout=10)
    assert not any(secret in str(caught.value) for secret in SECRETS)
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert len(found) == 20 and all(np.array_equal(a, b.image) for a, b in zip(found, reader, strict=True))
