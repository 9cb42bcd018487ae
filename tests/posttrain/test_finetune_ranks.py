"""The published command on two processes: it ends with 0, and the weights are whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from posttrain.test_finetune import EXAMPLE, words


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "--faithful"])
def test_two_processes_end_with_a_whole_model(base_dir: Path, tmp_path: Path, more: str) -> None:
    transformers = pytest.importorskip("transformers")
    rows = [{"instruction": f"Number {i}?", "output": f"It is {i}."} for i in range(64)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = {"MODEL": base_dir, "DATA": tmp_path / "rows.jsonl", "OUT": tmp_path / "out"}
    told = words(tmp_path, more=f"--model_max_length 256 --num_train_epochs 1 --no_cuda {more}")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    done = subprocess.run(
        [*launch, str(EXAMPLE), *(str(places.get(word, word)) for word in told)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    before = transformers.AutoModelForCausalLM.from_pretrained(base_dir).state_dict()
    after = model.state_dict()
    assert {n: w.shape for n, w in after.items()} == {n: w.shape for n, w in before.items()}
    assert any((after[name].float() - w.float()).abs().max() > 0 for name, w in before.items())
