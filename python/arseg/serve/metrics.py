"""What Prometheus asks for at /metrics; a registry of our own for each server."""

from __future__ import annotations

from arseg.extras import needs

with needs("serve", "arseg serve"):
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]


class Metrics:
    """Attributes are the metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Counter("arseg_jobs", "Jobs that ended, by how.", ["state"], registry=self.registry)
        self.frames = Counter("arseg_frames", "Frames segmented.", registry=self.registry)
        self.received = Counter("arseg_received_bytes", "Bytes of videos that came.", registry=self.registry)
        self.refused = Counter("arseg_refused", "Requests refused, by status.", ["status"], registry=self.registry)
        self.restarts = Counter("arseg_worker_restarts", "Workers started again.", registry=self.registry)
        self.running = Gauge("arseg_jobs_running", "Jobs that a worker is at.", registry=self.registry)
        self.waiting = Gauge("arseg_jobs_waiting", "Jobs that wait for a worker.", registry=self.registry)
        self.kept = Gauge("arseg_kept_bytes", "Bytes of results kept.", registry=self.registry)
        self.seconds = Histogram(
            "arseg_job_seconds",
            "Seconds from the start of a job to its end.",
            buckets=(1, 3, 10, 30, 100, 300, 1000, 3000),
            registry=self.registry,
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)
