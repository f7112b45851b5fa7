"""The server with a real client: videos sent and fetched, progress, results, cancelling, crashes, its end."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
from functools import partial

import numpy as np
import pytest

from arseg import VideoSegmenter
from arseg.segment.outputs import read_labels

from .conftest import running, wait_for

pytestmark = pytest.mark.slow


def sent(client, path, **fields):
    with path.open("rb") as file:
        return client.post("/jobs", files={"video": (fields.pop("name", path.name), file)}, data=fields)


def events_of(client, address: str, accept="text/event-stream"):
    """(name, data) of each event until the job's end."""
    with client.stream("GET", address, headers={"Accept": accept}) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(accept)
        name = None
        for line in answer.iter_lines():
            if line.startswith("{"):
                event = json.loads(line)
                yield event["event"], event["data"]
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])


def test_a_video_sent_comes_back_segmented(server, street, weights, tmp_path):
    with server.client as client:
        answer = sent(client, street, opacity="0.4")
        assert answer.status_code == 202 and answer.headers["location"] == f"/jobs/{answer.json()['id']}"
        *before, (name, job) = events_of(client, answer.json()["events"])
        assert name == "done" and {event for event, _ in before} == {"progress"}
        assert (job["state"], job["frames"], job["total"], job["width"]) == ("done", 14, 14, 96)
        assert list(job["results"]) == ["overlay", "report", "labels", "table"]
        got = {}
        for kind, one in job["results"].items():
            answer = client.get(one["url"])
            assert answer.status_code == 200 and len(answer.content) == one["bytes"]
            assert answer.headers["content-security-policy"] == "sandbox allow-scripts"
            got[kind] = answer
        assert 'filename="street-frames.csv"' in got["table"].headers["content-disposition"]
        part = client.get(job["results"]["overlay"]["url"], headers={"Range": "bytes=4-7"})
        assert part.status_code == 206 and part.content == got["overlay"].content[4:8] == b"ftyp"
        (tmp_path / "ids.mkv").write_bytes(got["labels"].content)
        expected = [result.labels for result in VideoSegmenter(weights, policy="ensemble").stream(street)]
        assert np.array_equal(list(read_labels(tmp_path / "ids.mkv")), expected)
        assert got["table"].text.count("\n") == 15 and b"street.mp4" in got["report"].content
        assert client.delete(f"/jobs/{job['id']}").status_code == 204
        assert (
            client.get(f"/jobs/{job['id']}").status_code
            == client.get(job["results"]["table"]["url"]).status_code
            == 404
        )
    assert server.left() == []


def test_events_of_frames_as_lines(server, street):
    with server.client as client, street.open("rb") as file:
        server.quiet()
        request = {
            "files": {"video": file},
            "data": {"results": "table"},
            "headers": {"Accept": "application/x-ndjson"},
        }
        with client.stream("POST", "/jobs?frames=1", **request) as answer:
            events = [json.loads(line) for line in answer.iter_lines() if line]
        rows = [event["data"] for event in events if event["event"] == "frame"]
        assert [row["frame"] for row in rows] == list(range(14)) and rows[0]["keyframe"] is True
        assert abs(sum(value for name, value in rows[3].items() if name.startswith("share_")) - 1) < 1e-6
        assert events[-1]["event"] == "done" and list(events[-1]["data"]["results"]) == ["table"]
        # And later, of a job that is over.
        again = [
            data for name, data in events_of(client, f"{events[-1]['data']['events']}?frames=1") if name == "frame"
        ]
        assert again == rows
        client.delete(f"/jobs/{events[-1]['data']['id']}")


def test_one_that_runs_is_cancelled_and_others_are_told_to_wait(server, street, long):
    with server.client as client:
        server.quiet()
        job = sent(client, long).json()
        wait_for(lambda: client.get(f"/jobs/{job['id']}").json()["frames"] > 0)
        refused = sent(client, street)
        assert refused.status_code == 429 and "running" in refused.json()["error"] and refused.headers["retry-after"]
        assert client.get("/health").json()["status"] == "ok"  # at once, though a worker computes
        assert client.delete(f"/jobs/{job['id']}").status_code == 204
        server.quiet()
        wait_for(lambda: server.left() == [])
        done = sent(client, street, results="table").json()
        assert list(events_of(client, done["events"]))[-1][0] == "done"
        client.delete(f"/jobs/{done['id']}")
        assert 'arseg_jobs_total{state="cancelled"}' in client.get("/metrics").text


def test_a_client_that_goes_takes_its_job_along(server, long):
    with server.client as client:
        server.quiet()
        before = cancelled(client)
        with long.open("rb") as file:
            headers = {"Accept": "text/event-stream"}
            with client.stream("POST", "/jobs", files={"video": file}, headers=headers) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: ") and json.loads(line[6:])["frames"] > 0:
                        break
        wait_for(lambda: cancelled(client) == before + 1)
    wait_for(lambda: not any(path.suffix == ".mp4" for path in server.folder.rglob("*")))


def cancelled(client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next((line.split()[1] for line in lines if line.startswith('arseg_jobs_total{state="cancelled"')), 0))


def test_a_worker_that_dies_is_replaced(server, street, long):
    with server.client as client:
        server.quiet()
        job = sent(client, long).json()
        wait_for(lambda: client.get(f"/jobs/{job['id']}").json()["frames"] > 0)
        os.kill(server.worker(), signal.SIGKILL)
        name, ended = list(events_of(client, job["events"]))[-1]
        assert name == "failed" and "died (signal 9)" in ended["error"] and ended["results"] == {}
        done = sent(client, street, results="labels").json()
        assert list(events_of(client, done["events"]))[-1][0] == "done"
        assert "arseg_worker_restarts_total 1.0" in client.get("/metrics").text
        client.delete(f"/jobs/{done['id']}")


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


def test_urls_and_the_end_by_sigterm(weights, street, long, tmp_path):
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=street.parent))
    threading.Thread(target=files.serve_forever, daemon=True).start()
    (tmp_path / "kept").mkdir()
    try:
        with running(weights, tmp_path / "kept", "--allow-private") as server, server.client as client:
            url = f"http://127.0.0.1:{files.server_port}/{street.name}?token=1"
            job = client.post("/jobs", json={"url": url, "results": ["table"]}).json()
            assert job["state"] == "fetching" and job["name"] == "street.mp4"
            name, done = list(events_of(client, job["events"]))[-1]
            assert name == "done" and done["frames"] == 14
            job = client.post("/jobs", json={"url": url.replace("street", "none")}).json()
            name, failed = list(events_of(client, job["events"]))[-1]
            assert name == "failed" and "404" in failed["error"]

            job = sent(client, long).json()
            wait_for(lambda: client.get(f"/jobs/{job['id']}").json()["frames"] > 0)
            worker = server.worker()
            waiting = sent(client, street).json()
            heard = []

            def listen(address: str) -> None:
                for name, _ in events_of(server.client, address):
                    heard.append((address, name))

            for each in (job, waiting):
                threading.Thread(target=listen, args=(each["events"],)).start()
            wait_for(lambda: len({address for address, _ in heard}) == 2)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 128 + signal.SIGTERM
            wait_for(lambda: len({address for address, name in heard if name == "cancelled"}) == 2)
            assert not os.path.exists(f"/proc/{worker}") and list(server.folder.iterdir()) == []
    finally:
        files.shutdown()
        files.server_close()
