"""What a POST brings: a video, or the address of one, and settings; read no further than the limits go."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arseg.errors import ArsegError, InputError
from arseg.extras import needs

from .addresses import place_of
from .limits import Limits
from .results import RESULTS, safe_name

with needs("serve", "arseg serve"):
    import python_multipart  # noqa: F401 (starlette's parser is made of it)
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser
    from starlette.requests import Request

__all__ = ["RefusedError", "Wish", "read_wish"]

_FIELDS = 64 << 10  # bytes of all but the video
_PIECE = 1 << 20


class RefusedError(ArsegError):
    """A request that is not answered.

    Attributes:
        status: HTTP's.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _TooLargeError(MultiPartException):
    pass


@dataclass
class Wish:
    """What is asked for.

    Attributes:
        name: of the video, safe.
        video: that was sent; None: it is at `url`.
    """

    name: str
    video: UploadFile | None
    url: str | None
    wanted: tuple[str, ...]
    opacity: float

    async def save(self, target: Path) -> int:
        """Moves what was sent to `target`; returns its bytes."""
        assert self.video is not None
        file = self.video.file

        def copy() -> int:
            file.seek(0)
            with target.open("wb") as to:
                shutil.copyfileobj(file, to, _PIECE)
            return target.stat().st_size

        try:
            return await asyncio.to_thread(copy)
        finally:
            await self.video.close()


async def read_wish(request: Request, limits: Limits, *, allow_private: bool) -> Wish:
    """Reads the body of a POST.

    Raises `RefusedError`: 400 for what cannot be read, 408 where it takes too long, 413 where it is too large, 415 for
    another type; `InputError` for what is asked for.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        most, read = limits.upload_bytes + _FIELDS, _from_form
    elif kind == "application/json":
        most, read = _FIELDS, _from_json
    else:
        raise RefusedError(
            415, f"expected multipart/form-data with a file named video, or application/json, got {kind or 'no type'}"
        )
    stated = request.headers.get("content-length", "0")
    if not (stated.isascii() and stated.isdigit()) or int(stated) > most:
        raise RefusedError(413, _too_large(limits))
    try:
        fields, video = await asyncio.wait_for(read(request, most), limits.upload_seconds)
    except _TooLargeError:
        raise RefusedError(413, _too_large(limits)) from None
    except MultiPartException as error:
        raise RefusedError(400, f"the form cannot be read: {error.message}") from None
    except asyncio.TimeoutError:
        raise RefusedError(408, f"the video took longer than {limits.upload_seconds:g} s to come") from None
    try:
        return await _wish(fields, video, limits, allow_private=allow_private)
    except BaseException:
        if video is not None:
            await video.close()
        raise


async def _wish(fields: dict[str, Any], video: UploadFile | None, limits: Limits, *, allow_private: bool) -> Wish:
    unknown = sorted({*fields} - {"url", "results", "opacity"})
    if unknown:
        raise InputError(f"{unknown[0][:40]}: is no field; expected video or url, results, opacity")
    url = fields.get("url")
    if (video is None) == (url is None):
        raise InputError("expected either a file named video or a url")
    if video is not None and not video.size:
        raise InputError("video: the file is empty; send a video")
    if video is not None and video.size is not None and video.size > limits.upload_bytes:
        raise RefusedError(413, _too_large(limits))
    if url is not None:
        if not isinstance(url, str):
            raise InputError("url: expected a text")
        await asyncio.to_thread(place_of, url, allow_private=allow_private)
    name = safe_name(video.filename if video is not None else str(url).partition("?")[0])
    return Wish(name, video, url, _wanted(fields.get("results")), _opacity(fields.get("opacity")))


def _wanted(results: Any) -> tuple[str, ...]:
    if results is None:
        return tuple(RESULTS)
    names = results.split(",") if isinstance(results, str) else results
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"results: expected some of {', '.join(RESULTS)}")
    names = [name.strip() for name in names]
    for name in names:
        if name not in RESULTS:
            raise InputError(f"results: expected some of {', '.join(RESULTS)}, got {name[:40]!r}")
    return tuple(name for name in RESULTS if name in names)


def _opacity(text: Any) -> float:
    try:
        value = 0.55 if text is None else float(text)
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError("opacity: expected a number from 0 to 1")
    return value


async def _from_form(request: Request, most: int) -> tuple[dict[str, Any], UploadFile | None]:
    parser = MultiPartParser(request.headers, _bounded(request, most), max_files=1, max_fields=8, max_part_size=_FIELDS)
    form = await parser.parse()
    fields: dict[str, Any] = {}
    video: UploadFile | None = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "video":
                await value.close()
                raise InputError(f"{name[:40]}: is no file that is taken; name it video")
            video = value
        else:
            fields[name] = value
    return fields, video


async def _from_json(request: Request, most: int) -> tuple[dict[str, Any], UploadFile | None]:
    body = b"".join([piece async for piece in _bounded(request, most)])
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the JSON cannot be read") from None
    if not isinstance(fields, dict):
        raise RefusedError(400, 'expected a JSON object such as {"url": "https://…"}')
    return fields, None


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    count = 0
    async for piece in request.stream():
        count += len(piece)
        if count > most:
            raise _TooLargeError("too large")
        yield piece


def _too_large(limits: Limits) -> str:
    return f"larger than {limits.upload_mb:g} MB, the most that is taken; send a smaller video, or a part of it"
