"""llama.cpp runs what is exported: the same tokens of a text, and the same 64 greedy tokens.

Needs llama-cpp-python; the real model also the files of CODLING_WEIGHTS_DIR, or of the folder
`weights` beside the checkout.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.export.export import ExportConfig, export
from export.exported import LATENT_SHAPES, SHAPES, save
from export.ggml import llama_library
from real_weights import PROMPTS as CODE
from real_weights import find_weights

pytestmark = pytest.mark.slow

N_NEW = 64
TINY = SHAPES | LATENT_SHAPES
PROMPTS = [*CODE, "SELECT name, count(*) FROM users WHERE", "Größe und 漢字: it's 1234"]


@pytest.mark.parametrize("kind", TINY)
def test_tiny_models_say_the_same(tmp_path: Path, kind: str) -> None:
    save(tmp_path / "m", TINY[kind])
    made = export(ExportConfig(model=tmp_path / "m", type="f32", out_dir=tmp_path / "out"))
    compare(tmp_path / "m", made.files("*.gguf")[0])


def test_a_real_model_says_the_same(tmp_path: Path) -> None:
    weights = find_weights("[Ss]mol[Ll][Mm]2-135*.gguf")
    made = export(ExportConfig(model=weights, type="f32", out_dir=tmp_path / "out"))
    compare(weights, made.files("*.gguf")[0])


def compare(model: Path, exported: Path) -> None:
    """Our engine on `model`, and llama.cpp on `exported`."""
    with TextEngine.open(model, max_length=256, precision="float32") as engine:
        settings = SamplingParams(max_tokens=N_NEW, ignore_eos=True)
        wanted = [list(done.token_ids) for done in engine.complete(PROMPTS, settings)]
        prompts = [engine.complete_prompt(text) for text in PROMPTS]
    found = LlamaCpp(exported)
    for text, prompt, tokens in zip(PROMPTS, prompts, wanted, strict=True):
        assert found.tokens_of(text) == prompt
        assert found.complete(prompt) == tokens, repr(text)


class LlamaCpp:
    """One exported model in llama.cpp, keys and values in fp32 too."""

    def __init__(self, path: Path) -> None:
        # n_ctx small: a random model states any context.
        self._model: Any = llama_library().Llama(
            str(path), n_ctx=256, n_threads=1, type_k=0, type_v=0, verbose=False
        )

    def tokens_of(self, text: str) -> list[int]:
        """The tokens of a prompt, with what the file says must begin it."""
        found: list[int] = self._model.tokenize(text.encode(), add_bos=True, special=False)
        return found

    def complete(self, prompt: Sequence[int]) -> list[int]:
        """The likeliest tokens after `prompt`."""
        stream = self._model.generate(list(prompt), temp=0.0, repeat_penalty=1.0, reset=True)
        return [next(stream) for _ in range(N_NEW)]
