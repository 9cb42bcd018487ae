"""Exercises as what a model is asked: their prompts' tokens, and where they come from.

Not here: sampling (posttrain/rollout.py).
"""

from pathlib import Path

from codling.core.artifact import Artifact, Input
from codling.core.errors import SourceError
from codling.core.inputs import input_at, source_input
from codling.posttrain.tasks.exercise import Exercise
from codling.tokens.chat import ChatFormat
from codling.tokens.tokenizer import Tokenizer


def tasks_input(path: Path) -> Artifact | Input:
    """Exercises as an input: an artefact, or a file of rows."""
    if path.is_file():
        return source_input(path)
    if not path.is_dir():
        raise SourceError(f"no exercises at {path}; make them with codling data tasks")
    return input_at(path, "tasks", lambda: "")


def encode_prompt(exercise: Exercise, tokenizer: Tokenizer, chat: ChatFormat) -> list[int]:
    """The tokens before an answer."""
    if isinstance(exercise.prompt, str):
        return tokenizer.encode_prompt(exercise.prompt)
    return chat.ids([dict(turn) for turn in exercise.prompt])
