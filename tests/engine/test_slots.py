"""Which row of the cache a prompt takes, and what is moved there: on tokens alone, no model."""

from codling.engine.slots import Copy, Placing, SlotTable, Swap

A, B = list(range(100, 130)), list(range(200, 230))


def compute(placing: Placing | None, ids: list[int]) -> Placing:
    """As if the model had run: the row holds the whole prompt."""
    assert placing is not None
    placing.slot.tokens.extend(ids[placing.n_cached :])
    return placing


def test_a_prompt_that_goes_on_takes_the_finished_ones_row() -> None:
    table = SlotTable(2)
    first = compute(table.take(A), A)
    table.give_back(first.slot)
    slot, n_cached, copy = table.take([*A, 1, 2])
    assert (slot.index, n_cached, copy) == (first.slot.index, 30, None)


def test_a_prompt_that_shares_only_a_beginning_leaves_the_row_and_copies() -> None:
    table = SlotTable(2)
    table.give_back(compute(table.take(A + B), A + B).slot)
    slot, n_cached, copy = table.take([*A, 1])
    assert (slot.index, n_cached, copy) == (1, 30, Copy(0, 1, 30))


def test_the_last_free_row_is_taken_even_if_most_of_it_is_lost() -> None:
    table = SlotTable(1)
    table.give_back(compute(table.take(A + B), A + B).slot)
    slot, n_cached, copy = table.take([*A, 1])
    assert (slot.tokens, n_cached, copy) == (A, 30, None)


def test_a_prompt_waits_for_a_prefix_that_is_being_computed() -> None:
    table = SlotTable(2)
    first = table.take(A)
    assert table.take(A) is None
    compute(first, A)
    assert table.take(A).copy == Copy(0, 1, 29)  # one token is left to compute


def test_a_short_shared_beginning_is_not_worth_a_copy() -> None:
    table = SlotTable(2)
    compute(table.take(A[:15] + B), A[:15] + B)
    assert table.take(A[:15] + [1] * 20).n_cached == 0


def test_the_row_that_was_free_longest_is_taken_first() -> None:
    table = SlotTable(2)
    one, other = table.take([1]).slot, table.take([2]).slot
    table.give_back(other)
    table.give_back(one)
    assert table.take([3]).slot is other
    assert table.take([4]).slot is one
    assert table.take([5]) is None


def test_one_swap_closes_a_gap_between_taken_rows() -> None:
    table = SlotTable(4)
    slots = [compute(table.take([i]), [i]).slot for i in range(4)]
    table.give_back(slots[1])
    assert table.compact() == [Swap(1, 3, 1, 1)]
    assert [s.index for s in slots] == [0, 3, 2, 1]
    assert table.compact() == []


def test_a_cleared_table_is_free_and_empty() -> None:
    table = SlotTable(1)
    compute(table.take(A), A)
    table.clear()
    assert table.take([*A, 1]).n_cached == 0
