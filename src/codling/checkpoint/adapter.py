"""Low-rank adapters (LoRA, arXiv:2106.09685) in peft's format on disk.

Input: a folder with adapter_config.json and adapter_model.safetensors, from codling or from peft.
Output: an Adapter, and `merge`, which adds it to a model's weights: W + scale x B A, where the
scale is alpha / rank (alpha / sqrt(rank) with use_rslora).

peft's names are the published ones (names.py) of the matrices that change:

    base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight    [rank, inputs]
    base_model.model.model.layers.3.self_attn.q_proj.lora_B.weight    [outputs, rank]

Which modules change, and at which rank, the tensors say; target_modules has to agree with them. A
pattern of a foreign file is only run if it cannot take long.

Not here: training one (posttrain/lora.py); DoRA, adapted embeddings and whole copies of modules
(modules_to_save), which are refused.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors.torch import save_file
from torch import Tensor

from codling.checkpoint.hub import local_path
from codling.checkpoint.names import parameter_parts
from codling.checkpoint.safetensors_file import SafeTensor, read_safetensors
from codling.checkpoint.validation import Settings
from codling.checkpoint.verify import model_id
from codling.core.artifact import MANIFEST, Artifact, Input, open_artifact, sha256_of
from codling.core.errors import CheckpointError, name_faults
from codling.core.files import replace_file, write_json
from codling.core.foreign_json import read_object
from codling.core.inputs import input_at
from codling.model.config import MAX_WIDTH
from codling.model.transformer import Transformer

ADAPTER = "adapter"
"""Kind of the artefact."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_NAME = re.compile(r"base_model\.model\.([\w.]{1,200})\.lora_([AB])(?:\.default)?\.weight")
_REFUSED = {
    "use_dora": "DoRA",
    "modules_to_save": "whole copies of modules (modules_to_save)",
    "layer_replication": "replicated layers",
    "fan_in_fan_out": "transposed matrices (fan_in_fan_out)",
    "lora_bias": "biases (lora_bias)",
    "target_parameters": "parameters that are not modules (target_parameters)",
    "trainable_token_indices": "trained tokens (trainable_token_indices)",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "alora_invocation_tokens": "activated LoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "velora_config": "VeLoRA",
}
"""Settings of peft that change more than W + scale x B A, or another way."""
_CURE = "adapt with plain LoRA, or merge it with peft first"
_MAX_QUANTIFIERS = 3


@dataclass(frozen=True)
class LowRank:
    """The change of one matrix: scale x B A."""

    a_RI: Tensor
    b_OR: Tensor
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(O, I) of the matrix that it changes."""
        return (self.b_OR.shape[0], self.a_RI.shape[1])

    def delta(self) -> Tensor:
        """scale x B A in fp32, [O, I]."""
        return self.scale * (self.b_OR.float() @ self.a_RI.float())


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What an adapter changes, by the published names of modules ("model.layers.0.mlp.up_proj")."""

    changes: Mapping[str, LowRank]
    where: str
    """For messages: the folder."""
    made_for: str = ""
    """The model that it was made for, as its config says."""


def adapter_path(path: Path) -> Path:
    """Where an adapter is: in `path`, in `adapted` of the run `path`, or fetched from the hub."""
    inside = path / "adapted"
    if not (path / ADAPTER_CONFIG).exists() and (inside / ADAPTER_CONFIG).exists():
        return inside
    return local_path(path)


def is_adapter_at(path: Path) -> bool:
    """Whether `path` is an adapter, or a run whose model is one."""
    return any((folder / ADAPTER_CONFIG).exists() for folder in (path, path / "adapted"))


def check_base(adapter: Path, model: Path) -> None:
    """Refuse an adapter of codling's that was trained for other weights than `model`'s.

    Adapters from elsewhere do not say for which; `merge` compares names and shapes.
    """
    folder = adapter_path(adapter)
    if not (folder / MANIFEST).is_file():
        return
    made = open_artifact(folder, ADAPTER)
    base = next((i for i in made.manifest.inputs if i.kind in ("checkpoint", "source")), None)
    if base is not None and base.id != model_id(model):
        raise CheckpointError(
            f"{adapter} was made for {base.path}, whose weights are not those of {model}; name "
            "the model that it was made for"
        )


