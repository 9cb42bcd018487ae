"""Runs programs of any language and judges them: what benchmarks and rewards call.

Input: Programs. Output: Outcomes. Python runs in the box's warm interpreter; others are compiled
and run by their toolchain, Java and TypeScript by compilers that stay warm.

Not here: the isolation (box.py) and the languages (toolchains.py).
"""

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from codling.core.errors import ToolMissingError
from codling.core.threads import in_threads
from codling.sandbox import toolchains
from codling.sandbox.box import Job, Reply, Step, StepReply
from codling.sandbox.bubblewrap import INSIDE
from codling.sandbox.cases import RunCase, judge_cases
from codling.sandbox.interpreter import Interpreter, own_interpreter
from codling.sandbox.limits import Limits
from codling.sandbox.outcome import Outcome, has_proved_end, judge, telling_line
from codling.sandbox.pool import Pool
from codling.sandbox.tampering import find_tampering
from codling.sandbox.toolchains import Toolchain
from codling.sandbox.warm_compiler import (
    HERE,
    CompileError,
    CompilerLostError,
    WarmCompiler,
    talk_java,
    talk_typescript,
    typescript_path,
)

VERSION = 6
"""Raised when the same program may get another verdict, so that stored ones are not used."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A source to run and judge."""

    language: str
    """"python", or a name of toolchains.py: cpp, java, ts ..."""
    source: str
    answer: str = ""
    """The untrusted part of it; a strict verdict looks there for what reaches for
    the tests (tampering.py), or in the whole source if none is given."""
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
    cases: tuple[RunCase, ...] = ()
    """Where given: the program is run once for each, and what it prints decides (cases.py)."""

    @property
    def needs_toolchain(self) -> bool:
        """Whether it runs in a process of its own; Python runs in the box's interpreter."""
        return self.language != toolchains.BOX_LANGUAGE


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
        self._unsafe, self._python = unsafe, python or own_interpreter()
        with suppress(OSError):  # `require` reports it, to those who need the folder
            # Made now: boxes that already run would not see a folder that is made later.
            toolchains.PCH_DIR.mkdir(parents=True, exist_ok=True)
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
        if language == toolchains.BOX_LANGUAGE:
            return self._python.describe()
        if language not in self._chains:
            raise ToolMissingError(f"no toolchain for {language}; see `codling evaluate doctor`")
        found = toolchains.version(language)
        if found is None:
            raise ToolMissingError(
                f"{language} programs cannot run here: apt-get install "
                f"{self._chains[language].packages}; see `codling evaluate doctor`"
            )
        if self._chains[language].precompiled:
            toolchains.precompile_header()
        return found

    def run(self, program: Program) -> Outcome:
        """Run and judge one program."""
        if (caught := _find_tampering(program)) is not None:
            return caught
        if program.needs_toolchain:
            return self._run_other(program, self._chains[program.language])
        if program.cases:
            job = Job(steps=_python_cases(program), files=program.files, proc=program.proc)
            return judge_cases(job, self.pool.run(job), program.cases, 0)
        job = _python_job(program)
        return _python_outcome(program, job, self.pool.run(job))

    def run_alone(self, program: Program) -> Outcome:
        """Run one program that is not an answer to a test: it passes if it ends with status 0."""
        if program.needs_toolchain:
            alone = replace(program, strict=False)
            return self._run_other(alone, self._chains[program.language], _has_ended_well)
        job = _python_job(program)
        return judge(job, self.pool.run(job), _has_ended_well)

    def map(self, programs: Iterable[Program]) -> Iterator[tuple[int, Outcome]]:
        """Run all programs; pairs of index and outcome, as they come."""
        listed = list(programs)
        if any(program.needs_toolchain or program.cases for program in listed):
            yield from in_threads(self.run, listed, self.pool.workers)
            return
        caught = {i: c for i, each in enumerate(listed) if (c := _find_tampering(each)) is not None}
        yield from caught.items()
        free = [i for i in range(len(listed)) if i not in caught]
        jobs = [_python_job(listed[i]) for i in free]
        for at, reply in self.pool.map(jobs):
            yield free[at], _python_outcome(listed[free[at]], jobs[at], reply)

    def _run_other(
        self,
        program: Program,
        chain: Toolchain,
        rule: Callable[[StepReply], bool] | None = None,
    ) -> Outcome:
        limits = _limits(program)
        sealed = program.strict and not program.cases and (chain.seal or chain.runner)
        nonce = secrets.token_hex(8) if sealed else ""
        source = chain.add_seal(program.source, nonce) if nonce and chain.seal else program.source
        files: dict[str, str | bytes] = {chain.file: source, **program.files}
        argv = chain.run
        if nonce and chain.runner.startswith("run."):
            folder = toolchains.RUNNERS if self._unsafe else f"{INSIDE}/runners"
            argv = (chain.run[0], f"{folder}/{chain.runner}")
        env = dict(chain.env)
        last = Step(argv=argv, env=env, stdin=program.stdin, limits=limits, key=nonce)
        steps = [replace(last, stdin=case.stdin) for case in program.cases] or [last]
        if chain.warm:
            try:
                files = {**self._compiler(chain.warm).compile(source), **program.files}
            except CompileError as error:
                text = str(error)
                return Outcome(status="compile error", detail=telling_line(text), stderr=text)
            except CompilerLostError as error:  # on a busy machine it may only have been slow
                return Outcome(status="lost", detail=str(error))
        elif chain.compile:
            slow = replace(limits, wall_seconds=chain.compile_seconds, cpu_seconds=60)
            argv = chain.compile if program.strict else chain.compile_deepseek or chain.compile
            steps.insert(0, Step(argv=argv, env=dict(chain.env), limits=slow))
        job = Job(steps=tuple(steps), files=files)
        if program.cases:
            n_before = len(steps) - len(program.cases)
            return judge_cases(job, self.pool.run(job), program.cases, n_before)

        def has_passed(reply: StepReply) -> bool:
            if chain.alarm and re.search(chain.alarm, reply.stderr):
                return False
            if not nonce:
                return chain.has_passed(reply)
            said = reply.stdout.rstrip("\n").rpartition("\n")[2] == nonce
            counted = chain.has_passed(reply) or not chain.strict_report
            return reply.exit == 0 and counted and (reply.proved or (not chain.runner and said))

        return judge(job, self.pool.run(job), rule or has_passed)

    def _compiler(self, kind: str) -> WarmCompiler:
        if kind not in self._compilers:
            self._compilers[kind] = _java(self._unsafe) if kind == "java" else _node(self._unsafe)
        return self._compilers[kind]


