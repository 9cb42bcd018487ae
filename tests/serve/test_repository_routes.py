"""/v1/repository: only listed files can be seen, and what a cursor is shown is told as it is."""

import os
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from codling.engine.memory.live import LiveRepository
from codling.engine.text import TextEngine
from codling.serve.backend import LocalBackend
from codling.serve.config import ServeConfig
from git_repositories import repository
from serve.tiny_server import Running, Servers

MONEY = "def add_tax(price, rate):\n    return price * rate\n"
FILES = {
    ".gitignore": "ignored.py\n",
    "app/money.py": "from app.rates import RATE\n" + MONEY,
    "app/rates.py": "RATE = 2\n",
    "app/main.py": "from app.money import add_tax\n\n\nvalue = 1\n",
    "app/keys.py": f'token = "ghp_{"a1B2" * 9}"\n',
    "README.md": "not code\n",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with things beside its code that nobody may see."""
    top = tmp_path_factory.mktemp("followed")
    (top / "outside.py").write_text("outside = 1\n")
    root = repository(top / "app", FILES)
    (root / "ignored.py").write_text("ignored = 1\n")
    (root / ".env").write_text("PASSWORD=hunter2\n")
    (root / "huge.py").write_text("x = 1\n" * 200_000)
    (root / "binary.py").write_bytes(b"x = 1\0\n")
    (root / "link_out.py").symlink_to(top / "outside.py")
    (root / "link_env.py").symlink_to(root / ".env")
    (root / "link_in.py").symlink_to(root / "app/rates.py")
    (root / "gone.py").symlink_to(root / "nowhere.py")
    os.mkfifo(root / "pipe.py")
    return root


@pytest.fixture(scope="module")
def following(servers: Servers, model_dir: Path, root: Path) -> Running:
    engine = TextEngine.open(model_dir, precision="float32")
    live = LiveRepository(root, engine.tokenizer)
    config = ServeConfig(model=Path("tiny"), repo=root)
    return servers.start(LocalBackend(engine, repository=live), config)


def get(server: Running, address: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{server.url}{address}", headers=headers, trust_env=False, timeout=600)


def see(server: Running, path: str) -> httpx.Response:
    return get(server, f"/v1/repository/file?path={quote(path)}")


def explain(server: Running, **body: object) -> dict[str, object]:
    answer = httpx.post(
        f"{server.url}/v1/repository/context", json=body, trust_env=False, timeout=600
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_tree_holds_code_that_git_does_not_ignore(following: Running) -> None:
    answer = get(following, "/v1/repository").json()
    paths = [file["path"] for file in answer["files"]]
    assert answer["name"] == "app"
    assert {"app/keys.py", "app/main.py", "app/money.py", "app/rates.py"} < set(paths)
    assert not {"ignored.py", ".env", "README.md", "link_out.py", "link_env.py"} & set(paths)


def test_a_listed_file_is_shown_as_it_lies_on_disk(following: Running) -> None:
    assert see(following, "app/main.py").json()["text"] == FILES["app/main.py"]
    assert see(following, "link_in.py").json()["text"] == FILES["app/rates.py"]


def test_secrets_are_shown_as_their_placeholders(following: Running) -> None:
    answer = see(following, "app/keys.py").json()
    assert answer["text"] == 'token = "<KEY>"\n'
    assert answer["redactions"] == [{"line": 1, "kind": "assigned-secret"}]


@pytest.mark.parametrize(
    "path",
    [
        "../outside.py",
        "app/../../outside.py",
        "/etc/passwd",
        "app/./main.py",
        "app//main.py",
        "app\\main.py",
        "%2e%2e/outside.py",
        "app/main.py\0.txt",
        ".env",
        ".git/config",
        "ignored.py",
        "link_out.py",
        "link_env.py",
        "gone.py",
        "pipe.py",
        "app",
        "",
        "no/such.py",
    ],
)
def test_what_is_not_listed_is_not_there(following: Running, path: str) -> None:
    answer = see(following, path)
    assert answer.status_code == 404
    assert "lists no such file" in answer.json()["error"]["message"]


def test_a_path_is_needed(following: Running) -> None:
    answer = get(following, "/v1/repository/file")
    assert answer.status_code == 400
    assert "path" in answer.json()["error"]["message"]


def test_huge_and_binary_files_are_refused_in_one_line(following: Running) -> None:
    assert see(following, "huge.py").status_code == 413
    assert see(following, "binary.py").status_code == 415


def test_a_file_that_became_a_link_after_it_was_listed_is_not_followed(
    following: Running, root: Path
) -> None:
    (root / "swapped.py").write_text("x = 1\n")
    assert get(following, "/v1/repository").status_code == 200
    (root / "swapped.py").unlink()
    (root / "swapped.py").symlink_to("/etc/hostname")
    assert see(following, "swapped.py").status_code == 404
    (root / "swapped.py").unlink()


def test_what_a_cursor_is_shown_is_told_with_the_import_that_brings_it(following: Running) -> None:
    text = FILES["app/main.py"]
    told = explain(following, path="app/main.py", prompt=text, suffix="\n", max_tokens=4)
    rows = [(f["path"], f["rule"], f["via"], f["distance"]) for f in told["files"]]  # type: ignore[attr-defined]
    assert rows == [
        ("app/rates.py", "import", "app/money.py", 2),
        ("app/money.py", "import", "app/main.py", 1),
    ]
    asked = {"prompt": text, "suffix": "\n", "max_tokens": 4, "path": "app/main.py"}
    answer = httpx.post(
        f"{following.url}/v1/completions", json=asked, trust_env=False, timeout=600
    ).json()
    assert answer["usage"]["prompt_tokens"] == told["n_tokens"]
    parts = [*told["files"], told["here"], told["suffix"]]  # type: ignore[misc]
    n_marks = 4  # the start, and three of the insertion
    assert sum(part["n_tokens"] for part in parts) == told["n_tokens"] - n_marks  # type: ignore[operator]
    assert told["order"] == ["files", "here", "suffix"]


def test_of_a_long_text_after_the_cursor_only_what_is_in_the_prompt_counts(
    following: Running,
) -> None:
    told = explain(following, path="app/main.py", prompt="x = 1\n", suffix="y = 2\n" * 5000)
    assert told["n_tokens"] <= told["max_length"]  # type: ignore[operator]
    assert 0 < told["suffix"]["n_tokens"] < told["max_length"]  # type: ignore[index, call-overload]


def test_an_edited_file_changes_the_context_at_once(following: Running, root: Path) -> None:
    before = explain(following, path="app/main.py", prompt=FILES["app/main.py"])
    (root / "app/extra.py").write_text("EXTRA = 3\n")
    (root / "app/money.py").write_text("from app.extra import EXTRA\n" + MONEY)
    after = explain(following, path="app/main.py", prompt=FILES["app/main.py"])
    (root / "app/money.py").write_text(FILES["app/money.py"])
    (root / "app/extra.py").unlink()
    assert [f["path"] for f in before["files"]] == ["app/rates.py", "app/money.py"]  # type: ignore[attr-defined]
    assert [f["path"] for f in after["files"]] == ["app/extra.py", "app/money.py"]  # type: ignore[attr-defined]


def test_a_new_file_is_listed_when_the_tree_is_asked_for(following: Running, root: Path) -> None:
    (root / "app/new.py").write_text("new = 1\n")
    paths = [file["path"] for file in get(following, "/v1/repository").json()["files"]]
    assert "app/new.py" in paths
    (root / "app/new.py").unlink()
    paths = [file["path"] for file in get(following, "/v1/repository").json()["files"]]
    assert "app/new.py" not in paths


def test_a_file_that_became_a_folder_is_listed_no_more(following: Running, root: Path) -> None:
    (root / "app/rates.py").rename(root / "kept")
    (root / "app/rates.py").mkdir()
    (root / "app/rates.py/inner.py").write_text("y = 1\n")
    paths = [file["path"] for file in get(following, "/v1/repository").json()["files"]]
    assert "app/rates.py" not in paths
    assert "app/rates.py/inner.py" in paths
    (root / "app/rates.py/inner.py").unlink()
    (root / "app/rates.py").rmdir()
    (root / "kept").rename(root / "app/rates.py")


def test_a_cursor_outside_the_repository_is_told_nothing(following: Running) -> None:
    asked = {"path": "../outside.py", "prompt": "x"}
    answer = httpx.post(
        f"{following.url}/v1/repository/context", json=asked, trust_env=False, timeout=600
    )
    assert answer.status_code == 404


def test_a_path_that_is_none_is_outside(following: Running) -> None:
    for address in ("/v1/repository/context", "/v1/completions", "/infill"):
        asked = {"path": "a\0b.py", "prompt": "x", "max_tokens": 1, "n_predict": 1}
        answer = httpx.post(f"{following.url}{address}", json=asked, trust_env=False, timeout=600)
        assert answer.status_code == (404 if "repository" in address else 200)


def test_what_is_echoed_is_the_text_that_was_sent_and_nothing_in_front(following: Running) -> None:
    prompt = "from app.rates import RATE\nx = RA"
    asked = {"path": "app/main.py", "suffix": "", "prompt": prompt, "max_tokens": 0}
    answer = httpx.post(
        f"{following.url}/v1/completions", json=asked | {"echo": True, "logprobs": 0},
        trust_env=False, timeout=600,
    ).json()["choices"][0]  # fmt: skip
    assert answer["text"] == prompt
    assert "".join(answer["logprobs"]["tokens"][1:]) == prompt


def test_a_server_without_a_repository_says_how_to_have_one(server: Running) -> None:
    for address in ("/v1/repository", "/v1/repository/file?path=a.py"):
        answer = get(server, address)
        assert answer.status_code == 404
        assert "--repo" in answer.json()["error"]["message"]


@pytest.mark.parametrize("address", ["/v1/repository", "/v1/repository/file?path=app/main.py"])
def test_other_pages_and_rebound_names_may_not_ask(following: Running, address: str) -> None:
    assert get(following, address, Origin="https://evil.example").status_code == 403
    assert get(following, address, Host="evil.example").status_code == 403
    assert get(following, address, Origin=following.url).status_code == 200


@pytest.mark.long
def test_with_a_key_the_repository_needs_it(servers: Servers, model_dir: Path, root: Path) -> None:
    engine = TextEngine.open(model_dir, precision="float32")
    live = LiveRepository(root, engine.tokenizer)
    locked = servers.start(LocalBackend(engine, repository=live), api_key="s3cret")
    for address in ("/v1/repository", "/v1/repository/file?path=app/main.py"):
        assert get(locked, address).status_code == 401
        assert get(locked, address, Authorization="Bearer s3cret").status_code == 200
