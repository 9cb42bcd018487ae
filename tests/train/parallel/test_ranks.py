"""Two processes over gloo against one."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from codling.train.parallel.ranks import Ranks, join_ranks, limit_waiting
from codling.train.pretrain import PretrainConfig, pretrain


def test_ranks_share_the_rows_of_a_batch() -> None:
    assert [Ranks(r, 2).rows(6) for r in range(2)] == [slice(0, 3), slice(3, 6)]


def test_alone_nothing_is_averaged() -> None:
    gradient = torch.ones(3)
    assert Ranks().average(gradient, torch.tensor(2.5)) == 2.5
    assert gradient.tolist() == [1.0, 1.0, 1.0]


def test_every_group_of_processes_waits_as_long_as_that_of_all() -> None:
    join_ranks(seconds=17.0, alone=True)
    try:
        later = dist.new_group(backend="gloo")
        limit_waiting()
        assert later._get_backend(torch.device("cpu")).options._timeout == timedelta(seconds=17)
    finally:
        dist.destroy_process_group()


@pytest.mark.long
def test_a_process_ends_soon_where_a_thread_still_waits() -> None:
    program = (
        "import threading, time\n"
        "from codling.train.parallel.lost_ranks import end_soon\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "end_soon(0.1)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=600, check=False).returncode == 2


@pytest.mark.long
def test_two_processes_train_the_same_model_as_one(
    pretrain_config: Callable[..., PretrainConfig], tmp_path: Path
) -> None:
    settings = {"precision": "fp32", "max_steps": 5}
    alone = pretrain(pretrain_config(**settings, out_dir=tmp_path / "alone"))
    together = pretrain_config(**settings, out_dir=tmp_path / "together")
    program = tmp_path / "train.py"
    program.write_text(
        "from pathlib import Path, PosixPath\n"
        "from codling.model.config import *\n"
        "from codling.train.config import *\n"
        "from codling.train.pretrain import PretrainConfig, pretrain\n"
        "import torch.distributed as dist\n"
        f"print(pretrain({together!r}).id)\n"
        "dist.destroy_process_group()\n"
    )
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared["MASTER_PORT"] = str(free.getsockname()[1])
    ranks = [
        subprocess.Popen(
            [sys.executable, program], env=shared | {"RANK": str(r)}, stdout=subprocess.PIPE
        )
        for r in range(2)
    ]
    said = [rank.communicate(timeout=600)[0].decode().strip() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert said == [alone.id, alone.id]
    expected = load_file(alone.path / "model.safetensors")
    got = load_file(together.out_dir / "model.safetensors")
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=1e-3, rtol=1e-2)
