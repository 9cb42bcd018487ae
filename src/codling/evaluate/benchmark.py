"""`codling evaluate`: one benchmark, one model, one report.

Input: BenchmarkConfig. Output: an artefact with the report; beside it, in NAME.rows, all that was
generated, extracted and run, which later runs use again.

Not here: the stages (harness.py), the benchmarks (tasks/), scores (scoreboard.py).
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling import __version__
from codling.core.artifact import Artifact, Input, config_dict
from codling.core.errors import ConfigError, SourceError
from codling.core.foreign_json import MAX_TABLE_BYTES, read_bytes
from codling.core.inputs import source_input
from codling.core.plan import starts_fresh
from codling.core.stage import Work, stage
from codling.evaluate import bigcodebench_needs, harness
from codling.evaluate.backends import NO_JUDGE, answering_identity, open_backend
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.foreign import sample_files
from codling.evaluate.foreign_samples import fence_notes, read_samples
from codling.evaluate.harness import Sample, rows_in
from codling.evaluate.judgments import judgment_files, note_oddities, read_judgments
from codling.evaluate.prelude import imports_of
from codling.evaluate.rows import content_key
from codling.evaluate.scoreboard import headline, summarise, write_report
from codling.evaluate.suite import run_suite
from codling.evaluate.talk import ask_on
from codling.evaluate.task import Problem, Scores, Task
from codling.evaluate.tasks import TASKS, ds1000, find_task
from codling.sandbox import describe
from codling.sandbox.interpreter import find_interpreter
from codling.sandbox.toolchains import doctor, toolchains
from codling.sandbox.toolchains import version as toolchain_version

_SOURCES = ("model", "api", "samples", "judgments", "canonical")
_ASKING = ("limit", "n_samples", "temperature", "max_tokens", "shots", "instruction")
"""Settings that say what is asked and how."""


def evaluate(config: BenchmarkConfig) -> Artifact | str:
    """Run a benchmark on a model and write the report; answers and outcomes are kept for later
    runs.

    Example:
        codling evaluate humaneval --model runs/stdlib/checkpoint --out-dir runs/humaneval
    """
    if config.benchmark == "list":
        return "\n".join(f"{name:20} {find_task(name).about}" for name in TASKS)
    if config.benchmark.startswith("suite"):
        return run_suite(config.benchmark.removeprefix("suite").strip(), config, evaluate)
    if config.benchmark == "doctor":
        libraries = f"{ds1000.LIBRARIES_LINE}\n\n{bigcodebench_needs.LIBRARIES_LINE}"
        return f"{doctor()}\n\n{libraries}\n\nsandbox: {describe(unsafe=config.unsafe)}"
    return _report(config)


@stage("evaluation", version=5)
def _report(config: BenchmarkConfig) -> Work:
    task = find_task(config.benchmark)
    _check(task, config)
    whole = task.load(config.data_dir, config)
    problems = whole[: config.limit] if config.limit else whole
    if not problems:
        raise SourceError(f"{task.name} has no problems in {config.data_dir} for these settings")
    source = _source(config)
    draft = yield [
        source_input(config.model or config.samples or config.judgments or "", source),
        source_input(config.data_dir, content_key([[p.id, dict(p.data)] for p in problems])),
        *_own_files(config),
    ]
    if starts_fresh():  # what was generated and run is the work of a report that is not there yet
        for path in _rows_dir(config).glob("*.jsonl"):
            path.unlink()
    samples, notes = run(task, whole, config)
    settings = _settings(task, problems, config, source)
    n_asked = 0 if config.judgments else len(problems)
    models = _own_scores(task, samples, config)
    if config.judgments is not None and not models:
        raise SourceError(f"{config.judgments} says nothing that {task.name} is scored by")
    summary = summarise(samples, settings, config.k, n_asked=n_asked, notes=notes, models=models)
    write_report(draft.path, summary, samples)
    draft.counts |= {"headline": headline(summary), "outcomes": summary["outcomes"]}


def run(
    task: Task, problems: Sequence[Problem], config: BenchmarkConfig
) -> tuple[list[Sample], list[str]]:
    """All stages; the samples with their verdicts, in the order of the problems, and notes for
    the reader of their scores. Of `problems` only as many as the config's limit are asked."""
    folder = _rows_dir(config)
    asked = problems[: config.limit] if config.limit else problems
    notes: list[str] = []
    if config.judgments is not None:
        samples = read_judgments(task, config)
        return samples, note_oddities(samples, problems)
    if config.canonical:
        samples = _canonical(task, asked)
    elif config.samples is not None:
        found, notes = read_samples(task, problems, config)
        ids = {problem.id for problem in asked}
        samples = [sample for sample in found if sample.problem.id in ids]
    else:
        samples = _ask(task, asked, config, folder)
    samples = harness.execute(task, samples, config, rows_in(folder, "executions"))
    if config.samples is not None:
        notes += fence_notes(samples, config)
    return samples, notes


def _ask(
    task: Task, problems: Sequence[Problem], config: BenchmarkConfig, folder: Path
) -> list[Sample]:
    backend = open_backend(config)
    try:
        rows = rows_in(folder, "generations")
        samples = harness.generate(task, problems, backend, config, rows)
        samples = harness.extract(task, samples, config, rows_in(folder, "extractions"))
        return ask_on(task, samples, backend, config, folder)
    finally:
        backend.close()


