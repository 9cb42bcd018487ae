"""The verbs on a tiny checkpoint on disk: text comes out, mistakes are named."""

import io
import json
from pathlib import Path

import pytest
import torch

from codling.checkpoint.store import save_hf
from codling.core.errors import (
    CheckpointError,
    ConfigError,
    RequestError,
    SourceError,
    TokenizerError,
)
from codling.corpus.context import Cursor, RepositoryContext
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.engine.verbs import (
    ChatConfig,
    CompleteConfig,
    InsertConfig,
    chat,
    complete,
    first_lines,
    insert,
    read_cursor,
)
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.bpe import train
from codling.tokens.template_files import preset_source
from codling.tokens.tokenizer import Tokenizer

CODE = "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with a tiny tokenizer, as a folder that transformers would load."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    config = ModelConfig(
        vocab_size=320, hidden_size=32, intermediate_size=48, n_layers=2, n_heads=4, init_std=0.4
    )
    save_hf(Transformer(config, torch.Generator().manual_seed(2)), config, folder)
    train(iter([CODE * 20]), 320).save(str(folder / "tokenizer.json"))
    settings = {"add_bos_token": True, "chat_template": preset_source("codling")}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "add.py"
    path.write_text(CODE)
    return path


def test_complete_continues_a_prompt_as_the_engine_does(checkpoint: Path) -> None:
    got = "".join(complete(CompleteConfig(model=checkpoint, prompt="def add", max_tokens=9)))
    with TextEngine.open(checkpoint, precision="float32") as engine:
        assert engine.name == "tiny"
        prompt = engine.cursor_prompt("def add", literal=False)
        assert prompt.lead == " add"
        assert got == engine.submit(prompt, SamplingParams(max_tokens=9)).result().text


def test_insert_fills_the_hole_at_a_cursor(checkpoint: Path, source: Path) -> None:
    config = InsertConfig(model=checkpoint, file=source, line=2, column=11, max_tokens=9)
    with TextEngine.open(checkpoint, precision="float32") as engine:
        pair = ("def add(a, b):\n    return ", CODE.partition("return ")[2])
        expected = engine.insert([pair], SamplingParams(max_tokens=9))[0].text
    assert "".join(insert(config)) == expected


def test_lines_end_the_text_before_the_last_line_break() -> None:
    pieces = ["a", "b\n", "", "\nc\nd", "e\n", "f"]
    text = "".join(pieces)
    for n in (1, 2, 3, 4):
        assert "".join(first_lines(pieces, n)) == "\n".join(text.split("\n")[:n])
    assert "".join(first_lines(pieces, None)) == text


