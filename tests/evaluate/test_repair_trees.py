"""Bugs whose sources lie beside the data: before the repair the tests fail, after it they pass."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from codling.core.errors import SourceError
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.repair_trees import apply_patches, has_tree, read_tree, repair_program
from codling.evaluate.task import Verdict

SOURCES = {
    "pkg-1.0/pkg/__init__.py": "",
    "pkg-1.0/pkg/core.py": "def half(x):\n    return x // 2\n",
    "pkg-1.0/pkg/tests/__init__.py": "",
    "pkg-1.0/pkg/tests/test_core.py": (
        "from pkg.core import half\n\n\ndef test_even():\n    assert half(4) == 2\n"
    ),
    "pkg-1.0/docs/page.py": "wrong(",
}
PATCH = """--- a/pkg/core.py
+++ b/pkg/core.py
@@ -1,2 +1,2 @@
 def half(x):
-    return x // 2
+    return x / 2
"""
TEST_PATCH = """--- a/pkg/tests/test_core.py
+++ b/pkg/tests/test_core.py
@@ -3,3 +3,7 @@

 def test_even():
     assert half(4) == 2
+
+
+def test_odd():
+    assert half(3) == 1.5
"""
ROW = {
    "instance_id": "me__pkg-1", "repo": "me/pkg", "base_commit": "0" * 40, "version": "1.0",
    "problem_statement": "Half of 3 is 1.5.", "patch": PATCH, "test_patch": TEST_PATCH,
    "FAIL_TO_PASS": '["test_odd"]', "PASS_TO_PASS": '["test_even"]',
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> BenchmarkConfig:
    trees = tmp_path / "data" / "swe-bench-lite" / "trees"
    trees.mkdir(parents=True)
    with tarfile.open(trees / "me__pkg-1.tar.gz", "w:gz") as archive:
        for name, text in SOURCES.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    other = ROW | {"instance_id": "me__pkg-2"}
    rows = "".join(json.dumps(row) + "\n" for row in (ROW, other))
    (trees.parent / "rows.jsonl").write_text(rows)
    return BenchmarkConfig(
        benchmark="swe-bench", subset="run", data_dir=tmp_path / "data", out_dir=tmp_path / "out",
        canonical=True,
    )  # fmt: skip


def outcomes(config: BenchmarkConfig) -> list[tuple[str, str]]:
    lines = (evaluate(config).path / "outcomes.jsonl").read_text().splitlines()
    return [(row["status"], row["detail"]) for row in map(json.loads, lines)]


def test_the_bug_fails_and_its_repair_passes(config, tmp_path):
    assert outcomes(config) == [("passed", "")]
    wrong = PATCH.replace("x / 2", "x + 2")
    said = tmp_path / "said.jsonl"
    cut = PATCH.rstrip("\n")
    for patch, status in (("", "failed"), (wrong, "failed"), (PATCH, "passed"), (cut, "passed")):
        said.write_text(json.dumps({"instance_id": "me__pkg-1", "model_patch": patch}) + "\n")
        answered = replace(config, canonical=False, samples=said)
        (found,) = outcomes(answered)
        assert found[0] == status, (patch, found)


def test_a_patch_that_does_not_fit_repairs_nothing(config):
    folder = config.data_dir / "swe-bench-lite"
    found = repair_program(folder, ROW, PATCH.replace("half(x)", "whole(x)"), 10.0, True)
    assert isinstance(found, Verdict)
    assert found.detail == "the patch does not fit"
    with pytest.raises(SourceError, match="do not fit these sources"):
        repair_program(folder, ROW | {"test_patch": PATCH.replace("half", "no")}, PATCH, 1.0, True)


def test_the_model_does_not_change_the_tests(config):
    program = repair_program(
        config.data_dir / "swe-bench-lite", ROW,
        "--- a/pkg/tests/test_core.py\n+++ b/pkg/tests/test_core.py\n@@ -6,5 +6,5 @@\n"
        "     assert half(4) == 2\n \n \n def test_odd():\n"
        "-    assert half(3) == 1.5\n+    assert True\n", 10.0, True,
    )  # fmt: skip
    assert not isinstance(program, Verdict)
    assert "half(3) == 1.5" in program.files["pkg/tests/test_core.py"]
    assert "docs/page.py" not in program.files


def test_a_patch_stays_in_its_folder(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s")
    link = f"""diff --git a/x b/x
new file mode 120000
--- /dev/null
+++ b/x
@@ -0,0 +1 @@
+{secret}
\\ No newline at end of file
"""
    assert apply_patches({}, [link]) == {}
    away = "--- /dev/null\n+++ b/../out.py\n@@ -0,0 +1 @@\n+x = 1\n"
    assert apply_patches({}, [away]) is None
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_tests_that_are_no_functions_are_left_to_the_official_harness(config):
    folder = config.data_dir / "swe-bench-lite"
    assert has_tree(folder, ROW)
    assert not has_tree(folder, ROW | {"FAIL_TO_PASS": '["pkg/tests/test_core.py::test_odd"]'})
    assert not has_tree(folder, ROW | {"instance_id": "me__pkg-3"})
    assert set(read_tree(folder / "trees" / "me__pkg-1.tar.gz")) >= {"pkg/core.py", "docs/page.py"}
