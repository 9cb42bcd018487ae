"""Small tokenizers and samples, made once."""

from pathlib import Path

import pytest

from codling.core.artifact import Artifact
from codling.tokens.bpe import TokenizerConfig, learn_tokenizer
from codling.tokens.tokenizer import Tokenizer
from tokens.token_samples import LINES, make_samples, sample_row


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Two shards: 30 training samples of 1 to 30 repeats, 3 held-out ones."""
    train = [sample_row(f"t{i}", f"# t{i}.py\n" + LINES * (i + 1)) for i in range(30)]
    held = [sample_row(f"h{i}", f"# h{i}.py\n" + LINES, "heldout") for i in range(3)]
    return make_samples(
        tmp_path_factory.mktemp("tokens") / "samples",
        [train[:20] + held[:1], train[20:] + held[1:]],
    )


@pytest.fixture(scope="session")
def tokenizer_dir(samples: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of at most 400 tokens learned from `samples`."""
    out_dir = tmp_path_factory.mktemp("tokens") / "tokenizer"
    return learn_tokenizer(
        TokenizerConfig(samples_dir=samples.path, out_dir=out_dir, vocab_size=400)
    ).path


@pytest.fixture(scope="session")
def tokenizer(tokenizer_dir: Path) -> Tokenizer:
    return Tokenizer.open(tokenizer_dir)
