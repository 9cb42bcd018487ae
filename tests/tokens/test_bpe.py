"""learn_tokenizer: what it learns from, what it writes, and that transformers reads it."""

from pathlib import Path

import pytest

from codling.core.artifact import Artifact, sha256_of
from codling.core.errors import ConfigError, SourceError
from codling.tokens.bpe import TokenizerConfig, learn_tokenizer
from codling.tokens.families import CODER_V1_ORDER
from codling.tokens.tokenizer import Tokenizer
from tokens.token_samples import LINES, make_samples, sample_row

TEXTS = [
    "def f(x):\n    return  x\r\n",
    " \t\n   x",
    "naïve 你好 \U0001f41f ü",
    "",
    "\x00\x7f\ufeff",
]


def test_special_tokens_follow_the_vocabulary_in_coder_v1_order(tokenizer: Tokenizer) -> None:
    first = tokenizer.vocab_size - len(CODER_V1_ORDER)
    ids = [tokenizer.token_id(t) for t in CODER_V1_ORDER]
    assert ids == list(range(first, tokenizer.vocab_size))


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_and_line_ends_stand_alone(tokenizer: Tokenizer) -> None:
    parts = [tokenizer.token_bytes(i) for i in tokenizer.encode("range(1234)\r\n\n")]
    assert parts[-7:] == [b"2", b"3", b"4", b")", b"\r", b"\n", b"\n"]


@pytest.fixture(scope="module")
def qwen2_dir(samples: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("bpe") / "qwen2"
    config = TokenizerConfig(
        samples_dir=samples.path, out_dir=out_dir, vocab_size=400, splits="qwen2"
    )
    return learn_tokenizer(config).path


def test_with_qwen2_splits_a_sign_joins_the_word_or_the_line_end_after_it(
    tmp_path: Path,
) -> None:
    repeats = "def f(self):\n        self.items.append(self.item)\n\n" * 200
    source = make_samples(tmp_path / "s", [[sample_row("a", repeats)]])
    config = TokenizerConfig(
        samples_dir=source.path, out_dir=tmp_path / "t", vocab_size=400, splits="qwen2"
    )
    tokenizer = Tokenizer.open(learn_tokenizer(config).path)
    text = "(self.items):\n        self.append(7)\n\n"
    parts = [tokenizer.token_bytes(i) for i in tokenizer.encode(text)]
    assert parts == [
        *(b"(self", b".items", b"):\n", b"       ", b" self", b".append", b"(", b"7", b")\n\n"),
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_with_qwen2_splits_any_text_comes_back(qwen2_dir: Path, text: str) -> None:
    tokenizer = Tokenizer.open(qwen2_dir)
    assert tokenizer.splits == "qwen2"
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.long
def test_no_byte_of_the_heldout_split_is_looked_at(tmp_path: Path) -> None:
    train = [sample_row("a", LINES * 20)]
    held = [sample_row("b", "zyzzyva " * 500, "heldout")]
    with_held = make_samples(tmp_path / "s1", [train + held])
    without = make_samples(tmp_path / "s2", [train])
    learned = [
        learn_tokenizer(
            TokenizerConfig(samples_dir=s.path, out_dir=tmp_path / f"t{i}", vocab_size=500)
        )
        for i, s in enumerate((with_held, without))
    ]
    assert len({sha256_of(a.path / "tokenizer.json") for a in learned}) == 1


def test_a_byte_limit_draws_from_everywhere_and_the_seed_decides(tmp_path: Path) -> None:
    samples = make_samples(
        tmp_path / "s", [[sample_row(str(i), f"w{chr(97 + i)}rd " * 2000) for i in range(20)]]
    )
    hashes = []
    for i, seed in enumerate((0, 0, 1)):
        config = TokenizerConfig(
            samples_dir=samples.path,
            out_dir=tmp_path / f"t{i}",
            vocab_size=400,
            sample_bytes=50_000,
            seed=seed,
        )
        hashes.append(sha256_of(learn_tokenizer(config).path / "tokenizer.json"))
    assert hashes[0] == hashes[1] != hashes[2]


def test_too_small_a_vocabulary_and_an_empty_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="from 265 up to"):
        TokenizerConfig(vocab_size=264)
    samples = make_samples(tmp_path / "s", [[sample_row("a", "x", "heldout")]])
    config = TokenizerConfig(samples_dir=samples.path, out_dir=tmp_path / "t")
    with pytest.raises(SourceError, match="no training samples"):
        learn_tokenizer(config)


def test_the_stage_is_skipped_when_complete(samples: Artifact, tokenizer_dir: Path) -> None:
    before = (tokenizer_dir / "manifest.json").stat().st_mtime_ns
    config = TokenizerConfig(samples_dir=samples.path, out_dir=tokenizer_dir, vocab_size=400)
    learn_tokenizer(config)
    assert (tokenizer_dir / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.long
@pytest.mark.parametrize("folder", ["tokenizer_dir", "qwen2_dir"])
def test_transformers_loads_the_folder_unchanged(
    folder: str, request: pytest.FixtureRequest
) -> None:
    transformers = pytest.importorskip("transformers")
    path = request.getfixturevalue(folder)
    tokenizer = Tokenizer.open(path)
    theirs = transformers.AutoTokenizer.from_pretrained(path)
    for text in TEXTS:
        assert theirs(text).input_ids == tokenizer.encode_prompt(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.chat_template is None  # what is trained with it completes code
    assert (theirs.eos_token_id, theirs.bos_token_id) == (
        tokenizer.specials.eos,
        tokenizer.specials.bos,
    )
