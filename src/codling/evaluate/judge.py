"""Answers judged by a model: each question is asked once, and the judge's reply is stored.

Input: what the task says about each answer. Output: the same, with a verdict instead of
every question and panel. Not here: the questions (tasks) and the server (backends.py).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from codling.core.log import Bar
from codling.core.threads import in_threads
from codling.evaluate.backends import AnswerBackend, open_judge
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.rows import Rows, content_key
from codling.evaluate.task import Check, JudgeReply, Panel, Question, Sampling, Verdict


def judge_by_model(checks: Sequence[Check], config: BenchmarkConfig, rows: Rows) -> list[Check]:
    """Ask the judge the questions that `rows` has no reply to; ConfigError if there is no judge."""
    asked = [question for check in checks for question in _questions(check)]
    if not asked:
        return list(checks)
    judge = open_judge(config)
    try:
        by_key = {_key(judge, question): question for question in asked}
        todo = {key: question for key, question in by_key.items() if key not in rows}
        with Bar("judge", len(by_key), done=len(by_key) - len(todo), unit="judgments") as bar:
            replies = in_threads(lambda q: _ask(judge, q), todo.values(), config.concurrency)
            for at, values in replies:
                rows.add(list(todo)[at], **values)
                bar.advance(1)
    finally:
        judge.close()
    return [_decide(judge, check, rows) for check in checks]


def _questions(check: Check) -> Iterator[Question]:
    if isinstance(check, Question):
        yield check
    elif isinstance(check, Panel):
        yield from check.questions


def _key(judge: AnswerBackend, question: Question) -> str:
    again = [question.go_on is not None, question.top_logprobs]
    more = again if any(again) else []
    contents = question.prompt.contents
    return content_key("judge", judge.identity, question.max_tokens, contents, *more)


def _ask(judge: AnswerBackend, question: Question) -> dict[str, Any]:
    """The judge's reply, and where that decides nothing, the reply to a second question."""
    sampling = Sampling(max_tokens=question.max_tokens, top_logprobs=question.top_logprobs)
    answer = judge.answer(question.prompt, sampling, None)
    said, prompt = answer.text, None
    if question.go_on is not None:
        prompt = question.go_on(JudgeReply(said, answer.logprobs))
    if prompt is not None:
        said += "\n" + judge.answer(prompt, sampling, None).text
    messages = question.prompt.messages or ()
    more = {"logprobs": dict(answer.logprobs)} if answer.logprobs else {}
    return {"said": said, "asked": [dict(m) for m in messages], **more}


def _decide(judge: AnswerBackend, check: Check, rows: Rows) -> Check:
    if isinstance(check, Question):
        row = rows[_key(judge, check)]
        return check.verdict(JudgeReply(row["said"], row.get("logprobs")))
    if isinstance(check, Panel):
        verdicts = [_decide(judge, question, rows) for question in check.questions]
        return check.verdict([each for each in verdicts if isinstance(each, Verdict)])
    return check
