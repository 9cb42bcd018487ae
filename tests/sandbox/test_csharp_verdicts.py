"""C# by DeepSeek-Coder's rule: only the word "Fail" on standard error fails, and nothing but the
standard libraries is referenced; strict verdicts want more."""

import shutil

import pytest

from codling.sandbox.executor import Executor, Program

pytestmark = pytest.mark.slow
MAIN = (
    "using System;\nusing System.Diagnostics;\n"
    "class Problem {{\n    static void Main() {{\n{}\n    }}\n}}\n"
)
BIG = "System.Numerics.BigInteger n = 2;\nif (n != 2) throw new Exception();"


@pytest.fixture(scope="module")
def executor():
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    if shutil.which("mcs") is None:
        pytest.skip("needs mcs: apt-get install mono-mcs")
    with Executor(2) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "deepseek", "strict"),
    [
        ("Debug.Assert(1 == 1);", "passed", "passed"),
        ("Debug.Assert(1 == 2);", "failed", "failed"),
        ('throw new Exception("no");', "passed", "failed"),
        ('throw new Exception("Failed");', "failed", "failed"),
        ("Environment.Exit(3);", "passed", "failed"),
        ("Environment.Exit(0);", "passed", "left early"),
        (BIG, "compile error", "passed"),
        ("nonsense", "compile error", "compile error"),
    ],
)
def test_csharp(executor, body, deepseek, strict):
    source = MAIN.format(body)
    said = [
        executor.run(Program(language="cs", source=source, strict=each)).status
        for each in (False, True)
    ]
    assert said == [deepseek, strict]
