"""The stage export: a model, with its adapter if it has one, in a format that other engines read.

Input: a run, a checkpoint's folder or a .gguf file, and an adapter. Output: an artefact of kind
"gguf" with one .gguf file, or of kind "checkpoint" with a Hugging Face folder. Tensors go through
one by one, so that a model larger than memory can be exported.

Not here: the formats (gguf.py, hf.py), Ollama's file (modelfile.py).
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from codling.checkpoint.adapter import adapter_input, adapter_path
from codling.checkpoint.hub import model_name
from codling.checkpoint.load import is_gguf
from codling.checkpoint.of_run import model_and_adapter
from codling.checkpoint.store import CONFIG, GENERATION_CONFIG, find_tokenizer_files
from codling.checkpoint.stored import PublishedTensor
from codling.checkpoint.stream import stream_tensors
from codling.checkpoint.tokenizer_files import open_tokenizer, write_tokenizer
from codling.checkpoint.turns import read_turns, write_turns
from codling.checkpoint.verify import check_files, model_input
from codling.core.artifact import MANIFEST, Artifact, Draft, Input, sha256_of
from codling.core.errors import CheckpointError, ConfigError, TokenizerError, name_faults
from codling.core.files import write_text
from codling.core.inputs import source_input
from codling.core.lineage import count_licenses
from codling.core.ranges import Count, Ranged
from codling.core.recipe import aside
from codling.core.stage import Work, dropped_on, stage
from codling.export.calibrate import (
    LayerWalk,
    cut_windows,
    measure_importance,
    name_code,
    read_code,
)
from codling.export.compressed import (
    choose_group,
    compress_tensors,
    quantization_config,
    run_gptq,
)
from codling.export.gguf import write_gguf_model
from codling.export.gguf_shape import gguf_architecture
from codling.export.hf import HF_TYPES, write_hf_model
from codling.export.imatrix import Importance, read_imatrix, write_imatrix
from codling.export.mixture import GgufType
from codling.export.modelfile import make_modelfile
from codling.export.origin import MODEL_CARD, ModelOrigin, read_origin
from codling.export.rounding import Scheme
from codling.model.config import ModelConfig
from codling.tokens.to_gguf import check_rows
from codling.tokens.tokenizer import Tokenizer

ExportFormat = Literal["gguf", "hf", "w4a16", "w8a8", "fp8", "fp8-block"]
_COMPRESSED: tuple[Scheme, ...] = get_args(Scheme)
_EXACT = ("f32", "f16", "bf16", "q8_0")
_MAX_NAME_BYTES = 200
_IMATRIX = "imatrix.dat"
"""Not .gguf, although that is what it is inside: a folder with one .gguf file is a model."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Ranged):
    """Settings of export."""

    model: Path = aside()
    """A run's folder, a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub."""
    adapter: Path | None = aside(None)
    """Adapter (codling adapt, or peft's LoRA) that is added to the model's weights."""
    format: ExportFormat = "gguf"
    """gguf: one file for llama.cpp and Ollama; hf: a folder for transformers, vLLM and SGLang;
    w4a16: the same with weights of 4 bits; w8a8: of 8 bits, activations too; fp8: of 8 bits for
    GPUs that compute with them; fp8-block: with scales as DeepSeek-V3's."""
    type: GgufType | None = None
    """How weights are stored; by default q8_0 in gguf, bf16 in hf, which takes f32, f16 and bf16
    alone."""
    name: str | None = None
    """What the model is called; by default as its run, folder or file is."""
    license: str | None = None
    """Licence of the weights, as SPDX names it; by default what the model's files say."""
    imatrix: Path | None = aside(None)
    """Importance matrix of llama.cpp, by which weights that matter are rounded better (gguf, less
    than 8 bits)."""
    calibrate: Path | None = aside(None)
    """Code of yours, a file or a folder, on which to measure what matters (gguf of less than 8
    bits; GPTQ in w4a16)."""
    calibration_windows: Count = 128
    """Windows of the code that are measured, at most."""
    calibration_length: Count = 1024
    """Tokens of a window."""
    modelfile: bool | None = None
    """Write a Modelfile beside the .gguf file, with which Ollama completes, inserts and chats; by
    default yes."""
    shard_bytes: Count = 5_000_000_000
    """Weights beyond this many bytes are split into several files (hf)."""
    out_dir: Path = aside(Path("runs/export"))
    """Where the artefact goes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format in _COMPRESSED and self.type is not None:
            raise ConfigError(f"export: format {self.format} is a type already; leave --type out")
        if self.format == "hf" and self.type not in (None, *HF_TYPES):
            raise ConfigError(
                f"export: type {self.type} is one of GGUF's; take --format gguf, or one of "
                f"{', '.join(HF_TYPES)}"
            )
        if self.format != "gguf" and self.modelfile:
            raise ConfigError("export: a Modelfile names a .gguf file; take --format gguf")
        self._check_calibration()
        if self.name is not None and (not self.name or "/" in self.name or "\0" in self.name):
            raise ConfigError("export: name must be that of a file, without a slash")

    def _check_calibration(self) -> None:
        if self.imatrix is not None and self.calibrate is not None:
            raise ConfigError("export: take --imatrix or --calibrate, not both")
        coarse = self.format == "gguf" and self.stored_type not in _EXACT
        if (self.imatrix is not None and not coarse) or (
            self.calibrate is not None and not (coarse or self.format == "w4a16")
        ):
            name = self.stored_type if self.format in ("gguf", "hf") else self.format
            raise ConfigError(
                f"export: {name} does not ask what matters; take --format gguf and a type of less "
                "than 8 bits, such as q4_k_m, or leave the calibration out"
            )

    @property
    def stored_type(self) -> GgufType:
        """The type of the weights, chosen by the format where none was named."""
        return self.type or ("q8_0" if self.format == "gguf" else "bf16")


def _kind(config: ExportConfig) -> str:
    return "gguf" if config.format == "gguf" else "checkpoint"


@stage(_kind, version=5)
def export(config: ExportConfig) -> Work:
    """Write a model for llama.cpp, Ollama, vLLM or transformers.

    Example:
        codling export runs/app --type q8_0 --out-dir runs/app/gguf
    """
    path, adapter = model_and_adapter(config.model, config.adapter)
    _check_place(config.out_dir, path)
    check_files(path)
    shape, tensors = stream_tensors(path, adapter)
    inputs = [model_input(path), *_settings_input(path)]
    inputs += [] if adapter is None else [adapter_input(adapter)]
    if config.format == "gguf":
        gguf_architecture(shape)
        _check_name(_name(config))
    known = None if config.imatrix is None else read_imatrix(config.imatrix)
    code = None if config.calibrate is None else read_code(config.calibrate)
    inputs += _calibration_inputs(config, code)
    # What is wrong with a model or its calibration is said before anything is written.
    tokenizer = open_tokenizer(path)
    with name_faults(path, TokenizerError):
        check_rows(tokenizer, shape.vocab_size)
    windows_WL = None if code is None else _cut_windows(config, code, tokenizer)
    group = choose_group(tensors) if config.format == "w4a16" else 0
    draft = yield inputs
    with dropped_on(draft, CheckpointError, TokenizerError):
        tokenizer_dir = draft.inner("tokenizer").path
        write_tokenizer(path, tokenizer_dir)
        if adapter is not None and (turns := read_turns(adapter_path(adapter))):
            write_turns(tokenizer_dir, turns)
        origin = read_origin(path, config.license, _licenses(inputs))
        if config.format == "gguf":
            if windows_WL is not None:
                known = _measure_importance(draft, shape, tensors, windows_WL)
            _write_gguf(draft, config, shape, tensors, tokenizer_dir, origin, known)
        elif config.format in _COMPRESSED:
            _write_compressed(draft, config, shape, tensors, path, tokenizer_dir, windows_WL, group)
        else:
            stored = HF_TYPES[config.stored_type]
            write_hf_model(
                draft.path, shape, tensors, path, tokenizer_dir, stored, config.shard_bytes
            )
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
    importance: dict[str, Importance] | None,
) -> None:
    name, stored = _name(config), config.stored_type
    file = draft.file(f"{name}-{stored}.gguf")
    write_gguf_model(file, shape, tensors, tokenizer_dir, stored, name, origin, importance)
    if config.modelfile is not False:
        tokenizer = Tokenizer.open(tokenizer_dir)
        text = make_modelfile(file.name, tokenizer, shape.max_position, origin.license)
        write_text(draft.file("Modelfile"), text)


def _write_compressed(  # noqa: PLR0913  a model in parts
    draft: Draft,
    config: ExportConfig,
    shape: ModelConfig,
    tensors: Sequence[PublishedTensor],
    model: Path,
    tokenizer_dir: Path,
    windows_WL: torch.Tensor | None,
    group: int,
) -> None:
    scheme = next(each for each in _COMPRESSED if each == config.format)
    spool = None
    if windows_WL is not None:
        spool = draft.inner("gptq").path
        run_gptq(shape, tensors, windows_WL, group, spool)
    write_hf_model(
        draft.path,
        shape,
        compress_tensors(tensors, scheme, group, spool),
        model,
        tokenizer_dir,
        torch.bfloat16,
        config.shard_bytes,
        quantization_config(tensors, scheme, group),
    )


def _name(config: ExportConfig) -> str:
    return config.name or model_name(config.model)


def _check_place(out_dir: Path, model: Path) -> None:
    """ConfigError where the artefact would take the place of the model that it is made from."""
    if out_dir.resolve() in (model.resolve(), model.resolve().parent):
        raise ConfigError(
            f"export: {out_dir} is where the model {model} lies; choose another out_dir"
        )


def _check_name(name: str) -> None:
    """ConfigError for what no file, or no line of a Modelfile, can be called."""
    if not name.isprintable() or len(name.encode()) > _MAX_NAME_BYTES:
        raise ConfigError(
            f"export: name {name[:60]!r} has signs that cannot be printed, or more than "
            f"{_MAX_NAME_BYTES} bytes; choose another with name"
        )


def _settings_input(path: Path) -> list[Input]:
    """What beside its weights a published model is exported from: other settings, other files."""
    if is_gguf(path) or (path / MANIFEST).is_file():
        return []
    named = (path / name for name in (CONFIG, GENERATION_CONFIG, MODEL_CARD))
    files = [file for file in (*named, *find_tokenizer_files(path)) if file.is_file()]
    digests = "".join(f"{file.relative_to(path)} {sha256_of(file)}\n" for file in sorted(files))
    identity = hashlib.sha256(os.fsencode(digests)).hexdigest()[:16]
    return [source_input(path / CONFIG, identity)]


def _cut_windows(config: ExportConfig, code: Sequence[str], tokenizer: Tokenizer) -> torch.Tensor:
    return cut_windows(code, tokenizer, config.calibration_windows, config.calibration_length)


def _calibration_inputs(config: ExportConfig, code: Sequence[str] | None) -> list[Input]:
    if config.imatrix is not None:
        return [source_input(config.imatrix)]
    if config.calibrate is not None and code is not None:
        return [source_input(config.calibrate, name_code(code)[:16])]
    return []


def _measure_importance(
    draft: Draft,
    shape: ModelConfig,
    tensors: Sequence[PublishedTensor],
    windows_WL: torch.Tensor,
) -> dict[str, Importance]:
    """What the user's code shows; it lies beside the model."""
    found = measure_importance(LayerWalk(shape, tensors, windows_WL))
    write_imatrix(draft.file(_IMATRIX), found, *windows_WL.shape)
    return found


def _licenses(inputs: Sequence[Artifact | Input]) -> Counter[str]:
    """Licences of the files that the model and its adapter learned from."""
    return sum((count_licenses(each) for each in inputs if isinstance(each, Artifact)), Counter())
