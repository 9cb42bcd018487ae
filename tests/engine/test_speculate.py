"""Drafts save passes and change nothing: the answers are those without them."""

import itertools
import random
from collections import Counter
from collections.abc import Sequence as Many
from dataclasses import replace

import numpy as np
import pytest
import torch

from codling.engine.draft import TokenDraft
from codling.engine.engine import Engine
from codling.engine.memory.recall import Recall
from codling.engine.request import SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.engine.speculate import Odds, Price, Speculation
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.packed.quantize import Bits
from codling.model.transformer import Transformer

DENSE = ModelConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    max_position=256,
    init_std=0.3,
)
LATENT = replace(
    DENSE,
    n_kv_heads=None,
    mla=MLAConfig(kv_lora_rank=24, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16),
    moe=MoEConfig(
        n_routed_experts=8, n_shared_experts=1, n_experts_per_token=2, moe_intermediate_size=16
    ),
)
KINDS = {
    "plain": (DENSE, torch.float32, False, False),
    "compiled": (DENSE, torch.float32, True, False),
    "bfloat16": (DENSE, torch.bfloat16, True, False),
    "int8": (DENSE, torch.bfloat16, True, True),
    "latent experts": (LATENT, torch.float32, False, False),
    "compiled latent experts": (LATENT, torch.float32, True, False),
}


class Free(Price):
    """Drafts are always worth a try."""

    def of(self, n_sequences: int) -> float:  # noqa: ARG002 -- as Price
        return 0.0


class Guesses:
    """Proposes a known answer, with a wrong token at each `wrong_every`-th place."""

    def __init__(self, n_prompt: int, answer: Many[int], wrong_every: int) -> None:
        self._n_prompt, self._answer, self._every = n_prompt, answer, wrong_every

    def propose(self, tokens: Many[int], n: int) -> TokenDraft:
        start = len(tokens) - self._n_prompt
        places = range(start, min(start + n, len(self._answer)))
        wrong = [i % self._every == self._every - 1 for i in places]
        drafted = [(self._answer[i] + w) % 97 for i, w in zip(places, wrong, strict=True)]
        return TokenDraft(drafted, 5, True)


def engine_of(kind: str, n_slots: int = 4) -> Engine:
    shape, dtype, fuse, is_packed = KINDS[kind]
    model = Transformer(shape, torch.Generator().manual_seed(1)).to(dtype)
    bits: Bits | None = 8 if is_packed else None
    engine = Engine(Runner(model, n_slots=n_slots, max_length=128, fuse=fuse, bits=bits))
    engine.price = Free()
    return engine


def run(engine: Engine, sequences: list[Sequence]) -> int:
    """Compute them all; gives the number of passes."""
    for sequence in sequences:
        engine.add(sequence)
    n_passes = 0
    while engine.busy:
        engine.step()
        n_passes += 1
    engine.runner.close()
    return n_passes


def output(sequence: Sequence) -> list[int]:
    return sequence.tokens[len(sequence.prompt_ids) :]


def prompts_of(*lengths: int) -> list[list[int]]:
    numbers = random.Random(0)
    return [[numbers.randrange(97) for _ in range(n)] for n in lengths]


def guessing(prompt: list[int], params: SamplingParams, answer: list[int], every: int) -> Sequence:
    sequence = Sequence(prompt, params)
    sequence.speculation = Speculation(Guesses(len(prompt), answer, every), Odds())
    return sequence


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_are_those_without_drafts(kind: str, temperature: float) -> None:
    params = SamplingParams(max_tokens=24, temperature=temperature, top_p=0.95, seed=5)
    prompts = prompts_of(3, 17, 5)
    plain = [Sequence(p, params) for p in prompts]
    run(engine_of(kind), plain)
    drafted = [
        guessing(p, params, output(s), every)
        for p, s, every in zip(prompts, plain, (2, 3, 7), strict=True)
    ]
    n_passes = run(engine_of(kind), drafted)
    assert [output(s) for s in drafted] == [output(s) for s in plain]
    assert n_passes < 20
    assert all(s.speculation is not None and s.speculation.n_accepted >= 8 for s in drafted)


def test_a_rejected_draft_is_no_part_of_a_later_prompt() -> None:
    prompt = prompts_of(20)[0]
    params = SamplingParams(max_tokens=9)
    plain = Sequence(prompt, replace(params, max_tokens=21))
    run(engine_of("compiled"), [plain])
    engine = engine_of("compiled")
    first = guessing(prompt, params, output(plain), every=4)
    run(engine, [first])
    later = Sequence(first.tokens, SamplingParams(max_tokens=12))
    run(engine, [later])
    assert output(first) + output(later) == output(plain)
    assert later.n_cached == 28


def test_two_right_tokens_and_a_wrong_one_make_three_tokens_in_one_pass() -> None:
    (prompt,) = prompts_of(6)
    plain = Sequence(prompt, SamplingParams(max_tokens=8))
    run(engine_of("compiled"), [plain])
    # Of places 1, 2, 3, 4, 5 the guess for 3 is wrong; the first token comes with the prompt.
    engine, sequence = engine_of("compiled"), guessing(prompt, plain.params, output(plain), 4)
    engine.add(sequence)
    assert [t.id for t in engine.step()] == output(plain)[:1]
    assert [t.id for t in engine.step()] == output(plain)[1:4]
    speculation = sequence.speculation
    assert speculation is not None
    # Seven tokens may come, of which the last needs no guess.
    assert (speculation.n_drafted, speculation.n_accepted) == (6, 2)
    assert sequence.n_done == len(sequence.tokens) - 1 == 9
    engine.runner.close()


