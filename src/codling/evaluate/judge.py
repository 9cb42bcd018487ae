"""Answers judged by a model: each question is asked once, and the judge's reply is stored.

Input: what the task says about each answer. Output: the same, with a verdict instead of
every question. Not here: the questions (tasks) and the server (backends.py).
"""

from collections.abc import Sequence

from codling.core.log import Bar
from codling.core.threads import in_threads
from codling.evaluate.backends import Answer, open_judge
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.rows import Rows, content_key
from codling.evaluate.task import Check, Prompt, Question, Sampling

MAX_TOKENS = 1024
"""Tokens of the judge's reply at most."""


def judge_by_model(checks: Sequence[Check], config: BenchmarkConfig, rows: Rows) -> list[Check]:
    """Ask the judge the questions that `rows` has no reply to; ConfigError if there is no judge."""
    if not any(isinstance(check, Question) for check in checks):
        return list(checks)
    judge = open_judge(config)

    def key(check: Question) -> str:
        return content_key("judge", judge.identity, MAX_TOKENS, check.prompt.contents)

    def ask(prompt: Prompt) -> Answer:
        return judge.answer(prompt, Sampling(max_tokens=MAX_TOKENS), None)

    try:
        asked = {key(check): check.prompt for check in checks if isinstance(check, Question)}
        todo = {name: prompt for name, prompt in asked.items() if name not in rows}
        with Bar("judge", len(asked), done=len(asked) - len(todo), unit="verdicts") as bar:
            for at, answer in in_threads(ask, todo.values(), config.concurrency):
                rows.add(list(todo)[at], said=answer.text)
                bar.advance(1)
    finally:
        judge.close()
    return [
        check.verdict(rows[key(check)]["said"]) if isinstance(check, Question) else check
        for check in checks
    ]
