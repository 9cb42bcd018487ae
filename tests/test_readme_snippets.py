"""The published READMEs' Python snippets in examples/ run on folders that codling exported, with
only the model's name changed.

transformers' and vLLM's are slow; vLLM's need a Python that has it: CODLING_VLLM_PYTHON names one.
"""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.export.export import ExportConfig, export
from codling.serve.backend import LocalBackend
from codling.tokens.families import FIM_BEGIN, FIM_END, FIM_HOLE
from serve.tiny_server import Servers, save_model
from vllm_python import run_with_vllm

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with coder-v1's marks and dialogues, exported as transformers reads it."""
    folder = tmp_path_factory.mktemp("exported")
    model = save_model(folder / "m", hidden_size=64)
    return export(ExportConfig(model=model, format="hf", out_dir=folder / "hf")).path


@pytest.fixture(scope="module")
def engine(exported: Path) -> Iterator[TextEngine]:
    with TextEngine.open(exported, precision="float32") as opened:
        yield opened


def names_of(example: str) -> dict[str, Any]:
    """What the program of examples/ defines."""
    return runpy.run_path(str(EXAMPLES / example))


@pytest.mark.slow
def test_transformers_completes_from_our_prompt(exported: Path, engine: TextEngine) -> None:
    example = names_of("hf_complete.py")
    shown = example["complete"](str(exported))
    assert shown.startswith(example["PROMPT"])
    own = engine.complete([example["PROMPT"]], SamplingParams(max_tokens=1))[0]
    answer = shown.removeprefix(example["PROMPT"])
    assert answer.startswith(engine.tokenizer.decode(own.token_ids))


@pytest.mark.slow
def test_transformers_inserts_from_our_prompt(exported: Path, engine: TextEngine) -> None:
    example = names_of("hf_insert.py")
    shown = example["insert"](str(exported), max_new_tokens=1)
    _, prefix, suffix, _ = re.split("|".join((FIM_BEGIN, FIM_HOLE, FIM_END)), example["PROMPT"])
    own = engine.insert([(prefix, suffix)], SamplingParams(max_tokens=1))[0]
    assert shown == engine.tokenizer.decode(own.token_ids)


@pytest.mark.slow
def test_transformers_chats_from_our_prompt(exported: Path, engine: TextEngine) -> None:
    example = names_of("hf_chat.py")
    shown = example["chat"](str(exported), max_new_tokens=1)
    prompt = engine.chat_prompt([{"role": "user", "content": example["QUESTION"]}])
    own = engine.submit(prompt, SamplingParams(max_tokens=1), mode="chat").result()
    assert shown == engine.tokenizer.decode(own.token_ids)


@pytest.mark.slow
@pytest.mark.parametrize(
    "call", ["vllm_complete.complete({!r}, max_tokens=5)", "vllm_chat.chat({!r}, max_tokens=5)"]
)
def test_vllm_runs_the_snippets(exported: Path, call: str) -> None:
    module = call.partition(".")[0]
    code = f"import {module}\nsend({call.format(str(exported))})"
    answers = run_with_vllm(code, EXAMPLES)
    assert len(answers) == 3
    assert all(isinstance(answer, str) for answer in answers)


def test_langchain_asks_our_server(exported: Path) -> None:
    ask = names_of("langchain_chat.py")["ask"]
    servers = Servers()
    try:
        running = servers.start(LocalBackend(TextEngine.open(exported, precision="float32")))
        assert isinstance(ask(f"{running.url}/v1", "hello", max_tokens=5), str)
        running.wait_idle()
        assert running.state.metrics.generated_tokens._value.get() > 0
    finally:
        servers.stop()
