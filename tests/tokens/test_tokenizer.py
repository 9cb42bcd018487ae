"""Tokenizer: published vectors, byte characters, special tokens as text, stops, streams."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from codling.core.errors import TokenizerError
from codling.tokens.bpe import train
from codling.tokens.families import EOT, FIM_BEGIN, FIM_END, FIM_HOLE
from codling.tokens.tokenizer import StreamDecoder, Tokenizer

SEPARATOR = "\n__ggml_vocab_test__\n"
V1_FILE = "deepseek-coder-v1-tokenizer.rebuilt.json"
V2_FILE = "deepseek-v2-tokenizer.json"
QWEN_MARKS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|file_sep|>",
)


def vectors(folder: Path, name: str) -> list[tuple[str, list[int]]]:
    raw = (folder / f"ggml-vocab-{name}.gguf.inp").read_bytes().decode("utf-8")
    lines = (folder / f"ggml-vocab-{name}.gguf.out").read_text(encoding="utf-8").split("\n")
    ids = [[int(i) for i in line.split()] for line in lines]
    return list(zip(raw.split(SEPARATOR), ids, strict=True))


@pytest.fixture(scope="module")
def v1(shared_data: Path) -> Tokenizer:
    return Tokenizer.open(shared_data / "tokenizers" / V1_FILE)


@pytest.fixture(scope="module")
def v2(shared_data: Path) -> Tokenizer:
    return Tokenizer.open(shared_data / "tokenizers" / V2_FILE)


@pytest.fixture(scope="module")
def published_v1_json(shared_data: Path) -> dict[str, Any]:
    """coder-v1's file with the 13 byte characters under their published names again."""
    raw: dict[str, Any] = json.loads((shared_data / "tokenizers" / V1_FILE).read_text("utf-8"))
    for token, char in zip(raw["added_tokens"][:13], "õ÷ÁýÀÿøúþüùöû", strict=True):
        token["content"] = char
    return raw


@pytest.mark.long
@pytest.mark.parametrize(("file", "name"), [(V1_FILE, "coder"), (V2_FILE, "llm")])
def test_published_vectors_are_reproduced_47_of_47(shared_data: Path, file: str, name: str) -> None:
    tokenizer = Tokenizer.open(shared_data / "tokenizers" / file)
    cases = vectors(shared_data / "tokenizers", f"deepseek-{name}")
    assert len(cases) == 47
    assert [tokenizer.encode(text) for text, _ in cases] == [ids for _, ids in cases]
    assert [tokenizer.decode(ids) for _, ids in cases] == [text for text, _ in cases]


@pytest.mark.long
def test_special_ids_of_v1_and_v2_are_the_published_ones(v1: Tokenizer, v2: Tokenizer) -> None:
    s = v1.specials
    assert (s.bos, s.eos, s.fim_hole, s.fim_begin, s.fim_end) == (32013, 32014, 32015, 32016, 32017)
    assert (s.pad, s.user, s.assistant, s.eot) == (32014, 32019, 32020, 32021)
    s = v2.specials
    assert (s.bos, s.eos, s.fim_hole, s.fim_begin, s.fim_end) == tuple(range(100000, 100005))
    assert v2.can_insert


@pytest.mark.long
def test_the_236b_and_v15_cannot_insert(shared_data: Path) -> None:
    raw = json.loads((shared_data / "tokenizers" / V2_FILE).read_text("utf-8"))
    big = Tokenizer(raw, model_config={"model_type": "deepseek_v2", "n_routed_experts": 160})
    v15 = Tokenizer(raw, model_config={"model_type": "llama"})
    assert (big.family.name, big.can_insert) == ("v2", False)
    assert (v15.family.name, v15.can_insert) == ("llm", False)
    assert v15.vocab_size == 100002


@pytest.mark.long
def test_byte_characters_keep_their_ids_and_come_back(published_v1_json: dict[str, Any]) -> None:
    round_trip = Tokenizer(published_v1_json)
    exact = Tokenizer(published_v1_json, byte_chars="exact")
    ids = [37, 32009, 71, 6247]
    assert round_trip.encode("Führer") == exact.encode("Führer") == ids
    assert round_trip.decode(ids) == "Führer"
    assert exact.decode(ids) == "F\ufffdhrer"


