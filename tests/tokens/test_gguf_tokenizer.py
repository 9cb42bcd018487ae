"""Tokenizers from GGUF metadata equal those of the published files."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.core.errors import TokenizerError
from codling.tokens.bpe import train
from codling.tokens.chat import ChatFormat
from codling.tokens.from_gguf import tokenizer_from_gguf
from codling.tokens.tokenizer import Tokenizer
from tokens.token_samples import LINES

WEIGHTS = Path(__file__).resolve().parents[3] / "weights"


def as_metadata(raw: dict[str, Any], pre: str | None, **more: Any) -> dict[str, Any]:
    """What a GGUF file says of the tokenizer of a tokenizer.json."""
    tokens = dict(raw["model"]["vocab"])
    types = dict.fromkeys(tokens.values(), 1)
    for added in raw["added_tokens"]:
        tokens[added["content"]] = added["id"]
        types[added["id"]] = 3 if added["special"] else 4
    names = sorted(tokens, key=tokens.__getitem__)
    merges = [m if isinstance(m, str) else " ".join(m) for m in raw["model"]["merges"]]
    metadata = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [*names, "[PAD]"],
        "tokenizer.ggml.token_type": [types[tokens[n]] for n in names] + [5],
        "tokenizer.ggml.merges": merges,
    }
    if pre is not None:
        metadata["tokenizer.ggml.pre"] = pre
    return {**metadata, **more}


@pytest.mark.long
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("file", "pre", "architecture"),
    [
        ("deepseek-coder-v1-tokenizer.rebuilt.json", "deepseek-coder", "llama"),
        ("deepseek-v2-tokenizer.json", "deepseek-llm", "deepseek2"),
    ],
)
def test_gguf_vectors_are_reproduced_47_of_47(
    shared_data: Path, file: str, pre: str, architecture: str, named: bool
) -> None:
    folder = shared_data / "tokenizers"
    raw = json.loads((folder / file).read_text("utf-8"))
    metadata = as_metadata(raw, pre if named else None, **{"general.architecture": architecture})
    tokenizer = tokenizer_from_gguf(metadata)
    name = f"ggml-vocab-{pre}.gguf"
    texts = (folder / f"{name}.inp").read_bytes().decode("utf-8").split("\n__ggml_vocab_test__\n")
    lines = (folder / f"{name}.out").read_text("utf-8").split("\n")
    assert [tokenizer.encode(t) for t in texts] == [[int(i) for i in x.split()] for x in lines]
    published = Tokenizer(raw, model_config={"model_type": "deepseek_v2"})
    assert tokenizer.specials == published.specials
    assert tokenizer.adds_bos


@pytest.mark.parametrize("text", ["naïve re\u0301sume\u0301\n\n\treturn x's", "a = b\r\n    c(1)"])
def test_own_tokenizer_with_qwen2_splits_keeps_its_ids_through_gguf(text: str) -> None:
    """Published files of this name normalise to NFC; ours are trained on texts as they stand."""
    raw = json.loads(train(iter([LINES * 20]), 500, "qwen2").to_str())
    ours, again = Tokenizer(raw), tokenizer_from_gguf(as_metadata(raw, "qwen2"))
    assert again.encode(text) == ours.encode(text)
    assert again.decode(again.encode(text)) == text
    assert again.splits == "qwen2"


def test_own_tokenizer_survives_the_way_through_gguf(
    tokenizer_dir: Path, tokenizer: Tokenizer
) -> None:
    raw = json.loads((tokenizer_dir / "tokenizer.json").read_text("utf-8"))
    s = tokenizer.specials
    again = tokenizer_from_gguf(
        as_metadata(
            raw,
            "deepseek-coder",
            **{
                "tokenizer.ggml.bos_token_id": s.bos,
                "tokenizer.ggml.eos_token_id": s.eos,
                "tokenizer.ggml.add_bos_token": True,
                "tokenizer.chat_template": "{{ bos_token }}{{ messages[0].content }}",
            },
        )
    )
    text = "class Stack:\n    def push(self, item):  # 你好\r\n"
    assert again.specials == s
    assert again.encode_prompt(text) == tokenizer.encode_prompt(text)
    assert again.vocab_size == tokenizer.vocab_size
    rendered = ChatFormat(again).template().render([{"role": "user", "content": "hi"}])
    assert rendered == f"{tokenizer.special_text(s.bos)}hi"


def test_fim_marks_of_unknown_models_come_from_the_metadata(tokenizer_dir: Path) -> None:
    raw = json.loads((tokenizer_dir / "tokenizer.json").read_text("utf-8"))
    raw["added_tokens"] = raw["added_tokens"][:4]
    first = len(raw["model"]["vocab"])
    for token, name in zip(raw["added_tokens"], ("<e>", "<P>", "<S>", "<M>"), strict=True):
        token["content"] = name
    ids = {"eos": first, "fim_pre": first + 1, "fim_suf": first + 2, "fim_mid": first + 3}
    metadata = as_metadata(
        raw, "gpt-2", **{f"tokenizer.ggml.{k}_token_id": i for k, i in ids.items()}
    )
    tokenizer = tokenizer_from_gguf(metadata)
    assert tokenizer.family.name == "other"
    assert tokenizer.can_insert
    assert tokenizer.specials.fim_begin == first + 1
    assert tokenizer.specials.eos == first


def test_unknown_kinds_and_splitters_are_refused_by_name(tokenizer_dir: Path) -> None:
    raw = json.loads((tokenizer_dir / "tokenizer.json").read_text("utf-8"))
    with pytest.raises(
        TokenizerError, match=r"'jais'; known: a\.x-4\.0, codeshell, command-r, deepseek-coder"
    ):
        tokenizer_from_gguf(as_metadata(raw, "jais"))
    with pytest.raises(TokenizerError, match="of kind 'llama'"):
        tokenizer_from_gguf({"tokenizer.ggml.model": "llama"})
    with pytest.raises(TokenizerError, match="of kind None"):
        tokenizer_from_gguf({})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "family", "inserts"),
    [
        ("Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf", "qwen2.5-coder", True),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "chatml", False),
    ],
)
def test_real_files_equal_transformers(file: str, family: str, inserts: bool) -> None:
    path = WEIGHTS / file
    if not path.is_file():
        pytest.skip(f"needs {path}")
    gguf = pytest.importorskip("gguf")
    transformers = pytest.importorskip("transformers")
    metadata = {k: f.contents() for k, f in gguf.GGUFReader(path).fields.items()}
    tokenizer = tokenizer_from_gguf(metadata)
    assert (tokenizer.family.name, tokenizer.can_insert) == (family, inserts)
    theirs = transformers.AutoTokenizer.from_pretrained(WEIGHTS, gguf_file=file)
    texts = ["def f(x):\n    return  x\r\n", "it's 12345 \n\n\n   x", "naïve 你好 \t\t!=", "", " "]
    texts.append(Path(__file__).read_text("utf-8"))
    for text in texts:
        assert tokenizer.encode(text) == theirs(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(tokenizer.encode(text)) == text


SMALL = {
    "general.architecture": "llama",
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "1", "2", "ab", "12"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b", "1 2"],
}


@pytest.mark.parametrize(
    ("alias", "name"),
    [("deepseek-r1-qwen", "qwen2"), ("llama3", "llama-bpe"), ("llama-v3", "llama-bpe")],
)
def test_names_of_one_splitter_cut_alike(alias: str, name: str) -> None:
    ours, theirs = (
        tokenizer_from_gguf({**SMALL, "tokenizer.ggml.pre": pre}) for pre in (alias, name)
    )
    assert ours.encode("ab 12ab") == theirs.encode("ab 12ab")
    # Digits stand alone in Qwen's, up to three together in Llama 3's.
    assert ours.encode("12") == ([3, 4] if name == "qwen2" else [6])


def test_llama_3_begins_with_bos_unless_the_file_says_otherwise() -> None:
    own = {**SMALL, "tokenizer.ggml.pre": "llama3", "tokenizer.ggml.bos_token_id": 0}
    assert tokenizer_from_gguf(own).adds_bos
    assert not tokenizer_from_gguf({**own, "tokenizer.ggml.add_bos_token": False}).adds_bos


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"merges": None}, r"no tokenizer\.ggml\.merges, without which"),
        ({"merges": ["ab"]}, "merges is"),
        ({"merges": [1]}, "merges is"),
        ({"tokens": None}, "tokens is None"),
        ({"tokens": ["a", "a", "b", "1", "2", "ab", "12"]}, "'a', but must be each token once"),
        ({"token_type": [3]}, "token_type is"),
        ({"bos_token_id": -1}, "bos_token_id is -1, but must be an id from 0 to 6"),
        ({"eos_token_id": 2**32 - 1}, "eos_token_id is 4294967295"),
        ({"pre": 7}, "pre is '7'"),
    ],
)
def test_lists_that_do_not_belong_together_are_one_line(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        tokenizer_from_gguf(SMALL | {f"tokenizer.ggml.{k}": v for k, v in change.items()})
    assert "\n" not in str(caught.value)