@pytest.mark.parametrize("fused", [False, True])
def test_a_draft_ends_at_the_limits(fused: bool) -> None:
    kind = "compiled" if fused else "plain"
    (prompt,) = prompts_of(120)
    plain = Sequence(prompt, SamplingParams(max_tokens=50))
    run(engine_of(kind), [plain])
    drafted = guessing(prompt, plain.params, output(plain), every=99)
    run(engine_of(kind), [drafted])
    assert (len(drafted.tokens), drafted.finish_reason) == (128, "length")
    assert drafted.tokens == plain.tokens
    ended = guessing(prompt, plain.params, output(plain), every=99)
    ended.end_ids = frozenset([output(plain)[3]])
    run(engine_of(kind), [ended])
    assert output(ended) == output(plain)[: output(plain).index(output(plain)[3]) + 1]


def test_a_sequence_that_is_finished_at_a_token_takes_none_of_the_rest() -> None:
    (prompt,) = prompts_of(6)
    plain = Sequence(prompt, SamplingParams(max_tokens=8))
    run(engine_of("compiled"), [plain])
    engine, sequence = engine_of("compiled"), guessing(prompt, plain.params, output(plain), 99)
    engine.add(sequence)
    for token in itertools.chain(engine.next_tokens(), engine.next_tokens()):
        if sequence.n_output == 3:
            engine.finish(token.sequence, "stop")
    assert output(sequence) == output(plain)[:3]
    assert not engine.busy
    engine.runner.close()


class Mixed(Recall):
    """Half the model, half token 3."""

    def __init__(self) -> None:
        pass

    def mix(self, logits_V: np.ndarray) -> None:
        weights = np.exp(logits_V - logits_V.max())
        shares = 0.5 * weights / weights.sum() + 0.5 * (np.arange(len(weights)) == 3)
        logits_V[:] = np.log(shares)

    def accept(self, token_id: int) -> None:
        pass


class Always:
    """Proposes one token again and again."""

    def propose(self, tokens: Many[int], n: int) -> TokenDraft:  # noqa: ARG002 -- as DraftSource
        return TokenDraft([3] * n, 1, True)


@torch.inference_mode()
def exact_third(model: Transformer, prompt: list[int], mixed: bool) -> np.ndarray:
    """The distribution of the third generated token, over all pairs of tokens before it."""
    n = model.config.vocab_size
    texts = [[*prompt, a, b] for a in range(n) for b in range(n)]
    logits = model.logits(model(torch.tensor(texts))[:, len(prompt) - 1 :]).double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if mixed:
        shares = 0.5 * shares + 0.5 * (np.arange(n) == 3)
    total = np.zeros(n)
    for (*_, a, b), (first, second, third) in zip(texts, shares, strict=True):
        total += first[a] * second[b] * third
    return total


@pytest.mark.parametrize("mixed", [False, True])
def test_sampled_tokens_keep_their_distribution(mixed: bool) -> None:
    shape = replace(DENSE, vocab_size=7)
    model = Transformer(shape, torch.Generator().manual_seed(2))
    expected = exact_third(model, [1, 2], mixed)
    engine = Engine(Runner(model, n_slots=8, max_length=32))
    engine.price = Free()
    sequences = [
        Sequence([1, 2], SamplingParams(max_tokens=3, temperature=1.0, seed=i)) for i in range(300)
    ]
    for sequence in sequences:
        sequence.recall = Mixed() if mixed else None
        sequence.speculation = Speculation(Always(), Odds())
    engine.max_waiting = 300
    run(engine, sequences)
    counts = Counter(output(s)[2] for s in sequences)
    observed = np.array([counts[i] for i in range(7)])
    # Six degrees of freedom: 22.5 is passed once in a thousand.
    assert ((observed - 300 * expected) ** 2 / (300 * expected)).sum() < 22.5
    accepted = sum(s.speculation.n_accepted for s in sequences if s.speculation)
    assert 10 < accepted < 290


def lengths_tried(speculation: Speculation, n: int, *, right: bool) -> list[int]:
    """How many tokens are tried at each of `n` places, whose first token is `right` or not."""
    lengths = []
    for _ in range(n):
        lengths.append(len(speculation.plan([3], 8, 0.3)))
        while speculation.judge(3 if right else 4):
            pass
    return lengths


def test_drafts_that_fail_are_no_longer_tried_and_those_that_come_right_are_again() -> None:
    speculation = Speculation(Always(), Odds().of_one_sequence())
    failing = lengths_tried(speculation, 100, right=False)
    assert sum(failing) <= 1
    assert failing[-50:] == [0] * 50
    coming_right = lengths_tried(speculation, 60, right=True)
    assert coming_right[0] == 0
    assert coming_right[-1] == 8


def test_what_one_sequence_learns_the_next_one_knows() -> None:
    known = Odds()
    lengths_tried(Speculation(Always(), known.of_one_sequence()), 100, right=True)
    assert lengths_tried(Speculation(Always(), known.of_one_sequence()), 1, right=True) == [8]


def test_a_token_costs_what_it_adds_to_a_pass() -> None:
    price = Price()
    assert price.of(2) == 1.0  # nothing is known of such a pass
    price.record(2, 0, 0.010)
    for _ in range(200):
        price.record(2, 5, 0.015)
    # A pass gives two tokens in 10 ms, 5 ms each; one more took 1 ms.
    assert price.of(2) == pytest.approx(0.2, abs=0.001)
    for _ in range(200):
        price.record(2, 5, 0.010)
    assert price.of(2) == 0.02
    for _ in range(200):
        price.record(2, 1, 1.0)
    assert price.of(2) == 1.0