def test_exact_mode_equals_the_tokenizers_library(published_v1_json: dict[str, Any]) -> None:
    exact = Tokenizer(published_v1_json, byte_chars="exact")
    library = tokenizers.Tokenizer.from_str(json.dumps(published_v1_json))
    for text in ("Führer Àla ÿ", "naïve café", "søppel = {'ö': 1}\r\n"):
        ids = library.encode(text, add_special_tokens=False).ids
        assert exact.encode(text) == ids
        assert exact.decode(ids) == library.decode(ids)


def test_special_tokens_in_text_are_text_unless_allowed(tokenizer: Tokenizer) -> None:
    text = f"a{FIM_HOLE}b{EOT}"
    plain = tokenizer.encode(text)
    assert tokenizer.decode(plain) == text
    assert not any(tokenizer.is_special(i) for i in plain)
    marked = tokenizer.encode(text, allow_special=True)
    assert marked[1] == tokenizer.specials.fim_hole
    assert marked[-1] == tokenizer.specials.eot
    assert tokenizer.decode(marked) == "ab"
    assert tokenizer.decode(marked, skip_special=False) == text


def test_lookalike_marks_are_refused_with_the_right_spelling(tokenizer: Tokenizer) -> None:
    for wrong in ("<|fim_begin|>", "<|fim\u2581begin|>", "<\uff5cfim_begin\uff5c>"):
        with pytest.raises(TokenizerError, match=r"only looks like .*fim\u2581begin"):
            tokenizer.encode_prompt(f"{wrong}def f():")
    ids = tokenizer.encode_prompt(f"{FIM_BEGIN}a{FIM_HOLE}b{FIM_END}")
    assert ids[0] == tokenizer.specials.bos
    assert ids[-1] == tokenizer.specials.fim_end


def test_a_prompt_that_has_bos_gets_no_second_one(tokenizer: Tokenizer) -> None:
    bos = tokenizer.specials.bos
    assert bos is not None
    assert tokenizer.encode_prompt(tokenizer.special_text(bos) + "a").count(bos) == 1


def test_stream_shows_no_half_character_and_sums_to_decode(tokenizer: Tokenizer) -> None:
    text = "print('你好 \U0001f41f')"
    ids = tokenizer.encode(text)
    stream = StreamDecoder(tokenizer)
    parts = [stream.push(i) for i in ids]
    assert "".join(parts) + stream.flush() == text
    assert "" in parts
    assert not any("\ufffd" in p for p in parts)


def test_stream_cut_inside_a_character_ends_in_one_replacement(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("鱼")[:1]
    stream = StreamDecoder(tokenizer)
    assert stream.push(ids[0]) + stream.flush() == tokenizer.decode(ids) == "\ufffd"


def test_instruct_models_complete_code_until_the_base_end(v1: Tokenizer) -> None:
    assert v1.stop_ids("complete") == {32014}
    assert v1.stop_ids("insert") == {32014}
    assert v1.stop_ids("chat") == {32014, 32021}


def test_half_a_surrogate_pair_is_one_clear_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"U\+D83D\) at character 2"):
        tokenizer.encode("ab\ud83d")
    with pytest.raises(TokenizerError, match="at character 0"):
        tokenizer.encode_batch(["fine", "\udc00"])


def test_padding_rows_of_a_model_decode_to_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([tokenizer.vocab_size + 5]) == ""


