"""The commands that README and docs show are ones that codling takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.cli import GROUPS, VERBS, _app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SHOWN = re.compile(r"^ {4}(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(codling (?:.*\\\n)*.*)", re.M)
_END = re.compile(r"\s#\s|[|>&;]|\.\.\.")


def commands() -> Iterator[tuple[str, str]]:
    """(page, command line) of every indented line that begins with `codling`."""
    for page in PAGES:
        for match in _SHOWN.finditer(page.read_text("utf-8")):
            line = " ".join(match[1].replace("\\\n", " ").split())
            yield str(page.relative_to(ROOT)), _END.split(line)[0].strip()


@pytest.mark.long
@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_a_command_in_the_docs_parses(page: str, line: str) -> None:
    tokens = shlex.split(line)[1:]
    named = " ".join(tokens[: 2 if tokens[0] in GROUPS else 1])
    assert named in {verb.name for verb in VERBS}, f"{page} shows an unknown verb: {line}"
    _app(tokens).parse_args(tokens, print_error=False, exit_on_error=False)


def test_the_docs_show_commands() -> None:
    assert len(set(commands())) >= 40


MAP = (ROOT / "docs" / "map.md").read_text("utf-8")
ROWS = [line.split("|") for line in MAP.splitlines() if line.count("|") == 6][2:]
"""Of the table of stages, without its head."""


def test_every_stage_stands_on_the_map() -> None:
    named = {word for row in ROWS for word in re.findall(r"`(?:data )?([a-z-]+)`", row[1])}
    stages = {verb.name.split()[-1] for verb in VERBS} - {"grow", "completion"}
    assert stages - named == set()


def test_the_code_that_the_map_names_is_there() -> None:
    named = {path for row in ROWS for path in re.findall(r"[\w/]+/(?:\w+\.py)?", row[4])}
    assert {path for path in named if not (ROOT / "src" / "codling" / path).exists()} == set()
