"""RepoBench: the next line of a file in its repository, Python and Java (arXiv:2306.03091).

Data: repobench/LANG/*.jsonl, rows of the published tables (repo_name, file_path, context, snippets,
import_statement, cropped_code, next_line, level), one file for each setting (cross_file_first,
cross_file_random, in_file). `--language java`, python is the default; `--subset 2k` (or a setting)
keeps a level. Scores: exact match and edit similarity, over all rows: levels weigh by their size.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codling.core.errors import SourceError
from codling.evaluate.config import BenchmarkConfig, Style
from codling.evaluate.task import Problem, Prompt, Sampling, Scores, Task, Verdict, ask, read_lines
from codling.grading.extract import extract_block
from codling.grading.line_match import same_words, similarity
from codling.grading.pass_at_k import mean_score

INSTRUCTION = "{prompt}\n\nReply with the next line of this code only."
_COMMENT = {"python": ("#",), "java": ("//", "/*", "*")}


def load(data_dir: Path, config: BenchmarkConfig) -> list[Problem]:
    """The rows of a language, by setting and level."""
    language = config.language or "python"
    files = sorted((data_dir / "repobench" / language).glob("*.jsonl*"))
    if not files:
        raise SourceError(f"no RepoBench rows (*.jsonl) in {data_dir / 'repobench' / language}")
    return [
        Problem(
            id=f"{setting}/{i}",
            group=f"{row.get('level', '')} at {setting}",
            data={**row, "language": language},
        )
        for path in files
        for setting in [path.name.partition(".")[0]]
        for i, row in enumerate(read_lines(path))
        if config.subset in ("", setting, row.get("level"))
    ]


def prompt(problem: Problem, config: BenchmarkConfig) -> Prompt:
    """Repository, snippets of other files, imports, and the code so far."""
    data, mark = problem.data, _COMMENT[problem.data["language"]][0]
    snippets = [each for each in data.get("context", []) if each.get("snippet")]
    text = f"{mark} Repo Name: {data['repo_name']}\n"
    text += "".join(f"{mark} Path: {each['path']}\n{each['snippet']}\n\n" for each in snippets)
    text += (
        f"{mark} Path: {data['file_path']}\n{data['import_statement']}\n{data['cropped_code']}\n"
    )
    return Prompt(text=text) if config.style == "base" else ask(INSTRUCTION, config, prompt=text)


def extract(problem: Problem, text: str, style: Style) -> str:
    """The first line that is no comment."""
    said = extract_block(text) if style == "instruct" else text
    marks = _COMMENT[problem.data["language"]]
    lines = [line for line in said.lstrip("\n").split("\n") if line.strip()]
    return next((line.strip() for line in lines if not line.strip().startswith(marks)), "")


def check(problem: Problem, answer: str, config: BenchmarkConfig) -> Verdict:
    """Exact match, with the row that the scores are made of."""
    right = problem.data["next_line"]
    row = {
        "problem": problem.id,
        "model": config.model_name,
        "exact match": same_words(answer, right) and bool(answer),
        "edit similarity": round(similarity(answer, right.strip()), 6) if answer else 0.0,
    }
    return Verdict(passed=bool(row["exact match"]), detail=f"said {answer[:60]}", judgments=(row,))


def score(rows: Sequence[Mapping[str, Any]], config: BenchmarkConfig) -> Mapping[str, Scores]:
    """Exact match and edit similarity by model."""
    models = dict.fromkeys(str(row["model"]) for row in rows)
    names = [n for n in rows[0] if n not in ("problem", "model")]
    return {
        model: {
            name: mean_score(
                [float(row[name]) for row in rows if row["model"] == model],
                scale=100,
                seed=config.seed,
            )
            for name in names
        }
        for model in models
    }


TASK = Task(
    name="repobench",
    about="the next line, with other files of the repository (--language java; --subset 2k ...)",
    load=load,
    prompt=prompt,
    extract=extract,
    check=check,
    score=score,
    in_words=True,
    canonical=lambda problem: str(problem.data["next_line"]).strip(),
    sampling=lambda _problem, _style: Sampling(max_tokens=128),
)
