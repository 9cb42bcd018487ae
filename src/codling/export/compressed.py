"""A model with quantised matrices as a folder in the format compressed-tensors, for vLLM.

Input: a shape, tensors that are read one by one, a scheme, and windows of the user's code for GPTQ.
Output: tensors and the quantization_config of a Hugging Face folder (hf.py writes it).

Left in bf16, and named under `ignore`: the output matrix, the gates of experts, kv_b of latent
attention (engines cut it in two and multiply its halves into other matrices), and matrices whose
rows no group divides. Routed experts are rounded; GPTQ sees dense matrices only.

Not here: the numbers (rounding.py, gptq.py), reading (checkpoint/compressed.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from codling.checkpoint.compressed import BLOCK, pack, scale_up
from codling.checkpoint.stored import PublishedTensor
from codling.core.errors import CheckpointError
from codling.export.calibrate import LayerWalk, watch
from codling.export.gptq import quantize_gptq
from codling.export.rounding import SCALE_TYPE, Scheme, round_matrix
from codling.model.config import ModelConfig

_GROUPS = (128, 64, 32)
_KEPT = ("lm_head", ".kv_b_proj", ".mlp.gate", "embed_tokens")
_FORMATS = {
    "w4a16": "pack-quantized",
    "w8a8": "int-quantized",
    "fp8": "float-quantized",
    "fp8-block": "float-quantized",
}
_SHARED = {
    "self_attn.k_proj": "self_attn.q_proj",
    "self_attn.v_proj": "self_attn.q_proj",
    "mlp.up_proj": "mlp.gate_proj",
    "mlp.shared_experts.up_proj": "mlp.shared_experts.gate_proj",
}
"""Matrices that are multiplied with the same numbers as another."""
_PANEL = 256
"""Columns of X^T X that are computed at a time."""
Rounded = Callable[[], tuple[Tensor, Tensor]]


def choose_group(tensors: Sequence[PublishedTensor]) -> int:
    """The widest group that divides the rows of most matrices: 128, 64 or 32 columns.

    Raises CheckpointError if none divides the rows of any.
    """
    widths = [t.shape[1] for t in tensors if _is_quantized(t, 1)]
    found = max(_GROUPS, key=lambda group: (sum(w % group == 0 for w in widths), group))
    if not any(width % found == 0 for width in widths):
        raise CheckpointError("no matrix has rows that groups of 32 divide; choose --format w8a8")
    return found


def compress_tensors(
    tensors: Sequence[PublishedTensor], scheme: Scheme, group: int, spool: Path | None
) -> list[PublishedTensor]:
    """The tensors of the folder: rounded when they are read, or as GPTQ left them in `spool`."""
    divisor = group if scheme == "w4a16" else 1
    found: list[PublishedTensor] = []

    @lru_cache(maxsize=1)  # a matrix's parts are asked for one after the other
    def round_once(tensor: PublishedTensor) -> tuple[Tensor, Tensor]:
        return _find_rounded(tensor, scheme, group, spool)

    for tensor in tensors:
        if _is_quantized(tensor, divisor):
            found += _offer_parts(tensor, scheme, group, partial(round_once, tensor))
        else:
            found.append(tensor)
    return found


def quantization_config(
    tensors: Sequence[PublishedTensor], scheme: Scheme, group: int
) -> dict[str, Any]:
    """What config.json says of it."""
    divisor = group if scheme == "w4a16" else 1
    ignored = [
        tensor.name.removesuffix(".weight")
        for tensor in tensors
        if len(tensor.shape) == 2
        and not _is_quantized(tensor, divisor)
        and "embed_tokens" not in tensor.name
    ]
    weights, activations = _arguments(scheme, group)
    return {
        "quant_method": "compressed-tensors",
        "format": _FORMATS[scheme],
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": weights,
                "input_activations": activations,
                "format": _FORMATS[scheme],
            }
        },
        "ignore": sorted({"lm_head", *ignored}),
        "kv_cache_scheme": None,
    }


def _arguments(scheme: Scheme, group: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Of the weights, and of the activations, which engines round as they come."""
    bits, kind = (4, "int") if scheme == "w4a16" else (8, "int" if scheme == "w8a8" else "float")
    strategy = {"w4a16": "group", "fp8-block": "block"}.get(scheme, "channel")
    weights: dict[str, Any] = {
        "num_bits": bits,
        "type": kind,
        "symmetric": True,
        "strategy": strategy,
        "dynamic": False,
        "group_size": group if scheme == "w4a16" else None,
        "block_structure": [BLOCK, BLOCK] if scheme == "fp8-block" else None,
    }
    if scheme == "w4a16":
        return weights, None
    per_group = scheme == "fp8-block"
    return weights, {
        "num_bits": 8,
        "type": kind,
        "symmetric": True,
        "strategy": "group" if per_group else "token",
        "dynamic": True,
        "group_size": BLOCK if per_group else None,
    }


