"""transformers loads the folders with quantised weights, and computes what our loader's model does.

Needs transformers and compressed-tensors; both expand the weights, and activations of w8a8 and fp8
are rounded by transformers alone.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codling.checkpoint.load import load_model
from codling.export.export import ExportConfig, export
from export.exported import SHAPES, TOKENS, logits_of, save

pytestmark = pytest.mark.slow

WIDE = {
    kind: replace(shape, hidden_size=128, intermediate_size=256, init_std=0.05)
    for kind, shape in SHAPES.items()
}


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize(
    ("format_name", "nearness"), [("w4a16", 0.01), ("w8a8", 0.05), ("fp8", 0.1)]
)
def test_transformers_computes_the_same(
    tmp_path: Path, kind: str, format_name: Any, nearness: float
) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("compressed_tensors", reason="needs compressed-tensors")
    save(tmp_path / "m", WIDE[kind])
    made = export(ExportConfig(model=tmp_path / "m", format=format_name, out_dir=tmp_path / "out"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.float32)
    with torch.no_grad():
        found = theirs(TOKENS).logits.float()
    wanted = logits_of(load_model(made.path))
    miss = (found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
    assert miss < nearness


def test_our_packing_is_the_librarys() -> None:
    helpers = pytest.importorskip(
        "compressed_tensors.compressors.pack_quantized.helpers", reason="needs compressed-tensors"
    )
    from codling.checkpoint.compressed import pack

    codes = torch.randint(-8, 8, (6, 64), generator=torch.Generator().manual_seed(0))
    theirs = helpers.pack_to_int32(codes.to(torch.int8), 4)
    assert torch.equal(pack(codes), theirs)
