"""transformers fills a hole: the published READMEs' snippet, on a folder that codling wrote.

python examples/hf_insert.py runs/app/hf

What transformers decodes has the prompt less its marks in front: the snippet's [len(input_text):]
cuts into the answer, so only the answer's tokens are decoded here.
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = """<｜fim▁begin｜>def quick_sort(arr):
    if len(arr) <= 1:
        return arr
    pivot = arr[0]
    left = []
    right = []
<｜fim▁hole｜>
        (left if arr[i] < pivot else right).append(arr[i])
    return quick_sort(left) + [pivot] + quick_sort(right)<｜fim▁end｜>"""  # noqa: RUF001


def insert(model_name: str, prompt: str = PROMPT, max_new_tokens: int = 48) -> str:
    """What the model writes into the hole."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    model = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.bfloat16).to(device)
    inputs = tokenizer(prompt, return_tensors="pt").to(device)
    outputs = model.generate(**inputs, max_new_tokens=max_new_tokens)
    n_prompt = inputs["input_ids"].shape[1]
    return str(tokenizer.decode(outputs[0][n_prompt:], skip_special_tokens=True))


if __name__ == "__main__":
    print(insert(sys.argv[1]))
