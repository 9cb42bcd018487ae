"""Real weights: our greedy tokens equal those of transformers, which reads the same GGUF itself.

Needs the files of CODLING_WEIGHTS_DIR, or of the folder `weights` beside the checkout.
"""

import pytest
import torch

from codling.checkpoint.gguf_file import read_gguf_metadata
from codling.checkpoint.load import load_model
from codling.model.cache import KVCache
from codling.model.transformer import Transformer
from codling.tokens.from_gguf import tokenizer_from_gguf
from real_weights import find_weights

pytestmark = pytest.mark.slow
transformers = pytest.importorskip("transformers")

N_NEW = 24
TIE = 1e-3
"""Two best logits nearer than this are a tie: rounding decides, and the texts part."""
PROMPTS = [
    "def fibonacci(n):\n",
    "def quicksort(items):\n    ",
    "import numpy as np\n\n",
    "class Stack:\n    def __init__(self):\n",
    "# Read a CSV file and return its rows\n",
    "for i in range(10):\n    print(",
    "SELECT name FROM users WHERE ",
    "#include <stdio.h>\n\nint main(",
    "function add(a, b) {\n",
    "public static void main(String[] args) {\n",
    "The capital of France is",
    "Once upon a time there was a",
    "A binary search tree is",
    "The difference between a list and a tuple is",
    "HTTP status 404 means",
    "1, 2, 3, 4, 5,",
    "x = [i * i for i in",
    "try:\n    value = int(text)\nexcept ",
    "<html>\n<head>\n<title>",
    "git commit -m",
]


def greedy(model: Transformer, prompt: list[int]) -> list[int]:
    cache = KVCache.allocate(model.config, 1, len(prompt) + N_NEW)
    new: list[int] = []
    tokens = torch.tensor([prompt])
    while len(new) < N_NEW:
        hidden = model(tokens, cache=cache)
        cache.advance(tokens.shape[1])
        new.append(int(model.logits(hidden[0, -1]).argmax()))
        tokens = torch.tensor([[new[-1]]])
    return new


@torch.inference_mode()
@pytest.mark.parametrize("pattern", ["SmolLM2-135M*.gguf", "Qwen2.5-Coder-0.5B*.gguf"])
def test_greedy_tokens_equal_transformers_on_20_prompts(pattern: str) -> None:
    path = find_weights(pattern)
    ours = load_model(path)
    tokenizer = tokenizer_from_gguf(read_gguf_metadata(path))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    for text in PROMPTS:
        prompt = tokenizer.encode(text)
        new = greedy(ours, prompt)
        logits = theirs(torch.tensor([prompt + new[:-1]])).logits[0, len(prompt) - 1 :]
        for step, token in enumerate(new):
            best, second = logits[step].topk(2).values
            if best - second < TIE:
                break
            assert token == int(logits[step].argmax()), f"{text!r}: token {step}"
