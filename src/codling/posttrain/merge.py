"""The stage merge: a base and its adapter become one plain checkpoint.

Input: a base (Hugging Face folder or GGUF file) and an adapter. Output: an artefact of kind
"checkpoint" in bf16 that transformers, vLLM and SGLang load.

Not here: the sum itself (checkpoint/adapter.py).
"""

from dataclasses import dataclass
from pathlib import Path

from codling.checkpoint.adapter import adapter_input, adapter_path, load_adapter
from codling.checkpoint.hub import local_path
from codling.checkpoint.load import load_config, load_model
from codling.checkpoint.settings import to_published
from codling.checkpoint.tokenizer_files import write_tokenizer
from codling.checkpoint.turns import read_turns, write_turns
from codling.checkpoint.verify import check_files, model_input
from codling.core.errors import CheckpointError, TokenizerError
from codling.core.recipe import aside
from codling.core.stage import Work, dropped_on, stage
from codling.tokens.tokenizer import Tokenizer
from codling.train.run import publish_checkpoint


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Settings of merge."""

    model: Path = aside()
    """The base that the adapter was made for."""
    adapter: Path = aside()
    """Folder of the adapter, from codling adapt or from peft."""
    out_dir: Path = aside(Path("runs/merged"))
    """Where the checkpoint goes."""


@stage("checkpoint", version=1)
def merge(config: MergeConfig) -> Work:
    """Add an adapter to its base: a plain checkpoint that needs no adapter.

    Example:
        codling merge --model qwen2.5-coder-0.5b.gguf --adapter runs/app/adapter \
--out-dir runs/app/merged
    """
    path = local_path(config.model)
    check_files(path)
    load_adapter(config.adapter)  # refuses what is damaged before the base is read
    to_published(load_config(path))
    draft = yield [model_input(path), adapter_input(config.adapter)]
    with dropped_on(draft, CheckpointError, TokenizerError):
        # fp32: rounded once, when it is written.
        model = load_model(path, adapter=config.adapter)
        tokenizer_dir = draft.inner("tokenizer").path
        write_tokenizer(path, tokenizer_dir)
        order = Tokenizer.open(tokenizer_dir).fim_mode
        publish_checkpoint(draft, model, model.config, tokenizer_dir, order)
        if turns := read_turns(adapter_path(config.adapter)):
            write_turns(draft.path, turns)
        draft.counts["parameters"] = model.n_parameters()
