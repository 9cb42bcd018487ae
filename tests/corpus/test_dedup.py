"""Near-duplicates of small corpora: which go, which stay, and what is written of them."""

import hashlib
import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from codling.core.artifact import Draft, produce
from codling.core.errors import ConfigError, SourceError
from codling.core.shards import Shard, read_rows
from codling.corpus import dedup as dedup_module
from codling.corpus.dedup import DedupConfig, dedup
from codling.corpus.duplicates import minhash
from codling.corpus.tables.schemas import DOCUMENT_SCHEMA, Document

WORDS = [f"name_{i}" for i in range(5000)]


def document(repo: str, path: str, content: str, license_id: str = "MIT") -> Document:
    return Document(
        source="src", repo=repo, path=path, language="python", license=license_id,
        license_from="none", split="train", n_bytes=len(content),
        sha256=hashlib.sha256(content.encode()).hexdigest(), content=content,
    )  # fmt: skip


def write_documents(out_dir: Path, shards: list[list[Document]]) -> Path:
    def work(draft: Draft) -> None:
        for i, rows in enumerate(shards):
            Shard(draft.path, i).write_rows("documents", [asdict(d) for d in rows], DOCUMENT_SCHEMA)

    names = {"shards": [[d.key + d.sha256 for d in rows] for rows in shards]}
    produce(out_dir, kind="documents", version=1, config=names, inputs=[], work=work)
    return out_dir


def code(seed: int, n: int = 300) -> list[str]:
    return random.Random(seed).choices(WORDS, k=n)


def edited(words: list[str], n_edits: int, seed: int) -> list[str]:
    """Some words replaced, in places far enough apart to break five shingles each."""
    places = random.Random(seed).sample(range(0, len(words), 6), n_edits)
    return [f"edit_{i}" if i in places else word for i, word in enumerate(words)]


def run(tmp_path: Path, shards: list[list[Document]], **settings: Any):
    made = dedup(
        DedupConfig(
            documents_dir=write_documents(tmp_path / "documents", shards),
            out_dir=tmp_path / "out",
            **settings,
        )
    )
    return made, list(read_rows(made, "documents")), list(read_rows(made, "dropped"))


BASE = code(1)
NEAR = " ".join(edited(BASE, 4, 2))
A = document("one", "a.py", " ".join(BASE))
B = document("two", "b.py", NEAR)
OTHER = document("two", "c.py", " ".join(code(9)))


@pytest.mark.long
def test_of_two_near_duplicates_the_longer_stays_and_names_the_other(tmp_path: Path) -> None:
    made, kept, dropped = run(tmp_path, [[A, OTHER], [B]], level="file")
    longer, shorter = (A, B) if len(A.content) > len(B.content) else (B, A)
    assert {r["path"] for r in kept} == {longer.path, "c.py"}
    similarity = minhash.jaccard_reference(
        minhash.shingles_reference(A.content.encode()), minhash.shingles_reference(NEAR.encode())
    )
    assert [(r["path"], r["rule"], r["value"]) for r in dropped] == [
        (shorter.path, "near-duplicate", f"{similarity:.3f} like {longer.key}")
    ]
    assert made.counts["dropped"] == 1


def test_the_better_licence_then_stars_then_size_decide(tmp_path: Path) -> None:
    unknown = document("star", "a.py", " ".join([*BASE, "more"]), "unknown")
    stars = tmp_path / "stars.json"
    stars.write_text(json.dumps({"star": 999, "two": 5}))
    _, kept, _ = run(tmp_path, [[unknown, A, B]], level="file", stars=stars)
    assert [r["path"] for r in kept] == ["b.py"]


def test_a_repository_goes_as_a_whole(tmp_path: Path) -> None:
    parts = [" ".join(code(i)) for i in range(10)]
    full = [document("full", f"{i}.py", text) for i, text in enumerate(parts)]
    fork = [document("fork", f"x{i}.py", text) for i, text in enumerate(parts[:9])]
    lone = [document("lone", "0.py", parts[0])]  # a tenth of `full`: stays
    made, kept, dropped = run(tmp_path, [full, [fork[0], *lone], fork[1:]], level="repository")
    assert {r["repo"] for r in kept} == {"full", "lone"}
    assert {(r["repo"], r["value"]) for r in dropped} == {("fork", "0.900 like src:full")}
    assert len(dropped) == 9
    assert made.counts["candidate_pairs"] >= 1


def test_what_resembles_an_existing_corpus_goes(tmp_path: Path) -> None:
    existing = write_documents(tmp_path / "existing", [[A]])
    better = document("own", "b.py", NEAR, "LicenseRef-own")
    _, kept, dropped = run(tmp_path, [[better, OTHER]], level="file", against=(existing,))
    assert [r["path"] for r in kept] == ["c.py"]
    assert dropped[0]["value"].endswith(f"like {A.key}")


