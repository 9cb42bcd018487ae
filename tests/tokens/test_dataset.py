"""TokenDataset: batches are a pure function of (seed, step), and no token is left out."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from codling.core.artifact import Artifact
from codling.core.errors import ConfigError
from codling.tokens.dataset import TokenDataset
from codling.tokens.pack import PackConfig, pack


@pytest.fixture(scope="module")
def tokens_dir(
    samples: Artifact, tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out_dir = tmp_path_factory.mktemp("dataset") / "tokens"
    return pack(
        PackConfig(
            samples_dir=samples.path, tokenizer_dir=tokenizer_dir, out_dir=out_dir, context=64
        )
    ).path


def test_batch_depends_on_seed_and_step_alone(tokens_dir: Path) -> None:
    one = TokenDataset(tokens_dir, "train", 64, 4, seed=1)
    other = TokenDataset(tokens_dir, "train", 64, 4, seed=1)
    forward = [one.batch(s) for s in range(20)]
    for step in (19, 3, 3, 11, 0):
        assert torch.equal(other.batch(step), forward[step])
    assert forward[0].shape == (4, 65)
    assert forward[0].dtype == torch.int64
    assert not torch.equal(TokenDataset(tokens_dir, "train", 64, 4, seed=2).batch(0), forward[0])


def test_an_epoch_visits_every_token_and_the_next_in_another_order(tokens_dir: Path) -> None:
    data = TokenDataset(tokens_dir, "train", 64, 1, seed=0)
    epochs = [
        [data.batch(e * data.n_windows + i)[0] for i in range(data.n_windows)] for e in (0, 1)
    ]
    firsts = [[tuple(w.tolist()) for w in epoch] for epoch in epochs]
    assert sorted(firsts[0]) == sorted(firsts[1])
    assert firsts[0] != firsts[1]
    windows = [data.window(i) for i in range(data.n_windows)]
    stream = np.concatenate([w[:-1] for w in windows[:-1]])
    assert len(stream) + 65 >= data.n_tokens
    assert np.array_equal(
        stream, np.fromfile(tokens_dir / "train.bin", data.meta.dtype)[: len(stream)]
    )


def test_a_batch_may_span_epochs(tokens_dir: Path) -> None:
    data = TokenDataset(tokens_dir, "heldout", 64, 7, seed=0)
    assert data.batch(50).shape == (7, 65)


def test_a_stream_shorter_than_a_window_is_repeated(tokens_dir: Path) -> None:
    data = TokenDataset(tokens_dir, "heldout", 4096, 2, seed=0)
    assert data.n_windows == 1
    assert data.batch(3).shape == (2, 4097)


def test_settings_must_be_positive(tokens_dir: Path) -> None:
    with pytest.raises(ConfigError, match="batch 0"):
        TokenDataset(tokens_dir, "train", 64, 0, seed=0)


@pytest.mark.long
def test_windows_that_are_set_aside_never_come_in_a_batch(tokens_dir: Path) -> None:
    whole, rest = (TokenDataset(tokens_dir, "train", 4, 3, seed=5) for _ in range(2))
    aside = rest.set_aside(8)
    assert len(aside) == len(set(aside)) == 8
    assert rest.n_windows == whole.n_windows - 8
    n_steps = whole.n_windows // 3 * 3  # whole epochs of both
    seen, everything = (
        Counter(tuple(row) for step in range(n_steps) for row in data.batch(step).tolist())
        for data in (rest, whole)
    )
    hidden = Counter(tuple(whole.window(i).tolist()) for i in aside)
    once = {row for row, n in everything.items() if n == min(everything.values())}
    assert once & set(hidden)
    assert not once & set(hidden) & set(seen)
    assert TokenDataset(tokens_dir, "train", 4, 3, seed=5).set_aside(8) == aside
    assert TokenDataset(tokens_dir, "train", 4, 3, seed=6).set_aside(8) != aside
