"""Kernels against their plain-Python twins, and what MinHash promises."""

import random

import numpy as np
import pytest

from codling.corpus.duplicates import minhash
from codling.corpus.duplicates.clusters import (
    candidate_pairs,
    choose_survivors,
    find_components,
    find_components_reference,
)

TEXTS = [
    b"",
    b" \n\t",
    b"one",
    b"one two three four",
    b"one two three four five",
    b"a = f(b_1, c) + 42  # d\nreturn a",
    "x = 'größe' + π * 3".encode(),
    bytes(range(256)),
    b"word " * 100,
    ("a\u044f" * 60).encode(),
    "\u4e2d\u6587, Python \u3002\u042f 1\u20ac \uff21 \u2500\u2500".encode(),
]


def packed(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), offsets


def test_shingles_equal_plain_python() -> None:
    data, offsets = packed(TEXTS)
    for i, text in enumerate(TEXTS):
        found = minhash.shingle_list(data, offsets[i], offsets[i + 1])
        assert found.tolist() == minhash.shingles_reference(text)


def test_a_text_of_six_tokens_has_two_shingles_and_a_short_one_has_one() -> None:
    assert [len(minhash.shingles(t)) for t in (b"", b"a", b"a b c d", b"a,b,c,d,e,f")] == [
        0,
        1,
        1,
        2,
    ]


def test_what_is_between_tokens_does_not_matter() -> None:
    assert (
        minhash.shingles(b"a(b) - c;\n  d\te").tolist() == minhash.shingles(b"a b c d e").tolist()
    )


def test_texts_in_other_scripts_are_not_compared_by_their_english_words_alone() -> None:
    one, two = ("Python\u7684\u53d8\u91cf", "Python\u7684\u51fd\u6570")
    assert minhash.shingles(one.encode()).tolist() != minhash.shingles(two.encode()).tolist()
    assert len(minhash.shingles("\u4e00\u4e8c\u4e09\u56db\u4e94\u516d".encode())) == 2


@pytest.mark.long
def test_signatures_and_bands_equal_plain_python() -> None:
    signature, n_shingles = minhash.signatures(*packed(TEXTS))
    bands = minhash.band_hashes(signature)
    for i, text in enumerate(TEXTS):
        assert signature[i].tolist() == minhash.signature_reference(text)
        assert bands[:, i].tolist() == minhash.band_hashes_reference(signature[i].tolist())
        assert n_shingles[i] == len(minhash.shingles_reference(text))


def test_jaccard_equals_plain_python() -> None:
    generator = random.Random(0)
    sets = [sorted(generator.sample(range(50), n)) for n in (0, 1, 10, 20, 30, 0)]
    starts = np.cumsum([0, *map(len, sets)])
    left, right = np.triu_indices(len(sets))
    flat = np.array([x for s in sets for x in s], np.uint32)
    found = minhash.jaccard(flat, starts, left, right)
    expected = [
        minhash.jaccard_reference(sets[i], sets[j]) for i, j in zip(left, right, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_equal_rows_of_signatures_estimate_the_similarity() -> None:
    words = [b"w%d" % i for i in range(600)]
    texts = [b" ".join(words[:500]), b" ".join(words[100:600])]  # 396 of 596 shingles shared
    signature, _ = minhash.signatures(*packed(texts), 960)
    truth = minhash.jaccard_reference(*(minhash.shingles_reference(t) for t in texts))
    assert abs((signature[0] == signature[1]).mean() - truth) < 0.05


def test_pairs_are_found_once_and_absent_documents_never() -> None:
    bands = np.array([[1, 2, 1, 1], [5, 5, 6, 5]], np.uint64)
    left, right = candidate_pairs(bands, np.array([True, True, True, True]))
    assert list(zip(left, right, strict=True)) == [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]
    left, right = candidate_pairs(bands, np.array([False, True, True, True]))
    assert list(zip(left, right, strict=True)) == [(1, 3), (2, 3)]


def test_components_equal_plain_python() -> None:
    generator = np.random.default_rng(0)
    for n_pairs in (0, 5, 20, 60):
        left, right = generator.integers(0, 50, (2, n_pairs))
        assert find_components(50, left, right).tolist() == find_components_reference(
            50, left, right
        )


def test_what_is_joined_only_through_others_stays() -> None:
    # 0-1 and 1-2 are alike, 0-2 are not; 1 has the best rank, then 0.
    similar = {(1, 0): 0.9, (1, 2): 0.8, (0, 1): 0.9, (0, 2): 0.1}

    def similarity(left, right):
        return np.array([similar[a, b] for a, b in zip(left, right, strict=True)], np.float32)

    pairs = np.array([0, 1]), np.array([1, 2])
    nobody = np.zeros(3, np.bool_)
    survivor, score = choose_survivors(pairs, np.array([1, 0, 2]), nobody, similarity, 0.7)
    assert survivor.tolist() == [1, 1, 1]
    assert score.tolist() == pytest.approx([0.9, 1.0, 0.8])
    survivor, _ = choose_survivors(pairs, np.array([0, 1, 2]), nobody, similarity, 0.7)
    assert survivor.tolist() == [0, 0, 2]


def test_fixed_documents_always_stay() -> None:
    def similarity(left, _right):
        return np.ones(len(left), np.float32)

    pairs = np.array([0, 1]), np.array([1, 2])
    fixed = np.array([True, True, False])
    survivor, _ = choose_survivors(pairs, np.array([0, 1, 2]), fixed, similarity, 0.7)
    assert survivor.tolist() == [0, 1, 0]
