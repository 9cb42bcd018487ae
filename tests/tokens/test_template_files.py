"""Which chat template counts: the checkpoint's own wherever it lies, or the one that is named."""

import json
import os
from pathlib import Path

import pytest

from codling.core.errors import TokenizerError
from codling.tokens.chat import ChatFormat
from codling.tokens.template_files import named_templates, preset_source, read_templates
from codling.tokens.tokenizer import Tokenizer

USER = [{"role": "user", "content": "hi"}]
NAMED = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]


def write(folder: Path, name: str, text: str | dict) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")


def test_each_place_is_read_and_the_newest_counts(tmp_path: Path) -> None:
    assert read_templates(tmp_path, {}) == {}
    config = {"chat_template": "from the config"}
    assert read_templates(tmp_path, config) == {"default": "from the config"}
    write(tmp_path, "chat_template.json", {"chat_template": "from json"})
    assert read_templates(tmp_path, config) == {"default": "from json"}
    write(tmp_path, "chat_template.jinja", "from jinja é\n")
    write(tmp_path, "additional_chat_templates/tool_use.jinja", "with tools")
    assert read_templates(tmp_path, config) == {
        "default": "from jinja é\n",
        "tool_use": "with tools",
    }


@pytest.mark.parametrize("entry", [None, 5, [], [1, {"name": "x"}], {"default": 3}, [["a", "b"]]])
def test_what_is_no_template_is_none(entry: object) -> None:
    assert named_templates(entry) == {}


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe{{ 1 }}")
    with pytest.raises(TokenizerError, match=r"chat_template.jinja is not UTF-8"):
        read_templates(tmp_path, {})
    (tmp_path / "chat_template.jinja").write_bytes(b" " * (1 << 21))
    with pytest.raises(TokenizerError, match=r"chat_template.jinja"):
        read_templates(tmp_path, {})
    (tmp_path / "chat_template.jinja").unlink()
    write(tmp_path, "chat_template.json", "[" * 9000)
    with pytest.raises(TokenizerError, match=r"chat_template.json"):
        read_templates(tmp_path, {})


def test_a_pipe_is_no_template(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "chat_template.jinja")
    assert read_templates(tmp_path, {}) == {}


def chat(tokenizer_dir: Path, config: dict, asked: str | None = None) -> ChatFormat:
    opened = Tokenizer.open(tokenizer_dir)
    opened.config |= config
    return ChatFormat(opened, asked)


def test_a_model_without_a_template_is_no_chat_model(tokenizer: Tokenizer) -> None:
    base = ChatFormat(tokenizer)
    assert not base.can_chat
    with pytest.raises(TokenizerError, match=r"no chat template.*--chat-template \(coder-v1\)"):
        base.ids(USER)
    named = ChatFormat(tokenizer, "coder-v1")
    assert named.can_chat
    assert "### Instruction:\nhi" in named.template().render(USER)


def test_templates_of_a_checkpoint_are_chosen_by_name(tokenizer_dir: Path) -> None:
    both = {"chat_template": NAMED}
    assert chat(tokenizer_dir, both).template().render(USER) == "d"
    assert chat(tokenizer_dir, both).template(tools=True).render(USER) == "t"
    assert chat(tokenizer_dir, both, "tool_use").template().render(USER) == "t"
    assert chat(tokenizer_dir, {"chat_template": NAMED[1:]}).template().render(USER) == "t"
    two = {"chat_template": {"a": "1", "b": "2"}}
    with pytest.raises(TokenizerError, match=r"several chat templates.*a, b"):
        chat(tokenizer_dir, two).template()
    with pytest.raises(TokenizerError, match=r"no chat template nothing; known are a, b, chatml"):
        chat(tokenizer_dir, two, "nothing")


def test_a_template_may_be_a_file(tokenizer_dir: Path, tmp_path: Path) -> None:
    write(tmp_path, "mine.jinja", "{{ messages[0].content }}!")
    assert chat(tokenizer_dir, {}, str(tmp_path / "mine.jinja")).template().render(USER) == "hi!"


@pytest.mark.long
def test_a_checkpoint_saved_again_by_transformers_keeps_its_templates(
    tokenizer_dir: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    first = tmp_path / "first"
    first.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (first / name).write_bytes((tokenizer_dir / name).read_bytes())
    config = json.loads((first / "tokenizer_config.json").read_text("utf-8"))
    source = preset_source("codling")
    listed = [{"name": "default", "template": source}, {"name": "short", "template": "s"}]
    write(first, "tokenizer_config.json", config | {"chat_template": listed})
    loaded = transformers.AutoTokenizer.from_pretrained(first)
    loaded.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / "chat_template.json").exists()
    assert (tmp_path / "again" / "chat_template.jinja").is_file()
    again = Tokenizer.open(tmp_path / "again")
    assert again.config["chat_template"] == {"default": source, "short": "s"}
    assert ChatFormat(again).ids(USER) == ChatFormat(Tokenizer.open(first)).ids(USER)
