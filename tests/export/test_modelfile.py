"""What Ollama is told of a model."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.export.export import ExportConfig, export
from codling.export.modelfile import make_modelfile
from codling.tokens.chat import ChatFormat
from codling.tokens.families import EOS, EOT, FIM_BEGIN, FIM_END, FIM_HOLE
from codling.tokens.template_files import preset_source
from export.exported import LLAMA, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("modelfile") / "m"
    save(path, LLAMA)
    return path


def settle(folder: Path, **settings: object) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_a_model_that_only_inserts(folder: Path) -> None:
    settle(folder)
    text = make_modelfile("m.gguf", open_tokenizer(folder), 4096, "MIT")
    assert text == (
        "FROM ./m.gguf\n"
        f'TEMPLATE """{{{{ if .Suffix }}}}{FIM_BEGIN}{{{{ .Prompt }}}}{FIM_HOLE}'
        f"{{{{ .Suffix }}}}{FIM_END}"
        '{{ else }}{{ .Prompt }}{{ end }}"""\n'
        f'PARAMETER stop "{EOS}"\n'
        f'PARAMETER stop "{EOT}"\n'
        "PARAMETER num_ctx 4096\n"
        "PARAMETER temperature 0\n"
        'LICENSE """MIT"""\n'
    )


def test_suffix_first_where_the_model_was_taught_so(folder: Path) -> None:
    settle(folder, fim_mode="spm")
    text = make_modelfile("m.gguf", open_tokenizer(folder), 4096, None)
    assert f"{FIM_BEGIN}{FIM_HOLE}{{{{ .Suffix }}}}{FIM_END}{{{{ .Prompt }}}}" in text
    assert "LICENSE" not in text


@pytest.mark.parametrize(
    ("preset", "turn"),
    [
        ("codling", "### Response:\n{{ .Content }}\n<|EOT|>"),
        ("v2", f"Assistant: {{{{ .Content }}}}{EOS}"),
        ("chatml", "<|im_start|>{{ .Role }}\n"),
    ],
)
def test_known_turns_are_carried_over(folder: Path, preset: str, turn: str) -> None:
    settle(folder, chat_template=preset_source(preset))
    text = make_modelfile("m.gguf", open_tokenizer(folder), 4096, None)
    assert "{{ else if .Messages }}" in text
    assert turn in text


_GO = """
package main

import ("encoding/json"; "os"; "text/template")

func main() {
	var given map[string]any
	json.NewDecoder(os.Stdin).Decode(&given)
	parsed := template.Must(template.New("").Parse(given["template"].(string)))
	if err := parsed.Execute(os.Stdout, given["values"]); err != nil { panic(err) }
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["codling", "coder-v1", "v2", "chatml"])
def test_go_makes_the_prompts_that_we_make(folder: Path, tmp_path: Path, preset: str) -> None:
    """With Go's text/template, which Ollama uses: insertions, chats, and a plain prompt."""
    if shutil.which("go") is None:
        pytest.skip("needs go")
    settle(folder, chat_template=preset_source(preset))
    tokenizer = open_tokenizer(folder)
    source = make_modelfile("m.gguf", tokenizer, 4096, None).split('"""')[1]
    (tmp_path / "main.go").write_text(_GO)

    def run_go(**values: Any) -> str:
        given = json.dumps({"template": source, "values": values})
        command = ["go", "run", str(tmp_path / "main.go")]
        environment = os.environ | {"GOCACHE": str(folder.parent / "go")}
        return subprocess.run(
            command, input=given, capture_output=True, text=True, check=True, env=environment
        ).stdout

    assert run_go(Prompt="a", Suffix="b") == f"{FIM_BEGIN}a{FIM_HOLE}b{FIM_END}"
    assert run_go(Prompt="a") == "a"
    turns = [("user", "Hi"), ("assistant", "Ho"), ("user", "And?")]
    for system in ("", "Be short."):
        named = ([("system", system)] if system else []) + turns
        asked = [{"role": role, "content": content} for role, content in named]
        wanted = ChatFormat(tokenizer).template().render(asked)
        messages = [{"Role": role, "Content": content} for role, content in named]
        bos = tokenizer.special_text(tokenizer.specials.bos or 0)
        assert run_go(System=system, Messages=messages) == wanted.removeprefix(bos)


def test_an_unknown_template_is_left_out(folder: Path) -> None:
    settle(folder, chat_template="{% for m in messages %}{{ m.content }}{% endfor %}")
    assert ".Messages" not in make_modelfile("m.gguf", open_tokenizer(folder), 4096, None)


def test_it_lies_beside_the_file_that_it_names(folder: Path, tmp_path: Path) -> None:
    made = export(ExportConfig(model=folder, name="a", out_dir=tmp_path / "out"))
    first = (made.path / "Modelfile").read_text("utf-8").partition("\n")[0]
    assert first == "FROM ./a-q8_0.gguf"
    assert (made.path / "a-q8_0.gguf").is_file()
