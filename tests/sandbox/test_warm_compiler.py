"""A compiler that stays warm, with a small program in the place of a real one."""

import shutil
from collections.abc import Iterator

import pytest

from codling.sandbox.interpreter import own_interpreter
from codling.sandbox.warm_compiler import (
    CompileError,
    CompilerLostError,
    WarmCompiler,
    talk_typescript,
)

STAND_IN = """
import os, struct, sys
rights = [line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")]
while head := sys.stdin.buffer.read(4):
    source = sys.stdin.buffer.read(struct.unpack("<I", head)[0])
    if source == b"leave":
        os._exit(0)
    answer = repr((os.getuid(), {int(right, 16) for right in rights})).encode()
    sys.stdout.buffer.write(struct.pack("<BI", source != b"wrong", len(answer)) + answer)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def compiler() -> Iterator[WarmCompiler]:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt-get install bubblewrap")
    made = WarmCompiler([own_interpreter().path, "-P", "-s", "-S", "-c", STAND_IN], talk_typescript)
    yield made
    made.close()


def test_it_answers_again_and_again_without_a_right(compiler: WarmCompiler) -> None:
    for _ in range(2):
        answer = compiler.compile("right")["main.js"]
        assert answer.endswith(b", {0})"), answer
        assert not answer.startswith(b"(0,"), answer


def test_errors_are_the_compilers_own(compiler: WarmCompiler) -> None:
    with pytest.raises(CompileError, match=r"\{0\}"):
        compiler.compile("wrong")


def test_one_that_ended_is_started_anew(compiler: WarmCompiler) -> None:
    with pytest.raises(CompilerLostError, match="ended or hung"):
        compiler.compile("leave")
    assert compiler.compile("right")
