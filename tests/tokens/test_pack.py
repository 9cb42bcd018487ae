"""pack: nothing is lost, tasks stay in their windows, any worker count gives the same bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.core.artifact import Artifact, sha256_of
from codling.core.errors import ConfigError, TokenizerError
from codling.core.shards import read_rows
from codling.tokens.pack import PackConfig, pack
from codling.tokens.token_files import open_stream, read_index, read_meta
from codling.tokens.tokenizer import Tokenizer
from tokens.token_samples import LINES, make_samples, sample_row


@pytest.fixture(scope="module")
def chunked(
    samples: Artifact, tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out_dir = tmp_path_factory.mktemp("pack") / "tokens"
    return pack(
        PackConfig(
            samples_dir=samples.path,
            tokenizer_dir=tokenizer_dir,
            out_dir=out_dir,
            context=128,
            fim_rate=0.6,
            fim_spm_share=0.5,
        )
    ).path


def untangle(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of a run of tokens with every insertion task put back in order."""
    s = tokenizer.specials
    text, at = "", 0
    while at < len(ids):
        if ids[at] != s.fim_begin:
            end = ids.index(s.fim_begin, at) if s.fim_begin in ids[at:] else len(ids)
            text += tokenizer.decode(ids[at:end])
            at = end
            continue
        hole, end = ids.index(s.fim_hole, at), ids.index(s.fim_end, at)
        stop = ids.index(s.eos, at)
        prefix, suffix = tokenizer.decode(ids[at:hole]), tokenizer.decode(ids[hole:end])
        text += prefix + tokenizer.decode(ids[end:stop]) + suffix
        at = stop + 1
    return text


def test_every_character_of_every_sample_is_in_the_stream(
    chunked: Path, samples: Artifact, tokenizer: Tokenizer
) -> None:
    contents = {r["id"]: r["content"] for r in read_rows(samples, "samples")}
    end = {"train": 0, "heldout": 0}
    for split in ("train", "heldout"):
        stream = open_stream(chunked, split)
        for row in read_index(chunked, split):
            assert row["start"] == end[split]
            end[split] += row["length"]
            ids = stream[row["start"] : end[split]].tolist()
            text = contents[row["sample_id"]]
            assert row["n_bytes"] == len(text.encode())
            assert untangle(tokenizer, ids) == text
        assert end[split] == len(stream)


