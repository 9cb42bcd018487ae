"""`codling evaluate suite NAME`: the tables of a published README, with a column for our model.

Input: a suite of suites.toml, a model. Output: an artefact with suite.json, suite.md, suite.html:
every row's score beside the published ones, with its settings and its first prompt, and for rows
that were not run the reason. Each row is an evaluation of its own in NAME.rows/, so that a stopped
suite goes on, and a row that is there is not run again.

Not here: what a row does (benchmark.py).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codling.core.artifact import Artifact, config_dict
from codling.core.errors import CodlingError, ConfigError, SourceError
from codling.core.files import write_json, write_text
from codling.core.foreign_json import read_object
from codling.core.inputs import source_input
from codling.core.log import say
from codling.core.packaged import packaged_table
from codling.core.stage import Work, stage
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.tasks import find_task
from codling.report.page import render_page

Evaluate = Callable[[BenchmarkConfig], Artifact | str]
_SETTINGS = ("subset", "language", "temperature", "n_samples")
PROMPT_CHARS = 3000
"""Of a first prompt that stand on the page."""
_ELSEWHERE = ("benchmark", "style", "api_model", "shots")
"""Settings that stand in other cells of a row."""


def suites() -> dict[str, Any]:
    """The suites by name, as suites.toml has them."""
    return packaged_table("codling.evaluate", "suites.toml")


def run_suite(name: str, config: BenchmarkConfig, evaluate: Evaluate) -> Artifact:
    """Run every row of a suite and write the page; ConfigError if there is no such suite,
    SourceError where there is no model or data at all."""
    known = suites()
    if name not in known:
        raise ConfigError(f"no suite {name!r}; choose one of {', '.join(known)}")
    if config.out_dir is None or not (config.model or config.api):
        raise ConfigError("a suite needs --out-dir FOLDER and --model PATH or --api URL")
    if config.model is not None and not config.model.exists():
        raise SourceError(f"no checkpoint at {config.model}")
    if not config.data_dir.is_dir():
        raise SourceError(f"no folder of data {config.data_dir}; give --data-dir")

    @stage("suite", version=3)
    def write(config: BenchmarkConfig) -> Work:
        place = config.model or config.api or ""
        draft = yield [source_input(place, f"{config.api_model} {config.adapter or ''}")]
        found = [_table(table, config, evaluate) for table in known[name]["tables"]]
        page = {
            "suite": name, "source": known[name]["source"], "scope": _scope(config), "tables": found
        }  # fmt: skip
        write_json(draft.path / "suite.json", page)
        write_text(draft.path / "suite.md", to_markdown(page, config.model_name))
        write_text(
            draft.path / "suite.html",
            render_page("codling.evaluate", "suite.html", page=page, model=config.model_name),
        )
        rows = [row for table in found for row in table["rows"]]
        for row in rows:
            if row["not_run"]:
                say(f"{row['label']}: not run: {row['not_run']}")
        n_run = sum(not row["not_run"] for row in rows)
        draft.counts |= {"rows": len(rows), "run": n_run, "not_run": len(rows) - n_run}

    return write(config)


def to_markdown(page: Mapping[str, Any], model: str) -> str:
    """The page as Markdown: a table of scores, then settings and first prompts."""
    lines = [f"# Suite {page['suite']}", "", page["source"], "", page["scope"], ""]
    for table in page["tables"]:
        lines += [f"## {table['title']}", ""]
        lines.append("| | shots | settings | " + " | ".join((model, *table["columns"])) + " |")
        lines.append("|---|---|---|" + "---|" * (1 + len(table["columns"])))
        for row in table["rows"]:
            not_run = f"not run: {row['not_run']}" if row["not_run"] else ""
            ours = "; ".join(filter(None, (row["score"], not_run)))
            cells = [row["label"], row["shots"], row["settings"], ours, *row["values"]]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["## First prompts", ""]
    for table in page["tables"]:
        for row in table["rows"]:
            if prompt := row["first_prompt"]:
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", prompt)), default=0))
                lines += [f"### {row['label']} ({row['style']})", "", fence, prompt, fence, ""]
    return "\n".join(lines) + "\n"


def _table(table: Mapping[str, Any], config: BenchmarkConfig, evaluate: Evaluate) -> dict[str, Any]:
    rows = [_row(row, table["style"], config, evaluate) for row in table["rows"]]
    return {"title": table["title"], "columns": table["columns"], "rows": rows}


def _row(
    row: Mapping[str, Any], style: str, config: BenchmarkConfig, evaluate: Evaluate
) -> dict[str, Any]:
    """A row with our score, and with the reasons why it, or a part of it, was not run."""
    settings = {key: row[key] for key in _SETTINGS if key in row}
    own = _config_of(row, settings, style, config)
    shots = row["shots"] if config.shots is None else f"at most {config.shots} ({row['shots']})"
    found = {
        "label": row["label"],
        "benchmark": row["benchmark"],
        "style": style,
        "shots": shots,
        "settings": _show_settings(own, 0),
        "values": row["values"],
        "score": "",
        "not_run": "",
        "first_prompt": "",
    }
    try:
        artifact = evaluate(own)
    except CodlingError as error:
        return found | {"not_run": " ".join(str(error).split()).replace("|", "/")}
    assert isinstance(artifact, Artifact)
    report = read_object(artifact.path / "report.json")
    score = _show_score(report, row)
    reasons = "; ".join(f"{n} x {reason}" for reason, n in report["not_run"].items())
    unscored = reasons or "; ".join(report["failures"]) or "nothing could be judged"
    return found | {
        "settings": _show_settings(own, report["settings"]["max_tokens"]),
        "score": score,
        "not_run": reasons if score else unscored,
        "first_prompt": _show_prompt(report["settings"]["first_prompt"]),
    }


def _config_of(
    row: Mapping[str, Any], settings: Mapping[str, Any], style: str, config: BenchmarkConfig
) -> BenchmarkConfig:
    assert config.out_dir is not None
    rows = config.out_dir.with_name(config.out_dir.name + ".rows")
    name = "-".join([row["benchmark"], style, *(str(v) for v in settings.values())])
    return replace(
        config,
        benchmark=row["benchmark"],
        style="instruct" if style == "instruct" else "base",
        out_dir=rows / Path(name.replace("..", "_").replace("/", "_")),
        # An environment made for DS-1000 may lack what other rows import.
        python=config.python if find_task(row["benchmark"]).libraries else None,
        **settings,
    )


def _scope(config: BenchmarkConfig) -> str:
    """How much of each benchmark was asked."""
    if not config.limit:
        return "All problems of each benchmark were asked."
    return f"Only the first {config.limit} problems of each benchmark were asked (--limit)."


def _show_settings(config: BenchmarkConfig, max_tokens: int) -> str:
    """The benchmark, how it was asked, and every setting that is not the usual one."""
    usual = config_dict(BenchmarkConfig(benchmark=""), identity=True)
    used = config_dict(config, identity=True) | {"max_tokens": max_tokens or config.max_tokens}
    told = [
        f"{key} {value}"
        for key, value in used.items()
        if value != usual[key] and key not in _ELSEWHERE
    ]
    heat = [] if config.temperature else ["greedy"]
    return ", ".join([config.benchmark, config.style, *heat, *told]).replace("|", "/")


def _show_prompt(prompt: str | list[Any]) -> str:
    """A text as it is, a chat turn by turn, a hole by its two sides; long ones are cut."""
    if not isinstance(prompt, str):
        turns = prompt if isinstance(prompt[0], dict) else _sides(prompt)
        prompt = "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in turns)
    rest = len(prompt) - PROMPT_CHARS
    return prompt if rest <= 0 else f"{prompt[:PROMPT_CHARS]}\n[... {rest:,} more characters]"


def _sides(hole: list[str]) -> list[dict[str, str]]:
    names = ("before the hole", "after the hole")
    return [{"role": name, "content": text} for name, text in zip(names, hole, strict=True)]


def _show_score(report: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The row's score with its interval, in the unit in which it is published."""
    scores = report["scores"]
    if not scores:
        return ""
    score = scores.get(row.get("score", ""), next(iter(scores.values())))
    if "/" in row["values"][0]:
        n = report["n_problems"]
        return f"{round(score['value'] * n)}/{n}"
    scale = score.get("scale", 100)
    value, low, high = (scale * score[key] for key in ("value", "low", "high"))
    digits = 1 if scale == 100 else 2
    n = f", n {score['n']}" if score.get("n") else ""
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f}{n})"