def _own_scores(
    task: Task, samples: Sequence[Sample], config: BenchmarkConfig
) -> Mapping[str, Scores] | None:
    """What the benchmark's authors make of their judgments."""
    rows = [row for sample in samples for row in sample.judgments]
    return task.score(rows, config) if task.score is not None and rows else None


def _canonical(task: Task, problems: Sequence[Problem]) -> list[Sample]:
    answers = [(p, task.canonical(p)) for p in problems]
    found = [Sample(problem=p, index=0, answer=a) for p, a in answers if a is not None]
    if not found:
        raise ConfigError(f"{task.name} has no solutions of its own to judge")
    return found


def _check(task: Task, config: BenchmarkConfig) -> None:
    for name in ("subset", "language"):
        if getattr(config, name) and name not in task.takes:
            raise ConfigError(f"{task.name} takes no --{name}")
    _check_samples(task, config)
    if config.data_file is not None and not task.one_file:
        raise ConfigError(f"{task.name} takes no --data-file: its data are several files")
    if config.n_samples > 1 and config.temperature == 0:
        raise ConfigError("several samples need --temperature above 0: greedy answers are equal")
    if config.adapter is not None and config.model is None:
        raise ConfigError("--adapter goes with --model PATH, the model that it was made for")
    _check_source(config)
    if task.is_judged and config.judgments is None and config.judge_api is None:
        raise ConfigError(NO_JUDGE)  # now, not after hours of answers
    if config.judgments is not None and task.score is None:
        raise ConfigError(f"{task.name} is scored from answers, not from --judgments: --samples")
    _out_dir(config)


def _check_source(config: BenchmarkConfig) -> None:
    """Answers have one source, and judgments made elsewhere are all scored, as they are."""
    given = [name for name in _SOURCES if getattr(config, name)]
    if not given:
        raise ConfigError(
            "evaluate needs --model PATH, --api URL, --samples FILE, --judgments FILE or "
            "--canonical"
        )
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in given)}: give one of them")
    usual = BenchmarkConfig(benchmark="")
    for name in (n for n in _ASKING if getattr(config, n) != getattr(usual, n)):
        if config.judgments is not None:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} is for answers; --judgments FILE is scored as it is")


def _check_samples(task: Task, config: BenchmarkConfig) -> None:
    if config.raw and config.samples is None:
        raise ConfigError("--raw says what --samples FILE holds: give both")
    if (
        config.extraction == "deepseek"
        and (config.style == "instruct" or config.raw)
        and not task.extract_deepseek
    ):
        raise ConfigError(
            f"DeepSeek-Coder has no rule for chat answers to {task.name}: leave out --extraction"
        )


def _out_dir(config: BenchmarkConfig) -> Path:
    if config.out_dir is None:
        raise ConfigError("evaluate needs --out-dir FOLDER for the report")
    return config.out_dir


def _rows_dir(config: BenchmarkConfig) -> Path:
    """The folder of what was generated, extracted and run."""
    folder = _out_dir(config)
    return folder.with_name(folder.name + ".rows")


def _own_files(config: BenchmarkConfig) -> list[Input]:
    """What the user provides besides model and data: an interpreter, the file of a benchmark."""
    inputs = []
    if config.python is not None:
        name = find_interpreter(config.python).describe()
        inputs.append(source_input(config.python, name))
    if config.benchmark.endswith(".py"):
        inputs.append(source_input(Path(config.benchmark)))
    return inputs


def _source(config: BenchmarkConfig) -> str:
    """Names the source of the answers: part of the report's identity."""
    if config.canonical:
        return "canonical"
    if config.judgments is not None:
        return _hash_files(judgment_files(config.judgments))
    if config.samples is not None:
        if not config.samples.exists():
            raise SourceError(f"no samples at {config.samples}")
        return _hash_files(sample_files(config.samples))
    if config.model is not None:
        if not config.model.exists():
            raise SourceError(f"no checkpoint at {config.model}")
        return answering_identity(config.model, config.adapter)
    return f"{config.api} {config.api_model}"


def _hash_files(files: Sequence[Path]) -> str:
    read = (read_bytes(file, max_bytes=MAX_TABLE_BYTES) for file in files)
    return hashlib.sha256(b"".join(read)).hexdigest()[:16]


def _settings(
    task: Task, problems: Sequence[Problem], config: BenchmarkConfig, source: str
) -> dict[str, Any]:
    """What a reader needs to repeat the run."""
    sampling = task.sampling(problems[0], config.style)
    prompt = task.prompt(problems[0], config)
    return {
        **config_dict(config, identity=True),
        "answered_by": source,
        "max_tokens": config.max_tokens or sampling.max_tokens,
        "stop": list(sampling.stop),
        "mean_of_groups": task.mean_of_groups,
        "first_prompt": prompt.text or prompt.messages or prompt.hole,
        "imports": imports_of(task, config),
        "tools": toolchain_version(config.language) if config.language in toolchains() else "",
        "sandbox": describe(unsafe=config.unsafe),
        "codling": __version__,
        "python": find_interpreter(config.python).describe(task.libraries),
    }
