"""CrossCodeEval: complete a statement that needs another file, in four languages
(arXiv:2310.11248).

Data: crosscodeeval/LANG/*.jsonl as published (prompt, groundtruth, crossfile_context, metadata);
the file's name says how context was retrieved (line_completion_rg1_bm25.jsonl). `--language`
python (the default), java, typescript or csharp. The answer is cut to its first whole statement, by
brackets and line ends (the authors use a parser). Exact match, edit similarity, identifiers.
"""

import keyword
from pathlib import Path

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Task, Verdict, ask, read_lines
from codling.evaluate.tasks.repobench import score
from codling.grading.extract import extract_block
from codling.grading.line_match import f1, identifiers, same_words, similarity

INSTRUCTION = "{prompt}\n\nReply with what completes the last statement of this code only."
_OTHER_WORDS = """
abstract bool boolean break case catch char class const default do double else enum export extends
final float for foreach function if implements import int interface internal let long namespace new
null override package private protected public readonly return static string super switch this throw
throws try typeof undefined using var void while true false
"""
_KEYWORDS = frozenset(keyword.kwlist) | frozenset(_OTHER_WORDS.split())


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The rows of a language, by the way of retrieval."""
    language = config.language or "python"
    files = sorted((data_dir / "crosscodeeval" / language).glob("*.jsonl*"))
    files = [path for path in files if config.subset in ("", path.name.partition(".")[0])]
    if not files:
        raise SourceError(f"no CrossCodeEval rows in {data_dir / 'crosscodeeval' / language}")
    return [
        Problem(
            id=f"{path.name.partition('.')[0]}/{row.get('metadata', {}).get('task_id', i)}",
            group=path.name.partition(".")[0],
            data={**row, "language": language},
        )
        for path in files
        for i, row in enumerate(read_lines(path))
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Retrieved pieces of other files, then the code so far."""
    context = problem.data.get("crossfile_context") or {}
    text = (context.get("text") or "") + problem.data["prompt"]
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:
    """The first whole statement."""
    said = extract_block(text) if style == "instruct" else text
    ends = "\n" if problem.data["language"] == "python" else ";{}"
    depth = 0
    for place, sign in enumerate(said):
        depth += (sign in "([") - (sign in ")]")
        if depth <= 0 and sign in ends and said[:place].strip():
            return said[: place + (sign == ";")].strip()
    return said.strip()


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:
    """Exact match, with the row that the scores are made of."""
    right, language = problem.data["groundtruth"].strip(), problem.data["language"]
    said, wanted = (identifiers(each, language, _KEYWORDS) for each in (answer, right))
    row = {
        "problem": problem.id,
        "model": config.model_name,
        "exact match": bool(answer) and same_words(answer, right),
        "edit similarity": round(similarity(answer, right), 6) if answer else 0.0,
        "identifiers exact": bool(answer) and said == wanted,
        "identifiers F1": round(f1(said, wanted), 6) if answer else 0.0,
    }
    passed = bool(row["exact match"])
    return Verdict(passed=passed, detail=f"said {answer[:60]}", judgments=(row,))


TASK = Task(
    name="crosscodeeval",
    about="complete a statement that needs other files (--language java, typescript, csharp)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    score=score,
    in_words=True,
    canonical=lambda problem: str(problem.data["groundtruth"]).strip(),
    sampling=lambda _problem, _style: Sampling(max_tokens=50),
)
