"""core/cluster: shards on Ray give the same bytes as shards on this machine."""

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.core.artifact import Draft, produce
from codling.core.cluster import map_on_ray
from codling.core.errors import ConfigError, SourceError, ToolMissingError
from codling.core.shards import Parallel, map_shards
from codling.corpus.collect import collect
from codling.corpus.config import CollectConfig
from codling.corpus.tables.drop_rows import Subset, write_subset
from data_path import make_corpus, run

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
WHERE = "sleep 0.4; ps -o ppid= -p $PPID"
"""Prints the process that started the worker: its node."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a core each, on the machine's address: Ray never asks for one on loopback."""
    pytest.importorskip("ray")
    patch = pytest.MonkeyPatch()
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        patch.setenv(name, "0")
    patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    from ray.cluster_utils import Cluster

    head = {**NODE, "include_dashboard": False}
    made = Cluster(initialize_head=True, shutdown_at_exit=False, head_node_args=head)
    made.add_node(**NODE)
    yield made
    made.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def address(cluster: Any) -> str:
    return cluster.address


ON_RAY = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def repository(folder: Path) -> Path:
    for i in range(24):
        path = folder / f"part{i % 3}" / f"module_{i}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        before = f"from part{(i - 1) % 3} import module_{i - 1}\n\n" if i else ""
        path.write_text(f"{before}def number_{i}(first):\n    return first + {i % 20}\n" * 9)
    return folder


def test_without_the_package_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    config = CollectConfig(
        sources=(repository(tmp_path / "r"),), out_dir=tmp_path / "o", ray="auto"
    )
    with pytest.raises(ToolMissingError, match=r"pip install 'codling\[ray\]'"):
        collect(config)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "localhost:port"])
def test_an_address_where_nothing_answers_is_one_line_at_once(tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray")
    config = CollectConfig(
        sources=(repository(tmp_path / "r"),), out_dir=tmp_path / "o", ray=address
    )
    with pytest.raises(ConfigError, match=r"^no Ray cluster at .*`ray start --head`$"):
        collect(config)


class TestOnTwoNodes:
    pytestmark = ON_RAY

    def test_all_data_stations_give_the_same_bytes(self, tmp_path: Path, address: str) -> None:
        source = make_corpus(tmp_path / "app")
        here = run(source, tmp_path / "here", 1)
        there = run(source, tmp_path / "there", 1, ray=address)
        assert len(here[0].files("documents-*")) > 5
        for one, other in zip(here, there, strict=True):
            assert one.id == other.id
            assert one.manifest.files == other.manifest.files
            assert one.counts == other.counts

    def test_both_nodes_work(self, tmp_path: Path, address: str) -> None:
        # Each waits for the other, so they run at one time, and a node has one core.
        met = f"touch {tmp_path}/$$; until [ $(ls {tmp_path} | wc -l) = 2 ]; do sleep 0.1; done"
        nodes = list(map_on_ray(subprocess.getoutput, iter([(f"{met}; {WHERE}",)] * 2), address))
        assert len(set(nodes)) == 2

    def test_what_a_lost_node_had_to_do_is_done_again(self, cluster: Any, address: str) -> None:
        third = cluster.add_node(**NODE)
        results = map_on_ray(subprocess.getoutput, iter([(WHERE,)] * 12), address)
        nodes = [next(results)]
        cluster.remove_node(third, allow_graceful=False)
        nodes += results
        assert len(nodes) == 12

    def test_shards_that_are_done_are_not_done_again(self, tmp_path: Path, address: str) -> None:
        raw = collect(
            CollectConfig(
                sources=(repository(tmp_path / "app"),), out_dir=tmp_path / "raw", shard_bytes=2000
            )
        )
        tasks = [
            Subset(p, "none", np.zeros(100, np.bool_), ()) for p in raw.files("documents-*.parquet")
        ]

        def work(draft: Draft) -> None:
            map_shards(draft, tasks[:2], write_subset, Parallel(workers=1), label="a")
            first = draft.path / ".shards" / "00000.json"
            before = first.stat().st_mtime_ns
            (draft.path / "documents-00002.parquet").write_bytes(b"half")
            map_shards(draft, tasks, write_subset, Parallel(workers=1, ray=address), label="b")
            assert first.stat().st_mtime_ns == before

        made = produce(tmp_path / "made", kind="toy", version=1, config={}, inputs=[raw], work=work)
        wanted = [p.read_bytes() for p in raw.files("documents-*.parquet")]
        assert [p.read_bytes() for p in made.files("documents-*.parquet")] == wanted

    def test_a_mistake_on_a_node_is_the_same_one_line(self, tmp_path: Path, address: str) -> None:
        damaged = tmp_path / "x.tar.gz"
        with tarfile.open(damaged, "w:gz") as archive:
            archive.add(repository(tmp_path / "app"), "app")
        damaged.write_bytes(damaged.read_bytes()[:-200])
        config = CollectConfig(sources=(damaged,), out_dir=tmp_path / "raw", ray=address)
        with pytest.raises(SourceError) as caught:
            collect(config)
        assert "\n" not in str(caught.value)
