"""Loss and gradients of a step equal those of TRL's GRPOTrainer on the same batch, within 1e-5."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.names import published_name
from codling.checkpoint.store import save_hf
from codling.posttrain.config import ObjectiveConfig
from codling.posttrain.learner import Learner, Reference
from posttrain.test_grpo_objective import LONGEST, KeepGradients, make_lessons, make_model
from posttrain.tiny_base import SHAPE

pytest.importorskip("trl", reason="needs trl (extra peers)")


def theirs(folder: Path, settings: dict[str, Any]) -> Any:
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer  # type: ignore[import-not-found]

    words = Tokenizer(models.WordLevel({"x": 0, "<end>": 1}, unk_token="x"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", pad_token="<end>", unk_token="x"
    )
    args = GRPOConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=6,
        num_generations=2,
        max_completion_length=LONGEST,
        temperature=0.8,
        report_to=[],
        **settings,
    )
    return GRPOTrainer(
        model=LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=Dataset.from_list([{"prompt": "x"}] * 6),
        processing_class=tokenizer,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False},
        {"loss_type": "dapo", "beta": 0.0, "epsilon_high": 0.28},
        {"loss_type": "dr_grpo", "beta": 0.1, "delta": 1.5},
        {"loss_type": "cispo", "epsilon_high": 5.0},
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "beta": 0.04},
    ],
    ids=lambda each: str(each["loss_type"]),
)
def test_loss_and_gradients_are_those_of_trl(settings: dict[str, Any], tmp_path: Path) -> None:
    model, lessons = make_model(), make_lessons(6)
    save_hf(model, SHAPE, tmp_path, dtype=torch.float32)
    base = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    objective = ObjectiveConfig(
        **({"epsilon_high": None, "importance_sampling_correction": False} | settings)
    )
    kept, reference = KeepGradients(model), Reference(base)
    reference._model = model
    learner = Learner(
        model,
        kept,  # type: ignore[arg-type]
        objective,
        batch_size=6,
        temperature=0.8,
        max_completion_length=LONGEST,
        reference=reference if objective.beta else None,
    )
    # The lesson without an advantage has none in TRL either, but stands in its batch.
    notes = learner.learn(lessons, 1.0)

    trainer = theirs(tmp_path, settings)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    loss = trainer._compute_loss(trainer.model, batch_of(lessons, base, 0.8))
    loss.backward()
    assert notes.loss == pytest.approx(float(loss.detach()), abs=1e-5)
    gradients = {n: p.grad for n, p in trainer.model.named_parameters()}
    compared = 0
    for name, ours in kept.total.items():
        other = gradients.get(published_name(name))
        if other is not None:
            torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)
            compared += 1
    assert compared >= 18


def batch_of(lessons: list[Any], base: Any, temperature: float) -> dict[str, torch.Tensor]:
    """The lessons as TRL has them: prompts filled up on the left, answers on the right."""
    from posttrain.test_grpo_objective import plain_logprobs

    prompts = [lesson.rollout.prompt_ids for lesson in lessons]
    answers = [lesson.rollout.token_ids for lesson in lessons]
    wide, long = max(map(len, prompts)), max(map(len, answers))
    references = [plain_logprobs(base, lesson.rollout, temperature).detach() for lesson in lessons]
    mask = [[1] * len(a) + [0] * (long - len(a)) for a in answers]
    return {
        "prompt_ids": torch.tensor([[0] * (wide - len(p)) + list(p) for p in prompts]),
        "prompt_mask": torch.tensor([[0] * (wide - len(p)) + [1] * len(p) for p in prompts]),
        "completion_ids": torch.tensor([list(a) + [0] * (long - len(a)) for a in answers]),
        "completion_mask": torch.tensor(mask),
        "advantages": torch.tensor([lesson.advantage for lesson in lessons]),
        "ref_per_token_logps": torch.stack(
            [torch.cat([r, torch.zeros(long - len(r))]) for r in references]
        ),
        "num_items_in_batch": torch.tensor(sum(map(len, answers))),
    }
