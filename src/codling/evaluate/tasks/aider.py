"""Aider's benchmarks: edit files by instructions, two attempts, hidden tests (aider.chat).

Data: aider-edit (133 exercises of Exercism in Python) and aider-polyglot (225 in six languages),
each a folder or a .tar.gz. `--subset diff` asks for search-and-replace blocks, whole files are the
default; `--language cpp` keeps one language of polyglot. Where the tests fail, their output is
shown once and a second answer asked for. What lacks its tools or libraries here is "not run"
(evaluate/exercise_tests.py says why). Scores: passed at once, passed at last, well-formed edits; of
Aider's own runs too (`--judgments FOLDER` with its .aider.results.json).
"""

from functools import partial

from codling.evaluate import edit_talk
from codling.evaluate.judging.harness_reports import score_attempts
from codling.evaluate.task import Sampling, Task


def _task(name: str, about: str) -> Task:
    return Task(
        name=name,
        about=about,
        load=partial(edit_talk.load, folder=name),
        prompt=edit_talk.prompt,
        extract=edit_talk.extract,
        check=edit_talk.check,
        follow_up=edit_talk.follow_up,
        judges_turns=True,
        join=edit_talk.join,
        score=score_attempts,
        canonical=edit_talk.canonical,
        sampling=lambda _problem, _style: Sampling(max_tokens=4096),
    )


EDIT = _task("aider-edit", "133 exercises to edit, two attempts (--subset diff: pieces)")
POLYGLOT = _task("aider-polyglot", "225 exercises in six languages, two attempts (--language cpp)")
