"""Several processes that train one model: data-parallel under torchrun.

Input: the environment that torchrun sets. Output: averaged gradients. Every rank computes its share
of each batch, the fp32 gradients are averaged in one call over the flat tensor, and every rank
makes the same update; so the weights stay equal without being sent.

    torchrun --nproc-per-node 2 -m codling.cli pretrain ...

A process that was killed is started again by torchrun (`--max-restarts`), with all others.

Not here: sharded weights (optim/sharded_optimizer.py), tensor, expert and pipeline parallelism.
"""

import os
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore, PrefixStore, Store
from torch.distributed import distributed_c10d
from torch.distributed.rendezvous import rendezvous


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; alone by default."""

    rank: int = 0
    n_ranks: int = 1
    per_row: int = 1
    """Neighbours that compute the same rows (tensor parallel)."""
    n_stages: int = 1
    """Processes that rows pass one after another (pipeline parallel): the first n / n_stages
    processes have the first layers."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """Which rows of every batch are this rank's."""
        each = batch_size // self.n_data
        place = self.rank // self.per_row % self.n_data
        return slice(place * each, (place + 1) * each)

    @property
    def n_data(self) -> int:
        """How many compute different rows."""
        return self.n_ranks // self.per_row // self.n_stages

    def average(self, gradient: Tensor, loss: Tensor) -> Tensor:
        """Average the gradient over the ranks in place; returns the average loss."""
        if self.n_ranks > 1:
            for each in (gradient, loss):
                dist.all_reduce(each)
                each.div_(self.n_ranks)
        return loss

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        if self.n_ranks > 1:
            dist.all_reduce(tensor)
        return tensor

    def agree(self, number: int) -> int:
        """Broadcast rank 0's number to all."""
        if self.n_ranks == 1:
            return number
        return round(self._sum(float(number if self.is_main else 0), torch.device("cpu")))

    def least(self, number: int) -> int:
        """The least of all ranks' numbers."""
        value = torch.tensor(number, dtype=torch.int64)
        if self.n_ranks > 1:
            dist.all_reduce(value, dist.ReduceOp.MIN)
        return int(value)

    def wait(self) -> None:
        """Barrier: wait until every rank is here."""
        if self.n_ranks > 1:
            dist.barrier()

    def _sum(self, number: float, device: torch.device) -> float:
        value = torch.tensor(number, dtype=torch.float64, device=device)
        dist.all_reduce(value)
        return float(value)


def join_ranks(*, seconds: float = 600.0, alone: bool = False) -> Ranks:
    """This process's place under torchrun; alone where torchrun did not start it.

    An operation of all ranks fails after so many `seconds`. `alone`: one process, too, is to be a
    group, for what is written in terms of one.
    """
    n_ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if n_ranks == 1 and not alone:
        return Ranks()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        waits = timedelta(seconds=seconds)
        if n_ranks == 1:
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=waits)
        else:
            store, rank, _ = next(rendezvous("env://", timeout=waits))
            store.set_timeout(waits)
            own = _meet_in_store(store, rank, n_ranks)
            dist.init_process_group(
                backend, store=own, rank=rank, world_size=n_ranks, timeout=waits
            )
    return Ranks(dist.get_rank(), n_ranks)


def limit_waiting() -> None:
    """Let every group of processes wait as long as the group of all does: torch gives 30 minutes to
    each one that is made later, as those of a mesh are."""
    whole = distributed_c10d._get_default_group()._get_backend(torch.device("cpu"))
    for group in distributed_c10d._world.pg_map:
        distributed_c10d._set_pg_timeout(whole.options._timeout, group)


def _meet_in_store(store: Store, rank: int, n_ranks: int) -> Store:
    """A part of the store in which no earlier attempt has written.

    torchrun keeps one store over all its restarts, and gloo would connect to addresses of processes
    that are dead. So the first process makes up a name and tells it to every other one that is
    there: under a token that no dead process knows.
    """
    if rank:
        token = secrets.token_hex(8)
        store.set(f"hello/{rank}", token)
        attempt = store.get(f"attempt-for/{token}").decode()
        store.set(f"{attempt}/here/{rank}", "")
        return PrefixStore(attempt, store)
    attempt, missing = f"attempt-{secrets.token_hex(8)}", set(range(1, n_ranks))
    while missing:
        for other in sorted(missing):
            store.set(f"attempt-for/{store.get(f'hello/{other}').decode()}", attempt)
        missing = {other for other in missing if not store.check([f"{attempt}/here/{other}"])}
        if missing:
            time.sleep(0.02)
    return PrefixStore(attempt, store)
