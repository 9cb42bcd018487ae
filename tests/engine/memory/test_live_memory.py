"""A folder that is being worked on: what is remembered follows the files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from codling.corpus.context import Cursor
from codling.engine.memory.live import LiveRepository
from codling.engine.memory.recall import Recall
from codling.engine.memory.repository import Memory
from codling.tokens.bpe import train
from codling.tokens.tokenizer import Tokenizer
from git_repositories import repository, write

NOTICE = (Path(__file__).parents[3] / "LICENSE").read_text()
FILES = {
    "LICENSE": NOTICE,
    "app/money.py": "def add_tax(price, rate):\n    return price * rate\n",
    "app/main.py": "from app.money import add_tax\n",
    "vendor/LICENSE": "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n",
    "vendor/foreign.py": "# SPDX-License-Identifier: GPL-3.0-only\nforeign_words = 1\n",
    "app/keys.py": 'owner = "jo.do@acme.org"\n',
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(json.loads(train(iter(["\n".join(FILES.values()) * 4]), 400).to_str()))


@pytest.fixture
def live(tokenizer: Tokenizer, tmp_path: Path) -> LiveRepository:
    return LiveRepository(repository(tmp_path / "app", FILES), tokenizer)


def remembered(memory: Memory, text: str) -> str:
    """What the memory goes on with, the likeliest token."""
    found = memory.recall(np.array(memory.tokenizer.encode(text), np.int64))
    return memory.tokenizer.decode([int(found.ids[found.counts.argmax()])]) if found.length else ""


def paths(live: LiveRepository) -> list[str]:
    return [name.path for name in live.memory.names]


def later(path: Path, text: str) -> None:
    """Write a file with another time, however coarse the clock of the file system is."""
    path.write_text(text)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 5_000_000_000))


def test_code_of_the_owner_is_remembered_and_code_under_other_terms_is_not(
    live: LiveRepository,
) -> None:
    assert paths(live) == ["app/keys.py", "app/main.py", "app/money.py"]


def test_what_is_redacted_in_training_is_not_remembered(live: LiveRepository) -> None:
    texts = live.memory.tokenizer.decode(
        [int(i) for i in live.memory.index.tokens if i < live.memory.tokenizer.vocab_size]
    )
    assert "acme" not in texts
    assert "<EMAIL>" in texts


@pytest.mark.long
def test_changed_new_and_removed_files_are_followed(live: LiveRepository, tmp_path: Path) -> None:
    root = tmp_path / "app"
    later(root / "app/money.py", "def add_tax(cost):\n    return cost\n")
    write(root, {"app/new.py": "def brand_new(value):\n    return value\n"})
    (root / "app/keys.py").unlink()
    assert live.refresh() == 3
    assert paths(live) == ["app/main.py", "app/money.py", "app/new.py"]
    assert remembered(live.memory, "def add_tax(")[0] == "c"
    assert live.refresh() == 0


def test_a_forgotten_file_stays_forgotten_when_it_changes(
    live: LiveRepository, tmp_path: Path
) -> None:
    assert not live.forget("app/money.py", "other")
    assert live.forget("app/money.py", "app")
    later(tmp_path / "app/app/money.py", "def add_tax(cost):\n    return cost\n")
    live.refresh()
    assert "app/money.py" not in paths(live)
    assert not live.forget("app/no_such.py")


def test_a_prompt_shows_the_files_that_its_file_depends_on(live: LiveRepository) -> None:
    text = live.prompt(Cursor("app/main.py", FILES["app/main.py"] + "add"), budget=1000)
    assert text.startswith("# app/money.py\n")
    assert text.endswith("add")


def test_places_of_a_request_stay_what_they_are_while_files_change(
    live: LiveRepository, tmp_path: Path
) -> None:
    write(tmp_path / "app", {"app/new.py": "def brand_new(value):\n    return value\n"})
    live.refresh()
    tokenizer = live.memory.tokenizer
    recall = Recall(live.memory, tokenizer.encode("def brand_new("), 8)
    row = np.zeros(tokenizer.vocab_size, np.float32)
    recall.mix(row)
    (tmp_path / "app/app/new.py").unlink()
    live.refresh()
    recall.accept(int(row.argmax()))
    assert [o.path for o in recall.origins()] == ["app/new.py"]


def test_following_notices_a_change_by_itself(live: LiveRepository, tmp_path: Path) -> None:
    live.follow(seconds=0.01)
    later(tmp_path / "app/app/money.py", "def add_tax(cost):\n    return cost\n")
    for _ in range(2000):
        if remembered(live.memory, "def add_tax(")[:1] == "c":
            break
        live._closed.wait(0.01)
    live.close()
    assert remembered(live.memory, "def add_tax(")[0] == "c"
