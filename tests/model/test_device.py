"""Where a model computes, and in which type."""

import pytest
import torch

from codling.model.device import choose_type, has_bf16


@pytest.mark.parametrize(
    ("precision", "device", "known", "type_"),
    [
        ("auto", "cpu", {"avx512_f": True, "avx512_bf16": True}, torch.bfloat16),
        ("auto", "cpu", {"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ("auto", "cpu", {"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ("auto", "cpu", {}, torch.float32),
        ("auto", "cuda", {}, torch.bfloat16),
        ("bf16", "cpu", {}, torch.bfloat16),
        ("fp32", "cuda", {"avx512_bf16": True}, torch.float32),
    ],
)
def test_products_are_bf16_where_the_processor_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    device: str,
    known: dict[str, bool],
    type_: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert choose_type(precision, torch.device(device)) == type_


def test_what_this_processor_can_do_is_known() -> None:
    names = [name for name in torch.cpu.get_capabilities() if name.endswith("bf16")]
    assert names
    assert has_bf16() in (True, False)
