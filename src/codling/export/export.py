"""The stage export: a model, with its adapter if it has one, in a format that other engines read.

Input: a run, a checkpoint's folder or a .gguf file, and an adapter. Output: an artefact of kind
"gguf" with one .gguf file, or of kind "checkpoint" with a Hugging Face folder. Tensors go through
one by one, so that a model larger than memory can be exported.

Not here: the formats (gguf.py, hf.py), Ollama's file (modelfile.py).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codling.checkpoint.adapter import adapter_input, adapter_path
from codling.checkpoint.hub import model_name
from codling.checkpoint.of_run import model_and_adapter
from codling.checkpoint.store import PublishedTensor
from codling.checkpoint.stream import stream_tensors
from codling.checkpoint.tokenizer_files import write_tokenizer
from codling.checkpoint.turns import read_turns, write_turns
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import Artifact, Draft, Input
from codling.core.errors import ConfigError
from codling.core.files import write_text
from codling.core.lineage import count_licenses
from codling.core.ranges import Count, Ranged
from codling.core.recipe import aside
from codling.core.stage import Work, stage
from codling.export.gguf import write_gguf_model
from codling.export.gguf_shape import gguf_architecture
from codling.export.hf import HF_TYPES, write_hf_model
from codling.export.mixture import GgufType
from codling.export.modelfile import make_modelfile
from codling.export.origin import ModelOrigin, read_origin
from codling.model.config import ModelConfig
from codling.tokens.tokenizer import Tokenizer

ExportFormat = Literal["gguf", "hf"]


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Ranged):
    """Settings of export."""

    model: Path = aside()
    """A run's folder, a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    adapter: Path | None = aside(None)
    """Adapter (codling adapt, or peft's LoRA) that is added to the model's weights."""
    format: ExportFormat = "gguf"
    """gguf: one file for llama.cpp and Ollama; hf: a folder for transformers, vLLM and SGLang."""
    type: GgufType | None = None
    """How weights are stored; by default q8_0 in gguf, bf16 in hf, which takes f32, f16 and bf16
    alone."""
    name: str | None = None
    """What the model is called; by default as its run, folder or file is."""
    license: str | None = None
    """Licence of the weights, as SPDX names it; by default what the model's files say."""
    modelfile: bool = False
    """Write a Modelfile beside the .gguf file, with which Ollama completes, inserts and chats."""
    shard_bytes: Count = 5_000_000_000
    """Weights beyond this many bytes are split into several files (hf)."""
    out_dir: Path = aside(Path("runs/export"))
    """Where the artefact goes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format == "hf" and self.type not in (None, *HF_TYPES):
            raise ConfigError(
                f"export: type {self.type} is one of GGUF's; take --format gguf, or one of "
                f"{', '.join(HF_TYPES)}"
            )
        if self.format == "hf" and self.modelfile:
            raise ConfigError("export: a Modelfile names a .gguf file; take --format gguf")
        if self.name is not None and (not self.name or "/" in self.name or "\0" in self.name):
            raise ConfigError("export: name must be that of a file, without a slash")

    @property
    def stored_type(self) -> GgufType:
        """The type of the weights, chosen by the format where none was named."""
        return self.type or ("q8_0" if self.format == "gguf" else "bf16")


def _kind(config: ExportConfig) -> str:
    return "gguf" if config.format == "gguf" else "checkpoint"


@stage(_kind, version=1)
def export(config: ExportConfig) -> Work:
    """Write a model for llama.cpp, Ollama, vLLM or transformers.

    Example:
        codling export runs/app --type q8_0 --modelfile --out-dir runs/app/gguf
    """
    path, adapter = model_and_adapter(config.model, config.adapter)
    check_files(path)
    shape, tensors = stream_tensors(path, adapter)
    inputs = [model_input(path)] + ([] if adapter is None else [adapter_input(adapter)])
    if config.format == "gguf":
        gguf_architecture(shape)
    draft = yield inputs
    tokenizer_dir = draft.inner("tokenizer").path
    write_tokenizer(path, tokenizer_dir)
    if adapter is not None and (turns := read_turns(adapter_path(adapter))):
        write_turns(tokenizer_dir, turns)
    origin = read_origin(path, config.license, _licenses(inputs))
    if config.format == "gguf":
        _write_gguf(draft, config, shape, tensors, tokenizer_dir, origin)
    else:
        stored = HF_TYPES[config.stored_type]
        write_hf_model(draft.path, shape, tensors, path, tokenizer_dir, stored, config.shard_bytes)
    draft.counts |= {
        "parameters": sum(tensor.n_numbers for tensor in tensors),
        "license": origin.license,
        "learned_from": dict(origin.learned_from),
    }


def _write_gguf(  # noqa: PLR0913  a model in parts
    draft: Draft,
    config: ExportConfig,
    shape: ModelConfig,
    tensors: Sequence[PublishedTensor],
    tokenizer_dir: Path,
    origin: ModelOrigin,
) -> None:
    name, stored = config.name or model_name(config.model), config.stored_type
    file = draft.file(f"{name}-{stored}.gguf")
    write_gguf_model(file, shape, tensors, tokenizer_dir, stored, name, origin)
    if config.modelfile:
        tokenizer = Tokenizer.open(tokenizer_dir)
        text = make_modelfile(file.name, tokenizer, shape.max_position, origin.license)
        write_text(draft.file("Modelfile"), text)


def _licenses(inputs: Sequence[Artifact | Input]) -> Counter[str]:
    """Licences of the files that the model and its adapter learned from."""
    return sum((count_licenses(each) for each in inputs if isinstance(each, Artifact)), Counter())
