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


def test_it_equals_the_plain_search_for_the_longest_overlap() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        text = "".join(draw.choices("ab\n", k=draw.randint(0, 12)))
        suffix = "\n" + "".join(draw.choices("ab\n", k=draw.randint(0, 8)))
        line = next((part for part in suffix.split("\n")[1:] if part.strip()), None)
        least = suffix.index(line) + len(line) if line else len(text) + 1
        sizes = range(min(len(text), len(suffix)), least - 1, -1)
        longest = next((n for n in sizes if text.endswith(suffix[:n])), 0)
        assert cut(text, suffix, draw)[0] == text[: len(text) - longest]
