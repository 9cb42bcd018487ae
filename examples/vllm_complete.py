"""vLLM continues prompts: the published README's snippet, on a folder that codling wrote.

python examples/vllm_complete.py runs/app/hf [GPUS]
"""

import sys

from vllm import LLM, SamplingParams

PROMPTS = [
    "If everyone in a country loves one another,",
    "The research should also focus on the technologies",
    "To determine if the label is correct, we need to",
]


def complete(model_name: str, n_gpus: int = 1, max_tokens: int = 100) -> list[str]:
    """A sampled completion of each prompt; the model is cut into `n_gpus` (tensor parallelism)."""
    params = SamplingParams(temperature=0.7, top_p=0.9, max_tokens=max_tokens)
    llm = LLM(model=model_name, gpu_memory_utilization=0.9, tensor_parallel_size=n_gpus)
    return [output.outputs[0].text for output in llm.generate(PROMPTS, params)]


if __name__ == "__main__":
    print(complete(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1))