def load_adapter(path: Path) -> Adapter:
    """The adapter at `path`; CheckpointError, one line, if it is damaged or of another method."""
    folder = adapter_path(path)
    with name_faults(folder, CheckpointError):
        if not (folder / ADAPTER_CONFIG).exists():
            raise CheckpointError(
                f"{folder} has no {ADAPTER_CONFIG}; it is not an adapter (codling adapt makes one)"
            )
        if not (folder / ADAPTER_WEIGHTS).exists():
            pickled = (folder / "adapter_model.bin").exists()
            why = "only a pickle file, which may run code" if pickled else f"no {ADAPTER_WEIGHTS}"
            raise CheckpointError(f"{folder} has {why}; save the adapter as safetensors")
        config = read_object(folder / ADAPTER_CONFIG, CheckpointError)
        settings = Settings(config, str(folder / ADAPTER_CONFIG))
        _refuse_other_methods(settings)
        pairs = _pairs(read_safetensors(folder / ADAPTER_WEIGHTS), folder)
        changes = {
            name: LowRank(a, b, _scale(name, a.shape[0], settings))
            for name, (a, b) in pairs.items()
        }
        _check_targets(changes, settings)
        return Adapter(
            changes=changes,
            where=str(folder),
            made_for=settings.read_text("base_model_name_or_path", ""),
        )


def adapter_input(path: Path) -> Artifact | Input:
    """An adapter as an input: an artefact, or a source named by its weights."""
    folder = adapter_path(path)
    weights = folder / ADAPTER_WEIGHTS
    if not weights.is_file():
        load_adapter(path)  # which says what is missing
    return input_at(folder, ADAPTER, lambda: sha256_of(weights)[:16])


def save_adapter(
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    folder: Path,
    *,
    rank: int,
    alpha: float,
    base_name: str,
) -> None:
    """Write the matrices A and B of the modules in `pairs` to `folder` as peft reads them, fp32.

    The names are published ones, without ".weight".
    """
    tensors = {
        f"{_PREFIX}{name}.lora_{kind}.weight": matrix.detach().to("cpu", torch.float32).contiguous()
        for name, pair in pairs.items()
        for kind, matrix in zip("AB", pair, strict=True)
    }
    folder.mkdir(parents=True, exist_ok=True)
    with replace_file(folder / ADAPTER_WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    # Only what every version of peft knows: older ones refuse a key that they do not.
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "target_modules": sorted({name.rpartition(".")[2] for name in pairs}),
        "inference_mode": True,
    }
    write_json(folder / ADAPTER_CONFIG, settings)


@torch.no_grad()
def merge(model: Transformer, adapter: Adapter) -> None:
    """Add the adapter to the model's weights, summed in fp32 and rounded once to their type.

    Raises CheckpointError, with nothing changed, if the adapter does not fit the model.
    """
    for part, change in match_changes(model, adapter):
        part.copy_(part.float() + change.delta().to(part.device))


def match_changes(model: Transformer, adapter: Adapter) -> list[tuple[Tensor, LowRank]]:
    """The part of the model that each change is for; CheckpointError if one does not fit.

    The model may be an empty one.
    """
    parameters = dict(model.named_parameters())
    known = parameter_parts(model)
    found: list[tuple[Tensor, LowRank]] = []
    for name, change in adapter.changes.items():
        place = known.get(f"{name}.weight")
        if place is None:
            raise CheckpointError(
                f"{adapter.where} changes {name}, which this model does not have; it was made for "
                f"another one{_base_name(adapter)}"
            )
        weight = parameters[place.parameter]
        part = weight[place.index] if place.index else weight
        if tuple(part.shape) != change.shape:
            raise CheckpointError(
                f"{adapter.where} changes {name} of shape {list(change.shape)}, which has "
                f"{list(part.shape)} in this model; it was made for another "
                f"one{_base_name(adapter)}"
            )
        found.append((part, change))
    return found


def _base_name(adapter: Adapter) -> str:
    return f" ({adapter.made_for[:100]})" if adapter.made_for else ""


def _refuse_other_methods(settings: Settings) -> None:
    if settings.get("peft_type") != "LORA":
        settings.refuse("peft_type", "only LORA is supported")
    for key, what in _REFUSED.items():
        if settings.get(key):
            raise CheckpointError(f"{settings.where} asks for {what}, not supported; {_CURE}")
    if settings.read_text("bias", "none") != "none":
        settings.refuse("bias", "only none is supported")


