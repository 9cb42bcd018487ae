"""transformers continues a prompt: the published READMEs' snippet, on a folder that codling wrote.

python examples/hf_complete.py runs/app/hf

Of today's transformers: dtype for torch_dtype, and a device that is there for .cuda().
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = "#write a quick sort algorithm"


def complete(model_name: str, prompt: str = PROMPT, max_length: int = 128) -> str:
    """The prompt with its greedy completion, `max_length` tokens together."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    model = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.bfloat16).to(device)
    inputs = tokenizer(prompt, return_tensors="pt").to(device)
    outputs = model.generate(**inputs, max_length=max_length)
    return str(tokenizer.decode(outputs[0], skip_special_tokens=True))


if __name__ == "__main__":
    print(complete(sys.argv[1]))
