"""vLLM answers questions: the published READMEs' snippets, on a folder that codling wrote.

python examples/vllm_chat.py runs/app/hf [GPUS]

Of today's vLLM: prompts of token ids are dicts, where prompt_token_ids= was an argument.
"""

import sys

from transformers import AutoTokenizer
from vllm import LLM, SamplingParams

QUESTIONS = [
    "Who are you?",
    "write a quick sort algorithm in python.",
    "Write a piece of quicksort code in C++.",
]


def chat(model_name: str, n_gpus: int = 1, max_tokens: int = 256) -> list[str]:
    """A sampled answer to each question; the model is cut into `n_gpus` (tensor parallelism)."""
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    llm = LLM(model=model_name, tensor_parallel_size=n_gpus, enforce_eager=True)
    params = SamplingParams(
        temperature=0.3, max_tokens=max_tokens, stop_token_ids=[tokenizer.eos_token_id]
    )
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True
        )
        for text in QUESTIONS
    ]
    outputs = llm.generate([{"prompt_token_ids": list(p["input_ids"])} for p in prompts], params)
    return [output.outputs[0].text for output in outputs]


if __name__ == "__main__":
    print(chat(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1))
