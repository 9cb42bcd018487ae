"""GRPO's loss and gradients are those of a plain implementation, answer by answer."""

import copy
import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codling.core.errors import ConfigError
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.posttrain.answer_rows import Lesson, arrange, lay_out
from codling.posttrain.config import PUBLISHED, GrpoConfig, ObjectiveConfig
from codling.posttrain.learner import Learner, Reference, token_logprobs
from codling.posttrain.lora import add_lora
from codling.posttrain.objective import advantages, find_equal_groups, punish_length
from codling.posttrain.rollout import Rollout
from codling.train.optim.optimizer import Optimizer
from posttrain.tiny_base import LATENT, SHAPE

LONGEST = 12
LATENT_HEADS = replace(LATENT, vocab_size=SHAPE.vocab_size)
GROUPED_HEADS = replace(SHAPE, n_heads=4, n_kv_heads=2)


class KeepGradients:
    """In place of an optimiser: adds gradients up, and changes nothing."""

    def __init__(self, model: Transformer) -> None:
        self.model = model
        self.total: dict[str, Tensor] = {}

    def add_gradients(self, *, first: bool) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                before = 0.0 if first or name not in self.total else self.total[name]
                self.total[name] = before + parameter.grad
                parameter.grad = None

    def step(self, rate: float, *, n_summed: int = 1) -> Tensor:  # noqa: ARG002
        return torch.zeros(())


def make_model() -> Transformer:
    return Transformer(SHAPE, torch.Generator().manual_seed(0))


