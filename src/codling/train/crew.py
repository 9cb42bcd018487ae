"""Processes of one machine that share every batch, one thread each.

Threads of one process wait for each other at every operation, hundreds of times a step: beside a
busy neighbour each wait costs a slice of the scheduler. Processes that compute their rows alone
meet three times a step, and the machine's share that is theirs is used up to the last.

Input: how many. The members are forked when the model is compiled, so that its code and weights
are there at once, and hear orders from the first process until that ends. What they share lies
in anonymous memory (no /dev/shm, which containers keep small): the weights, a gradient for each
member, the optimiser's state. Sums are taken in the order of the members: the same
number of them gives the same bits.

Not here: what a member computes (trainer.py), processes that torchrun started (parallel/ranks.py).
"""

import ctypes
import math
import mmap
import os
import signal
import struct
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from codling.core.errors import ConfigError, StorageError
from codling.core.threads import available_cores
from codling.model.device import choose_device
from codling.model.transformer import Transformer
from codling.train.config import LoopConfig
from codling.train.loader import Batches, take_part

_ORDER = struct.Struct("<Bqdd")
_GO = b"\1"
_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
_MIN_BUSY_SHARE, _MIN_TOKENS, _MAX_GRADIENT_BYTES = 0.75, 256, 1 << 30
"""When processes are worth it: the share of the cores that have rows, the tokens of each, and the
memory of all gradients but one."""


class Do(IntEnum):
    """What the members of a crew are told to do."""

    UPDATE = 0
    FORGET = 1
    MEASURE = 2


class Instruction(NamedTuple):
    """What all members do next, and the numbers that it takes."""

    kind: int
    step: int = 0
    rate: float = 0.0
    max_loss: float = math.inf


@dataclass(frozen=True)
class _Line:
    """A member as the first process sees it: its id, and the ends of two pipes."""

    process_id: int
    read: int
    write: int


class Crew:
    """This process and its members; alone by default."""

    def __init__(self, n: int = 1) -> None:
        self.n, self.rank = n, 0
        self.losses = self.zeros((n,), torch.float64)
        self.squares = self.zeros((n,), torch.float64)
        """What each member adds to the mean loss, and to the square of the gradient's norm."""
        self._lines: list[_Line] = []
        self._read, self._write = -1, -1

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor on the CPU that all members see."""
        n_bytes = math.prod(shape) * dtype.itemsize
        if self.n == 1 or not n_bytes:
            return torch.zeros(shape, dtype=dtype)
        return torch.frombuffer(mmap.mmap(-1, n_bytes), dtype=dtype).view(shape)

    def share(self, batches: Batches) -> Batches:
        """This member's rows of every batch."""
        return lambda number: take_part(batches(number), self.rank, self.n)

    def cut(self, length: int) -> slice:
        """This member's part of so many elements."""
        return slice(length * self.rank // self.n, length * (self.rank + 1) // self.n)

    def start(self, follow: Callable[[Instruction], None]) -> None:
        """Fork the members, each of which does what `follow` does with every order."""
        sys.stdout.flush()
        sys.stderr.flush()
        for rank in range(1, self.n):
            up, down = os.pipe(), os.pipe()
            process_id = _fork()
            if not process_id:
                for line in self._lines:
                    os.close(line.read)
                    os.close(line.write)
                os.close(up[0])
                os.close(down[1])
                self.rank, self._lines = rank, []
                self._read, self._write = down[0], up[1]
                self._serve(follow)
            os.close(up[1])
            os.close(down[0])
            self._lines.append(_Line(process_id, up[0], down[1]))

    def tell(self, order: Instruction) -> None:
        """Give all members an order; this process does its own part of it by itself."""
        for line in self._lines:
            self._send(line, _ORDER.pack(*order))

    def meet(self) -> None:
        """Wait until every member is here."""
        if self.n == 1 or (self.rank == 0 and not self._lines):
            return
        if self.rank:
            with suppress(BrokenPipeError):
                os.write(self._write, _GO)
            if os.read(self._read, 1) != _GO:
                os._exit(0)  # the first process has ended
            return
        for line in self._lines:
            if os.read(line.read, 1) != _GO:
                raise StorageError(
                    "one of the processes that share the batches has ended, perhaps for want of "
                    "memory; the same command goes on from the saved state (--processes 1: one)"
                )
        for line in self._lines:
            self._send(line, _GO)

    def close(self) -> None:
        """End the members; they may be in the middle of a step, which is lost."""
        for line in self._lines:
            os.close(line.write)
            os.close(line.read)
            os.waitpid(line.process_id, 0)
        self._lines = []

    def _send(self, line: _Line, data: bytes) -> None:
        with suppress(BrokenPipeError):  # `meet` says that the member has ended
            os.write(line.write, data)

    def _serve(self, follow: Callable[[Instruction], None]) -> None:
        """A member's life; it ends with the first process."""
        code = 0
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # the first process says when to stop
            _end_with_parent()
            while len(data := os.read(self._read, _ORDER.size)) == _ORDER.size:
                follow(Instruction(*_ORDER.unpack(data)))
        except BaseException:  # noqa: BLE001  nothing of this process may outlive it
            traceback.print_exc()
            code = 1
        finally:
            sys.stderr.flush()
            os._exit(code)


def choose_members(config: LoopConfig, model: Transformer, inputs_BL: Tensor) -> int:
    """How many processes share the batches of a run that begins; 1: threads do.

    A number of threads is a wish for one process, unless processes are wished for as well.
    """
    n_rows, n_tokens = inputs_BL.shape[0], inputs_BL.numel()
    by_threads = bool(config.threads) and not config.processes
    if by_threads or choose_device(config.device).type != "cpu" or torch.cuda.is_available():
        return 1  # where a GPU is, torch's autograd does not work in a forked process
    if config.processes > 1 and n_rows % config.processes:
        raise ConfigError(
            f"batch_size is {n_rows}, which {config.processes} processes cannot share evenly; "
            "choose a multiple"
        )
    has_experts = model.config.moe is not None
    if config.processes > 1 and has_experts:
        raise ConfigError("processes is for models without experts, whose load is counted in one")
    n_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return count_members(config, has_experts, n_trained, n_rows, n_tokens // n_rows)


def count_members(
    config: LoopConfig, has_experts: bool, n_trained: int, n_rows: int, length: int
) -> int:
    """The same of a run on CPUs alone, whose settings were checked, from its sizes."""
    if config.threads and not config.processes:
        return 1
    if config.processes or has_experts:
        return max(1, config.processes)
    return members_for(n_rows, n_rows * length, available_cores(), 4 * n_trained)


def members_for(n_rows: int, n_tokens: int, n_cores: int, gradient_bytes: int) -> int:
    """One process per core, if the rows of a batch can be shared evenly so that three quarters of
    the cores have work, and each has enough; otherwise 1.

    >>> [members_for(8, 4096, cores, 10**7) for cores in (1, 2, 4, 6, 8, 16)]
    [1, 2, 4, 1, 8, 1]
    """
    n = max(n for n in range(1, min(n_cores, n_rows) + 1) if n_rows % n == 0)
    too_few = n < _MIN_BUSY_SHARE * n_cores or n_tokens < n * _MIN_TOKENS
    return 1 if too_few or gradient_bytes * (n - 1) > _MAX_GRADIENT_BYTES else n


def _end_with_parent() -> None:
    """Let Linux kill this process when its parent dies; elsewhere it ends at the next meeting.

    At once, since it holds the lock of the artefact, which the same command wants.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns where any thread runs; the members use none of what threads may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