def _pairs(stored: Iterable[SafeTensor], folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of every module, checked against each other."""
    halves: dict[str, dict[str, Tensor]] = {}
    for tensor in stored:
        match = _NAME.fullmatch(tensor.name)
        if match is None:
            raise CheckpointError(
                f"{tensor.where}: tensor {tensor.name[:120]} is not a matrix A or B of LoRA; "
                f"{_CURE}"
            )
        values = torch.empty(tensor.shape)
        tensor.copy_into(values)
        halves.setdefault(match[1], {})[match[2]] = values
    if not halves:
        raise CheckpointError(f"{folder / ADAPTER_WEIGHTS} holds no matrices; adapt again")
    return {name: _pair(name, found, folder) for name, found in halves.items()}


def _pair(name: str, found: Mapping[str, Tensor], folder: Path) -> tuple[Tensor, Tensor]:
    where = f"{folder / ADAPTER_WEIGHTS}: {name}"
    if len(found) != 2:
        raise CheckpointError(f"{where} has lora_{next(iter(found))} alone; the file is damaged")
    a, b = found["A"], found["B"]
    if a.dim() != 2 or b.dim() != 2 or not 0 < a.shape[0] == b.shape[1]:
        raise CheckpointError(
            f"{where}: lora_A of shape {list(a.shape)} and lora_B of shape {list(b.shape)} cannot "
            "be multiplied; the file is damaged"
        )
    return a, b


def _scale(name: str, rank: int, settings: Settings) -> float:
    """alpha / rank of a module, by the config's defaults and patterns."""
    patterns = settings.read_table("rank_pattern")
    key = _first_match(patterns, name)
    stated = (
        settings.read_integer("r", 1, MAX_WIDTH, 8)
        if key is None
        else patterns.read_integer(key, 1, MAX_WIDTH)
    )
    if stated != rank:
        raise CheckpointError(
            f"{settings.where} gives {name} rank {stated}, but its matrices have rank {rank}; take "
            "both files from the same adapter"
        )
    patterns = settings.read_table("alpha_pattern")
    key = _first_match(patterns, name)
    alpha = (
        settings.read_number("lora_alpha", 0, 1e9, 8.0)
        if key is None
        else patterns.read_number(key, 0, 1e9)
    )
    return alpha / (math.sqrt(rank) if settings.read_flag("use_rslora") else rank)


def _first_match(patterns: Settings, name: str) -> str | None:
    """The first key that names the module: its path's end, or a pattern that matches the end."""
    for key in patterns.values:
        if _matches(key, name, patterns, anywhere=True):
            return key
    return None


def _check_targets(changes: Mapping[str, Any], settings: Settings) -> None:
    """Refuse tensors of modules that the config does not name: peft would leave them out."""
    targets = settings.get("target_modules")
    if targets is None or targets == "all-linear":
        return
    if not isinstance(targets, (str, list)) or not all(isinstance(t, str) for t in targets):
        settings.refuse("target_modules", "must be names, one pattern, or all-linear")
    for name in changes:
        named = (
            _matches(targets, name, settings, anywhere=False)
            if isinstance(targets, str)
            else any(name == end or name.endswith(f".{end}") for end in _ends(name, targets))
        )
        if not named:
            raise CheckpointError(
                f"{settings.where}: target_modules does not name {name}, of which there are "
                "matrices; take both files from the same adapter"
            )


def _ends(name: str, targets: list[str]) -> Iterator[str]:
    """The targets that could be the module's path or its end."""
    last = name.rpartition(".")[2]
    return (t for t in targets if t.endswith(last))


def _matches(pattern: str, name: str, settings: Settings, *, anywhere: bool) -> bool:
    """Whether a config's pattern is the module's whole path; `anywhere`: or the end of it."""
    if re.fullmatch(r"[\w.]+", pattern):
        return name == pattern or (anywhere and name.endswith(f".{pattern}"))
    try:
        whole = re.compile(rf"(?:.*\.)?(?:{pattern})" if anywhere else pattern)
    except (re.error, RecursionError, OverflowError):
        _refuse_pattern(pattern, settings, "is not a regular expression")
    # A repeated group could take exponential time, many repetitions a polynomial of high degree.
    repeats = len(re.findall(r"(?<!\\)[*+{]", pattern))
    if len(pattern) > 1000 or repeats > _MAX_QUANTIFIERS or re.search(r"\)[*+?{]", pattern):
        _refuse_pattern(pattern, settings, "is too complex")
    return whole.fullmatch(name) is not None


def _refuse_pattern(pattern: str, settings: Settings, why: str) -> NoReturn:
    raise CheckpointError(
        f"{settings.where}: the pattern {pattern[:60]!r} {why}; list the names of the modules"
    )
