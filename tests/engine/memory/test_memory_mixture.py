import math

import numpy as np
import pytest

from codling.engine.memory.index import NOTHING, Continuations
from codling.engine.memory.mixture import (
    LENGTHS,
    N_KINDS,
    Observation,
    Weights,
    class_of,
    fit_weights,
    mix_into,
    mixture_probability,
    share_of,
)


def match(length: int, **counts: int) -> Continuations:
    ids = np.array([int(name[1:]) for name in counts], np.int64)
    return Continuations(
        length, ids, np.array(list(counts.values()), np.int64), np.zeros(len(ids), np.int64)
    )


def flat(value: float) -> Weights:
    table = np.full((len(LENGTHS), N_KINDS), value)
    return Weights(table, table.copy())


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits.astype(np.float64) - logits.max())
    return raised / raised.sum()


def test_the_softmax_of_the_changed_row_is_the_mixture() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    mix_into(logits, match(3, t1=3, t2=1), NOTHING, flat(0.5))
    assert softmax(logits) == pytest.approx([0.25, 0.15 + 0.375, 0.1 + 0.125], abs=1e-6)


def test_repository_and_open_file_are_nested() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    leaders = mix_into(logits, match(3, t1=1), match(5, t2=2), flat(0.5))
    assert softmax(logits) == pytest.approx([0.125, 0.075 + 0.25, 0.05 + 0.5], abs=1e-6)
    assert leaders.tolist() == [1, 2]


def test_without_a_match_nothing_changes() -> None:
    logits = np.array([1.0, -2.0, 0.5], np.float32)
    before = logits.copy()
    assert mix_into(logits, NOTHING, NOTHING, flat(0.5)).tolist() == []
    assert (logits == before).all()


def test_a_token_that_the_model_forbids_comes_from_memory_alone() -> None:
    logits = np.array([0.0, -np.inf], np.float32)
    mix_into(logits, match(3, t1=1), NOTHING, flat(0.25))
    assert softmax(logits) == pytest.approx([0.75, 0.25], abs=1e-6)


def test_classes_go_by_length_and_unanimity() -> None:
    assert class_of(NOTHING) is None
    assert class_of(match(1, t5=1)) == (0, N_KINDS - 2)
    assert class_of(match(16, t5=4)) == (len(LENGTHS) - 1, N_KINDS - 1)
    assert class_of(match(5, t1=1, t2=1)) == (4 - 0, 1) if LENGTHS[4] == 5 else (3, 1)
    assert share_of(match(5, t1=1, t2=3), 2) == 0.75


def test_fitting_finds_the_weights_that_made_the_data() -> None:
    # The repository is right in 80 of 100 cases; the model gives each token 0.1.
    seen = [Observation(0.1, float(i < 80), 0.0, (3, 5), None) for i in range(100)] * 20
    fitted = fit_weights(seen, flat(0.5))
    # d/dw of 0.8 ln(0.1 (1-w) + w) + 0.2 ln(0.1 (1-w)) is 0 at w = 7/9.
    assert fitted.repository[3, 5] == pytest.approx(7 / 9, abs=0.01)
    assert fitted.repository[0, 0] == 0.5


def test_fitting_never_makes_the_data_less_likely() -> None:
    rng = np.random.default_rng(0)
    seen = [
        Observation(
            float(rng.uniform(0.01, 1)),
            float(rng.integers(2)),
            float(rng.integers(2)),
            (int(rng.integers(7)), int(rng.integers(N_KINDS))),
            (int(rng.integers(7)), int(rng.integers(N_KINDS))) if rng.random() < 0.5 else None,
        )
        for _ in range(2000)
    ]
    start = flat(0.3)
    before = sum(math.log(mixture_probability(start, o)) for o in seen)
    fitted = fit_weights(seen, start)
    after = sum(math.log(mixture_probability(fitted, o)) for o in seen)
    assert after > before


def test_weights_survive_json_and_damage_is_refused() -> None:
    weights = Weights.default()
    assert Weights.from_lists(weights.to_lists()).to_lists() == weights.to_lists()
    with pytest.raises(ValueError, match="damaged"):
        Weights.from_lists({"repository": [[1.5]], "open_file": [[0.1]]})
