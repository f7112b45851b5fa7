"""Jobs run by the machines of a Ray cluster, with Ray Data."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from arseg.errors import ArsegError
from arseg.extras import needs

from .jobs import TRIES, Failed, Job, Told, gave_up
from .worker import MakeSegmenter, Worker


class RayData:
    """Workers of a cluster, each a Ray actor with a network of its own.

    A context. An actor that dies is made again, here or on another machine, and its job begun again, `TRIES` times in
    all. All machines have the same version of this package, and the files under the names that jobs have (shared
    storage). Ray's statistics of use are switched off, unless RAY_USAGE_STATS_ENABLED says otherwise.

    Args:
        make: the segmenter of a worker on a device.
        address: of the cluster: "auto" (the one of this machine), "local" (a new one of this machine alone), HOST:PORT.
        count: of workers; None: one for each machine, and with CUDA for each card.
        device: "cpu" or "cuda"; each worker then has a card.

    Raises:
        ImportError: Ray is not installed.
        ArsegError: there is no such cluster, or it has too little for so many workers.
    """

    elsewhere = True

    def __init__(self, make: MakeSegmenter, address: str, count: int | None = None, *, device: str = "cpu") -> None:
        with needs("ray", "--ray"):
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            import ray
            import ray.data
        self._ray, self._make, self._device = ray, make, device.partition(":")[0]
        self._begun = not ray.is_initialized()
        if self._begun:
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
            if address != "local":
                quiet.pop("include_dashboard")
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise ArsegError(
                    f"--ray: there is no cluster at {address} ({reason}); start one with `ray start --head`, or give "
                    "local"
                ) from error
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cards = int(sum(node.get("GPU", 0) for node in nodes))
        self._gpus = 1 if self._device == "cuda" else 0
        self.slots = count or (cards if self._gpus else len(nodes))
        if self._gpus and cards < self.slots:
            self.close()
            raise ArsegError(f"--ray: the cluster has {cards} cards for {self.slots} workers; give fewer --workers")
        each = -(-self.slots // len(nodes))
        self._threads = max(1, int(min(node.get("CPU", 1) for node in nodes) // each))

    def __enter__(self) -> RayData:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the cluster; one that was started here ends."""
        if self._begun:
            self._ray.shutdown()

    def run(self, jobs: Iterable[Job]) -> Iterator[Told]:
        listed = list(jobs)
        if not listed:
            return
        data = self._ray.data
        context = data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        context.max_errored_blocks = -1  # what has failed for good is named here
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        with data.DataContext.current(context):
            rows = [{"job": number, "pickled": pickle.dumps(job)} for number, job in enumerate(listed)]
            told = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                _Actor,
                fn_constructor_args=(self._make, self._device, self._threads),
                batch_size=1,
                batch_format="pyarrow",
                compute=data.ActorPoolStrategy(size=self.slots, max_tasks_in_flight_per_actor=1),
                num_cpus=self._threads,
                num_gpus=self._gpus or None,
                max_restarts=-1,
                max_task_retries=TRIES - 1,
            )
            missing = set(range(len(listed)))
            for batch in told.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    number = row["job"]
                    if number not in missing:
                        continue
                    missing.discard(number)
                    messages, failed = pickle.loads(row["told"])
                    yield from (Told(number, message) for message in messages)
                    yield Told(number, ended=True, failed=failed)
        for number in sorted(missing):
            failed = gave_up(listed[number], "its worker was ended, as where memory runs out")
            yield Told(number, ended=True, failed=failed)


class _Actor:
    """A worker; Ray makes it once, and calls it for each job."""

    def __init__(self, make: MakeSegmenter, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._worker = Worker(make, device)

    def __call__(self, batch: Any) -> Any:
        import pyarrow

        job: Job = pickle.loads(batch["pickled"][0].as_py())
        for _ in range(TRIES):
            messages, failed = self._once(job)
            if failed is None or not failed.memory:
                break
        told = pickle.dumps((messages, failed))
        return pyarrow.table({"job": batch["job"], "told": pyarrow.array([told], pyarrow.large_binary())})

    def _once(self, job: Job) -> tuple[list[Any], Failed | None]:
        messages: list[Any] = []
        try:
            job.run(self._worker, messages.append)
        except Exception as error:
            self._worker.close()
            return messages, Failed.of(error)
        return messages, None
