"""Tokens in parts: nothing lost, every part of use, damage refused."""

import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from pack_parts import pack, unpack

from codling.core.errors import ArtifactError
from codling.tokens.token_files import open_stream, read_meta
from codling.tokens.tokenizer import Tokenizer


def test_all_parts_make_the_stream_again(
    parts: Path, tokens_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    assert len(list(parts.glob("part-*.tar"))) > 2
    made = unpack(parts, tmp_path).path
    for split in ("train", "heldout"):
        assert np.array_equal(open_stream(made, split), open_stream(tokens_dir, split))
    assert read_meta(made) == read_meta(tokens_dir)
    text = "def add(a, b):\n    return a + b\n"
    ours, theirs = (Tokenizer.open(d) for d in (tmp_path / "tokenizer", tokenizer_dir))
    assert ours.encode(text) == theirs.encode(text)


def test_no_part_is_larger_than_was_allowed(parts: Path) -> None:
    assert all(path.stat().st_size <= 40_000 for path in parts.glob("part-*.tar"))


@pytest.mark.long
def test_some_parts_are_a_smaller_stream_and_more_of_them_a_larger_one(
    parts: Path, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    sizes = []
    for path in sorted(parts.glob("part-*.tar")):
        shutil.copy(path, some)
        meta = read_meta(unpack(some, tmp_path / "data").path)
        sizes.append(meta.splits["train"].n_tokens)
    assert sizes == sorted(set(sizes))
    assert meta.splits["train"].n_bytes / sizes[-1] == pytest.approx(2.0, rel=0.5)


def test_without_part_0_the_cure_is_said(parts: Path, tmp_path: Path) -> None:
    shutil.copy(parts / "part-001.tar", tmp_path)
    with pytest.raises(ArtifactError, match=r"part 0 is not in .*; send it too"):
        unpack(tmp_path, tmp_path / "data")


def test_a_damaged_part_is_refused(parts: Path, tmp_path: Path) -> None:
    shutil.copytree(parts, tmp_path / "torn")
    path = tmp_path / "torn" / "part-001.tar"
    data = bytearray(path.read_bytes())
    data[600:640] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"train-.* is damaged .*; send its part again"):
        unpack(tmp_path / "torn", tmp_path / "data")


def test_a_block_that_fits_no_part_is_said(
    tokens_dir: Path, tokenizer_dir: Path, tmp_path: Path
) -> None:
    settings = Namespace(block_tokens=5000, workers=1)
    with pytest.raises(ArtifactError, match=r"part-000\.tar is larger than 12,000 bytes"):
        pack(tokens_dir, tokenizer_dir, tmp_path, 12_000, settings)
