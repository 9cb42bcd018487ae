"""Compiling under a clock: it says how long it takes, and ends where it takes too long."""

import threading
from contextlib import suppress
from typing import Any

import pytest
import torch

from codling.model.config import ModelConfig
from codling.model.transformer import Transformer
from codling.train.compile_watch import CompileWatch, CompilingTooLong
from codling.train.step import LossStep

SHAPE = ModelConfig(vocab_size=64, hidden_size=32, intermediate_size=64, n_layers=1, n_heads=2)
TOKENS = torch.zeros((1, 8), dtype=torch.long)


def test_what_takes_too_long_is_interrupted_and_lines_say_how_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(CompilingTooLong), CompileWatch(0.1, every=0.02):
        threading.Event().wait(60)
    assert "compiling the model: 0 s, 0 s at most" in capsys.readouterr().err


def test_the_exception_passes_what_catches_exceptions() -> None:
    with pytest.raises(CompilingTooLong), CompileWatch(0.05), suppress(Exception):
        threading.Event().wait(60)


def test_outside_of_the_main_thread_nothing_is_interrupted() -> None:
    done = []

    def work() -> None:
        with CompileWatch(0.01):
            threading.Event().wait(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_a_step_that_compiles_too_long_is_eager_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = LossStep(Transformer(SHAPE, torch.Generator().manual_seed(0)), compiled=False)
    expected = float(step.loss(TOKENS, TOKENS).detach())

    def compile_for_ever(*_: Any, **__: Any) -> torch.Tensor:
        threading.Event().wait(60)
        raise AssertionError

    monkeypatch.setattr(step, "_head", compile_for_ever)
    step.compiled = True
    step.warm_up(TOKENS, TOKENS, limit=0.1)
    assert not step.compiled
    assert float(step.loss(TOKENS, TOKENS).detach()) == expected
    assert capsys.readouterr().err.count("training runs eagerly") == 1
