"""What is kept, and for how long."""

from __future__ import annotations

import pytest

pytest.importorskip("prometheus_client", reason="the extra `serve` is not installed")

from arseg.serve.jobs import Jobs
from arseg.serve.limits import Limits


@pytest.fixture
def jobs(tmp_path) -> Jobs:
    return Jobs(tmp_path, Limits(kept_mb=1, kept_seconds=100), {}, workers=0)


def ended(jobs: Jobs, size: int):
    job = jobs.new("a.mp4", ("table",), 0.5)
    (job.folder / "frames.csv").write_bytes(bytes(10))
    jobs._jobs[job.id] = job
    jobs._news(job, "done", {"table": size})
    return job


def test_the_oldest_results_go_first(jobs, tmp_path):
    first, second = ended(jobs, 400_000), ended(jobs, 500_000)
    assert jobs.get(first.id) is first and jobs.get(second.id) is second
    third = ended(jobs, 300_000)
    assert jobs.get(first.id) is None and not first.folder.exists() and second.folder.exists()
    last = ended(jobs, 5_000_000)  # the newest stays for as long as it may
    assert [path.name for path in tmp_path.iterdir()] == [last.id] and jobs.get(third.id) is None


def test_results_go_after_a_while(jobs):
    job, other = ended(jobs, 10), ended(jobs, 10)
    job.ended -= 101
    jobs._forget()
    assert jobs.get(job.id) is None and not job.folder.exists() and jobs.get(other.id) is other


def test_what_was_sent_goes_at_the_end(jobs):
    job = ended(jobs, 10)
    assert [path.name for path in job.folder.iterdir()] == ["frames.csv"]
    failed = jobs.new("b.mp4", ("table",), 0.5)
    jobs._jobs[failed.id] = failed
    jobs._news(failed, "failed", "why")
    assert not failed.folder.exists() and failed.told()["error"] == "why"
