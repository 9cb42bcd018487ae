"""Batches read ahead, and numbers read late, as on a GPU."""

import threading

import pytest
import torch

from codling.train.loader import Loader
from codling.train.readings import Readings

CPU = torch.device("cpu")


def numbered(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((1, 2), number), torch.full((1, 2), number + 1)


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_come_as_they_are_asked_for_in_any_order(ahead: bool) -> None:
    loader = Loader(numbered, CPU, ahead=ahead)
    asked = [0, 1, 2, 0, 7, 8]
    assert [int(loader(number)[0][0, 0]) for number in asked] == asked
    loader.close()


def test_the_next_batch_is_read_meanwhile() -> None:
    begun = threading.Event()

    def noted(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 4:
            begun.set()
        return numbered(number)

    loader = Loader(noted, CPU, ahead=True)
    loader(3)
    assert begun.wait(10)
    loader.close()


def test_what_goes_wrong_while_reading_ahead_is_raised_where_the_batch_is_needed() -> None:
    def torn(number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if number == 1:
            raise MemoryError
        return numbered(number)

    loader = Loader(torn, CPU, ahead=True)
    loader(0)
    with pytest.raises(MemoryError):
        loader(1)
    loader.close()


def test_rows_are_ready_a_step_later_and_none_is_lost() -> None:
    readings = Readings(CPU, late=1)
    found = []
    for step in range(3):
        readings.add({"step": step}, torch.tensor(step + 0.5), torch.tensor(2.0))
        found.append([row["step"] for row, _, _ in readings.take_ready()])
    assert found == [[], [0], [1]]
    assert readings.take_ready(all_of_them=True) == [({"step": 2}, 2.5, 2.0)]
