"""Twenty losses of tune equal those of transformers' Trainer on the same batches, in fp32."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.core.files import read_json_lines
from codling.posttrain.config import TuneConfig
from codling.posttrain.tune import tune
from codling.posttrain.windows import Windows
from codling.tokens.dialogue_files import open_labelled, read_dialogue_meta
from codling.tokens.dialogues import DialoguesConfig, dialogues
from codling.train.config import OptimizerConfig, ScheduleConfig
from codling.train.parallel.ranks import Ranks

N_STEPS, ROWS, ACCUMULATE = 20, 2, 2


def write_rows(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    rows = (
        {"instruction": f"Count {i}", "output": " ".join(map(str, range(i % 9)))} for i in range(60)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_losses_are_those_of_the_trainer(base_dir: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    made = dialogues(
        DialoguesConfig(
            files=(write_rows(tmp_path),),
            tokenizer_dir=base_dir,
            out_dir=tmp_path / "dialogues",
            template="coder-v1",
            context=250,
            heldout_share=0.0,
        )
    ).path
    config = TuneConfig(
        model=base_dir,
        dialogues_dir=made,
        out_dir=tmp_path / "tuned",
        mode="full",
        full_rate_share=1.0,
        batch_size=ROWS,
        accumulate=ACCUMULATE,
        max_steps=N_STEPS,
        packing=False,
        group_by_length=False,
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=2e-3, betas=(0.9, 0.999), eps=1e-8, clip_norm=1.0
        ),
        schedule=ScheduleConfig(name="cosine", form="transformers", warmup_steps=5),
        precision="fp32",
        compile=False,
        device="cpu",
        threads=1,
    )
    ours = [row["loss"] for row in read_json_lines(tune(config).path / "metrics.jsonl")]

    meta = read_dialogue_meta(made)
    windows = Windows(open_labelled(made, "train"), 250, meta.eos, config.seed, packing=False)
    batches = [
        windows.micro_batch(i, ROWS, ACCUMULATE, Ranks())[:2] for i in range(N_STEPS * ACCUMULATE)
    ]
    theirs = trainer_losses(transformers, base_dir, batches, meta.eos, tmp_path / "theirs")
    assert len(ours) == len(theirs) == N_STEPS
    assert ours[-1] < ours[0] - 0.5
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-4


def trainer_losses(
    transformers: Any, model_dir: Path, batches: list[Any], filler: int, out_dir: Path
) -> list[float]:
    """The mean loss of every update; transformers shifts labels: a place more."""
    rows = [
        {
            "input_ids": torch.cat([inputs, torch.tensor([filler])]),
            "labels": torch.cat([torch.tensor([-100]), targets]),
        }
        for batch in batches
        for inputs, targets in zip(*batch, strict=True)
    ]
    seen: list[float] = []

    class Recording(transformers.Trainer):  # type: ignore[misc, name-defined]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(rows)  # type: ignore[arg-type]

        def training_step(self, *arguments: Any, **named: Any) -> Any:
            loss = super().training_step(*arguments, **named)
            seen.append(float(loss))
            return loss

    arguments = transformers.TrainingArguments(
        output_dir=str(out_dir),
        per_device_train_batch_size=ROWS,
        gradient_accumulation_steps=ACCUMULATE,
        max_steps=N_STEPS,
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        warmup_steps=5,
        max_grad_norm=1.0,
        optim="adamw_torch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    Recording(model=model, args=arguments, train_dataset=rows).train()
    sums = [seen[i : i + ACCUMULATE] for i in range(0, len(seen), ACCUMULATE)]
    return [sum(each) for each in sums]
