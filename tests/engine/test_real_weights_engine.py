"""The engine on real weights: the compiled loop says in a batch what the plain model says.

Needs the files of CODLING_WEIGHTS_DIR, or of the folder `weights` beside the checkout. That the
plain model says what transformers says is the part of tests/checkpoint/test_real_weights.py.
"""

import pytest
import torch

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from real_weights import PROMPTS, find_weights

pytestmark = pytest.mark.slow

TIE = 1e-3
"""Two best logits nearer than this are a tie: rounding decides, and the texts part."""


def open_engine(pattern: str) -> TextEngine:
    return TextEngine.open(find_weights(pattern), precision="float32", max_length=512)


@torch.inference_mode()
@pytest.mark.parametrize("pattern", ["SmolLM2-135M*.gguf", "Qwen2.5-Coder-0.5B*.gguf"])
def test_the_compiled_loop_says_what_the_plain_model_says_up_to_ties(pattern: str) -> None:
    with open_engine(pattern) as engine:
        assert engine._runner.fused is not None
        for completion, text in zip(
            engine.complete(PROMPTS, SamplingParams(max_tokens=24)), PROMPTS, strict=True
        ):
            prompt, new = engine.complete_prompt(text), list(completion.token_ids)
            hidden = engine._model(torch.tensor([prompt + new[:-1]]))[0, len(prompt) - 1 :]
            logits = engine._model.logits(hidden)
            for step, token in enumerate(new):
                best, second = logits[step].topk(2).values
                if best - second < TIE:
                    break
                assert token == int(logits[step].argmax()), f"{text!r}: token {step}"


def test_a_real_model_fills_the_hole() -> None:
    with open_engine("Qwen2.5-Coder-0.5B*.gguf") as engine:
        pair = ("def add(a, b):\n    ", "\n\nprint(add(1, 2))\n")
        text = engine.insert([pair], SamplingParams(max_tokens=24))[0].text
        assert text.startswith("return a + b")


def test_a_real_model_answers_in_chat() -> None:
    with open_engine("SmolLM2-135M*.gguf") as engine:
        ids = engine.chat_prompt([{"role": "user", "content": "What is the capital of France?"}])
        answer = engine.submit(ids, SamplingParams(max_tokens=40), mode="chat").result()
        assert "Paris" in answer.text
        assert answer.finish_reason == "stop"
