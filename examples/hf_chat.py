"""transformers answers a question: the published READMEs' snippet, on a folder that codling wrote.

python examples/hf_chat.py runs/app/hf

Of today's transformers: apply_chat_template gives a dict of tensors.
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTION = "write a quick sort algorithm in python."


def chat(model_name: str, question: str = QUESTION, max_new_tokens: int = 512) -> str:
    """The assistant's greedy answer."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    model = AutoModelForCausalLM.from_pretrained(model_name, dtype=torch.bfloat16).to(device)
    messages = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(device)
    outputs = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    n_prompt = inputs["input_ids"].shape[1]
    return str(tokenizer.decode(outputs[0][n_prompt:], skip_special_tokens=True))


if __name__ == "__main__":
    print(chat(sys.argv[1]))
