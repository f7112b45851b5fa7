"""URLs: which addresses they may lead to, redirections included."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from arseg.errors import InputError
from arseg.serve import addresses
from arseg.serve.addresses import is_public, place_of
from arseg.serve.fetch import fetch
from arseg.serve.limits import Limits
from arseg.serve.results import safe_name

PRIVATE = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1"),
    *(
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
    ),
    *("64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::", "::127.0.0.1", "localhost", ""),
)


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_public(address):
    assert is_public(address)


def resolve_as(monkeypatch, *answers: list[str]) -> list[str]:
    """Names lead to these addresses, one list after the other; what was asked for."""
    asked, left = [], list(answers)

    def getaddrinfo(host, port, *_, **__):
        if host[0].isdigit():
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_with_one_private_address_among_public_ones(monkeypatch):
    resolve_as(monkeypatch, ["1.1.1.1", "127.0.0.1"])
    with pytest.raises(InputError, match="private address"):
        place_of("http://example.com/a.mp4")
    assert place_of("http://example.com/a.mp4", allow_private=True).addresses == ("1.1.1.1", "127.0.0.1")


def test_a_name_that_is_not_known(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", unknown)
    with pytest.raises(InputError, match=r"example\.invalid is not known"):
        place_of("https://example.invalid/a.mp4")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        where, _, target = self.path[1:].partition("/")
        if where == "to":
            self.send_response(302)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif where == "around":
            self.send_response(302)
            self.send_header("Location", "/around")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif where == "endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
            except OSError:
                self.close_connection = True
        elif where == "drips":  # a header that never ends, a byte at a time
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            except OSError:
                self.close_connection = True
        else:
            self.send_response(200)
            self.send_header("Content-Length", {"large": "99999999", "empty": "0", "half": "10"}.get(where, "5"))
            self.end_headers()
            self.wfile.write(b"" if where == "empty" else b"video")
            self.close_connection = True

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A site at 127.0.0.2, which tests take for public."""
    served = http.server.ThreadingHTTPServer(("127.0.0.2", 0), _Handler)
    served.daemon_threads = True
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.2:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.fixture
def fetched(site, monkeypatch, tmp_path):
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")

    def run(path: str, **limits) -> bytes:
        fetch(f"{site}/{path}", tmp_path / "video", Limits(**limits))
        return (tmp_path / "video").read_bytes()

    return run


def test_fetches(fetched, site):
    assert fetched("a.mp4?x=1") == fetched("to//a.mp4") == fetched(f"to/{site}/a.mp4") == b"video"


@pytest.mark.parametrize(
    "path, words",
    [
        ("to/http://127.0.0.1:9/", "private"),
        ("to/http://[::ffff:127.0.0.1]:9/", "private"),
        ("to/http://169.254.169.254/", "private"),
        ("to/file:///etc/passwd", "expected http"),
        ("to/gopher://127.0.0.2/", "expected http"),
        ("around", "redirections"),
        ("endless", "larger than 1 MB"),
        ("large", "larger than 1 MB"),
        ("empty", "gives nothing"),
        ("half", "broke off after 5 bytes; 5 were to come"),
    ],
)
def test_refuses(fetched, path, words):
    with pytest.raises(InputError, match=words):
        fetched(path, upload_mb=1)


def test_a_name_that_means_another_host_when_asked_again(fetched, monkeypatch, site, tmp_path):
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")
    asked = resolve_as(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    fetch(site.replace("127.0.0.2", "rebinds.example") + "/a", tmp_path / "video", Limits())
    assert asked == ["rebinds.example"]  # once: the connection goes to the address that was checked


def test_stops_where_it_is_told_to(fetched, site, tmp_path):
    with pytest.raises(InputError, match="cancelled"):
        fetch(f"{site}/a.mp4", tmp_path / "video", Limits(), stopped=lambda: True)
    with pytest.raises(InputError, match="longer than"):
        fetched("endless", upload_seconds=0.2, upload_mb=1e6)
    with pytest.raises(InputError, match="longer than"):
        fetched("drips", upload_seconds=0.5)


@pytest.mark.parametrize("setting", ["upload_mb", "kept_seconds", "pixels"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_out_of_range(setting, value):
    with pytest.raises(InputError, match=setting):
        Limits(**{setting: value})


@pytest.mark.parametrize("name", [None, "", ".", "...", "/", "\\", "\0", "日本", "-"])
def test_a_name_for_what_has_none(name):
    assert safe_name(name) == "video"
