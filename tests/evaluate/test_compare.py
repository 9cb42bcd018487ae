"""Did adapting help? The verdict by hand, clustered by file, and what is served."""

import pytest

from codling.evaluate.heldout.compare import Measured, files_at, verdict

NONE, ALL = [0.0] * 40, [1.0] * 40
FILES = [f"f{i // 2}.py" for i in range(40)]
"""Two of each file."""


def bits(tuned: list[float]) -> Measured:
    return Measured([10.0] * len(tuned), tuned, FILES[: len(tuned)])


def test_the_interval_of_equal_differences_is_a_point() -> None:
    found = Measured([1.0] * 10, [0.5] * 10, FILES[:10]).change(seed=0)
    assert (found.value, found.low, found.high) == (-0.5, -0.5, -0.5)


@pytest.mark.parametrize(
    ("tuned", "before", "after", "answer"),
    [
        ([9.0] * 20, NONE, NONE, "helped"),
        ([9.0] * 20, ALL, NONE, "worse"),
        ([11.0] * 20, NONE, NONE, "worse"),
        ([11.0] * 20, NONE, ALL, "worse"),
        ([10.0] * 20, NONE, NONE, "no difference"),
        ([10.0] * 20, NONE, ALL, "no difference"),
        ([5.0, 5.0, 15.0, 15.0] * 5, NONE, NONE, "no difference"),
        ([9.0] * 8, NONE, NONE, "no difference"),
    ],
)
def test_it_helped_only_if_bits_fall_clear_of_zero_and_lines_do_not(
    tuned: list[float], before: list[float], after: list[float], answer: str
) -> None:
    found = verdict(bits(tuned), Measured(before, after, FILES))
    assert found["answer"] == answer
    assert found["helped"] == (answer == "helped")


def test_many_windows_of_few_files_are_no_more_sure_than_the_files_are_many() -> None:
    tuned = [9.0] * 11 + [10.5] * 9
    alone = Measured([10.0] * 20, tuned, [f"f{i}.py" for i in range(20)]).relative_change(0)
    clustered = Measured([10.0] * 20, tuned, [f"f{i // 4}.py" for i in range(20)])
    wide = clustered.relative_change(0)
    assert wide.value == alone.value
    assert wide.high - wide.low > 1.3 * (alone.high - alone.low)


def test_the_sentence_says_what_was_measured() -> None:
    hits = Measured([1.0, *NONE[1:]], [1.0] * 2 + NONE[2:], FILES)
    assert verdict(bits([9.0] * 20), hits)["text"] == (
        "It helped: bits per byte on held-out code -10.0% (95% interval -10.0% to -10.0%; fewer "
        "are better), 2 of 40 hidden lines exactly instead of 1."
    )
    assert "4 files are too few to tell" in verdict(bits([9.0] * 8), hits)["text"]


def test_a_place_of_the_stream_lies_in_a_file() -> None:
    samples = [
        {
            "id": "s",
            "repo": "app",
            "paths": ["a.py", "b.py"],
            "starts": [0, 60],
            "content": "x" * 80,
        },
        {"id": "t", "repo": "lib", "paths": ["c.py"], "starts": [0], "content": "x" * 10},
    ]
    index = [
        {"sample_id": "s", "start": 0, "length": 40},
        {"sample_id": "t", "start": 40, "length": 5},
    ]
    found = files_at([0, 29, 30, 39, 40, 44], index, samples)
    assert found == ["app/a.py", "app/a.py", "app/b.py", "app/b.py", "lib/c.py", "lib/c.py"]
