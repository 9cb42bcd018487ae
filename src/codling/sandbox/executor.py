"""Runs programs of any language and judges them: what benchmarks and rewards call.

Input: Programs. Output: Outcomes. Python runs in the box's warm interpreter; others are compiled
and run by their toolchain, Java and TypeScript by compilers that stay warm.

Not here: the walls (box.py) and the languages (toolchains.py).
"""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from codling.core.errors import ToolMissingError
from codling.sandbox import toolchains
from codling.sandbox.box import Job, Reply, Step, StepReply
from codling.sandbox.interpreter import Interpreter, own
from codling.sandbox.limits import Limits
from codling.sandbox.outcome import Outcome, judge, proved, telling_line
from codling.sandbox.pool import Pool, in_threads
from codling.sandbox.toolchains import Toolchain
from codling.sandbox.warm_compiler import (
    HERE,
    CompileError,
    WarmCompiler,
    talk_java,
    talk_typescript,
    typescript_path,
)

VERSION = 4
"""Raised when the same program may get another verdict, so that stored ones are not used."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A source to run and judge."""

    language: str
    """"python", or a name of toolchains.py: cpp, java, ts ..."""
    source: str
    seconds: float = 10.0
    """Run time limit; compiling is not in it."""
    memory_bytes: int = 2 << 30
    stdin: str = ""
    strict: bool = True
    """Whether the program must prove that it ran to its end, or its exit status is trusted."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files in its folder."""
    proc: bool = False
    """Whether a Python program needs /proc: some large libraries do."""


class Executor:
    """A pool of boxes with compilers; use it in a `with` block. Threads may call `run` at once."""

    def __init__(
        self,
        workers: int = 0,
        *,
        unsafe: bool = False,
        preload: Sequence[str] = (),
        python: Interpreter | None = None,
    ) -> None:
        """`python` runs Python programs, our own if none is given."""
        self._chains = toolchains.toolchains()
        self._unsafe, self._python = unsafe, python or own()
        shown = [path for chain in self._chains.values() for path in chain.shown]
        self.pool = Pool(
            workers,
            limits=Limits(),
            unsafe=unsafe,
            shown=shown,
            preload=[name for name in preload if self._python.has(name.partition(".")[0])],
            python=self._python,
        )
        self._compilers: dict[str, WarmCompiler] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.__exit__(kind, error, trace)
        for compiler in self._compilers.values():
            compiler.close()

    def require(self, language: str) -> str:
        """The version of a language's tools; ToolMissingError with the cure where there are
        none."""
        if language == "python":
            return self._python.describe()
        if language not in self._chains:
            raise ToolMissingError(f"no toolchain for {language}; see `codling evaluate doctor`")
        found = toolchains.version(language)
        if found is None:
            raise ToolMissingError(
                f"{language} programs cannot run here: apt-get install "
                f"{self._chains[language].packages}; see `codling evaluate doctor`"
            )
        if language == "cpp":
            toolchains.precompiled_header()
        return found

    def run(self, program: Program) -> Outcome:
        """Run and judge one program."""
        if program.language == "python":
            job = _python_job(program)
            return _python_outcome(program, job, self.pool.run(job))
        return self._run_other(program, self._chains[program.language])

    def map(self, programs: Iterable[Program]) -> Iterator[tuple[int, Outcome]]:
        """Run all programs; pairs of index and outcome, as they come."""
        listed = list(programs)
        if any(program.language != "python" for program in listed):
            yield from in_threads(self.run, listed, self.pool.workers)
            return
        jobs = [_python_job(program) for program in listed]
        for index, reply in self.pool.map(jobs):
            yield index, _python_outcome(listed[index], jobs[index], reply)

    def _run_other(self, program: Program, chain: Toolchain) -> Outcome:
        limits = _limits(program)
        nonce = secrets.token_hex(8) if program.strict and chain.seal else ""
        source = chain.seal(program.source, nonce) if nonce and chain.seal else program.source
        files: dict[str, str | bytes] = {chain.file: source, **program.files}
        steps = [Step(argv=chain.run, env=dict(chain.env), stdin=program.stdin, limits=limits)]
        if chain.warm:
            try:
                files = {**self._compiler(chain.warm).compile(source), **program.files}
            except CompileError as error:
                text = str(error)
                return Outcome(status="compile error", detail=telling_line(text), stderr=text)
        elif chain.compile:
            slow = replace(limits, wall_seconds=chain.compile_seconds, cpu_seconds=60)
            argv = chain.compile if program.strict else chain.compile_deepseek or chain.compile
            steps.insert(0, Step(argv=argv, env=dict(chain.env), limits=slow))
        job = Job(steps=tuple(steps), files=files)

        def passed(reply: StepReply) -> bool:
            if chain.alarm and re.search(chain.alarm, reply.stderr):
                return False
            if not nonce:
                return chain.ended(reply)
            return reply.exit == 0 and reply.stdout.rstrip("\n").rpartition("\n")[2] == nonce

        return judge(job, self.pool.run(job), passed)

    def _compiler(self, kind: str) -> WarmCompiler:
        if kind not in self._compilers:
            self._compilers[kind] = _java(self._unsafe) if kind == "java" else _node(self._unsafe)
        return self._compilers[kind]


def _limits(program: Program) -> Limits:
    return Limits(
        wall_seconds=program.seconds,
        cpu_seconds=2 * program.seconds,
        memory_bytes=program.memory_bytes,
    )


def _python_job(program: Program) -> Job:
    step = Step(code=program.source, stdin=program.stdin, limits=_limits(program))
    return Job(steps=(step,), files=program.files, proc=program.proc)


def _python_outcome(program: Program, job: Job, reply: Reply) -> Outcome:
    return judge(job, reply, proved if program.strict else lambda step: step.exit == 0)


def _java(unsafe: bool) -> WarmCompiler:
    argv = ["/usr/bin/java", "-XX:+UseSerialGC", "-Xmx1g", "-Xshare:auto"]
    argv += [str(HERE / "compile_java.java"), "-cp", toolchains.JAVA_CLASSES]
    return WarmCompiler(argv, talk_java, unsafe=unsafe)


def _node(unsafe: bool) -> WarmCompiler:
    library = typescript_path(toolchains.CACHE_DIR)
    argv = ["/usr/bin/node", str(HERE / "compile_ts.js"), str(library)]
    return WarmCompiler(argv, talk_typescript, [Path(library).parents[1]], unsafe)