@pytest.mark.long
def test_psm_tasks_put_back_in_order_are_the_sample(
    samples: Artifact, tokenizer_dir: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    contents = {r["id"]: r["content"] for r in read_rows(samples, "samples")}
    for level in ("chunk", "document"):
        out_dir = tmp_path / level
        pack(
            PackConfig(
                samples_dir=samples.path,
                tokenizer_dir=tokenizer_dir,
                out_dir=out_dir,
                context=64,
                fim_rate=1.0,
                fim_level=level,
            )
        )
        stream = open_stream(out_dir, "train")
        for row in read_index(out_dir, "train"):
            ids = stream[row["start"] : row["start"] + row["length"]].tolist()
            assert untangle(tokenizer, ids) == contents[row["sample_id"]]
            assert ids[0] == tokenizer.specials.bos
            assert ids[-1] == tokenizer.specials.eos


def test_no_window_cuts_a_task_at_chunk_level(chunked: Path, tokenizer: Tokenizer) -> None:
    s = tokenizer.specials
    stream = open_stream(chunked, "train")
    n_tasks = 0
    for start in range(0, len(stream), 128):
        window = stream[start : start + 128].tolist()
        counts = [window.count(i) for i in (s.fim_begin, s.fim_hole, s.fim_end)]
        assert len(set(counts)) == 1
        n_tasks += counts[0]
        for at in (i for i, t in enumerate(window) if t == s.fim_begin):
            assert window[at - 1] == s.bos
            assert s.eos in window[at:]
    assert n_tasks == read_meta(chunked).splits["train"].n_fim > 10


@pytest.mark.long
def test_about_the_asked_share_of_tokens_is_in_tasks(
    tokenizer_dir: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    rows = [sample_row(f"s{i}", LINES * 3) for i in range(400)]
    many = make_samples(tmp_path / "many", [rows])
    pack(
        PackConfig(
            samples_dir=many.path, tokenizer_dir=tokenizer_dir, out_dir=tmp_path / "t",
            fim_level="document", fim_spm_share=0.25,
        )
    )  # fmt: skip
    stream = open_stream(tmp_path / "t", "train")
    n_fim = read_meta(tmp_path / "t").splits["train"].n_fim
    assert 160 <= n_fim <= 240
    spm = np.sum(
        (stream[:-1] == tokenizer.specials.fim_begin) & (stream[1:] == tokenizer.specials.fim_hole)
    )
    assert 0.15 <= spm / n_fim <= 0.37


def test_the_heldout_stream_is_plain_text_with_its_bytes_counted(
    chunked: Path, tokenizer: Tokenizer, samples: Artifact
) -> None:
    meta = read_meta(chunked)
    stream = open_stream(chunked, "heldout")
    held = [r["content"] for r in read_rows(samples, "samples") if r["split"] == "heldout"]
    assert meta.splits["heldout"].n_bytes == sum(len(t.encode()) for t in held)
    assert meta.splits["heldout"].n_fim == 0
    assert tokenizer.decode(stream.tolist()) == "".join(held)
    expected = [[meta.bos, *tokenizer.encode(t), meta.eos] for t in held]
    assert stream.tolist() == [i for ids in expected for i in ids]


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_any_worker_count_gives_the_same_bytes(
    chunked: Path, samples: Artifact, tokenizer_dir: Path, tmp_path: Path, workers: int
) -> None:
    pack(
        PackConfig(
            samples_dir=samples.path, tokenizer_dir=tokenizer_dir, out_dir=tmp_path / "t",
            context=128, fim_rate=0.6, fim_spm_share=0.5, workers=workers,
        )
    )  # fmt: skip
    for name in ("train.bin", "heldout.bin", "index-00000.parquet", "meta.json"):
        assert sha256_of(tmp_path / "t" / name) == sha256_of(chunked / name)


def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(
    chunked: Path,
    samples: Artifact,
    tokenizer_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = PackConfig(
        samples_dir=samples.path, tokenizer_dir=tokenizer_dir, out_dir=tmp_path / "t",
        context=128, fim_rate=0.6, fim_spm_share=0.5,
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("codling.tokens.pack.training_task", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pack(config)
    assert not (tmp_path / "t").exists()
    with monkeypatch.context() as patch:
        patch.setattr("codling.tokens.pack._encode_task", lambda *_: 1 / 0)
        pack(config)
    for name in ("train.bin", "heldout.bin", "index-00000.parquet", "meta.json"):
        assert sha256_of(tmp_path / "t" / name) == sha256_of(chunked / name)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="fim_rate is 2"):
        PackConfig(fim_rate=2)
    with pytest.raises(ConfigError, match="context is 8"):
        PackConfig(context=8)
    assert PackConfig(context=1024).fim_unit == "chunk"
    assert PackConfig(context=2048).fim_unit == "document"


def test_a_tokenizer_without_fim_tokens_packs_only_plain_text(
    samples: Artifact, tokenizer_dir: Path, tmp_path: Path
) -> None:
    raw = (tokenizer_dir / "tokenizer.json").read_text("utf-8")
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(raw.replace("fim\u2581", "nofim\u2581"), "utf-8")
    config: dict[str, Any] = {
        "samples_dir": samples.path,
        "tokenizer_dir": folder,
        "out_dir": tmp_path / "t",
    }
    with pytest.raises(TokenizerError, match=r"set pack\.fim_rate to 0"):
        pack(PackConfig(**config))
    assert pack(PackConfig(**config, fim_rate=0.0)).counts["train"]["n_fim"] == 0
