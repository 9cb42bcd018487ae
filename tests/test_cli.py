import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from codling import cli
from codling.cli import GROUPS, VERBS, _prepare_streams, main
from codling.core.plan import Plan

HEAVY = ("torch", "numba", "pyarrow", "polars", "fastapi", "tokenizers")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codling.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_help_lists_every_verb_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom codling.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=600
    )
    assert "LOADED []" in done.stdout
    names = {v.name.split()[0] for v in VERBS} | set(GROUPS)
    assert [n for n in names if n not in done.stdout] == []


def processor_seconds(*command: str) -> float:
    """What a command costs; the wall clock of a shared machine measures its other users."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, capture_output=True, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.long
def test_help_costs_little_more_than_the_library_that_prints_it() -> None:
    # Even processor time grows where cores are shared, so a bare import is measured beside it.
    bare = min(processor_seconds("-c", "import cyclopts, rich.console") for _ in range(3))
    shown = min(processor_seconds("-m", "codling", "--help") for _ in range(3))
    assert shown < max(0.3, 2.5 * bare)


@pytest.mark.long
@pytest.mark.parametrize("verb", [v.name for v in VERBS])
def test_every_verb_has_an_example_in_its_help(verb: str, capsys: pytest.CaptureFixture) -> None:
    assert call(*verb.split(), "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Example: codling {verb}" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["growl"], "codling: unknown verb growl; did you mean grow?"),
        (["data", "colect"], "codling data: unknown verb colect; did you mean collect?"),
        (["trace", "--fils", "x"], "Did you mean --files?"),
        (["trace", "x", "y", "z"], "codling: nothing takes y z; a flag that takes many"),
        (["trace"], "codling trace: PATH is missing"),
        (["trace", "/nowhere/at/all"], "/nowhere/at/all has no manifest.json"),
        (["trace", "x", "--recipe", "/nowhere.toml"], "no recipe at /nowhere.toml"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("name", ["grow", "grpo", "reward-model", "data clean", "pretrain"])
def test_a_verb_of_one_process_says_so_under_torchrun(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert call(*name.split(), "--no-such-flag") == 2
    said = capsys.readouterr().err
    refused = f"codling {name} runs in one process, and torchrun started 2; run it without"
    assert said.startswith(refused) == (name != "pretrain")
    assert said.count("\n") == 1


def test_an_unknown_recipe_key_names_key_file_and_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("[trace]\npaht = 'x'\n")
    assert call("trace", "--recipe", str(recipe)) == 2
    assert "r.toml [trace]: unknown key paht; did you mean path?" in capsys.readouterr().err


def test_a_recipe_whose_settings_would_not_count_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("[trcae]\npath = 'x'\n")
    assert call("trace", "--recipe", str(recipe)) == 2
    assert "r.toml: unknown key trcae; did you mean trace?" in capsys.readouterr().err
    recipe.write_text("trace = 3\n")
    assert call("trace", "--recipe", str(recipe)) == 2
    assert "r.toml: trace must be a table, written [trace]" in capsys.readouterr().err
    recipe.write_text("[pretrain]\nseed = 3\n")
    assert call("trace", "/nowhere", "--recipe", str(recipe)) == 2
    assert "r.toml has no table [trace]: of it nothing counts here" in capsys.readouterr().err


def test_every_recipe_of_ours_names_tables_that_are_read(capsys: pytest.CaptureFixture) -> None:
    for path in sorted((Path(__file__).parents[1] / "recipes").glob("*.toml")):
        assert call("trace", "/nowhere", "--recipe", str(path)) == 2
        assert "/nowhere has no manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_that_cannot_be_had_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert call("trace", "x") == 2
    assert capsys.readouterr().err.startswith("codling: the memory does not suffice; ")


def test_a_flag_takes_many_values_where_no_other_argument_follows(
    capsys: pytest.CaptureFixture,
) -> None:
    documents = ["--documents-dir", "/nowhere", "--out-dir", "/nowhere/out"]
    assert call("data", "decontaminate", "--benchmarks", "a.jsonl", "b.jsonl", *documents) == 2
    assert "/nowhere has no manifest.json" in capsys.readouterr().err


def test_a_flag_beats_the_recipe_which_beats_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"[trace]\npath = '{tmp_path}/from-recipe'\n")
    assert call("trace", "--recipe", str(recipe)) == 2
    assert "from-recipe has no manifest" in capsys.readouterr().err
    assert call("trace", f"{tmp_path}/from-flag", "--recipe", str(recipe)) == 2
    assert "from-flag has no manifest" in capsys.readouterr().err


@pytest.mark.long
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    for i in range(2000):
        (tmp_path / f"module_{i}.py").write_text(f"import module_{i - 1}\n" if i else "")
    command = f"{sys.executable} -m codling.cli data graph {tmp_path} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=600)
    assert done.stdout.startswith("2000 files")
    assert done.stderr == ""


@pytest.mark.long
def test_a_reader_that_left_before_the_last_words_is_no_error() -> None:
    # What is printed fits Python's buffer, so only the flush at the end finds the pipe broken.
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "codling", "info", "coder-1.3b"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=600)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_value_that_begins_with_a_hyphen_reaches_its_flag(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("def"))
    assert call("complete", "/nowhere", "--prompt", "-") == 2
    assert "no tokenizer.json at /nowhere" in capsys.readouterr().err
    assert call("chat", "/nowhere", "--message", "- one\n- two") == 2
    assert "no tokenizer.json at /nowhere" in capsys.readouterr().err


def test_closed_streams_and_poor_encodings_are_no_tracebacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    _prepare_streams()
    sys.stdout.write("\ufffd \u00fc\n")
    sys.stdout.flush()
    sys.stderr.write("lost")
    assert sys.stdin.read() == ""
    assert written.getvalue() == b"\\ufffd \\xfc\n"
    sys.stdin.close()
    sys.stderr.close()


def test_unfinished_work_of_other_settings_is_one_line_and_fresh_drops_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "app" / name).mkdir(parents=True)
        (tmp_path / "app" / name / "x.py").write_text(f"{name} = 1\n" * 50)
    out_dir = tmp_path / "raw"
    collect = ["data", "collect", str(tmp_path / "app"), "--out-dir", str(out_dir)]
    assert call(*collect) == 0
    # As if it had been stopped before the manifest.
    partial = out_dir.rename(tmp_path / "raw.partial")
    manifest = json.loads((partial / "manifest.json").read_text())
    (partial / "manifest.json").unlink()
    Plan(kind="raw", version=0, settings=manifest["config"], inputs=()).write(partial)
    capsys.readouterr()
    assert call(*collect, "--seed", "7") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "unfinished work with other settings" in said
    assert "--fresh" in said
    assert list(partial.glob("*.parquet"))
    assert call(*collect, "--seed", "7", "--fresh") == 0
    assert (out_dir / "manifest.json").exists()
