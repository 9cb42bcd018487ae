"""Batched, cached generation equals recomputing everything for every token."""

import random
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch

from codling.core.errors import RequestError
from codling.engine.engine import Engine
from codling.engine.request import BusyError, SamplingParams
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.model.config import MLAConfig, ModelConfig, MoEConfig
from codling.model.transformer import Transformer

MHA = ModelConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=64,
    n_layers=2,
    n_heads=4,
    max_position=256,
    init_std=0.3,
)
SHAPES = {
    "mha": MHA,
    "gqa": replace(MHA, n_kv_heads=2),
    "mqa-bias-tied": replace(MHA, n_kv_heads=1, attention_bias=True, tie_embeddings=True),
    "mla-moe": replace(
        MHA,
        mla=MLAConfig(kv_lora_rank=24, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16),
        moe=MoEConfig(
            n_routed_experts=8,
            n_shared_experts=1,
            n_experts_per_token=2,
            moe_intermediate_size=16,
        ),
    ),
}
PLAIN_AND_FUSED = [(shape, fuse) for shape in SHAPES for fuse in (False, True)]


class Case(NamedTuple):
    """A random model, decoded by the plain model or by the compiled loop."""

    model: Transformer
    fuse: bool

    def engine(self, n_slots: int = 4) -> Engine:
        return Engine(Runner(self.model, n_slots=n_slots, max_length=128, fuse=self.fuse))


@pytest.fixture(params=PLAIN_AND_FUSED, ids=lambda p: f"{p[0]}-{'fused' if p[1] else 'plain'}")
def case(request: pytest.FixtureRequest) -> Case:
    shape, fuse = request.param
    return Case(Transformer(SHAPES[shape], torch.Generator().manual_seed(1)), fuse)


@torch.inference_mode()
def recomputed(model: Transformer, prompt: list[int], n: int) -> list[int]:
    """Greedy tokens the plain way: the whole text again for each token."""
    tokens = list(prompt)
    for _ in range(n):
        logits = model.logits(model(torch.tensor([tokens]))[:, -1])
        tokens.append(int(logits.argmax()))
    return tokens[len(prompt) :]


def prompts_of(lengths: list[int], seed: int = 0) -> list[list[int]]:
    numbers = random.Random(seed)
    return [[numbers.randrange(97) for _ in range(n)] for n in lengths]


def run(engine: Engine, sequences: list[Sequence]) -> list[list[int]]:
    for sequence in sequences:
        engine.add(sequence)
    while engine.busy:
        engine.step()
    return [s.tokens[len(s.prompt_ids) :] for s in sequences]


def greedy(prompts: list[list[int]], n: int = 12) -> list[Sequence]:
    return [Sequence(p, SamplingParams(max_tokens=n)) for p in prompts]


@pytest.mark.long
def test_unequal_prompts_in_one_batch_equal_plain_recomputation(case: Case) -> None:
    prompts = prompts_of([1, 7, 30, 3, 55, 18, 2])
    got = run(case.engine(), greedy(prompts))
    assert got == [recomputed(case.model, p, 12) for p in prompts]


@pytest.mark.long
def test_prompts_longer_than_a_chunk_equal_plain_recomputation(case: Case) -> None:
    engine = case.engine()
    engine.scheduler._chunk, engine.scheduler._budget = 16, 40
    prompts = prompts_of([100, 5, 33, 17, 90])
    assert run(engine, greedy(prompts)) == [recomputed(case.model, p, 12) for p in prompts]


@pytest.mark.long
def test_requests_that_join_and_leave_between_steps_do_not_disturb_others(
    case: Case,
) -> None:
    engine, numbers = case.engine(), random.Random(3)
    todo = [
        Sequence(p, SamplingParams(max_tokens=numbers.randrange(1, 20)))
        for p in prompts_of([numbers.randrange(1, 60) for _ in range(12)], seed=4)
    ]
    sequences = list(todo)
    while todo or engine.busy:
        if todo and numbers.random() < 0.3:
            engine.add(todo.pop())
        engine.step()
    for s in sequences:
        assert s.tokens[len(s.prompt_ids) :] == recomputed(case.model, s.prompt_ids, s.n_output)
        assert s.n_output == s.params.max_tokens


def test_a_shared_prefix_is_taken_over_and_changes_nothing(case: Case) -> None:
    engine, (start, a, b, c) = case.engine(), prompts_of([40, 5, 9, 3])
    first = greedy([start + a])
    run(engine, first)
    later = greedy([[*first[0].tokens, 5, 6], start + b, start + c])
    got = run(engine, later)
    assert got == [recomputed(case.model, s.prompt_ids, 12) for s in later]
    assert [s.n_cached for s in later] == [56, 40, 40]


def test_choices_of_one_prompt_compute_the_prompt_once(case: Case) -> None:
    engine, (prompt,) = case.engine(), prompts_of([50])
    sequences = greedy([prompt] * 4)
    assert run(engine, sequences) == [recomputed(case.model, prompt, 12)] * 4
    assert [s.n_cached for s in sequences] == [0, 49, 49, 49]


@pytest.mark.long
def test_the_same_seed_gives_the_same_tokens_in_any_batch(case: Case) -> None:
    prompts = prompts_of([9, 20, 4, 31, 12])
    params = SamplingParams(max_tokens=15, temperature=1.0, top_p=0.9, seed=11)
    alone = [run(case.engine(), [Sequence(p, params)])[0] for p in prompts]
    together = run(case.engine(), [Sequence(p, params) for p in prompts])
    assert alone == together
    other = run(case.engine(), [Sequence(p, replace(params, seed=12)) for p in prompts])
    assert other != together


def test_a_finished_request_frees_its_slot_at_once() -> None:
    model = Transformer(MHA, torch.Generator().manual_seed(1))
    engine = Case(model, False).engine(n_slots=1)
    one, two = greedy(prompts_of([4, 5]))
    engine.add(one)
    engine.add(two)
    engine.step()
    assert engine.scheduler.running == [one]
    engine.finish(one, "cancelled")
    engine.step()
    assert engine.scheduler.running == [two]
    while engine.busy:
        engine.step()
    assert two.tokens[5:] == recomputed(model, two.prompt_ids, 12)


def test_generation_ends_at_the_end_token_and_at_the_context() -> None:
    model = Transformer(MHA, torch.Generator().manual_seed(1))
    (prompt,) = prompts_of([6])
    tokens = recomputed(model, prompt, 12)
    ended = Sequence(prompt, SamplingParams(max_tokens=12), frozenset([tokens[3]]))
    (got,) = run(Case(model, False).engine(), [ended])
    assert got == tokens[: tokens.index(tokens[3]) + 1]
    assert ended.finish_reason == "stop"
    (long,) = greedy(prompts_of([120]), n=50)
    run(Case(model, False).engine(), [long])
    assert (len(long.tokens), long.finish_reason) == (128, "length")


def test_a_full_queue_refuses_further_requests() -> None:
    engine = Engine(Runner(Transformer(MHA), n_slots=1, max_length=64), max_waiting=2)
    one, two, three = greedy(prompts_of([3, 3, 3]))
    engine.add(one)
    engine.add(two)
    with pytest.raises(BusyError, match="2 requests are waiting already"):
        engine.add(three)


def test_senseless_parameters_name_themselves() -> None:
    wrong: dict[str, Any] = {"temperature": -1.0, "top_p": 0.0, "max_tokens": 0, "stop": ("",)}
    for name, value in wrong.items():
        with pytest.raises(RequestError, match=name) as caught:
            SamplingParams(**{name: value})
        assert caught.value.param == name
