"""How a tuned model takes turns, in the places where others look: its chat template, and the tokens
that end its answers.

Input: a Turns. Output in a checkpoint's folder: chat_template.jinja and the key "chat_template" of
tokenizer_config.json (transformers, vLLM; export writes the GGUF key from it), "eos_token" there
(llama.cpp, Ollama), and "eos_token_id" in config.json and generation_config.json (transformers,
vLLM). Beside an adapter lie chat_template.jinja and generation_config.json alone.

Not here: which tokens end an answer (posttrain/tune.py), and templates themselves (tokens/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codling.checkpoint.store import CONFIG, GENERATION_CONFIG
from codling.core.errors import CheckpointError, TokenizerError
from codling.core.files import write_json, write_text
from codling.core.foreign_json import read_object
from codling.tokens.template_files import TEMPLATE
from codling.tokens.tokenizer import Tokenizer

_TOKENIZER_CONFIG = "tokenizer_config.json"
_STOPS = "eos_token_id"


@dataclass(frozen=True)
class Turns:
    """A chat template, and the tokens that end an answer."""

    template: str
    ends: tuple[int, ...]


def write_turns(folder: Path, turns: Turns) -> None:
    """Into the folder of a checkpoint, or of a tokenizer with the model's config.json.

    A model of which we know nothing but its files inserts up to the token that they call eos, so
    that stays if it can insert; the answers' ends stand in generation_config.json all the same.
    """
    tokenizer = Tokenizer.open(folder)
    stored = folder / _TOKENIZER_CONFIG
    settings = read_object(stored, TokenizerError) if stored.is_file() else {}
    write_text(folder / TEMPLATE, turns.template)
    settings = settings | {"chat_template": turns.template}
    if turns.ends and (tokenizer.family.name != "other" or not tokenizer.can_insert):
        settings = settings | {"eos_token": tokenizer.special_text(turns.ends[0])}
    write_json(stored, settings)
    base_end = tokenizer.specials.eos
    stops = list(dict.fromkeys([*turns.ends, *([] if base_end is None else [base_end])]))
    for name in (CONFIG, GENERATION_CONFIG):
        _write_stops(folder / name, stops)


def write_adapter_turns(folder: Path, turns: Turns) -> None:
    """Beside an adapter, from where `read_turns` takes them."""
    write_text(folder / TEMPLATE, turns.template)
    if turns.ends:
        _write_stops(folder / GENERATION_CONFIG, turns.ends)


def read_turns(adapter: Path) -> Turns | None:
    """The turns of an adapter that learned dialogues; None of others."""
    template, stops = adapter / TEMPLATE, adapter / GENERATION_CONFIG
    if not template.is_file():
        return None
    found = read_object(stops, CheckpointError).get(_STOPS, []) if stops.is_file() else []
    ends = found if isinstance(found, list) else [found]
    if not all(isinstance(end, int) for end in ends):
        raise CheckpointError(f"{stops}: {_STOPS} must be a token's number or a list of them")
    return Turns(template.read_text(encoding="utf-8"), tuple(ends))


def _write_stops(path: Path, stops: Sequence[int]) -> None:
    """The tokens at which generation stops; what else stands in the file stays."""
    known = read_object(path, CheckpointError) if path.is_file() else {}
    write_json(path, known | {_STOPS: stops[0] if len(stops) == 1 else list(stops)})
