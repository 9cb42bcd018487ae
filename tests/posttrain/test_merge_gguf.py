"""An adapter of a GGUF base: learned, merged, and used unmerged."""

import json
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch

from checkpoint.test_gguf import convert
from codling.checkpoint.load import load_model
from codling.checkpoint.tokenizer_files import open_tokenizer
from codling.core.artifact import Artifact
from codling.model.transformer import Transformer
from codling.posttrain.adapt import AdaptConfig, adapt
from codling.posttrain.adopt import AdoptConfig, adopt
from codling.posttrain.merge import MergeConfig, merge
from codling.tokens.pack import PackConfig, pack
from posttrain.tiny_base import SHAPE
from tokens.test_gguf_tokenizer import as_metadata

TOKENS = torch.arange(40).reshape(1, 40)


def as_gguf(path: Path, model: Transformer, tokenizer_json: Path) -> Path:
    """The model and its tokenizer in one file, as llama.cpp's converter writes them."""
    metadata = as_metadata(json.loads(tokenizer_json.read_text()), "deepseek-coder")
    n_padding = model.config.vocab_size - len(metadata["tokenizer.ggml.tokens"])
    padding = [f"[PAD{i}]" for i in range(n_padding)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(SHAPE.n_layers)
    writer.add_context_length(SHAPE.max_position)
    writer.add_embedding_length(SHAPE.hidden_size)
    writer.add_feed_forward_length(SHAPE.intermediate_size)
    writer.add_head_count(SHAPE.n_heads)
    writer.add_head_count_kv(SHAPE.kv_heads)
    writer.add_layer_norm_rms_eps(SHAPE.rms_norm_eps)
    writer.add_rope_freq_base(SHAPE.rope.theta)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-coder")
    writer.add_token_list([*metadata["tokenizer.ggml.tokens"], *padding])
    writer.add_token_types([*metadata["tokenizer.ggml.token_type"], *(5 for _ in padding)])
    writer.add_token_merges(metadata["tokenizer.ggml.merges"])
    writer.add_eos_token_id(open_tokenizer(tokenizer_json.parent).specials.eos or 0)
    for name, tensor in convert(model, split_kv_b=False).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.long
def test_an_adapter_of_a_gguf_base_is_merged_into_a_checkpoint(
    adapt_config: Callable[..., AdaptConfig], base_dir: Path, samples: Artifact, tmp_path: Path
) -> None:
    base = as_gguf(tmp_path / "base.gguf", load_model(base_dir), base_dir / "tokenizer.json")
    vocab_size = open_tokenizer(base).vocab_size
    tokens_dir = pack_with(base, samples.path, tmp_path)
    made = adapt(adapt_config(model=base, tokens_dir=tokens_dir))
    merged = merge(MergeConfig(model=base, adapter=made.path, out_dir=tmp_path / "merged"))
    unmerged = load_model(base, adapter=made.path)
    with torch.no_grad():
        wanted = unmerged.bfloat16().float()
        found = load_model(merged.path)
        torch.testing.assert_close(
            found.logits(found(TOKENS)), wanted.logits(wanted(TOKENS)), rtol=0, atol=0
        )
    assert open_tokenizer(merged.path).vocab_size == vocab_size


def pack_with(base: Path, samples_dir: Path, tmp_path: Path) -> Path:
    """Samples, packed with the tokenizer of the GGUF file."""
    tokenizer = adopt(AdoptConfig(model=base, out_dir=tmp_path / "tokenizer"))
    config = PackConfig(
        samples_dir=samples_dir,
        tokenizer_dir=tokenizer.path,
        out_dir=tmp_path / "tokens",
        context=64,
        fim_spm_share=0.0,
    )
    return pack(config).path