def test_files_without_words_are_no_duplicates(tmp_path: Path) -> None:
    empty = [document("r", f"{i}.py", text) for i, text in enumerate(["", "()", "{}\n"])]
    _, kept, dropped = run(tmp_path, [empty, []], level="file")
    assert (len(kept), dropped) == (3, [])


def test_an_empty_corpus_passes(tmp_path: Path) -> None:
    _, kept, dropped = run(tmp_path, [], level="file")
    assert (kept, dropped) == ([], [])


@pytest.mark.parametrize("level", ["file", "repository"])
def test_a_held_out_copy_of_a_training_file_goes_whatever_its_licence(
    tmp_path: Path, level: str
) -> None:
    held = replace(document("one", "held.py", NEAR, "LicenseRef-own"), split="heldout")
    others = [document("one", f"{i}.py", " ".join(code(20 + i))) for i in range(3)]
    alone = replace(document("one", "alone.py", " ".join(code(30))), split="heldout")
    _, kept, dropped = run(tmp_path, [[held, *others], [A, alone]], level=level)
    assert [(r["path"], r["value"].split()[2]) for r in dropped] == [("held.py", "src:one/a.py")]
    assert {r["path"] for r in kept} == {"0.py", "1.py", "2.py", "a.py", "alone.py"}


def test_a_repository_and_a_held_out_copy_go_from_one_shard(tmp_path: Path) -> None:
    parts = [" ".join(code(i)) for i in range(10)]
    full = [document("full", f"{i}.py", text) for i, text in enumerate(parts)]
    fork = [document("fork", f"x{i}.py", text) for i, text in enumerate(parts[:9])]
    held = replace(document("lone", "held.py", parts[0]), split="heldout")
    rest = document("lone", "z.py", " ".join(code(50, 3000)))
    _, kept, dropped = run(tmp_path, [[*fork[:2], held, rest, *fork[2:]], full], level="repository")
    why = {r["path"]: r["value"].split()[2] for r in dropped}
    assert why.pop("held.py") in {"src:full/0.py", "src:fork/x0.py"}
    assert set(why.values()) == {"src:full"}
    assert len(why) == 9
    assert {r["repo"] for r in kept} == {"full", "lone"}


@pytest.mark.long
@pytest.mark.parametrize("level", ["file", "repository"])
def test_any_number_of_threads_writes_the_same_bytes(tmp_path: Path, level: str) -> None:
    shards = [
        [A, OTHER],
        [B, document("x", "d.py", " ".join(code(3)))],
        [document("y", "e.py", NEAR)],
    ]
    hashes = []
    for n in (1, 3):
        made, *_ = run(tmp_path / str(n), shards, level=level, workers=n)
        hashes.append([(f.name, f.sha256) for f in made.manifest.files])
    assert hashes[0] == hashes[1]


@pytest.mark.long
def test_planted_pairs_are_found_and_verified(tmp_path: Path) -> None:
    rows, similarities = [], {}
    for i in range(300):
        words = code(100 + i, 240)
        other = edited(words, i % 14, i)
        sets = [minhash.shingles_reference(" ".join(w).encode()) for w in (words, other)]
        similarities[f"p{i}"] = minhash.jaccard_reference(*sets)
        rows += [
            document(f"p{i}", "a.py", " ".join(words)),
            document(f"p{i}", "b.py", " ".join(other)),
        ]
    _, _, dropped = run(tmp_path, [rows[:300], rows[300:]], level="file")
    found = {r["repo"] for r in dropped}
    clear = {p for p, s in similarities.items() if s > 0.85}
    middle = {p for p, s in similarities.items() if 0.80 <= s <= 0.85}
    assert len(clear - found) <= 0.005 * len(clear)
    assert len(middle - found) <= 0.03 * len(middle)
    assert all(similarities[p] >= 0.7 for p in found)


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        DedupConfig(documents_dir=tmp_path, out_dir=tmp_path, threshold=7)
    stars = tmp_path / "stars.json"
    stars.write_text("[1]")
    with pytest.raises(SourceError, match="JSON object"):
        run(tmp_path, [[A]], stars=stars)


@pytest.mark.long
def test_an_interrupted_run_ends_like_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [[A, OTHER], [B], [document("y", "e.py", " ".join(code(5)))]]
    undisturbed, *_ = run(tmp_path / "a", shards, level="file", workers=1)
    for stage, when in (("sign_shard", 2), ("shingle_shard", 1), ("write_subset", 2)):
        original = getattr(dedup_module, stage)
        calls: list[Any] = []

        def interrupted(task, shard, original=original, calls=calls, when=when):
            calls.append(shard)
            if len(calls) > when:
                raise KeyboardInterrupt
            return original(task, shard)

        monkeypatch.setattr(dedup_module, stage, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "b", shards, level="file", workers=1)
        monkeypatch.undo()
    resumed, *_ = run(tmp_path / "b", shards, level="file", workers=1)
    assert resumed.manifest.files == undisturbed.manifest.files
    assert resumed.id == undisturbed.id
