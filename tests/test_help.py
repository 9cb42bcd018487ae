"""The help of every verb, held to rules: a user reads of flags, values and runs that they have."""

import re
import subprocess
import sys

import pytest

from codling.cli import VERBS, main
from codling.core.flags import settings_of
from codling.core.recipe import config_class

NAMES = [verb.name for verb in VERBS]
MAY_BE_CAPITALS = {"CODLING_API_KEY", "OPENAI_API_KEY", "SAMPLES_DIR"}
RUN = re.compile(r"runs?/[\w-]+")
KNOWN_RUNS = {"runs/stdlib", "runs/app"}
"""What `make run` makes, and what `codling grow ~/src/app` of the first example does."""


_SHOWN: dict[str, str] = {}
"""What `--help` of a verb printed, asked for once."""


def help_of(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    if verb not in _SHOWN:
        monkeypatch.setenv("COLUMNS", "400")
        with pytest.raises(SystemExit):
            main([*verb.split(), "--help"])
        _SHOWN[verb] = capsys.readouterr().out
    return _SHOWN[verb]


def settings(verb: str) -> list:
    module, _, name = next(v.target for v in VERBS if v.name == verb).partition(":")
    return settings_of(config_class(getattr(__import__(module, fromlist=[name]), name)))


@pytest.mark.parametrize("verb", NAMES)
@pytest.mark.parametrize(
    "word",
    [
        r"\b\w+(?:Error|Exception)\b",
        r"SystemExit|Raises\b",
        r"\bNone\b",
        r"; (?:none|default)\b",
        r"\[default: (?:\]|\(|True|False)",
        r"\w\.py\)",
        r"--[a-z.-]*_",
    ],
)
def test_help_holds_no_word_of_the_source(
    verb: str, word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert re.findall(word, help_of(verb, capsys, monkeypatch)) == []


@pytest.mark.parametrize("verb", NAMES)
def test_help_names_settings_as_flags(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = help_of(verb, capsys, monkeypatch)
    for each in settings(verb):
        name = each.path.rpartition(".")[2]
        if "_" in name:
            assert not re.search(rf"(?<![.\w]){name}\b", shown)
        assert f"`{name}`" not in shown
    capitals = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", shown))
    assert capitals <= MAY_BE_CAPITALS


@pytest.mark.parametrize("verb", NAMES)
def test_what_must_be_given_is_marked_and_asked_for_by_its_flag(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    required = [each for each in settings(verb) if each.required]
    shown = help_of(verb, capsys, monkeypatch)
    assert shown.count("[required]") == len(required)
    if required:
        with pytest.raises(SystemExit) as stopped:
            main(verb.split())
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        positional = next(v.positional for v in VERBS if v.name == verb)
        for each in required:
            assert (each.path.upper() if each.path == positional else each.flag) in said


@pytest.mark.parametrize("verb", NAMES)
def test_examples_use_runs_that_the_reader_has(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = help_of(verb, capsys, monkeypatch).partition("Example:")[2]
    assert example
    made = set(re.findall(r"--out-dir (\S+)", example))
    used = {word for word in example.split() if RUN.match(word)} - made
    assert {RUN.match(word)[0] for word in used} <= KNOWN_RUNS | {"runs/code", "runs/english"} | {
        "runs/chinese"
    }
    assert not [word for word in example.split() if word.startswith("run/")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "dedup"], "codling data dedup: --documents-dir and --out-dir are missing; see"),
        (["trace"], "codling trace: PATH is missing; see codling trace --help"),
        (
            ["pretrain", "--max-steps", "0"],
            "codling pretrain: --max-steps is 0; choose a number from 1",
        ),
        (
            ["data", "collect", "--heldout-fraction", "3", "--out-dir", "x"],
            "codling data collect: --heldout-fraction is 3; choose a number from 0 and below 1",
        ),
        (
            ["pretrain", "--optimizer.learning-rate", "-1"],
            "codling pretrain: --optimizer.learning-rate is -1; choose a number above 0",
        ),
    ],
)
def test_an_error_names_flags_as_they_are_typed(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version_has_a_short_flag(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([flag])
    assert stopped.value.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize("verb", ["", "trace", "data", "data graph"])
def test_help_is_a_verb_too(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for line in (["help", *verb.split()], [*verb.split(), "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(line)
        assert stopped.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_verbs_and_their_flags(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["completion", shell])
    assert stopped.value.code == 0
    script = capsys.readouterr().out
    for word in ("learn-tokenizer", "decontaminate", "max-connections", "heldout-since"):
        assert word in script


def test_codling_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codling", "-V"], capture_output=True, text=True, timeout=600
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout)
