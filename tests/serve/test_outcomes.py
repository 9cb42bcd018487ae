"""--repo and --log-completions: what a server with them knows, keeps and tells."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from codling.core.artifact import Artifact
from codling.core.errors import ConfigError, SourceError
from codling.core.shards import read_rows
from codling.corpus.accepted import AcceptedConfig, accepted
from codling.engine.memory.live import LiveRepository
from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from codling.serve.outcomes import About, CompletionLog
from git_repositories import repository
from serve.tiny_server import Running, Servers

NOTICE = (Path(__file__).parents[2] / "LICENSE").read_text()
FILES = {
    "LICENSE": NOTICE,
    "app/money.py": "def add_tax(price, rate):\n    return price * rate\n",
    "app/main.py": "from app.money import add_tax\n\n\nvalue = 1\n",
}


def post(server: Running, address: str, /, **body: object) -> httpx.Response:
    return httpx.post(f"{server.url}{address}", json=body, trust_env=False, timeout=600)


def log_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def logged(
    servers: Servers, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Running, Path]:
    place = tmp_path_factory.mktemp("logged")
    engine = TextEngine.open(model_dir, precision="float32")
    repo = LiveRepository(repository(place / "app", FILES), engine.tokenizer)
    engine.memory = repo.memory
    config = ServeConfig(
        model=Path("tiny"), repo=place / "app", log_completions=place / "log.jsonl", log_text=True
    )
    return servers.start(LocalBackend(engine, repository=repo), config), place / "log.jsonl"


def test_a_request_with_a_path_sees_the_files_that_its_file_depends_on(
    logged: tuple[Running, Path],
) -> None:
    server, _ = logged
    asked = {"prompt": FILES["app/main.py"], "suffix": "\n", "max_tokens": 4}
    alone = post(server, "/v1/completions", **asked).json()["usage"]["prompt_tokens"]
    inside = post(server, "/v1/completions", **asked, path="app/main.py").json()
    assert inside["usage"]["prompt_tokens"] > alone + 20
    outside = post(server, "/v1/completions", **asked, path="/etc/passwd").json()
    assert outside["usage"]["prompt_tokens"] == alone
    native = {"input_prefix": FILES["app/main.py"], "input_suffix": "\n", "n_predict": 4}
    by_infill = post(server, "/infill", **native, path="app/main.py").json()
    assert by_infill["tokens_evaluated"] == inside["usage"]["prompt_tokens"]


def test_a_file_is_forgotten_on_demand(logged: tuple[Running, Path]) -> None:
    server, _ = logged
    other = post(server, "/v1/memory/forget", path="app/money.py", repo="other").json()
    assert not other["was_known"]
    told = post(server, "/v1/memory/forget", path="app/money.py").json()
    assert told == {"path": "app/money.py", "was_known": True}
    assert not post(server, "/v1/memory/forget", path="app/money.py").json()["was_known"]


def test_what_was_shown_and_taken_is_noted(logged: tuple[Running, Path], tmp_path: Path) -> None:
    server, path = logged
    asked = {"prompt": "def add(first, second):\n", "suffix": "\n\n", "max_tokens": 8}
    shown = post(server, "/v1/completions", **asked, path="app/sum.py").json()
    told = post(server, f"/v1/completions/{shown['id']}/outcome", outcome="taken", text="return 1")
    assert told.json() == {"id": shown["id"], "recorded": True}
    rows = {(row["id"], row["event"]): row for row in log_of(path)}
    assert rows[shown["id"], "shown"]["prompt"] == asked["prompt"]
    assert rows[shown["id"], "outcome"]["text"] == "return 1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = accepted(AcceptedConfig(file=path, out_dir=tmp_path / "accepted"))
    (row,) = read_rows(made, "samples")
    assert row["content"] == "# app/sum.py\ndef add(first, second):\nreturn 1\n\n"


def test_what_was_not_shown_here_has_no_outcome(logged: tuple[Running, Path]) -> None:
    server, _ = logged
    told = post(server, "/v1/completions/cmpl-0/outcome", outcome="taken")
    assert told.status_code == 404
    assert "was shown here" in told.json()["error"]["message"]
    assert post(server, "/v1/completions/cmpl-0/outcome", outcome="kept").status_code == 400


def test_without_a_log_nothing_is_noted(server: Running) -> None:
    told = post(server, "/v1/completions/cmpl-0/outcome", outcome="taken")
    assert told.json() == {"id": "cmpl-0", "recorded": False}
    card = httpx.get(f"{server.url}/v1/models", trust_env=False, timeout=600).json()["data"][0]
    assert (card["logs_outcomes"], card["follows_repository"]) == (False, False)


def test_by_default_the_log_holds_no_text(tmp_path: Path) -> None:
    log = CompletionLog(tmp_path / "log.jsonl", clock=lambda: 5.0)
    log.note_shown(
        "cmpl-1", "tiny", About("secret prompt", "secret suffix", "secret.py"), ["secret"]
    )
    assert log.note_outcome("cmpl-1", "typed", 0, "secret words")
    assert not log.note_outcome("cmpl-1", "taken", 1, None)
    log.close()
    assert "secret" not in (tmp_path / "log.jsonl").read_text()
    shown, told = log_of(tmp_path / "log.jsonl")
    assert (shown["n_chars"], told["n_chars"], told["time"]) == ([6], 12, 5.0)


def test_a_full_disk_is_said_once_and_leaves_whole_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "log.jsonl", os.write
    log = CompletionLog(path, clock=lambda: 5.0)
    log.note_shown("one", "m", About("a"), ["b"])
    whole = path.read_bytes()
    # A disk takes what has room, and then nothing.
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:20]))
    log.note_shown("two", "m", About("a"), ["b"])
    assert log.note_outcome("two", "taken", 0, None)
    assert path.read_bytes() == whole
    assert capsys.readouterr().err.count("not noted in") == 1
    monkeypatch.setattr(os, "write", write)
    log.note_shown("three", "m", About("a"), ["b"])
    log.close()
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["one", "three"]


def test_a_log_that_others_could_read_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("")
    (tmp_path / "log.jsonl").chmod(0o644)
    CompletionLog(tmp_path / "log.jsonl").close()
    assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "log.jsonl")
    with pytest.raises(ConfigError, match="cannot be written"):
        CompletionLog(tmp_path / "link")


def trained(tmp_path: Path, *rows: dict[str, Any]) -> Artifact:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return accepted(AcceptedConfig(file=path, out_dir=tmp_path / "accepted"))


SHOWN: dict[str, Any] = {
    "event": "shown",
    "id": "a",
    "prompt": "x = ",
    "suffix": "\n",
    "texts": ["total(1)"],
}
TOLD: dict[str, Any] = {"event": "outcome", "id": "a", "index": 0}


def test_what_was_typed_instead_is_the_row_and_what_was_shown_beside_it(tmp_path: Path) -> None:
    made = trained(tmp_path, SHOWN, {**TOLD, "outcome": "typed", "text": "total(2)"})
    assert [row["content"] for row in read_rows(made, "samples")] == ["x = total(2)\n"]
    (kept,) = log_of(made.path / "accepted.jsonl")
    assert (kept["text"], kept["shown"]) == ("total(2)", "total(1)")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"event": "shown", "id": "a"}, {**TOLD, "outcome": "taken"}], "--log-text"),
        ([SHOWN, {**TOLD, "outcome": "dismissed"}], "no completion that was taken"),
        ([SHOWN, {**TOLD, "outcome": "taken", "index": 7}], "was not shown"),
        ([{"event": "shown"}], "is not a line of a log"),
    ],
)
def test_a_log_that_cannot_teach_is_one_line(
    tmp_path: Path, rows: list[dict[str, object]], said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        trained(tmp_path, *rows)


def test_text_is_logged_only_into_a_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="log_completions"):
        ServeConfig(model=tmp_path, log_text=True)