def test_a_repository_puts_the_imported_file_first(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text("class Square:\n    side = 1\n")
    main = tmp_path / "main.py"
    main.write_text("from shapes import Square\n\ns = \n# end\n")
    cursor = read_cursor(main, 3, 4)
    with TextEngine.open(checkpoint, precision="float32") as engine:
        repository = RepositoryContext(tmp_path)
        ids = engine.repository_prompt(repository, cursor)
        text = engine.tokenizer.decode(ids)
        assert text.startswith("# shapes.py\nclass Square:")
        assert (text + ids.lead).endswith("# main.py\nfrom shapes import Square\n\ns = ")
        expected = engine.submit(
            engine.repository_prompt(repository, cursor, insert=True, max_tokens=5),
            SamplingParams(max_tokens=5),
            mode="insert",
        )
        config = InsertConfig(
            model=checkpoint, file=main, line=3, column=4, repo=tmp_path, max_tokens=5
        )
        assert "".join(insert(config)) == expected.result().text


def test_of_a_huge_open_file_only_what_is_near_is_encoded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = "x = first + second\n" * 20_000
    cursor = Cursor("main.py", prefix, prefix)
    (tmp_path / "main.py").write_text(prefix)
    read: list[int] = []
    encode = Tokenizer.encode

    def spy(self: Tokenizer, text: str) -> list[int]:
        read.append(len(text))
        return encode(self, text)

    monkeypatch.setattr(Tokenizer, "encode", spy)
    with TextEngine.open(checkpoint, precision="float32") as engine:
        ids = engine.repository_prompt(RepositoryContext(tmp_path), cursor, insert=True)
        assert engine.tokenizer.decode(ids).count("first") > 10
    # A search by halves asks some 20 times; each reads a piece, never the file.
    assert max(read) <= 2 * 8 * engine.max_length
    assert sum(read) < len(prefix)


def test_the_cursor_stands_where_line_and_column_say(source: Path) -> None:
    assert read_cursor(source, 1, 4).prefix == "def "
    assert read_cursor(source, 2, None).suffix == "\n\n\nprint(add(1, 2))\n"
    assert read_cursor(source, 6, 0).prefix == CODE
    assert read_cursor(source, None, None).prefix == CODE


def test_lines_are_those_of_an_editor(source: Path) -> None:
    source.write_bytes("a\fb\u2028c\x0bd\x85\ne\n".encode())
    assert read_cursor(source, 2, None).prefix == "a\fb\u2028c\x0bd\x85\ne"
    assert read_cursor(source, 3, None).suffix == ""
    with pytest.raises(ConfigError, match="has 3 lines"):
        read_cursor(source, 4, None)


def test_a_suffix_beside_a_file_is_refused(source: Path) -> None:
    with pytest.raises(ConfigError, match="--suffix goes with --prefix"):
        InsertConfig(model=source, file=source, suffix="x")


def test_a_cursor_outside_the_file_is_refused(source: Path) -> None:
    with pytest.raises(ConfigError, match="has 6 lines; --line 9 is not one of them"):
        read_cursor(source, 9, None)
    with pytest.raises(ConfigError, match="14 characters; --column 20 is outside"):
        read_cursor(source, 1, 20)
    source.write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="not UTF-8"):
        read_cursor(source, 1, 0)


def test_complete_wants_a_prompt_or_a_file(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="either --prompt TEXT or --file PATH"):
        CompleteConfig(model=checkpoint)
    with pytest.raises(ConfigError, match="--line needs --file"):
        CompleteConfig(model=checkpoint, prompt="x", line=3)


def test_chat_answers_one_message_or_each_line(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = "".join(chat(ChatConfig(model=checkpoint, message="Hello", max_tokens=6)))
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n\nAnd again\n"))
    both = "".join(chat(ChatConfig(model=checkpoint, max_tokens=6)))
    assert one
    assert both.startswith(one + "\n")


def test_a_long_chat_forgets_its_oldest_turns(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello there\n" * 12))
    config = ChatConfig(model=checkpoint, max_tokens=30, max_length=1024)
    assert len("".join(chat(config)).splitlines()) >= 12


def test_a_base_model_does_not_chat_and_says_so_before_it_is_loaded(
    checkpoint: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name in ("tokenizer.json", "config.json"):
        (base / name).write_bytes((checkpoint / name).read_bytes())
    with pytest.raises(TokenizerError, match=r"no chat template.*--chat-template"):
        chat(ChatConfig(model=base, message="Hello"))
    with pytest.raises(TokenizerError, match="no chat template nothing; known are"):
        chat(ChatConfig(model=base, message="Hello", chat_template="nothing"))
    with pytest.raises(CheckpointError):  # asked for by name: now the weights are missed
        chat(ChatConfig(model=base, message="Hello", chat_template="codling"))


def test_a_broken_template_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "loop.jinja").write_text("{% for i in range(10**12) %}x{% endfor %}")
    config = ChatConfig(
        model=checkpoint, message="Hello", chat_template=str(tmp_path / "loop.jinja")
    )
    with pytest.raises(RequestError, match="the chat template fails: OverflowError"):
        list(chat(config))
