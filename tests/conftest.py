"""Fixtures that every test may use."""

from pathlib import Path

import pytest

pytest_plugins = ["skips"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of benchmark and tokenizer files that lies beside the checkout, where it does."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the data folder {folder}")
    return folder
