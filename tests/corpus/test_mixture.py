from pathlib import Path

import pytest

from codling.core.artifact import Artifact, Draft, produce
from codling.core.errors import ConfigError
from codling.core.shards import Parallel, Shard, map_shards, read_rows
from codling.corpus.mixture import MixConfig, count_copies, mix, plan
from codling.corpus.tables.schemas import SAMPLE_SCHEMA


def sample(name: str, number: int, n_chars: int, split: str = "train") -> dict:
    return {
        "id": f"{name}-{number}",
        "source": name,
        "repo": name,
        "split": split,
        "paths": ["a"],
        "languages": ["python"],
        "licenses": ["MIT"],
        "sha256s": ["0"],
        "starts": [0],
        "content": "x" * n_chars,
    }


def write(task: list[dict], shard: Shard) -> dict[str, int]:
    shard.write_rows("samples", task, SAMPLE_SCHEMA)
    return {"samples": len(task)}


def corpus(folder: Path, name: str, n: int, n_shards: int = 2) -> Artifact:
    rows = [sample(name, i, 320) for i in range(n)] + [sample(name, n, 64, "heldout")]

    def work(draft: Draft) -> None:
        tasks = [rows[i::n_shards] for i in range(n_shards)]
        map_shards(draft, tasks, write, Parallel(workers=1), label="toy")

    return produce(folder / name, kind="samples", version=1, config={}, inputs=[], work=work)


def test_a_small_part_is_repeated_up_to_the_limit_and_decides_the_total() -> None:
    assert plan([1000, 50], [90, 10], None, 4.0) == [1.8, 4.0]
    assert plan([1000, 50], [90, 10], 1000, 4.0) == [0.9, 2.0]
    with pytest.raises(ConfigError, match="part 2 more than 4 times; 2,000 tokens are possible"):
        plan([1000, 50], [90, 10], 2001, 4.0)


def test_half_a_repeat_takes_about_half_of_the_samples_and_always_the_same() -> None:
    taken = [count_copies(f"s{i}", 2.5, seed=0) for i in range(2000)]
    assert set(taken) == {2, 3}
    assert abs(sum(taken) / 2000 - 2.5) < 0.05
    assert taken == [count_copies(f"s{i}", 2.5, seed=0) for i in range(2000)]


def test_a_larger_total_contains_the_smaller_one() -> None:
    smaller = {i for i in range(500) if count_copies(f"s{i}", 0.3, 0)}
    assert smaller <= {i for i in range(500) if count_copies(f"s{i}", 0.6, 0)}


@pytest.mark.long
def test_the_mixture_has_the_shares_of_tokens_and_keeps_held_out_samples_once(
    tmp_path: Path,
) -> None:
    code, prose = corpus(tmp_path, "code", 4000), corpus(tmp_path, "prose", 400, n_shards=1)
    parts = (f"{code.path}=80", f"{prose.path}=20")
    mixed = mix(MixConfig(parts=parts, out_dir=tmp_path / "mixed", total_tokens=200_000))
    rows = list(read_rows(mixed, "samples"))
    train = [r for r in rows if r["split"] == "train"]
    n_prose = sum(r["repo"] == "prose" for r in train)
    assert n_prose / len(train) == pytest.approx(0.2, abs=0.02)
    assert mixed.counts["train_tokens"] == pytest.approx(200_000, rel=0.05)
    assert sorted(r["id"] for r in rows if r["split"] == "heldout") == ["code-4000", "prose-400"]
    assert len({r["id"] for r in rows}) == len(rows)


def test_a_share_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="x is not SAMPLES_DIR=SHARE"):
        mix(MixConfig(parts=("x",), out_dir=tmp_path / "m"))


def test_parts_in_folders_of_one_name_keep_their_numbers_apart(tmp_path: Path) -> None:
    code = corpus(tmp_path / "code", "samples", 40)
    prose = corpus(tmp_path / "prose", "samples", 20)
    parts = (f"{code.path}=50", f"{prose.path}=50")
    mixed = mix(MixConfig(parts=parts, out_dir=tmp_path / "mixed", max_repeats=2.0))
    assert mixed.counts["repeats"] == {str(code.path): 1.0, str(prose.path): 2.0}
