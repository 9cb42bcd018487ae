"""The checker of mathematical answers beside math-verify, on pairs whose truth is known.

Answers of MATH-500, MathOdyssey, OlympiadBench and Minerva are written in another way (equal), and
changed a little (not equal); both checkers say what they think of each pair. Truth is known from
how a pair was made, so that each difference has a side that is wrong.

    pip install 'codling[benchmarks,peers]'
    python benchmarks/math_answers.py --data-dir DATA --pairs 2000

Prints a line per way of changing, the totals, and the pairs on which the two differ.
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codling.evaluate.task import read_lines
from codling.evaluate.tasks.math_odyssey import clean
from codling.grading.extract import extract_boxed
from codling.grading.math_equal import equal, members, normal, number

Change = Callable[[str, random.Random], str | None]
_NUMBER = re.compile(r"(?<![\d.])\d+(?![\d.])")
_CHOICE = re.compile(r"\(?[A-F]\)?|\\text\{\s*\(?[A-F]\)?\}")


def main() -> None:
    """Read the command line, ask both and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pairs = list(make_pairs(arguments.data_dir, arguments.pairs, arguments.seed))
    said = [(pair, judge_ours(pair), judge_theirs(pair)) for pair in pairs]
    for name in sorted({pair.change for pair in pairs}):
        part = [(p, a, b) for p, a, b in said if p.change == name]
        print(name, json.dumps(count(part)))
    print("all", json.dumps(count(said)))
    for pair, ours, theirs in said:
        if ours != pair.equal or theirs != pair.equal:
            texts = {"answer": pair.answer, "said": pair.said, "equal": pair.equal}
            print(json.dumps({"change": pair.change, **texts, "ours": ours, "theirs": theirs}))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A benchmark's answer, what somebody said, and whether it is the same."""

    answer: str
    said: str
    equal: bool
    change: str


def judge_ours(pair: Pair) -> bool:
    """By `codling.grading.math_equal`."""
    return equal(pair.said, pair.answer)


def judge_theirs(pair: Pair) -> bool:
    """By math-verify, as its page says: a formula stands between dollars."""
    from math_verify import parse, verify

    gold, said = (
        parse(text if text.startswith(("$", "\\(")) else f"${text}$")
        for text in (pair.answer, pair.said)
    )
    return bool(verify(gold, said))


def count(said: list[tuple[Pair, bool, bool]]) -> dict[str, int]:
    """How many pairs, where both agree, and where each is right."""
    return {
        "pairs": len(said),
        "agree": sum(a == b for _, a, b in said),
        "ours right": sum(a == pair.equal for pair, a, _ in said),
        "theirs right": sum(b == pair.equal for pair, _, b in said),
    }


def make_pairs(data_dir: Path, n: int, seed: int) -> Iterator[Pair]:
    """For each answer one pair that is equal and one that is not."""
    draw = random.Random(seed)
    answers = list(read_answers(data_dir))
    draw.shuffle(answers)
    left = n
    for answer in answers * 4:
        for changes, same in ((SAME, True), (OTHER, False)):
            names = draw.sample(sorted(changes), len(changes))
            found = ((name, changes[name](answer, draw)) for name in names)
            name, said = next(((k, v) for k, v in found if v not in (None, answer)), ("", None))
            if said is not None and left:
                left -= 1
                yield Pair(answer=answer, said=said, equal=same, change=name)


def read_answers(data_dir: Path) -> Iterator[str]:
    """The published answers, short ones in one piece."""
    found = [str(row["answer"]) for row in read_lines(data_dir / "math-500" / "test.jsonl")]
    odyssey = next(data_dir.glob("math-odyssey/*.jsonl"))
    found += [clean(str(row["answer"])) for each in read_lines(odyssey) for row in each.values()]
    for name in ("olympiadbench", "minerva_math"):
        for row in read_lines(data_dir / "math-qwen" / name / "test.jsonl"):
            value = row.get("final_answer") or row.get("answer") or ""
            value = value[0] if isinstance(value, list) else value
            value = str(value) or extract_boxed(str(row.get("solution", ""))) or ""
            found.append(value.strip().strip("$").strip())
    yield from (text for text in dict.fromkeys(found) if 0 < len(text) <= 60)


