"""GPTQ's compiled loops do what plain ones do, and its scales are the best for its codes."""

import torch
from torch import Tensor

from codling.checkpoint.compressed import scale_up
from codling.export.gptq import _refit_scales, _round_columns, _search_scales, quantize_gptq
from codling.export.rounding import group_scales, round_to_4


def sample(n_rows: int, n_columns: int) -> tuple[Tensor, Tensor]:
    """A matrix, and X^T X of inputs that depend on each other."""
    draw = torch.Generator().manual_seed(5)
    mixed = torch.randn(400, 24, generator=draw) @ torch.randn(24, n_columns, generator=draw)
    x_TI = mixed + 0.3 * torch.randn(400, n_columns, generator=draw)
    return torch.randn(n_rows, n_columns, generator=draw), x_TI.T @ x_TI


def error_of(weight_OI: Tensor, codes_OI: Tensor, scale_OG: Tensor, hessian_II: Tensor) -> Tensor:
    miss_OI = scale_up(codes_OI.float(), scale_OG.float(), 32) - weight_OI
    return (miss_OI @ hessian_II * miss_OI).sum(1)


def test_columns_go_one_by_one_and_hand_their_errors_on() -> None:
    weight_OI, hessian_II = sample(70, 160)  # more than a block of rows and one of columns
    damped_II = hessian_II + hessian_II.diagonal().mean() * 0.01 * torch.eye(160)
    factor_II = torch.linalg.cholesky(damped_II.inverse(), upper=True)
    scale_OI = torch.full_like(weight_OI, 0.25)
    codes_OI = _round_columns(weight_OI.clone(), scale_OI, factor_II)
    left_OI = weight_OI.clone()
    for i in range(160):
        plain_O = round_to_4(left_OI[:, i], scale_OI[:, i])
        error_O = (left_OI[:, i] - plain_O * 0.25) / factor_II[i, i]
        left_OI[:, i + 1 :] -= error_O[:, None] * factor_II[i, i + 1 :]
        # Sums in another order may tip what lies between two codes.
        same = (codes_OI[:, i] == plain_O).float().mean()
        assert same > 0.9, i
    assert (codes_OI[:, :128] != round_to_4(weight_OI[:, :128], scale_OI[:, :128])).any()


def test_the_scale_is_that_of_least_weighed_error() -> None:
    weight_OI, hessian_II = sample(3, 64)
    diagonal_I = hessian_II.diagonal()
    found_OG = _search_scales(weight_OI, diagonal_I, 32)
    for row, group in ((0, 0), (2, 1)):
        part, weigh = weight_OI[row, 32 * group :][:32], diagonal_I[32 * group :][:32]
        tries = [
            (group_scales(part[None], 32)[0, 0] * (1 - k / 40)).bfloat16().float()
            for k in range(20)
        ]
        losses = [((round_to_4(part, s) * s - part) ** 2 * weigh).sum() for s in tries]
        best = min(range(20), key=lambda k: float(losses[k]))
        assert found_OG[row, group] == tries[best]


def test_scales_that_fit_the_codes_lose_less_in_every_row() -> None:
    weight_OI, hessian_II = sample(20, 96)
    scale_OG = _search_scales(weight_OI, hessian_II.diagonal(), 32)
    codes_OI = round_to_4(weight_OI, scale_OG.repeat_interleave(32, 1))
    better_OG = _refit_scales(weight_OI, codes_OI, scale_OG, hessian_II)
    before_O = error_of(weight_OI, codes_OI, scale_OG, hessian_II)
    after_O = error_of(weight_OI, codes_OI, better_OG, hessian_II)
    assert (after_O <= before_O * 1.0001).all()
    assert after_O.sum() < 0.97 * before_O.sum()


def test_rows_do_not_depend_on_each_other() -> None:
    weight_OI, hessian_II = sample(12, 64)
    codes_OI, scale_OG = quantize_gptq(weight_OI, hessian_II, 32)
    alone_OI, alone_OG = quantize_gptq(weight_OI[5:9], hessian_II, 32)
    assert (codes_OI[5:9] == alone_OI).float().mean() > 0.99
    torch.testing.assert_close(scale_OG[5:9], alone_OG, rtol=0.02, atol=0)
