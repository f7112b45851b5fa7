"""The server's addresses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from arseg.errors import InputError
from arseg.extras import needs
from arseg_ext import __version__

from .guard import Guard
from .jobs import BusyError, Job, Jobs, rows_of, video_of
from .results import RESULTS
from .upload import RefusedError, read_wish

with needs("serve", "arseg serve"):
    from fastapi import FastAPI
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse

__all__ = ["LOCAL", "make_app"]

LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; media-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OF_RESULTS = "sandbox allow-scripts"
_NDJSON, _EVENTS = "application/x-ndjson", "text/event-stream"


def make_app(jobs: Jobs, hosts: frozenset[str] = LOCAL) -> FastAPI:
    """The application around `jobs`, which has its workers.

    Args:
        hosts: see `Guard`.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await jobs.open()
        sweeping = asyncio.create_task(jobs.sweep())
        yield
        sweeping.cancel()
        await jobs.close()

    app = FastAPI(title="arseg", version=__version__, docs_url=None, redoc_url=None, lifespan=life)
    app.add_middleware(Guard, hosts=hosts, metrics=jobs.metrics)
    page = _page(jobs)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        return _error(error.status, str(error))

    @app.exception_handler(InputError)
    async def wrong(request: Request, error: InputError) -> Response:
        return _error(422, str(error))

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        return _error(429, str(error), {"Retry-After": "10"})

    @app.exception_handler(404)
    async def missing(request: Request, error: Any) -> Response:
        return _error(404, "nothing is here")

    @app.exception_handler(405)
    async def unfit(request: Request, error: Any) -> Response:
        return _error(405, f"{request.method} is not for this address", getattr(error, "headers", None))

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def try_it() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    @app.get("/health", summary="Whether the server works.")
    async def health() -> Response:
        ok = jobs.healthy
        body = {"status": "ok" if ok else "failing", "version": __version__, "classes": jobs.classes}
        return JSONResponse(body, 200 if ok else 503)

    @app.get("/metrics", summary="For Prometheus.")
    async def metrics() -> Response:
        return Response(jobs.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/jobs", status_code=202, summary="Segment a video that is sent, or that a URL gives.")
    async def post(request: Request) -> Response:
        with jobs.room():
            try:
                wish = await read_wish(request, jobs.limits, allow_private=jobs.allow_private)
            except ClientDisconnect:
                return Response(status_code=400)
            job = jobs.new(wish.name, wish.wanted, wish.opacity, wish.url)
            try:
                if wish.video is not None:
                    jobs.metrics.received.inc(await wish.save(video_of(job)))
            except BaseException:
                jobs.discard(job)
                raise
            jobs.submit(job)
        form = _form(request)
        if form is not None:
            return _stream(_tied(jobs, job, form, request), form)
        return JSONResponse(job.told(), 202, {"Location": f"/jobs/{job.id}"})

    @app.get("/jobs/{id}", summary="How far a job is.")
    async def get(id: str) -> Response:
        return JSONResponse(_job(jobs, id).told())

    @app.delete("/jobs/{id}", status_code=204, summary="Cancel a job, and forget what it made.")
    async def delete(id: str) -> Response:
        jobs.remove(_job(jobs, id))
        return Response(status_code=204)

    @app.get("/jobs/{id}/events", summary="What happens to a job: server-sent events, or NDJSON.")
    async def events(id: str, request: Request) -> Response:
        form = _form(request) or _EVENTS
        return _stream(_told(_job(jobs, id), form, rows=_rows_wanted(request)), form)

    @app.get("/jobs/{id}/results/{file}", summary="What a job made.")
    async def result(id: str, file: str) -> Response:
        job = _job(jobs, id)
        found = next((name for name in job.results if RESULTS[name].file == file), None)
        if found is None:
            raise RefusedError(404, f"no result of that name; there are {', '.join(job.results) or 'none yet'}")
        of = RESULTS[found]
        inline = of.kind.startswith(("text/html", "video/mp4"))
        stem = job.name.rpartition(".")[0] or job.name
        return FileResponse(
            job.folder / of.file,
            media_type=of.kind,
            filename=f"{stem}-{of.file}",
            content_disposition_type="inline" if inline else "attachment",
            headers={"Content-Security-Policy": _OF_RESULTS, "Cache-Control": "private, no-store"},
        )

    return app


def _page(jobs: Jobs) -> str:
    def read(name: str) -> str:
        return files(__package__).joinpath(name).read_text(encoding="utf-8")

    limits = {"upload_mb": jobs.limits.upload_mb, "seconds": jobs.limits.video_seconds}
    page = read("page.html").replace("<!-- style -->", read("page.css")).replace("<!-- script -->", read("page.js"))
    return page.replace("<!-- limits -->", json.dumps(limits))


def _job(jobs: Jobs, id: str) -> Job:
    job = jobs.get(id)
    if job is None:
        raise RefusedError(404, "there is no such job, or it has been forgotten")
    return job


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    # What was sent may hold half a character, which no answer can.
    return JSONResponse({"error": sentence.encode("utf-8", "backslashreplace").decode()}, status, headers)


def _form(request: Request) -> str | None:
    accepted = request.headers.get("accept", "")
    return next((form for form in (_NDJSON, _EVENTS) if form in accepted), None)


def _rows_wanted(request: Request) -> bool:
    return request.query_params.get("frames", "") in ("1", "true")


def _stream(events: AsyncIterator[bytes], form: str) -> Response:
    return StreamingResponse(events, 200, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=form)


async def _tied(jobs: Jobs, job: Job, form: str, request: Request) -> AsyncIterator[bytes]:
    """The events of a job that goes where its client goes."""
    try:
        async for event in _told(job, form, rows=_rows_wanted(request)):
            yield event
    finally:
        if not job.over:
            jobs.cancel(job)


async def _told(job: Job, form: str, *, rows: bool) -> AsyncIterator[bytes]:
    place = 0
    async for changed in job.changes():
        if not changed:
            yield b": waiting\n\n" if form == _EVENTS else b"\n"
            continue
        if rows:
            while True:
                lines, place = await asyncio.to_thread(_new_rows, job, place)
                for line in lines:
                    yield _event("frame", line, form)
                if not lines:
                    break
        yield _event(job.state if job.over else "progress", json.dumps(job.told()).encode(), form)


def _new_rows(job: Job, place: int, most: int = 1 << 18) -> tuple[list[bytes], int]:
    """Whole lines of the rows from a place in their file on, and the place after them."""
    try:
        with rows_of(job).open("rb") as file:
            file.seek(place)
            data = file.read(most)
    except FileNotFoundError:
        return [], place
    end = data.rfind(b"\n") + 1
    return data[:end].splitlines(), place + end


def _event(name: str, data: bytes, form: str) -> bytes:
    if form == _EVENTS:
        return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
    return b'{"event": "' + name.encode() + b'", "data": ' + data + b"}\n"