def _is_list(text: str) -> bool:
    return members(normal(text))[0] != "" and "," in text


def _swap(pattern: str, by: str) -> Change:
    return lambda text, _: re.sub(pattern, by, text) if re.search(pattern, text) else None


def _exact_decimal(text: str, _: random.Random) -> str | None:
    value = number(normal(text))
    if value is None or value.denominator == 1 or (10**6 % value.denominator):
        return None
    return f"{float(value):.8f}".rstrip("0")


def _as_fraction(text: str, _: random.Random) -> str | None:
    value = number(normal(text))
    if value is None or value.denominator == 1:
        return None
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _grouped(text: str, _: random.Random) -> str | None:
    return f"{int(text):,}" if text.isdigit() and len(text) > 3 else None


def _turned(text: str, _: random.Random) -> str | None:
    kind, parts = members(normal(text))
    return ", ".join(parts[::-1]) if kind == "," and "\\pm" not in text else None


def _turned_tuple(text: str, _: random.Random) -> str | None:
    kind, parts = members(normal(text))
    turned = parts[::-1]
    return f"({','.join(turned)})" if kind == "()" and turned != parts else None


def _shortened(text: str, _: random.Random) -> str | None:
    kind, parts = members(normal(text))
    return ",".join(parts[:-1]) if kind == "," and len(parts) > 1 else None


def _closed(text: str, _: random.Random) -> str | None:
    kind, parts = members(normal(text))
    turn = {"()": "[]", "[)": "(]", "[]": "()", "(]": "[)"}.get(kind)
    return f"{turn[0]}{','.join(parts)}{turn[1]}" if turn and len(parts) == 2 else None


def _other_number(text: str, draw: random.Random) -> str | None:
    places = list(_NUMBER.finditer(text))
    if not places or _CHOICE.fullmatch(text):
        return None
    at = draw.choice(places)
    return text[: at.start()] + str(int(at[0]) + draw.choice((1, 2, 10))) + text[at.end() :]


def _times(text: str, _: random.Random) -> str | None:
    value = number(normal(text))
    return str(int(value) * 100) if value and value.denominator == 1 else None


def _negative(text: str, _: random.Random) -> str | None:
    value = number(normal(text))
    return None if not value else text[1:] if text.startswith("-") else f"-{text}"


SAME: dict[str, Change] = {
    "dfrac": _swap(r"\\frac", r"\\dfrac"),
    "slash": _swap(r"^\\d?frac\{(\d+)\}\{(\d+)\}$", r"\1/\2"),
    "short fraction": _swap(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2"),
    "decimal": _exact_decimal,
    "fraction": _as_fraction,
    "thousands": _grouped,
    "without left and right": _swap(r"\\(?:left|right)(?![a-z])", ""),
    "left and right": _swap(r"^\((.*)\)$", r"\\left(\1\\right)"),
    "blanks": lambda text, _: re.sub(r",\s*", " ,  ", text) if _is_list(text) else None,
    "name before": lambda text, _: f"x = {text}" if number(normal(text)) is not None else None,
    "dollars": lambda text, _: f"${text}$",
    "brackets": lambda text, _: rf"\( {text} \)",
    "degrees": _swap(r"\^\{?\\circ\}?", ""),
    "percent": _swap(r"\\%$", "%"),
    "root": _swap(r"\\sqrt\{(\d)\}", r"\\sqrt\1"),
    "turned list": _turned,
    "units": lambda text, _: rf"{text} \text{{ cm}}" if text.isdigit() else None,
    "letters": _swap(r"^\\text\{(.*)\}$", r"\1"),
    "zero": lambda text, _: f"{text}.0" if text.isdigit() else None,
    "times": _swap(r"(?<=\d)\\pi", r" \\cdot \\pi"),
}
OTHER: dict[str, Change] = {
    "another number": _other_number,
    "times 100": _times,
    "negative": _negative,
    "open or closed": _closed,
    "one less": _shortened,
    "turned pair": _turned_tuple,
    "sum": lambda text, _: f"{text} + 1" if number(normal(text)) is not None else None,
}


if __name__ == "__main__":
    main()
