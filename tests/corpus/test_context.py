"""Prompts at a cursor in small repositories."""

import subprocess
from pathlib import Path

import pytest

from codling.core.errors import SourceError
from codling.corpus.context import Cursor, RepositoryContext, WorkingTree, context_prompt

FILES = {
    "utils.py": "def load():\n    pass\n",
    "model.py": "from utils import load\n\nclass Net:\n    pass\n",
    "main.py": "from model import Net\nfrom utils import load\n\nnet = Net()\n",
    "other.py": "import main\n",
}
PREFIX = "from model import Net\nfrom utils import load\n\nnet ="
ALL = (
    "# utils.py\ndef load():\n    pass\n"
    "# model.py\nfrom utils import load\n\nclass Net:\n    pass\n"
    "# main.py\n" + PREFIX
)


def write(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return folder


def test_dependencies_come_first_and_the_cursor_last() -> None:
    assert context_prompt(FILES, Cursor("main.py", PREFIX), budget=1000) == ALL


def test_what_imports_the_file_is_left_out_even_in_a_cycle() -> None:
    files = {**FILES, "utils.py": "import main\n"}
    prompt = context_prompt(files, Cursor("main.py", PREFIX), budget=1000)
    assert prompt.count("# main.py") == 1
    assert "other.py" not in prompt


def test_a_file_that_does_not_fit_loses_its_beginning() -> None:
    cut = context_prompt(FILES, Cursor("main.py", PREFIX), budget=len(ALL) - 3)
    # model.py sorts before utils.py, so utils.py is the one that is cut, by whole lines; the room
    # for it goes in steps.
    assert cut == ALL[len("# utils.py\ndef load():\n") :]


def test_the_nearest_files_stay_when_room_is_short() -> None:
    files = {"far.py": "x = 1\n", "near.py": "import far\n"}
    prefix = "import near\n"
    room = len("# near.py\nimport far\n# a.py\n" + prefix) + 5
    assert context_prompt(files, Cursor("a.py", prefix), budget=room).startswith("# near.py\n")


def test_a_prefix_longer_than_the_budget_keeps_its_end() -> None:
    assert context_prompt(FILES, Cursor("main.py", PREFIX), budget=10) == "\nnet ="
    assert context_prompt(FILES, Cursor("main.py", PREFIX), budget=3) == "t ="


def test_the_budget_can_be_counted_in_other_units() -> None:
    words = lambda text: len(text.split())  # noqa: E731
    for budget in range(1, 30):
        prompt = context_prompt(FILES, Cursor("main.py", PREFIX), budget=budget, measure=words)
        assert words(prompt) <= budget
        assert prompt.endswith("net =") or budget == 1


def test_imports_after_the_cursor_count() -> None:
    prompt = context_prompt(FILES, Cursor("new.py", "x = 1\n", "import utils\n"), budget=1000)
    assert prompt.startswith("# utils.py\n")


def test_a_working_tree_leaves_out_what_git_ignores(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "build/gen.py": "", ".gitignore": "build/\n"})
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert sorted(WorkingTree(tmp_path)) == sorted(FILES)


def test_a_plain_folder_leaves_out_installed_packages(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "node_modules/x/index.js": "", ".venv/a.py": "", "notes.txt": ""})
    assert sorted(WorkingTree(tmp_path)) == sorted(FILES)


def test_a_repository_is_read_again_when_a_file_changes(tmp_path: Path) -> None:
    context = RepositoryContext(write(tmp_path, FILES))
    assert context.prompt(Cursor("main.py", PREFIX), budget=1000) == ALL
    write(tmp_path, {"utils.py": "def load(): ...\n", "model.py": "import extra\n", "extra.py": ""})
    prompt = context.prompt(Cursor(str(tmp_path / "main.py"), PREFIX), budget=1000)
    assert prompt.startswith("# extra.py\n# model.py\nimport extra\n# utils.py\ndef load(): ...\n")


def test_a_file_outside_the_repository_is_refused(tmp_path: Path) -> None:
    context = RepositoryContext(write(tmp_path / "repo", FILES))
    with pytest.raises(SourceError, match="outside the repository"):
        context.prompt(Cursor(str(tmp_path / "x.py"), ""), budget=10)
    for odd in ("a\0b.py", "/\0"):
        with pytest.raises(SourceError, match="outside the repository"):
            context.prompt(Cursor(odd, ""), budget=10)
    with pytest.raises(SourceError, match="is not a folder"):
        RepositoryContext(tmp_path / "absent")


@pytest.mark.parametrize("n_lines", [2, 60])
def test_while_someone_types_prompts_begin_alike(n_lines: int) -> None:
    """Few lines: a file in front is cut; many: the open file itself is."""
    files = {"near.py": "".join(f"def near_{i}():\n    pass\n" for i in range(40))}
    prefix = "import near\n" + "".join(f"value_{i} = {i}\n" for i in range(n_lines))
    typed = "".join(f"name_{i} = near.near_{i}()\n" for i in range(10))
    begins = set()
    for n in range(len(typed)):
        cursor = Cursor("main.py", prefix + typed[:n])
        prompt = context_prompt(files, cursor, budget=600)
        assert len(prompt) <= 600
        assert prompt.endswith(cursor.prefix[-100:])
        begins.add(prompt[:100])
    assert len(begins) <= 1 + len(typed) // (600 // 8)


def test_each_file_in_front_has_its_reason(tmp_path: Path) -> None:
    folder = write(tmp_path, {**FILES, "deep.py": "x = 1\n", "utils.py": "import deep\n"})
    context = RepositoryContext(folder).lay_out(Cursor("main.py", PREFIX), budget=1000)
    assert [(f.path, f.via, f.distance) for f in context.files] == [
        ("deep.py", "utils.py", 2),
        ("utils.py", "main.py", 1),
        ("model.py", "main.py", 1),
    ]
    assert context.prompt.endswith("# main.py\n" + PREFIX)
    assert context.left_out == ()


def test_a_file_that_is_cut_or_finds_no_room_is_said(tmp_path: Path) -> None:
    files = {
        "near.py": "import far\n" + "a = 1\n" * 9,
        "far.py": "b = 2\n" * 40,
        "main.py": "import near\n",
    }
    repository = RepositoryContext(write(tmp_path, files))
    cursor = Cursor("main.py", "import near\n")
    whole = repository.lay_out(cursor, budget=1000)
    assert [f.path for f in whole.files] == ["far.py", "near.py"]
    cut = repository.lay_out(cursor, budget=230)
    assert [(f.path, f.is_cut) for f in cut.files] == [("far.py", True), ("near.py", False)]
    near_only = repository.lay_out(cursor, budget=104)
    assert [f.path for f in near_only.files] == ["near.py"]
    assert [(f.path, f.text) for f in near_only.left_out] == [("far.py", "")]


def test_a_link_to_what_is_not_listed_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.py": "x = 1\n", ".env": "PASSWORD=hunter2\n"})
    (folder / "link.py").symlink_to(folder / ".env")
    (folder / "same.py").symlink_to(folder / "a.py")
    tree = WorkingTree(folder)
    (folder / "circle.py").symlink_to(folder / "circle.py")
    tree.refresh()
    assert (tree["link.py"], tree["same.py"]) == ("", "x = 1\n")
    assert "circle.py" not in tree
