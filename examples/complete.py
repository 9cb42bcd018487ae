"""A checkpoint continues prompts: several at once, one as a stream, and how sure it was.

python examples/complete.py runs/mine/checkpoint
"""

import sys
from pathlib import Path

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine

PROMPTS = ["def is_prime(n):", "class Stack:\n    def push(self, item):"]


def complete(checkpoint: Path, max_tokens: int = 64) -> list[str]:
    """The greedy completion of each prompt; all prompts run in one batch."""
    with TextEngine.open(checkpoint) as engine:
        done = engine.complete(PROMPTS, SamplingParams(max_tokens=max_tokens))
        return [completion.text for completion in done]


def stream(checkpoint: Path, prompt: str, max_tokens: int = 64) -> str:
    """Print a sampled completion while it is made; the same seed gives the same text."""
    params = SamplingParams(max_tokens=max_tokens, temperature=0.8, seed=7, logprobs=0)
    with TextEngine.open(checkpoint) as engine:
        answer = engine.submit(engine.complete_prompt(prompt), params)
        for delta in answer:
            print(delta.text, end="", flush=True)
        completion = answer.result()
    print(f"\n{sum(token.logprob for token in completion.logprobs):.1f} nats")
    return completion.text


if __name__ == "__main__":
    for prompt, text in zip(PROMPTS, complete(Path(sys.argv[1])), strict=True):
        print(prompt + text, end="\n\n")
    stream(Path(sys.argv[1]), PROMPTS[0])
