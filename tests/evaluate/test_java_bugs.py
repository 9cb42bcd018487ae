"""Bugs of Defects4J: from checkouts for the official harness, or put back into a release."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from codling.core.errors import SourceError
from codling.evaluate import java_bugs
from codling.evaluate.benchmark import evaluate
from codling.evaluate.config import BenchmarkConfig
from codling.sandbox.toolchains import version

FIXED = """package org.x;

public class Half {
    public static int of(int n) {
        return n / 2;
    }
}
"""
PATCH = """diff --git a/src/java/org/x/Half.java b/src/java/org/x/Half.java
index 1111111..2222222 100644
--- a/src/java/org/x/Half.java
+++ b/src/java/org/x/Half.java
@@ -3,5 +3,5 @@ package org.x;
 public class Half {
     public static int of(int n) {
-        return n / 2;
+        return n / 3;
     }
 }
"""
TEST = """package org.x;

public class HalfTest extends junit.framework.TestCase {
    public void testHalf() { assertEquals(2, Half.of(4)); }
}
"""
TRIGGER = "--- org.x.HalfTest::testHalf\njunit.framework.AssertionFailedError: expected:<2>\n"
ROW = {
    "archive": "half_1.0",
    "sources": ["src/main/java"],
    "tests": ["src/test/java"],
    "bugs": [1],
    "jars": [],
    "packages": "libhalf-java",
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchmarkConfig:
    folder = tmp_path / "data" / "defects4j"
    for name, text in {
        "framework/projects/Half/patches/1.src.patch": PATCH,
        "framework/projects/Half/trigger_tests/1": TRIGGER,
        "framework/projects/Half/patches/1.test.patch": "not read",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(java_bugs, "packaged_table", lambda *_: {"Half": ROW})
    for cached in (java_bugs.read_metadata, java_bugs.read_packages):
        cached.cache_clear()
    return BenchmarkConfig(
        benchmark="defects4j", subset="run", data_dir=tmp_path / "data", out_dir=tmp_path / "out"
    )


def put_release(config: BenchmarkConfig, fixed: str = FIXED) -> None:
    trees = config.data_dir / "defects4j" / "trees"
    trees.mkdir()
    with tarfile.open(trees / "half_1.0.orig.tar.xz", "w:xz") as archive:
        for name, text in {"main/java/org/x/Half": fixed, "test/java/org/x/HalfTest": TEST}.items():
            member = tarfile.TarInfo(f"half-1.0/src/{name}.java")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


def test_a_bug_is_put_back_into_a_release_of_another_layout(config):
    put_release(config, FIXED.replace("\n", "\r\n"))
    (row,) = java_bugs.released_bugs(config.data_dir / "defects4j")
    assert (row["project"], row["path"], row["tests"]) == (
        "Half",
        "org/x/Half.java",
        ["org.x.HalfTest"],
    )
    assert row["source"] == FIXED.replace("n / 2", "n / 3")
    repair = java_bugs.own_repair(row) or ""
    assert "+        return n / 2;" in repair.splitlines()
    assert "-        return n / 3;" in repair.splitlines()


def test_a_repair_that_does_not_fit_repairs_nothing(config, monkeypatch):
    put_release(config)
    (row,) = java_bugs.released_bugs(config.data_dir / "defects4j")
    monkeypatch.setattr(java_bugs, "version", lambda _: "17")
    for patch in ("", "nonsense", (java_bugs.own_repair(row) or "").replace("n / 3", "n / 4")):
        assert getattr(java_bugs.repair_program(row, patch, 1.0, True), "passed", None) is False
    monkeypatch.setitem(ROW, "jars", ["no-such"])
    missing = java_bugs.repair_program(row, "", 1.0, True)
    assert getattr(missing, "detail", "") == "needs: apt-get install libhalf-java"
    monkeypatch.setitem(ROW, "jars", [])
    program = java_bugs.repair_program(row, java_bugs.own_repair(row) or "", 1.0, True)
    assert program.files["org/x/Half.java"] == FIXED  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_bug_fails_its_tests_and_the_repair_passes(config, tmp_path):
    if version("java-junit") is None:
        pytest.skip("needs: apt-get install openjdk-17-jdk-headless junit5 junit4")
    put_release(config)
    said = tmp_path / "said.jsonl"
    (row,) = java_bugs.released_bugs(config.data_dir / "defects4j")
    own = java_bugs.own_repair(row) or ""
    for patch, status in (
        (own, "passed"),
        (own.replace("+        return n / 2", "+  return n"), "failed"),
    ):
        said.write_text(json.dumps({"instance_id": "Half-1", "model_patch": patch}) + "\n")
        found = evaluate(replace(config, samples=said, out_dir=tmp_path / status)).path
        outcome = json.loads((found / "outcomes.jsonl").read_text())
        assert outcome["status"] == status, outcome


def test_a_checkout_is_prepared_and_its_repair_is_a_diff_for_the_official_harness(config, tmp_path):
    source = config.data_dir / "defects4j" / "checkouts" / "Half-1b" / "src/java/org/x/Half.java"
    source.parent.mkdir(parents=True)
    source.write_text(FIXED.replace("n / 2", "n / 3"))
    said = tmp_path / "said.jsonl"
    said.write_text(
        json.dumps({"instance_id": "Half-1", "response": f"So:\n```java\n{FIXED}```"}) + "\n"
    )
    config = replace(config, subset="", samples=said, raw=True)
    found = json.loads((evaluate(config).path / "judgments.jsonl").read_text())
    assert found["instance_id"] == "Half-1"
    assert found["model_patch"].splitlines()[:2] == [
        "--- a/src/java/org/x/Half.java", "+++ b/src/java/org/x/Half.java",
    ]  # fmt: skip
    assert "+        return n / 2;" in found["model_patch"].splitlines()


def test_what_is_missing_is_said_with_the_cure(config):
    folder = config.data_dir / "defects4j"
    with pytest.raises(SourceError, match="apt-get source --download-only half"):
        java_bugs.released_bugs(folder)
    with pytest.raises(SourceError, match="defects4j checkout -p Lang -v 1b"):
        evaluate(replace(config, subset="", canonical=True))
    (folder / "checkouts" / "Half-7b").mkdir(parents=True)
    with pytest.raises(SourceError, match="named after no bug; name it like Lang-1b"):
        java_bugs.checked_out_bugs(folder)


def test_each_bug_of_the_table_is_one_of_the_published_ones(shared_data):
    java_bugs.read_metadata.cache_clear()
    known = java_bugs.read_metadata(shared_data / "benchmarks" / "defects4j")
    assert len({project for project, _ in known}) == 17
    table = java_bugs.read_table()
    bugs = [(project, str(bug)) for project, row in table.items() for bug in row["bugs"]]
    assert len(bugs) == len({*bugs}) > 0
    assert not set(bugs) - set(known)
