"""A cluster of two machines, one worker of which is killed in the middle: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.streets import pictures
from helpers.tiny_segmenter import Dying, tiny_segmenter

from arseg.errors import ArsegError
from arseg.segment import run
from arseg.segment.outputs import output_for
from arseg.segment.run import segment_file
from arseg.segment.shards import groups
from arseg.segment.shards.files import FileJob, each_file
from arseg.segment.shards.groups import shards_of
from arseg.segment.sources import Source
from arseg.video import encode

FRAMES = 60
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster():
    """Ray with two nodes of one processor each."""
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'arseg[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # else 15: beside other tests the workers hardly run
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]))
        from ray.cluster_utils import Cluster

        from arseg.segment.shards.ray_data import RayData

        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        try:
            with RayData(tiny_segmenter, nodes.address) as runner:
                assert runner.slots == 2
                yield runner
        finally:
            nodes.shutdown()


@pytest.mark.slow
def test_a_worker_of_two_is_killed(cluster, tmp_path, monkeypatch):
    clip, marks = tmp_path / "street.mp4", tmp_path / "marks"
    marks.mkdir()
    encode(pictures(FRAMES), clip, rate=15, gop=5)
    monkeypatch.setattr(groups, "LEAST", 10)

    def one_dies(*arguments):
        shards = shards_of(*arguments)
        assert len(shards) == 6
        return [Dying(shard, marks) if number == 2 else shard for number, shard in enumerate(shards)]

    monkeypatch.setattr(run, "shards_of", one_dies)
    for name, runner in (("one.npz", None), ("two.npz", cluster)):
        assert segment_file(tiny_segmenter(), clip, [output_for(str(tmp_path / name))], runner=runner) == FRAMES
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    tries = [mark.name for mark in sorted(marks.iterdir())]
    assert len({mark.partition("-")[2] for mark in tries}) == 2, "another process has begun it again"

    # Whole files: the worker of one dies each time, one is not there for the workers, one is done.
    for mark in marks.iterdir():
        mark.unlink()
    sources = [Source(str(clip), "dying"), Source(str(tmp_path / "gone.mp4"), "gone"), Source(str(clip), "street")]
    dies, gone, street = (FileJob(each, (str(tmp_path / f"{each.stem}-file.npz"),), {}, {}) for each in sources)
    jobs = [Dying(dies, marks, 99), gone, street]
    done = {jobs.index(one.job): one for one in each_file(jobs, cluster, lambda *_: None)}
    assert done[2].failed is None and done[2].frames == FRAMES
    assert (tmp_path / "street-file.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()
    sentence = done[1].failed.sentence
    assert "gone.mp4: the worker on" in sentence and "shared storage" in sentence and "\n" not in sentence
    with pytest.raises(ArsegError, match="given up after 3 tries"):
        raise done[0].failed.error()
    assert len(list(marks.iterdir())) == 3
