"""Fixtures that every test may use."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from codling.model.transformer import Transformer
    from codling.tokens.tokenizer import Tokenizer

pytest_plugins = ["skips"]
collect_ignore_glob = ["*/conftest.py"]
"""No examples are looked for there: two such files would be two modules of one name."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of benchmark and tokenizer files that lies beside the checkout, where it does."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the data folder {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> "Tokenizer":
    """A tokenizer of 320 tokens, learned from tiny_model.CODE."""
    from tiny_model import make_tokenizer

    return make_tokenizer()


@pytest.fixture(scope="session")
def tiny_model() -> "Transformer":
    """A random model of two layers that fits the tiny tokenizer: read it, do not train it."""
    from tiny_model import make_model

    return make_model()
