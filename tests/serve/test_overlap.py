"""An insertion is cut where it begins to repeat the text after the cursor."""

import random

import pytest

from codling.serve.overlap import OverlapFilter

SUFFIX = "\n    return counts\n\n\ndef main() -> None:\n    counts = count_words()\n"


def cut(text: str, suffix: str, sizes: random.Random | None = None) -> tuple[str, bool]:
    """What is left of `text`, pushed whole or in random pieces, and whether it was stopped."""
    overlap = OverlapFilter(suffix)
    made, start = "", 0
    while start < len(text) and not overlap.stopped:
        end = start + (sizes.randint(1, 4) if sizes else len(text))
        made += overlap.push(text[start:end])
        start = end
    return made + overlap.flush(), overlap.stopped


@pytest.mark.parametrize(
    ("text", "suffix", "left"),
    [
        ("n += 1\n    return counts", SUFFIX, "n += 1"),
        ("n += 1\n    return counts\n\n\ndef ma", SUFFIX, "n += 1"),
        # The same line, and then something else: it was meant.
        ("n += 1\n    return counts\n\nx", SUFFIX, "n += 1\n    return counts\n\nx"),
        ("n += 1\n    return count", SUFFIX, "n += 1\n    return count"),
        ("n += 1\n  return counts", SUFFIX, "n += 1\n  return counts"),
        # A bracket at the end of the cursor's own line may be needed twice.
        ("bar(x)", ")\n", "bar(x)"),
        ("x)\nnext_line()", ")\nnext_line()\n", "x"),
        ("{\n}\n}", "\n}", "{\n}"),
        ("{\n}\nx", "\n}", "{\n}\nx"),
        ("anything", "", "anything"),
        ("a\n\n\n", "\n\n   \n", "a\n\n\n"),
        ("\n\n    return counts", SUFFIX, "\n"),
    ],
)
def test_the_repeated_lines_are_gone(text: str, suffix: str, left: str) -> None:
    assert cut(text, suffix)[0] == left
    for seed in range(5):
        assert cut(text, suffix, random.Random(seed))[0] == left


def test_a_line_that_says_much_ends_the_insertion() -> None:
    suffix = "\n    return render(template, values)\n"
    text = "x = 1\n    return render(template, values)\n    more"
    for sizes in (None, random.Random(1)):
        assert cut(text, suffix, sizes) == ("x = 1", True)
    # Longer than the original line: not a repetition.
    longer = "x = 1\n    return render(template, values)[0]"
    assert cut(longer, suffix) == (longer, False)


@pytest.mark.parametrize(
    ("text", "suffix", "left"),
    [
        # The file has CRLF, the model writes LF; and the other way round.
        ("n += 1\n    return counts", SUFFIX.replace("\n", "\r\n"), "n += 1"),
        ("n += 1\r\n    return counts\r\n", SUFFIX, "n += 1"),
        ("n += 1\r\n    return counts", SUFFIX.replace("\n", "\r\n"), "n += 1"),
        # Blanks at the end of a line, in the file or in the answer, also after the cursor.
        ("n += 1\n    return counts", SUFFIX.replace("\n", "  \n"), "n += 1"),
        ("n += 1\n    return counts   \n\n\ndef main() ", SUFFIX, "n += 1"),
        ("n += 1)\n    return counts", ")  " + SUFFIX, "n += 1"),
        # A blank line more or less, before the repeated line or after it.
        ("n += 1\n    return counts", "\n" + SUFFIX, "n += 1"),
        ("n += 1\n    return counts", "\n   \n" + SUFFIX, "n += 1"),
        ("n += 1\n    return counts\n\ndef main() -> None:", SUFFIX, "n += 1"),
        ("n += 1\n    return counts\n\n\n\n\ndef ma", SUFFIX, "n += 1"),
        # Tabs in the file, blanks in the answer; two tabs are as deep as eight blanks.
        ("n += 1\n    return counts", SUFFIX.replace("    ", "\t"), "n += 1"),
        ("n += 1\n\treturn counts", SUFFIX, "n += 1"),
        ("n += 1\n        return x", "\n\t\treturn x\n", "n += 1"),
        ("n += 1\n    return x", "\n\t\t\treturn x\n", "n += 1\n    return x"),
        # Blanks inside a line are no matter of taste.
        ("n += 1\n    return  counts", SUFFIX, "n += 1\n    return  counts"),
    ],
)
def test_lines_that_a_reader_takes_for_the_same_are_gone(text: str, suffix: str, left: str) -> None:
    assert cut(text, suffix)[0] == left
    for seed in range(5):
        assert cut(text, suffix, random.Random(seed))[0] == left


def test_a_line_that_says_much_ends_the_insertion_in_a_file_with_crlf() -> None:
    suffix = "\r\n\r\n\treturn render(template, values)  \r\n"
    text = "x = 1\n    return render(template, values)\n    more"
    assert cut(text, suffix, random.Random(2)) == ("x = 1", True)


def test_a_repetition_longer_than_what_is_looked_at_ends_the_insertion() -> None:
    suffix = "\n" + "}\n" * 2000
    assert cut("x\n" + "}\n" * 1500, suffix) == ("x", True)


def plainly_cut(text: str, suffix: str) -> str:
    """The rule in words of its own: the first place whose rest repeats the suffix is the end."""
    own, *lines = suffix.split("\n")
    wanted = [line for line in lines if line]
    n_blank = lines.index(wanted[0]) if wanted else 0
    for at in range(len(text)):
        first, *rest = text[at:].split("\n")
        written = [line for line in rest if line]
        ends = rest and rest[-1] == ""
        if first != own or not wanted or not written or len(written) > len(wanted):
            continue
        *whole, last = written
        begun = wanted[len(whole)].startswith(last) and bool(whole) and not ends
        same_last = last == wanted[len(whole)] or begun
        if whole == wanted[: len(whole)] and same_last and rest.index(written[0]) <= n_blank:
            return text[:at]
    return text


def test_it_equals_the_plain_search_for_the_longest_overlap() -> None:
    draw = random.Random(0)
    for _ in range(4000):
        text = "".join(draw.choices("ab\n", k=draw.randint(0, 12)))
        suffix = "".join(draw.choices("ab\n", k=draw.randint(0, 2)))
        suffix += "\n" + "".join(draw.choices("ab\n", k=draw.randint(0, 8)))
        assert cut(text, suffix, draw)[0] == plainly_cut(text, suffix), (text, suffix)