def make_lessons(n: int, seed: int = 0) -> list[Lesson]:
    generator = torch.Generator().manual_seed(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        length = int(torch.randint(low, high, (1,), generator=generator))
        return tuple(torch.randint(0, SHAPE.vocab_size, (length,), generator=generator).tolist())

    lessons = []
    for number in range(n):
        answer = ids(1, LONGEST + 1)
        noise = torch.randn(len(answer), generator=generator).tolist()
        rollout = Rollout(
            prompt_ids=ids(2, 9),
            token_ids=answer,
            logprobs=tuple(-6.0 + 0.5 * value for value in noise),
            text="",
            ended=number % 3 > 0,
        )
        value = float(torch.randn(1, generator=generator))
        lessons.append(Lesson(rollout=rollout, advantage=value if number else 0.0))
    return lessons


def plain_logprobs(model: Transformer, rollout: Rollout, temperature: float) -> Tensor:
    """Token by token from all logits of this answer alone."""
    whole = torch.tensor([*rollout.prompt_ids, *rollout.token_ids])
    scores = model.logits(model(whole[None, :-1]))[0].div(temperature).log_softmax(-1)
    n = len(rollout.prompt_ids)
    return torch.stack([scores[i - 1, whole[i]] for i in range(n, len(whole))])


def plain_weights(now: Tensor, rollout: Rollout, objective: ObjectiveConfig) -> Tensor:
    """What makes the sampler's tokens the learner's."""
    gap = now.detach() - torch.tensor(rollout.logprobs)
    if "sequence" in objective.importance_sampling_mode:
        gap = gap.sum().expand(len(now))
    most = objective.importance_sampling_clip_max
    if "truncate" in objective.importance_sampling_mode:
        return gap.exp().clamp(max=most)
    return torch.where(gap.exp() <= most, gap.exp(), 0.0)


def plain_term(ratio: Tensor, now: Tensor, a: float, objective: ObjectiveConfig) -> Tensor:
    """The clipped loss of one token."""
    if objective.loss_type == "cispo":
        return -min(float(ratio.detach()), objective.high) * a * now
    bounded = ratio if objective.delta is None else ratio.clamp(max=objective.delta)
    held = ratio.clamp(1 - objective.epsilon, 1 + objective.high)
    return -torch.min(bounded * a, held * a)


def plain_answer(
    models: tuple[Transformer, Transformer],
    lesson: Lesson,
    objective: ObjectiveConfig,
    temperature: float,
) -> Tensor:
    """The losses of one answer's tokens."""
    now, reference = (plain_logprobs(each, lesson.rollout, temperature) for each in models)
    weights = plain_weights(now, lesson.rollout, objective)
    terms = []
    for i in range(len(now)):
        ratio = (now[i] - now[i].detach()).exp()
        if objective.importance_sampling_level == "sequence":
            ratio = (now - now.detach()).mean().exp()
        term = plain_term(ratio, now[i], lesson.advantage, objective)
        if objective.importance_sampling_correction:
            term = term * weights[i]
        d = reference[i].detach() - now[i]
        k3 = d.exp() - d - 1
        weight = ratio if objective.use_bias_correction_kl else 1.0
        terms.append(term + objective.beta * k3 * weight)
    return torch.stack(terms)


def plain_loss(
    model: Transformer,
    base: Transformer,
    lessons: list[Lesson],
    objective: ObjectiveConfig,
    temperature: float,
) -> Tensor:
    """The published formulas, one token after the other."""
    seen = [e for e in lessons if e.rollout.ended or not objective.mask_truncated_completions]
    answers = [plain_answer((model, base), each, objective, temperature) for each in seen]
    if objective.loss_type == "grpo":
        return torch.stack([each.mean() for each in answers]).sum() / len(lessons)
    total = torch.cat(answers).sum()
    if objective.loss_type == "dr_grpo":
        return total / (len(lessons) * LONGEST)
    return total / sum(map(len, answers))


OBJECTIVES: list[dict[str, Any]] = [
    dict(vars(PUBLISHED)),
    {"loss_type": "dapo"},
    {"loss_type": "dr_grpo", "beta": 0.1},
    {"loss_type": "grpo", "delta": 1.5, "beta": 0.2, "use_bias_correction_kl": False},
    {"loss_type": "cispo", "epsilon_high": 5.0},
    {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    {"importance_sampling_correction": False, "mask_truncated_completions": True},
    *(
        {"importance_sampling_mode": f"{level}_{bound}", "importance_sampling_clip_max": 1.2}
        for level, bound in product(("token", "sequence"), ("truncate", "mask"))
    ),
]


@pytest.mark.parametrize("settings", OBJECTIVES, ids=lambda each: "-".join(map(str, each.values())))
def test_loss_and_gradients_equal_a_plain_implementation(settings: dict[str, Any]) -> None:
    objective = ObjectiveConfig(**settings)
    base, model = make_model(), make_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    twin, lessons = copy.deepcopy(model), make_lessons(7)
    kept = KeepGradients(model)
    learner = Learner(
        model,
        kept,  # type: ignore[arg-type]
        objective,
        batch_size=3,
        temperature=0.8,
        max_completion_length=LONGEST,
        reference=Reference(base) if objective.beta else None,
    )
    if learner._reference is not None:
        learner._reference._model = model
    notes = learner.learn(lessons, 1.0)
    expected = plain_loss(twin, base, lessons, objective, 0.8)
    expected.backward()
    assert notes.loss == pytest.approx(float(expected.detach()), abs=1e-5)
    for name, parameter in twin.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(kept.total[name], parameter.grad, atol=1e-5, rtol=1e-4)


def with_shared_prompts(lessons: list[Lesson]) -> list[Lesson]:
    """Every third lesson keeps its prompt; those after it are answers to it too."""
    prompts = [lessons[i - i % 3].rollout.prompt_ids for i in range(len(lessons))]
    pairs = zip(lessons, prompts, strict=True)
    return [replace(e, rollout=replace(e.rollout, prompt_ids=prompt)) for e, prompt in pairs]


@pytest.mark.parametrize("shape", [LATENT_HEADS, GROUPED_HEADS], ids=["latent", "grouped"])
@pytest.mark.parametrize("batch_size", [2, 8])
def test_answers_that_share_their_prompt_learn_as_each_alone(
    shape: ModelConfig, batch_size: int
) -> None:
    model = Transformer(shape, torch.Generator().manual_seed(0))
    twin, lessons, kept = (
        copy.deepcopy(model),
        with_shared_prompts(make_lessons(8)),
        KeepGradients(model),
    )
    learner = Learner(
        model,
        kept,  # type: ignore[arg-type]
        ObjectiveConfig(),
        batch_size=batch_size,
        temperature=0.8,
        max_completion_length=LONGEST,
    )
    notes = learner.learn(lessons, 1.0)
    expected = plain_loss(twin, twin, lessons, ObjectiveConfig(), 0.8)
    expected.backward()
    assert notes.loss == pytest.approx(float(expected.detach()), abs=1e-5)
    for name, parameter in twin.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(kept.total[name], parameter.grad, atol=1e-5, rtol=1e-4)


def test_a_prompt_stands_once_before_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(prompt: tuple[int, ...], *ids: int) -> Lesson:
        rollout = Rollout(
            prompt_ids=prompt, token_ids=ids, logprobs=(-1.0,) * len(ids), text="", ended=True
        )
        return Lesson(rollout=rollout, advantage=1.0)

    lessons = [answer((7, 8), 1, 2, 3), answer((9,), 4), answer((7, 8), 5, 6)]
    ((first, second),) = arrange(lessons, 3)
    assert [len(row) for row in (first, second)] == [1, 2]
    rows = lay_out([first, second], torch.device("cpu"), torch.float32)
    assert rows.inputs_RL.tolist() == [[9, 0, 0, 0, 0], [7, 8, 5, 1, 2]]
    assert rows.branches is not None
    assert rows.branches.positions_BL[1].tolist() == [0, 1, 2, 2, 3]
    assert rows.targets_BT.tolist() == [[4, 0, 0], [5, 6, 0], [1, 2, 3]]
    assert rows.places_BT.tolist() == [[0, 0, 0], [6, 7, 0], [6, 8, 9]]
    monkeypatch.setattr("codling.posttrain.answer_rows._MAX_ROW", 4)
    assert [sorted(map(len, rows)) for rows in arrange(lessons, 3)] == [[1, 1, 1]]


def test_with_lora_the_reference_is_the_base() -> None:
    base = make_model()
    model = copy.deepcopy(base)
    layers = add_lora(model, 4, 8.0, torch.Generator().manual_seed(1))
    for layer in layers:
        layer.lora_B.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(2))
    twin, lessons, kept = copy.deepcopy(model), make_lessons(4), KeepGradients(model)
    learner = Learner(
        model,
        kept,  # type: ignore[arg-type]
        PUBLISHED,
        batch_size=2,
        temperature=1.0,
        max_completion_length=LONGEST,
        reference=Reference(model),
    )
    notes = learner.learn(lessons, 1.0)
    expected = plain_loss(twin, base, lessons, PUBLISHED, 1.0)
    assert notes.loss == pytest.approx(float(expected.detach()), abs=1e-5)
    assert notes.divergence > 0
    assert set(kept.total) == {n for n, p in model.named_parameters() if p.requires_grad}


def test_the_second_pass_clips_against_the_first() -> None:
    model, lessons = make_model(), make_lessons(4)

    class Moves(KeepGradients):
        def step(self, rate: float, *, n_summed: int = 1) -> Tensor:  # noqa: ARG002
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.sub_(3.0 * self.total[name])
            return torch.zeros(())

    objective = ObjectiveConfig(importance_sampling_correction=False)
    moves: Optimizer = Moves(model)  # type: ignore[assignment]
    learner = Learner(
        model,
        moves,
        objective,
        batch_size=4,
        temperature=1.0,
        max_completion_length=LONGEST,
        num_iterations=2,
    )
    notes = learner.learn(lessons, 1.0)
    assert 0 < notes.clipped < notes.n_tokens
    assert len(notes.norms) == 2


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    plain = advantages(rewards, ObjectiveConfig())
    assert plain.tolist() == [[0.75, -0.25, -0.25, -0.25], [0.0] * 4]
    by_group = advantages(rewards, PUBLISHED)
    assert by_group[0].tolist() == pytest.approx([0.75 / 0.5001] + [-0.25 / 0.5001] * 3)
    spread = float(rewards.std())
    by_batch = advantages(rewards, ObjectiveConfig(scale_rewards="batch"))
    assert by_batch[0, 0] == pytest.approx(0.75 / (spread + 1e-4))
    assert find_equal_groups(rewards).tolist() == [False, True]


def test_a_lost_answer_counts_neither_way() -> None:
    rewards = torch.tensor([[1.0, 0.0, math.nan]])
    assert advantages(rewards, ObjectiveConfig()).tolist() == [[0.5, -0.5, 0.0]]
    assert find_equal_groups(torch.tensor([[math.nan] * 3, [1.0, math.nan, 1.0]])).all()


def test_length_costs_evenly_up_to_one() -> None:
    assert [punish_length(n, 100, 20) for n in (1, 80, 85, 100)] == [0, 0, -0.25, -1]
    assert punish_length(100, 100, 0) == 0


def test_logprobs_by_chunks_are_those_of_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codling.posttrain.learner._CHUNK_LOGITS", 30)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 4, generator=generator, requires_grad=True)
    weight = torch.randn(10, 4, generator=generator, requires_grad=True)
    targets = torch.tensor([0, 9, 3, 3, 1, 0, 5])
    found = token_logprobs(hidden, weight, targets, 2.0)
    plain = (hidden @ weight.t() / 2.0).log_softmax(-1)[torch.arange(7), targets]
    torch.testing.assert_close(found, plain)
    weights = torch.randn(7, generator=generator)
    ours = torch.autograd.grad((found * weights).sum(), (hidden, weight))
    theirs = torch.autograd.grad((plain * weights).sum(), (hidden, weight))
    torch.testing.assert_close(ours, theirs)


def settings(**given: Any) -> GrpoConfig:
    return GrpoConfig(model=Path("model"), **given)


def test_settings_that_contradict_each_other_are_one_line() -> None:
    assert settings(faithful=True).objective == PUBLISHED
    assert settings(beta=0.1).objective == ObjectiveConfig(beta=0.1)
    with pytest.raises(ConfigError, match="faithful decides beta"):
        settings(faithful=True, beta=0.1)
    with pytest.raises(ConfigError, match="no multiple of num_generations"):
        settings(batch_size=3, accumulate=1)
    with pytest.raises(ConfigError, match="reward_model_dir"):
        settings(reward="both")
