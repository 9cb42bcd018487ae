"""Many editors at once: tokens per second of streams that arrive together, beside vLLM on the CPU.

Input: a Hugging Face folder. Every turn sends --streams prompts of random tokens (64 to --longest,
all different, so that nothing is in a cache) and waits until each has --new more, greedily; a
side's figure is the new tokens of all per second, prompts included, median of the turns. The
sides hold the same weights and take turns; vLLM's engine runs in the Python of --peer-python and
waits while ours works.

    python benchmarks/streams.py smollm2-hf --peer-python VLLM/bin/python --peer-dtypes float32

Prints one JSON line per side. Not here: one stream (packed.py), models with experts (experts.py).
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from measuring import cpu_name, report

from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine

Side = Callable[[list[list[int]], int], float]
"""Seconds until every prompt has so many new tokens."""
_VLLM = """import json, os, sys, time
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2"}
from vllm import LLM, SamplingParams
model, dtype, length, streams = sys.argv[1:]
engine = LLM(model, dtype=dtype, max_model_len=int(length), max_num_seqs=int(streams),
             enable_prefix_caching=False, disable_log_stats=True)
for line in sys.stdin:
    prompts, n_new = json.loads(line)
    params = SamplingParams(temperature=0, max_tokens=n_new, ignore_eos=True, detokenize=False)
    began = time.monotonic()
    made = engine.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=False)
    seconds = time.monotonic() - began
    assert all(len(each.outputs[0].token_ids) == n_new for each in made)
    print(seconds, file=answers, flush=True)
"""


def main() -> None:
    """Read the command line and let the sides take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a Hugging Face folder")
    parser.add_argument("--peer-python", type=Path, help="a Python with vllm-cpu")
    parser.add_argument("--peer-dtypes", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--precisions", nargs="*", default=["float32", "auto"])
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--longest", type=int, default=512, help="tokens of the longest prompt")
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    length = args.longest + args.new + 1
    sides = {f"codling {each}": ours(args, each, length) for each in args.precisions}
    if args.peer_python:
        sides |= {f"vllm {each}": peer(args, each, length) for each in args.peer_dtypes}
    rng = Random(0)
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(args.turns + 1):
        lengths = [rng.randint(64, args.longest) for _ in range(args.streams)]
        prompts = [[rng.randint(300, 8_000) for _ in range(n)] for n in lengths]
        for side, run in sides.items():
            seconds = run(prompts, args.new)
            if turn:  # the first compiles
                rates[side].append(args.streams * args.new / seconds)
    for side, found in rates.items():
        turns = [round(rate, 1) for rate in found]
        report(side=side, tokens_per_second=statistics.median(turns), turns=turns)
    report(streams=args.streams, longest=args.longest, new=args.new, machine=cpu_name())


def ours(args: argparse.Namespace, precision: str, length: int) -> Side:
    """Our engine, as a server runs it."""
    engine = TextEngine.open(
        args.model, precision=precision, max_streams=args.streams, max_length=length
    )

    def run(prompts: list[list[int]], n_new: int) -> float:
        params = SamplingParams(max_tokens=n_new, ignore_eos=True)
        began = time.monotonic()
        for answer in [engine.submit(prompt, params) for prompt in prompts]:
            answer.result()
        return time.monotonic() - began

    return run


def peer(args: argparse.Namespace, dtype: str, length: int) -> Side:
    """vLLM in a process of its own, asked through its standard input."""
    command = [args.peer_python, "-c", _VLLM, args.model, dtype, str(length), str(args.streams)]
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        text=True,
    )

    def run(prompts: list[list[int]], n_new: int) -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps([prompts, n_new]), file=process.stdin, flush=True)
        return float(process.stdout.readline())

    return run


if __name__ == "__main__":
    main()