def _find_tampering(program: Program) -> Outcome | None:
    """The verdict on a program that reaches for its tests; it is not run."""
    found = program.strict and find_tampering(program.language, program.answer or program.source)
    return Outcome(status="tampering", detail=f"it uses {found}") if found else None


def _has_ended_well(step: StepReply) -> bool:
    return step.exit == 0


def _limits(program: Program) -> Limits:
    return Limits(
        wall_seconds=program.seconds,
        cpu_seconds=2 * program.seconds,
        memory_bytes=program.memory_bytes,
    )


def _python_job(program: Program) -> Job:
    step = Step(code=program.source, stdin=program.stdin, limits=_limits(program))
    return Job(steps=(step,), files=program.files, proc=program.proc)


def _python_cases(program: Program) -> tuple[Step, ...]:
    limits = _limits(program)
    return tuple(
        Step(code=program.source, stdin=case.stdin, limits=limits) for case in program.cases
    )


def _python_outcome(program: Program, job: Job, reply: Reply) -> Outcome:
    return judge(job, reply, has_proved_end if program.strict else _has_ended_well)


def _java(unsafe: bool) -> WarmCompiler:
    argv = ["/usr/bin/java", "-XX:+UseSerialGC", "-Xmx1g", "-Xshare:auto"]
    argv += [str(HERE / "compile_java.java"), "-cp", toolchains.JAVA_CLASSES]
    return WarmCompiler(argv, talk_java, unsafe=unsafe)


def _node(unsafe: bool) -> WarmCompiler:
    library = typescript_path(toolchains.CACHE_DIR)
    argv = ["/usr/bin/node", str(HERE / "compile_ts.js"), str(library)]
    return WarmCompiler(argv, talk_typescript, [Path(library).parents[1]], unsafe)
