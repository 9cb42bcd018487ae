"""generate -> extract -> execute: the three stages of a benchmark, each resumable and each
computed once.

Input: a task's problems, a backend, a folder of rows. Output: an Outcome per problem and sample.
Each stage keeps its results as rows keyed by a hash of all that they depend on: model, prompt and
sampling for an answer; answer and extraction rules for a cut; program, limits, rule and tool
versions for an outcome. So stopping costs nothing, and judging again with another timeout needs
no generation.

Not here: scores and reports (scoreboard.py), prompts and rules (tasks/).
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codling.core.log import Bar
from codling.core.threads import in_threads
from codling.evaluate.backends import Answer, AnswerBackend, temperature_of
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.judge import judge_by_model
from codling.evaluate.rows import Rows, content_key
from codling.evaluate.task import Check, Problem, Prompt, Sampling, Task, Turn, Verdict
from codling.sandbox.executor import VERSION as SANDBOX_VERSION
from codling.sandbox.executor import Executor, Program
from codling.sandbox.interpreter import find_interpreter
from codling.sandbox.outcome import Outcome

_REPEATED_ALONE = ("timed out", "lost", "out of memory")
"""Outcomes that a busy machine may cause: such programs run once more, alone."""

_WINDOW = 64
"""Prompts that are asked in the order of their lengths."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One answer to one problem, as it goes through the stages."""

    problem: Problem
    index: int
    text: str = ""
    answer: str = ""
    status: str = ""
    """"passed", "failed", a reason of sandbox/outcome.py, "judged" (it has a mark), "not run"."""
    detail: str = ""
    seconds: float = 0.0
    output: str = ""
    """The end of what its program wrote to stderr."""
    generated: Answer | None = None
    turns: tuple[Turn, ...] = ()
    """All answers of a talk of several turns."""
    mark: float | None = None
    judgments: tuple[Mapping[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == "passed"


def generate(
    task: Task,
    problems: Sequence[Problem],
    backend: AnswerBackend,
    config: BenchmarkConfig,
    rows: Rows,
) -> list[Sample]:
    """An answer for every problem and sample index; those in `rows` are not asked again."""
    samples = [Sample(problem=p, index=i) for p in problems for i in range(config.n_samples)]
    prompts = [task.prompt(sample.problem, config) for sample in samples]
    return answer_prompts(task, samples, prompts, backend, config, rows)


def answer_prompts(  # noqa: PLR0913 - the parts of a run
    task: Task,
    samples: Sequence[Sample],
    prompts: Sequence[Prompt],
    backend: AnswerBackend,
    config: BenchmarkConfig,
    rows: Rows,
) -> list[Sample]:
    """The samples with an answer to each one's prompt."""
    keys = [
        _generation_key(task, sample, prompt, backend, config)
        for sample, prompt in zip(samples, prompts, strict=True)
    ]
    waiting = order_by_length(prompts, [i for i, key in enumerate(keys) if key not in rows])
    for i in waiting:  # before hours of answers, not after them
        backend.check(prompts[i], _sampling(task, samples[i].problem, config))

    def ask(i: int) -> Answer:
        sampling = _sampling(task, samples[i].problem, config)
        drawn = temperature_of(sampling, config) > 0
        return backend.answer(
            prompts[i], sampling, config.seed + samples[i].index if drawn else None
        )

    n_done = len(keys) - len(waiting)
    with Bar(f"{task.name}: generate", len(keys), done=n_done, unit="answers") as bar:
        for at, answer in in_threads(ask, waiting, config.concurrency):
            sample = samples[waiting[at]]
            rows.add(
                keys[waiting[at]],
                problem=sample.problem.id,
                sample=sample.index,
                text=answer.text,
                finish=answer.finish,
                n_tokens=answer.n_tokens,
                seconds=round(answer.seconds, 3),
                **({"options": answer.options, "alone": answer.alone} if answer.options else {}),
            )
            bar.advance(1)
    return [
        _with_answer(sample, prompt, rows[key])
        for sample, prompt, key in zip(samples, prompts, keys, strict=True)
    ]


def order_by_length(prompts: Sequence[Prompt], places: Sequence[int]) -> list[int]:
    """`places` in the order in which their prompts are asked: by length, 64 neighbours at a time.

    What an engine reads in one pass is padded to the longest; neighbours often share examples, so
    that they must not go far apart. Where options are ranked nothing is padded.
    """
    if not places or prompts[places[0]].options:
        return list(places)
    windows = (places[at : at + _WINDOW] for at in range(0, len(places), _WINDOW))
    return [i for window in windows for i in sorted(window, key=lambda i: _length(prompts[i]))]


def _length(prompt: Prompt) -> int:
    said = (message["content"] for message in prompt.messages or ())
    return sum(map(len, (prompt.text or "", *(prompt.hole or ()), *said)))


def extract(
    task: Task, samples: Sequence[Sample], config: BenchmarkConfig, rows: Rows
) -> list[Sample]:
    """Cut the answer out of every text."""
    done = []
    for sample in samples:
        rules = [config.style, config.extraction]
        key = content_key(task.name, task.version, rules, sample.problem.id, sample.text)
        if key not in rows:
            answer = cut_out(task, sample.problem, sample.text, config)
            rows.add(key, problem=sample.problem.id, sample=sample.index, answer=answer)
        done.append(replace(sample, answer=rows[key]["answer"]))
    return done


def cut_out(task: Task, problem: Problem, text: str, config: BenchmarkConfig) -> str:
    """The answer in a text, by the rule that the config names."""
    if config.style == "instruct" and config.extraction == "deepseek":
        assert task.extract_deepseek is not None
        return task.extract_deepseek(problem, text)
    return task.extract(problem, text, config.style)


def execute(
    task: Task, samples: Sequence[Sample], config: BenchmarkConfig, rows: Rows
) -> list[Sample]:
    """Judge every answer: at once, by running its program in the sandbox, or by a judge model."""
    checks = [_name_answer(task.check(s.problem, s.answer, config), s) for s in samples]
    checks = judge_by_model(checks, config, rows)
    programs = {i: c for i, c in enumerate(checks) if isinstance(c, Program)}
    outcomes = _run(task, programs, config, rows) if programs else {}
    return [
        _apply_row(sample, check, outcomes.get(i))
        for i, (sample, check) in enumerate(zip(samples, checks, strict=True))
    ]


def _name_answer(check: Check, sample: Sample) -> Check:
    """The check with the part of its program that the model wrote marked."""
    if isinstance(check, Program) and not check.answer:
        return replace(check, answer=sample.answer)
    return check


def _apply_row(sample: Sample, check: Check, row: dict[str, Any] | None) -> Sample:
    if isinstance(check, Verdict):
        return replace(
            sample,
            status=_status(check),
            detail=check.detail,
            mark=check.mark,
            judgments=check.judgments,
        )
    assert row is not None
    assert isinstance(check, Program)
    return replace(
        sample,
        status=row["status"],
        detail=row["detail"],
        seconds=row["seconds"],
        output=row.get("stderr", ""),
    )


def _status(verdict: Verdict) -> str:
    if verdict.skipped:
        return "not run"
    if verdict.mark is not None:
        return "judged"
    return "passed" if verdict.passed else "failed"


def _run(
    task: Task, programs: dict[int, Program], config: BenchmarkConfig, rows: Rows
) -> dict[int, dict[str, Any]]:
    python = find_interpreter(config.python)
    with Executor(
        config.workers, unsafe=config.unsafe, preload=task.preload, python=python
    ) as executor:
        languages = {program.language for program in programs.values()}
        versions = {name: executor.require(name) for name in sorted(languages)}
        keys = {i: _execution_key(p, versions[p.language], config) for i, p in programs.items()}
        todo = {key: programs[i] for i, key in keys.items() if key not in rows}
        label = f"{task.name}: execute"
        total = len(set(keys.values()))
        with Bar(label, total, done=total - len(todo), unit="programs") as bar:
            again = list(_run_all(executor.map, todo, rows, bar))
            alone = {key: todo[key] for key in again}
            for key in _run_all(_one_by_one(executor), alone, rows, bar, last=True):
                raise AssertionError(f"{key} was left without an outcome")
    return {i: rows[key] for i, key in keys.items()}


def _run_all(
    run: Callable[[Sequence[Program]], Iterator[tuple[int, Outcome]]],
    todo: dict[str, Program],
    rows: Rows,
    bar: Bar,
    last: bool = False,
) -> Iterator[str]:
    """Run and store; yields the keys of programs that are not stored, as they should run again,
    alone."""
    keys = list(todo)
    for at, outcome in run(list(todo.values())):
        if outcome.status in _REPEATED_ALONE and not last:
            yield keys[at]
            continue
        rows.add(
            keys[at],
            status=outcome.status,
            detail=outcome.detail,
            seconds=round(outcome.seconds, 4),
            stderr=outcome.stderr[-2000:],
        )
        bar.advance(1)


def _one_by_one(
    executor: Executor,
) -> Callable[[Sequence[Program]], Iterator[tuple[int, Outcome]]]:
    return lambda programs: ((i, executor.run(p)) for i, p in enumerate(programs))


def _generation_key(
    task: Task, sample: Sample, prompt: Prompt, backend: AnswerBackend, config: BenchmarkConfig
) -> str:
    sampling = _sampling(task, sample.problem, config)
    how: list[object] = [sampling.max_tokens, sampling.stop]
    temperature = temperature_of(sampling, config)
    if temperature > 0:
        how += [temperature, config.top_p, config.seed + sample.index]
    return content_key(backend.identity, prompt.contents, how, sample.index)


def _execution_key(program: Program, version: str, config: BenchmarkConfig) -> str:
    load = "unsafe" if config.unsafe else "walls"
    what = [
        program.language,
        program.source,
        program.answer,
        program.stdin,
        dict(program.files),
        program.strict,
        *[[case.stdin, case.expected, case.form, case.near] for case in program.cases],
    ]
    bounds = [program.seconds, program.memory_bytes, program.proc, load, os.uname().machine]
    return content_key(what, bounds, version, SANDBOX_VERSION)


def _sampling(task: Task, problem: Problem, config: BenchmarkConfig) -> Sampling:
    sampling = task.sampling(problem, config.style)
    return replace(sampling, max_tokens=config.max_tokens) if config.max_tokens else sampling


def _with_answer(sample: Sample, prompt: Prompt, row: dict[str, Any]) -> Sample:
    """The sample with a stored answer; of options the best by the ranking of now."""
    sums = row.get("options")
    answer = Answer(
        text=prompt.choose(sums, row["alone"]) if sums else str(row["text"]),
        finish=str(row["finish"]),
        n_tokens=int(str(row["n_tokens"])),
        seconds=float(str(row["seconds"])),
    )
    return replace(sample, text=answer.text, generated=answer)


def rows_in(folder: Path, stage: str) -> Rows:
    """The store of one stage of one run."""
    return Rows(folder / f"{stage}.jsonl")
