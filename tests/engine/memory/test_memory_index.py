import random
from collections import Counter

import numpy as np
import pytest

from codling.engine.memory.index import MAX_MATCH, SuffixIndex
from codling.engine.memory.kernels import scan_back
from engine.memory.plain_memory import recall as plain_recall

NO_TOKEN = 0xFFFFFFFF


def random_files(seed: int, n_kinds: int) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(n_kinds) for _ in range(rng.randrange(60))] for _ in range(6)]


def counted(ids: np.ndarray, counts: np.ndarray) -> Counter[int]:
    return Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))


def context(*ids: int) -> np.ndarray:
    return np.array(ids, np.int64)


def test_the_longest_match_tells_what_followed() -> None:
    index = SuffixIndex.build([[1, 2, 3, 4], [9, 2, 3, 5], [7, 3, 6]], vocab_size=10)
    found = index.recall(context(8, 2, 3))
    assert (found.length, dict(zip(found.ids, found.counts, strict=True))) == (2, {4: 1, 5: 1})
    assert found.unanimity == 0.5
    assert index.recall(context(1, 2, 3)).ids.tolist() == [4]
    assert index.recall(context(8)).length == 0
    assert index.recall(context()).length == 0


def test_a_match_does_not_cross_from_one_file_to_the_next() -> None:
    index = SuffixIndex.build([[1, 2], [3, 4]], vocab_size=10)
    assert index.recall(context(1, 2)).length == 0
    assert index.recall(context(2, 3)).length == 1


def test_a_forgotten_file_gives_nothing_any_more() -> None:
    index = SuffixIndex.build([[1, 2, 3], [2, 4]], vocab_size=10)
    index.alive[0] = False
    found = index.recall(context(1, 2))
    assert (found.length, found.ids.tolist()) == (1, [4])
    index.alive[1] = False
    assert index.recall(context(1, 2)).length == 0


def test_a_place_names_its_file() -> None:
    index = SuffixIndex.build([[1, 2, 3], [], [2, 4]], vocab_size=10)
    (place,) = index.recall(context(1, 2)).places
    assert (index.file_of(int(place)), index.tokens[place]) == (0, 3)
    assert index.file_of(int(index.recall(context(2, 4, 2)).places[0])) in (0, 2)


@pytest.mark.long
@pytest.mark.parametrize("n_kinds", [2, 5, 40])
@pytest.mark.parametrize("vocab_size", [50, 100_000])
def test_it_finds_what_a_plain_search_finds(n_kinds: int, vocab_size: int) -> None:
    files = random_files(n_kinds, n_kinds)
    index = SuffixIndex.build(files, vocab_size)
    rng = random.Random(1)
    for _ in range(50):
        query = [rng.randrange(n_kinds) for _ in range(rng.randrange(1, 20))]
        length, followed = plain_recall(files, query, MAX_MATCH)
        found = index.recall(context(*query))
        assert found.length == length
        if sum(followed.values()) <= 64:
            assert (
                Counter(dict(zip(found.ids.tolist(), found.counts.tolist(), strict=True)))
                == followed
            )


def test_no_files_give_nothing() -> None:
    assert SuffixIndex.build([], 10).recall(context(1)).length == 0
    assert SuffixIndex.build([[]], 10).recall(context(1)).length == 0


@pytest.mark.parametrize("seed", range(4))
def test_scanning_the_open_file_finds_what_a_plain_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(30):
        text = [rng.randrange(4) for _ in range(rng.randrange(1, 50))]
        buffers = [np.zeros(64, np.int64) for _ in range(3)]
        length, kinds = scan_back(context(*text, 99), len(text), MAX_MATCH, NO_TOKEN, *buffers)
        expected, followed = plain_recall([text], text, MAX_MATCH)
        # The end of the text matches itself, but nothing follows it.
        assert length == expected
        assert (
            Counter(
                dict(zip(buffers[0][:kinds].tolist(), buffers[1][:kinds].tolist(), strict=True))
            )
            == followed
        )
