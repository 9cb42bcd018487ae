"""More requests than the cache holds: all are answered, and as if each were alone."""

import random
from dataclasses import replace

import pytest
import torch

from codling.engine.engine import Engine
from codling.engine.memory.open_text import OpenText, PromptLookup
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.engine.speculate import Odds, Price, Speculation
from codling.model.config import MLAConfig, ModelConfig
from codling.model.transformer import Transformer
from codling.tokens.tokenizer import SpecialTokens

DENSE = ModelConfig(
    vocab_size=97,
    hidden_size=128,
    intermediate_size=64,
    n_layers=2,
    n_heads=1,
    max_position=256,
    init_std=0.3,
)
"""A page has 8 tokens of 512 bytes."""
LATENT = replace(
    DENSE,
    n_heads=2,
    mla=MLAConfig(kv_lora_rank=96, qk_nope_head_dim=12, qk_rope_head_dim=32, v_head_dim=16),
)
KINDS = {"compiled": (DENSE, True), "plain": (DENSE, False), "latent": (LATENT, True)}
MOST = 96


class Free(Price):
    """Drafts are always worth a try."""

    def of(self, n_sequences: int) -> float:  # noqa: ARG002 -- as Price
        return 0.0


def model_of(kind: str) -> Transformer:
    return Transformer(KINDS[kind][0], torch.Generator().manual_seed(1)).eval()


def engine_of(kind: str, n_tokens: int | None) -> Engine:
    fuse = KINDS[kind][1]
    runner = Runner(model_of(kind), n_slots=8, max_length=MOST, n_tokens=n_tokens, fuse=fuse)
    engine = Engine(runner)
    engine.price = Free()
    return engine


def sequences_of(n: int, params: SamplingParams, *, drafts: bool = False) -> list[Sequence]:
    numbers = random.Random(5)
    made = []
    for i in range(n):
        prompt = [numbers.randrange(97) for _ in range(numbers.randrange(1, 60))]
        sequence = Sequence(prompt, replace(params, seed=i))
        if drafts:
            lookup = PromptLookup(OpenText(prompt, SpecialTokens(), params.max_tokens))
            sequence.speculation = Speculation(lookup, Odds())
        made.append(sequence)
    return made


def run(engine: Engine, sequences: list[Sequence]) -> list[list[int]]:
    table = engine.scheduler._table
    for sequence in sequences:
        engine.add(sequence)
    while engine.busy:
        engine.step()
        assert table.n_held <= table.shape.n_pages
    return [s.tokens[len(s.prompt_ids) :] for s in sequences]


def alone(kind: str, sequences: list[Sequence]) -> list[list[int]]:
    engine = engine_of(kind, None)
    answers = [run(engine, [sequence])[0] for sequence in sequences]
    engine.runner.close()
    return answers


@pytest.mark.parametrize(
    "kind", ["compiled", "latent", pytest.param("plain", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_those_that_outgrow_the_cache_wait_and_go_on_as_if_alone(
    kind: str, temperature: float
) -> None:
    params = SamplingParams(max_tokens=30, temperature=temperature)
    engine = engine_of(kind, 160)  # 160 tokens for 12 requests of up to 90
    got = run(engine, sequences_of(12, params))
    engine.runner.close()
    assert engine.scheduler.n_preempted > 0
    assert got == alone(kind, sequences_of(12, params))


def test_drafts_take_part_in_it() -> None:
    params = SamplingParams(max_tokens=30)
    engine = engine_of("compiled", 160)
    speculating = sequences_of(12, params, drafts=True)
    got = run(engine, speculating)
    engine.runner.close()
    assert engine.scheduler.n_preempted > 0
    assert sum(s.speculation.n_drafted for s in speculating if s.speculation) > 0
    assert got == alone("compiled", sequences_of(12, params))


def test_the_oldest_is_never_sent_away() -> None:
    engine = engine_of("plain", 160)
    sequences = sequences_of(12, SamplingParams(max_tokens=30))
    for sequence in sequences:
        engine.add(sequence)
    while engine.busy:
        oldest = next(s for s in sequences if s.finish_reason is None)
        n_before = oldest.n_output
        engine.step()
        assert oldest.slot is not None
        assert oldest.n_output == n_before + 1 or oldest.n_output == 0


def test_one_that_waits_again_keeps_what_is_not_needed() -> None:
    engine = engine_of("plain", 160)
    first, second = (
        Sequence([token] * 60, SamplingParams(max_tokens=30, ignore_eos=True)) for token in (1, 2)
    )
    engine.add(first)
    engine.add(second)
    while second.slot is not None or engine.scheduler.n_preempted == 0:
        engine.step()
    # 20 pages of 8: the first grew into its eleventh, and the second keeps the other nine.
    held = [slot for slot in engine.scheduler._table._slots if slot.tokens[:1] == [2]]
    assert [len(slot.tokens) for slot in held] == [72]
    while engine.busy:
        engine.step()
    assert second.n_output == 30
    assert second.n_cached == 0  # taken over from itself, not from another request


def test_editors_that_wait_for_a_key_keep_their_texts() -> None:
    engine = engine_of("compiled", 4000)
    numbers = random.Random(2)
    texts = [[numbers.randrange(97) for _ in range(50)] for _ in range(64)]
    run(engine, [Sequence(text, SamplingParams(max_tokens=1)) for text in texts])
    typed = [Sequence([*text, 3], SamplingParams(max_tokens=1)) for text in texts]
    run(engine, typed)
    engine.runner.close()
    assert [s.n_cached for s in typed] == [50] * 64
