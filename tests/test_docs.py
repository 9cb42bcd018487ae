"""The commands, flags and files that README and docs name are there."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.cli import GROUPS, VERBS, _app, join_suite
from codling.core.flags import settings_of
from codling.core.recipe import config_class

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SHOWN = re.compile(r"^ {4}(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(codling (?:.*\\\n)*.*)", re.M)
_END = re.compile(r"\s#\s|[|>&;]|\.\.\.")
_PROSE = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
_QUOTED = re.compile(r"`codling ([a-z][^`]*)`")
_NAMED_FILE = re.compile(r"`([\w-]+(?:/[\w.-]+)+)`")
_FOLDERS = {
    each.name
    for place in (ROOT, ROOT / "src" / "codling")
    for each in place.iterdir()
    if each.is_dir()
} - {"src", "runs", "build", "data", "shared"}
"""A path that begins with another name is an example's, or a file that a run writes."""


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
    tokens = join_suite(tokens)
    _app(tokens).parse_args(tokens, print_error=False, exit_on_error=False)


def test_the_docs_show_commands() -> None:
    assert len(set(commands())) >= 40


def quoted_commands() -> list[tuple[str, str, list[str]]]:
    """(page, verb, the words after it) of every `codling ...` within a sentence."""
    found = []
    for page in _PROSE:
        for match in _QUOTED.finditer(page.read_text("utf-8")):
            words = match[1].split()
            n_words = 2 if words[0] in GROUPS else 1
            name = str(page.relative_to(ROOT))
            found.append((name, " ".join(words[:n_words]), words[n_words:]))
    return found


def test_a_sentence_names_verbs_that_exist() -> None:
    known = {verb.name for verb in VERBS} | {"help", *GROUPS}
    unknown = {(page, verb) for page, verb, _ in quoted_commands() if verb not in known}
    assert unknown == set()


@pytest.mark.long
def test_a_sentence_gives_a_verb_flags_that_it_has() -> None:
    targets = {verb.name: verb.target for verb in VERBS}
    unknown = set()
    for page, verb, words in quoted_commands():
        flags = {word for word in words if word.startswith("--")} - {"--help", "--recipe"}
        if flags:
            module, _, function = targets[verb].partition(":")
            config = config_class(getattr(importlib.import_module(module), function))
            known = {setting.flag for setting in settings_of(config)}
            unknown |= {(page, verb, flag) for flag in flags - known}
    assert unknown == set()


def test_the_files_that_the_docs_name_are_there() -> None:
    missing = set()
    for page in _PROSE:
        for path in _NAMED_FILE.findall(page.read_text("utf-8")):
            places = (ROOT / path, ROOT / "src" / "codling" / path)
            if path.split("/")[0] in _FOLDERS and not any(place.exists() for place in places):
                missing.add((page.name, path))
    assert missing == set()


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
