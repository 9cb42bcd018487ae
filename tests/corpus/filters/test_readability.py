"""What a file looks like, held to a plain reference, and the rules of readability."""

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from codling.core.errors import ConfigError
from codling.corpus.filters.readability import (
    MIN_LINE,
    ReadabilityConfig,
    find_unreadable,
    measure_readability,
)

LIMITS = ReadabilityConfig()
READABLE = "def area(width, height):\n    return width * height\n\n\n"
NAMED = "".join(
    f"def area_{i}(width, height):\n    return width * height + {i}\n" for i in range(20)
)


def reference(data: bytes) -> dict[str, float]:
    text = data.decode("latin-1")
    words = re.findall(r"[A-Za-z0-9_\x80-\xff]+", text)
    names = [word for word in words if not word[0].isascii() or not word[0].isdigit()]
    symbols = re.findall(r"[^A-Za-z0-9_\x80-\xff \t\n\v\f\r]", text)
    known = [n for n in names if not re.fullmatch("[A-Z]", n)]
    lines = [line.strip(" \t\n\v\f\r") for line in text.split("\n")]
    lines = [line for line in lines if line]
    full = [line for line in lines if len(line) >= MIN_LINE]
    return {
        "n_names": len(names),
        "n_lines": len(lines),
        "longest_name": max(map(len, names), default=0),
        "one_letter": sum(len(n) == 1 for n in known) / max(1, len(known)),
        "line_tokens": (len(words) + len(symbols)) / max(1, len(lines)),
        "repeated_lines": 1 - len(set(full)) / len(full) if full else 0.0,
        "spaces": len(re.findall(r"[ \t\n\v\f\r]", text)) / max(1, len(data)),
    }


@pytest.mark.parametrize(
    "text",
    ["", "\n", "x", "a = b + 12\n", "été = 'ünïcode' # 日本\n" * 3, READABLE * 3, "\x00\x7f"],
)
def test_the_numbers_are_those_of_a_plain_reference(text: str) -> None:
    assert asdict(measure_readability(text.encode())) == pytest.approx(reference(text.encode()))


@pytest.mark.long
def test_files_of_this_package_measure_like_the_reference_and_are_readable() -> None:
    for path in sorted(Path(__file__).parents[3].glob("src/codling/**/*.py")):
        data = path.read_bytes()
        assert asdict(measure_readability(data)) == pytest.approx(reference(data)), path
        assert find_unreadable(measure_readability(data), LIMITS.limits("python")) is None, path


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("long-name", NAMED + "x" * 257 + " = 1\n"),
        ("dense", "first(second, third + fourth);" * 30 + "\n"),
        ("minified", "n.push(t,r),this.open=e(o),window.scroll(n,t);function f(e){return+e}\n" * 9),
        ("one-letter", "".join(f"x = a + b * c + {i}  # {'n ' * 9}\n" for i in range(12))),
        ("repeated-lines", "    call_something(first, second)\n" * 30),
    ],
)
def test_each_rule_has_a_file_that_breaks_it(rule: str, text: str) -> None:
    found = find_unreadable(measure_readability(text.encode()), LIMITS)
    assert found is not None
    assert found[0] == rule
    small = find_unreadable(measure_readability(READABLE.encode()), LIMITS)
    assert small is None


def test_single_languages_have_limits_of_their_own_that_can_be_lifted() -> None:
    short = "".join(f"let a = f(b), value_{i} = g(c, total);\n" for i in range(20)).encode()
    found = find_unreadable(measure_readability(short), LIMITS.limits("javascript"))
    assert found is not None
    assert found[0] == "one-letter"
    assert find_unreadable(measure_readability(short), LIMITS.limits("python")) is None
    off = replace(LIMITS, by_language={"javascript": {"max-one-letter": 1.0}})
    assert find_unreadable(measure_readability(short), off.limits("javascript")) is None
    assert off.limits("typescript").max_one_letter == 0.45


def test_unknown_languages_and_limits_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown key max_nam; did you mean max_name"):
        ReadabilityConfig(by_language={"c": {"max_nam": 1.0}})
    with pytest.raises(ConfigError, match="unknown language pyton; did you mean python"):
        ReadabilityConfig(by_language={"pyton": {}})


TYPE_CLASS = {
    "typescript": """export interface Chain{i}<F> extends Apply{i}<F> {{
  readonly chain{i}: <A, B>(fa: HKT<F, A>, f: (a: A) => HKT<F, B>) => HKT<F, B>
  readonly map{i}: <R, E, A, B>(fa: Kind<F, R, E, A>, f: (a: A) => B) => Kind<F, R, E, B>
}}
""",
    "scala": """trait Functor{i}[F[_], A, B, C] extends Invariant{i}[F] {{
  def map{i}(fa: F[A])(f: A => B): F[B]
  def zip{i}(fa: F[A], fb: F[B]): F[(A, B)]
}}
""",
    "haskell": """class Functor{i} f where
  fmap{i} :: (a -> b) -> f a -> f b
  (<$>) :: (a -> b) -> f a -> f b
""",
    "java": """interface Fold{i}<A, B, C, R> {{
    R fold{i}(A first, B second, C third);
    <T, U> Map<T, U> both{i}(Function<A, T> left, Function<B, U> right);
}}
""",
}


@pytest.mark.parametrize("language", TYPE_CLASS)
def test_declarations_of_type_classes_are_readable(language: str) -> None:
    text = "".join(TYPE_CLASS[language].format(i=i) for i in range(12)).encode()
    assert measure_readability(text).n_names > LIMITS.min_names
    assert find_unreadable(measure_readability(text), LIMITS.limits(language)) is None


def test_small_letters_still_count() -> None:
    text = "".join(
        f"function a(b, c) {{ return b.d(c, e) + f.g({i}) }}\n" for i in range(20)
    ).encode()
    assert (find_unreadable(measure_readability(text), LIMITS.limits("typescript")) or ("",))[
        0
    ] == "one-letter"


@pytest.mark.parametrize(
    "around",
    ['x = "{}"', "x = '{}'", "x = `{}`", '"""\n{}\n"""', "// {}", "/* it's\n{} */", '# "{}',
     'r#"a " {}"#', "x = [[{}]]", "'a\\'{}'"],
)  # fmt: skip
def test_data_in_a_string_or_a_comment_is_no_name(around: str) -> None:
    inside = (NAMED + around.format("QUJD" * 100) + "\n").encode()
    assert find_unreadable(measure_readability(inside), LIMITS) is None
    outside = (NAMED + around.format("") + "\nvalue = " + "QUJD" * 100 + "\n").encode()
    assert find_unreadable(measure_readability(outside), LIMITS) == ("long-name", "400")
