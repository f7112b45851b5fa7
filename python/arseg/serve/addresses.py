"""Which addresses a URL from outside may lead to: those of the public Internet, unless the server's owner says more."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from arseg.errors import InputError

__all__ = ["Place", "is_public", "place_of"]

SCHEMES = {"http": 80, "https": 443}
_LONGEST = 2048
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Place:
    """A URL and the addresses of its host, each of which may be connected to.

    Connections go to these, not to the name: it might mean another host when it is asked for again.
    """

    url: SplitResult
    port: int
    addresses: tuple[str, ...]


def place_of(text: str, *, allow_private: bool = False) -> Place:
    """Checks a URL, and resolves its host.

    Raises `InputError` for another scheme than http and https, for one with a user or a password, a host that has no
    address, and, without `allow_private`, a host that has a private one, too.
    """
    if len(text) > _LONGEST or any(ord(sign) <= 32 or ord(sign) == 127 for sign in text):
        raise InputError(f"url: expected {_LONGEST} signs at most, and no spaces or control characters")
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise InputError(f"url: cannot be read ({error})") from None
    if url.scheme not in SCHEMES or not host:
        raise InputError("url: expected http://… or https://… with a host; other addresses are not fetched")
    if url.username is not None or url.password is not None:
        raise InputError("url: expected one without a user and a password")
    port = port or SCHEMES[url.scheme]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(f"url: the host {host} is not known") from None
    addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    if not allow_private and not all(map(is_public, addresses)):
        raise InputError(f"url: the host {host} has a private address; only public ones are fetched from")
    return Place(url, port, addresses)


def is_public(address: str) -> bool:
    """Whether an address, and one that is written within it, is of the public Internet."""
    try:
        ip: Any = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if ip.version == 6:
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and (ip in _NAT64 or int(ip) >> 32 == 0):
            inner = ipaddress.ip_address(int(ip) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
        if ip.ipv4_mapped is not None:
            return True
    return bool(ip.is_global) and not ip.is_multicast