def test_a_missing_or_broken_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json"):
        Tokenizer.open(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="not valid JSON"):
        Tokenizer.open(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram"}, "added_tokens": []}')
    with pytest.raises(TokenizerError, match="Unigram"):
        Tokenizer.open(tmp_path)


def other_generation(base: dict[str, Any], tokens: list[str]) -> dict[str, Any]:
    """`base` with these added tokens instead of its own."""
    raw = copy.deepcopy(base)
    first = len(raw["model"]["vocab"])
    raw["added_tokens"] = [
        {"id": first + i, "content": t, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for i, t in enumerate(tokens)
    ]
    raw["post_processor"] = None
    return raw


@pytest.mark.parametrize(
    ("tokens", "name", "inserts"),
    [
        (
            ["<|endoftext|>", *QWEN_MARKS],
            "qwen2.5-coder",
            True,
        ),
        (["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>"], "starcoder2", True),
        (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "chatml", False),
        (["<s>", "</s>"], "other", False),
    ],
)
def test_generation_is_read_from_the_added_tokens(
    tokenizer_dir: Path, tokens: list[str], name: str, inserts: bool
) -> None:
    base = json.loads((tokenizer_dir / "tokenizer.json").read_text("utf-8"))
    tokenizer = Tokenizer(
        other_generation(base, tokens), tokenizer_config={"eos_token": "</s>", "bos_token": "<s>"}
    )
    assert tokenizer.family.name == name
    assert tokenizer.can_insert is inserts
    assert tokenizer.specials.eos is not None
    assert not tokenizer.adds_bos
    if name == "qwen2.5-coder":
        stops = {tokenizer.special_text(i) for i in tokenizer.stop_ids("insert")}
        assert {"<|endoftext|>", "<|file_sep|>"} <= stops


def test_sentencepiece_files_give_their_text_back(tmp_path: Path) -> None:
    core = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, unk_token="<unk>"))
    core.normalizer = tokenizers.normalizers.Sequence(
        [
            tokenizers.normalizers.Prepend("\u2581"),
            tokenizers.normalizers.Replace(" ", "\u2581"),
        ]
    )
    core.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("\u2581", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
            tokenizers.decoders.Strip(" ", 1, 0),
        ]
    )
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = tokenizers.trainers.BpeTrainer(special_tokens=names, show_progress=False)
    core.train_from_iterator(["def add(a, b): return a + b"] * 5, trainer)
    raw = json.loads(core.to_str())
    raw["added_tokens"] = raw["added_tokens"][:3]
    core = tokenizers.Tokenizer.from_str(json.dumps(raw))
    core.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    tokenizer = Tokenizer.open(tmp_path)
    text = "def  add(b): # \u9c7c"
    ids = tokenizer.encode(text)
    assert ids == core.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == core.decode(ids) == text
    stream = StreamDecoder(tokenizer)
    assert "".join(map(stream.push, ids)) + stream.flush() == text
    assert tokenizer.stop_ids("chat") == {tokenizer.specials.eos} == {2}


@pytest.mark.parametrize("scheme", ["first", "always", "never"])
def test_a_blank_before_text_stands_where_the_library_puts_it(scheme: str) -> None:
    """SentencePiece tokenizers differ in whether text after a special token begins anew."""
    core = tokenizers.Tokenizer(tokenizers.models.BPE(byte_fallback=True, unk_token="<unk>"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    core.decoder = tokenizers.decoders.Metaspace(prepend_scheme=scheme)
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = tokenizers.trainers.BpeTrainer(special_tokens=names, show_progress=False)
    core.train_from_iterator(["a user says hi there"] * 5, trainer)
    raw = json.loads(core.to_str())
    raw["added_tokens"] = raw["added_tokens"][:3]
    tokenizer = Tokenizer(raw, tokenizer_config={"bos_token": "<s>", "eos_token": "</s>"})
    for text in ("<s>user hi</s>hi there</s> hi", "hi</s>user", " hi", "</s></s>a<s>"):
        ids = core.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text, allow_special=True) == ids


def _with(folder: Path, **parts: Any) -> Tokenizer:
    written = json.loads(train(iter(["def add(a, b):", "xxxx"] * 4), 300).to_str()) | parts
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(written))
    return Tokenizer.open(folder)


def _replacing(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def test_a_text_beyond_a_foreign_expression_is_one_line(tmp_path: Path) -> None:
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    tokenizer = _with(tmp_path / "slow", pre_tokenizer=split | {"pattern": {"Regex": "(x+x+)+y"}})
    assert tokenizer.encode("xx") != []
    for encode in (tokenizer.encode, lambda text: tokenizer.encode_batch([text])):
        with pytest.raises(TokenizerError, match="fails on this text"):
            encode("x" * 60)


def test_a_normalizer_may_not_make_a_text_many_times_as_long(tmp_path: Path) -> None:
    bomb = {"type": "Sequence", "normalizers": [_replacing("x", "x" * 10)] * 9}
    with pytest.raises(TokenizerError, match="one that adds less"):
        _with(tmp_path / "bomb", normalizer=bomb)
    nested = {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [
        _replacing("x", "x" * 9), _replacing("x", "x" * 9)]}]}  # fmt: skip
    with pytest.raises(TokenizerError, match="one that adds less"):
        _with(tmp_path / "nested", normalizer=nested)
    honest = {"type": "Sequence", "normalizers": [_replacing(" ", "\u2581")] * 20}
    assert _with(tmp_path / "honest", normalizer=honest).encode("add") != []
