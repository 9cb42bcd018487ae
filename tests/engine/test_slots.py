"""Which row of the cache a prompt takes, and what is moved there: on tokens alone, no model."""

from codling.engine.reserved import CacheShape
from codling.engine.slots import Copy, Placing, Release, SlotTable, Swap

A, B = list(range(100, 130)), list(range(200, 230))


def table_of(n_rows: int) -> SlotTable:
    return SlotTable(CacheShape.of_whole_rows(n_rows, 100))


def table_of_pages(n_pages: int, *, n_rows: int = 4, n_streams: int = 4) -> SlotTable:
    """Pages of 10 tokens."""
    shape = CacheShape(n_rows=n_rows, n_streams=n_streams, max_length=60, n_pages=n_pages, page=10)
    return SlotTable(shape)


def copies(table: SlotTable) -> list[Copy]:
    return [move for move in table.take_moves() if isinstance(move, Copy)]


def compute(placing: Placing | None, ids: list[int]) -> Placing:
    """As if the model had run: the row holds the whole prompt."""
    assert placing is not None
    placing.slot.tokens.extend(ids[placing.n_cached :])
    return placing


def test_a_prompt_that_goes_on_takes_the_finished_ones_row() -> None:
    table = table_of(2)
    first = compute(table.take(A), A)
    table.give_back(first.slot)
    placing = table.take([*A, 1, 2])
    assert placing is not None
    assert (placing.slot.index, placing.n_cached) == (first.slot.index, 30)
    assert copies(table) == []


def test_a_prompt_that_shares_only_a_beginning_leaves_the_row_and_copies() -> None:
    table = table_of(2)
    table.give_back(compute(table.take(A + B), A + B).slot)
    placing = table.take([*A, 1])
    assert placing is not None
    assert (placing.slot.index, placing.n_cached) == (1, 30)
    assert copies(table) == [Copy(0, 1, 30)]


def test_the_last_free_row_is_taken_even_if_most_of_it_is_lost() -> None:
    table = table_of(1)
    table.give_back(compute(table.take(A + B), A + B).slot)
    placing = table.take([*A, 1])
    assert placing is not None
    assert (placing.slot.tokens, placing.n_cached) == (A, 30)
    assert copies(table) == []


def test_a_prompt_waits_for_a_prefix_that_is_being_computed() -> None:
    table = table_of(2)
    first = table.take(A)
    assert table.take(A) is None
    compute(first, A)
    assert table.take(A) is not None
    assert copies(table) == [Copy(0, 1, 29)]  # one token is left to compute


def test_a_short_shared_beginning_is_not_worth_a_copy() -> None:
    table = table_of(2)
    compute(table.take(A[:15] + B), A[:15] + B)
    placing = table.take(A[:15] + [1] * 20)
    assert placing is not None
    assert placing.n_cached == 0


def test_the_row_that_was_free_longest_is_taken_first() -> None:
    table = table_of(2)
    one, other = compute(table.take([1]), [1]).slot, compute(table.take([2]), [2]).slot
    table.give_back(other)
    table.give_back(one)
    assert compute(table.take([3]), [3]).slot is other
    assert compute(table.take([4]), [4]).slot is one
    assert table.take([5]) is None


def test_one_swap_closes_a_gap_between_taken_rows() -> None:
    table = table_of(4)
    slots = [compute(table.take([i]), [i]).slot for i in range(4)]
    table.give_back(slots[1])
    table.arrange()
    assert Swap(1, 3, 1, 1) in table.take_moves()
    assert [s.index for s in slots] == [0, 3, 2, 1]
    table.arrange()
    assert table.take_moves() == []


def test_a_cleared_table_is_free_and_empty() -> None:
    table = table_of(1)
    compute(table.take(A), A)
    table.clear()
    placing = table.take([*A, 1])
    assert placing is not None
    assert placing.n_cached == 0


def test_a_row_holds_the_pages_of_its_prompt_and_not_of_the_longest() -> None:
    table = table_of_pages(100)
    compute(table.take(A[:5]), A[:5])
    compute(table.take(B), B)
    assert table.n_held == 1 + 4  # 5 tokens and 30, each with the token after them


def test_memory_is_taken_from_the_end_of_the_row_that_was_unused_longest() -> None:
    table = table_of_pages(9)
    old = compute(table.take(A), A).slot
    new = compute(table.take(B), B).slot
    table.give_back(old)
    table.give_back(new)
    table.take_moves()
    assert table.n_held == 6  # a row that is given back keeps what it holds
    compute(table.take([1] * 45), [1] * 45)
    assert table.take_moves() == [Release(old.index, 10, 30)]
    assert (old.tokens, new.tokens) == (A[:10], B)
    assert table.n_held == 9


def test_a_prompt_waits_while_running_ones_hold_the_memory() -> None:
    table = table_of_pages(6)
    first = compute(table.take(A), A)
    assert table.take(B) is None
    table.give_back(first.slot)
    assert table.take(B) is not None


def test_a_row_grows_until_nothing_is_left() -> None:
    table = table_of_pages(6)
    slot = compute(table.take(A), A).slot
    other = compute(table.take([1]), [1]).slot
    assert table.n_held == 5
    assert table.grow(slot, 20)  # the 50 tokens have the sixth page
    assert not table.grow(slot, 21)
    table.give_back(other)
    assert table.grow(slot, 21)
    assert table.take_moves()[-1] == Release(other.index, 0, 10)


def test_no_more_prompts_run_than_there_are_streams_though_rows_are_free() -> None:
    table = table_of_pages(100, n_rows=4, n_streams=1)
    first = compute(table.take(A), A)
    assert table.take(B) is None
    table.give_back(first.slot)
    assert compute(table.take(B), B).slot is not first.slot  # whose text is kept