def _is_quantized(tensor: PublishedTensor, divisor: int) -> bool:
    name = tensor.name.removesuffix(".weight")
    kept = any(name.endswith(each) for each in _KEPT)
    return len(tensor.shape) == 2 and not kept and tensor.shape[1] % divisor == 0


def _find_rounded(
    tensor: PublishedTensor, scheme: Scheme, group: int, spool: Path | None
) -> tuple[Tensor, Tensor]:
    kept = None if spool is None else spool / f"{tensor.name}.safetensors"
    if kept is None or not kept.exists():
        return round_matrix(_check(tensor.name, tensor.read()), scheme, group)
    with safe_open(kept, "pt") as file:
        return file.get_tensor("codes"), file.get_tensor("scale")


def _check(name: str, weight: Tensor) -> Tensor:
    if not weight.isfinite().all():
        raise CheckpointError(f"tensor {name} holds NaN or infinities; take another checkpoint")
    return weight


def _offer_parts(
    tensor: PublishedTensor, scheme: Scheme, group: int, rounded: Rounded
) -> Iterator[PublishedTensor]:
    rows, columns = tensor.shape
    scales = (rows, columns // group if scheme == "w4a16" else 1)
    if scheme == "fp8-block":
        scales = (-(-rows // BLOCK), -(-columns // BLOCK))
    yield PublishedTensor(f"{tensor.name}_scale", scales, lambda: rounded()[1], SCALE_TYPE)
    if scheme != "w4a16":
        kind = torch.int8 if scheme == "w8a8" else torch.float8_e4m3fn
        yield PublishedTensor(tensor.name, tensor.shape, lambda: rounded()[0], kind)
        return
    packed, shape = (rows, columns // 8), torch.tensor([rows, columns])
    yield PublishedTensor(f"{tensor.name}_packed", packed, lambda: pack(rounded()[0]), torch.int32)
    yield PublishedTensor(f"{tensor.name}_shape", (2,), lambda: shape, torch.int64)


def run_gptq(
    shape: ModelConfig,
    tensors: Sequence[PublishedTensor],
    windows_WL: Tensor,
    group: int,
    spool: Path,
) -> None:
    """Quantise every dense matrix, block by block, each on what the blocks before it now give.

    The results go to files in `spool`, so that memory holds one block.
    """
    spool.mkdir(parents=True, exist_ok=True)
    wanted = {tensor.name for tensor in tensors if _is_quantized(tensor, group)}
    walk = LayerWalk(shape, tensors, windows_WL)
    for prefix, block in walk.blocks("gptq"):
        moments = _moments_of(walk, block)
        shared: dict[str, dict[str, nn.Linear]] = {}
        for name, module in block.named_modules():
            source = _SHARED.get(name, name)
            if f"{prefix}{name}.weight" in wanted and source in moments:
                assert isinstance(module, nn.Linear), name
                shared.setdefault(source, {})[f"{prefix}{name}.weight"] = module
        for source, modules in shared.items():
            _quantize_together(modules, moments[source], group, spool)


def _moments_of(walk: LayerWalk, block: nn.Module) -> dict[str, Tensor]:
    """X^T X of what each matrix of the block is multiplied with; shared ones once."""
    moments: dict[str, Tensor] = {}

    def add(name: str, x: Tensor) -> None:
        if name not in _SHARED:
            width = x.shape[-1]
            _add_products(moments.setdefault(name, torch.zeros(width, width)), x)

    with watch(block, add):
        walk.run(block)
    return {name: total.triu() + total.triu(1).T for name, total in moments.items()}


def _add_products(total_II: Tensor, x_TI: Tensor) -> None:
    """Add X^T X to what `total_II` holds on and above its diagonal: about half of the work."""
    for first in range(0, len(total_II), _PANEL):
        panel = slice(first, first + _PANEL)
        total_II[panel, first:].addmm_(x_TI[:, panel].T, x_TI[:, first:])


def _quantize_together(
    modules: Mapping[str, nn.Linear], hessian_II: Tensor, group: int, spool: Path
) -> None:
    """Quantise matrices that are multiplied with the same numbers, as one; keep the result."""
    weights = [_check(name, module.weight.data) for name, module in modules.items()]
    codes_OI, scale_OG = quantize_gptq(torch.cat(weights), hessian_II, group)
    n_rows = [len(weight) for weight in weights]
    codes_of, scales_of = torch.split(codes_OI, n_rows), torch.split(scale_OG, n_rows)
    parts = zip(modules, weights, codes_of, scales_of, strict=True)
    for name, weight, codes, scale in parts:
        weight.copy_(scale_up(codes.float(), scale.float(), group))
        stored = {"codes": codes.contiguous(), "scale": scale.contiguous()}
        save_file(stored, spool / f"{name}.safetensors")
