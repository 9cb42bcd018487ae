"""What an exported model states about its origin: its licence, and those of its training data.

Input: the files of the model, the user's settings, and the counts of licences from its lineage.
Output: a ModelOrigin. Names of repositories and paths stay in the manifest, because an exported
file is passed on to others.

Not here: the walk to the sources (core/lineage.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codling.checkpoint.gguf_file import read_gguf_metadata
from codling.checkpoint.load import is_gguf

MODEL_CARD = "README.md"
_CARD_CHARS = 4096
_LICENSE_LINE = re.compile(r"^license:\s*['\"]?([\w.+-]{1,60})['\"]?\s*$", re.MULTILINE)
_KEPT = ("general.license", "general.author", "general.organization", "general.description",
         "general.source.", "general.base_model.", "general.url", "general.doi")  # fmt: skip
"""What of a .gguf file's own metadata is true of what is made from it, too."""


@dataclass(frozen=True, kw_only=True)
class ModelOrigin:
    """Licences of the weights and of the files behind them."""

    license: str | None
    """Of the weights, where anybody says so."""
    learned_from: Mapping[str, int]
    """Licence of the files that codling trained on, and how many there were."""
    kept: Mapping[str, str | int] = field(default_factory=dict)
    """What the .gguf file that it was made from says of its author and source."""

    def metadata(self) -> dict[str, Any]:
        """The keys of a GGUF file."""
        found: dict[str, Any] = dict(self.kept)
        if self.license is not None:
            found["general.license"] = self.license
        if self.learned_from:
            found["codling.licenses"] = [
                f"{n_files} files under {name}"
                for name, n_files in sorted(self.learned_from.items())
            ]
        return found


def read_origin(
    model: Path, license_name: str | None, learned_from: Mapping[str, int]
) -> ModelOrigin:
    """The origin of the model at `model`; `license_name` wins over what its files say."""
    kept = _kept_metadata(model) if is_gguf(model) else {}
    stated = kept.get("general.license") if kept else _license_of_card(model / MODEL_CARD)
    return ModelOrigin(
        license=license_name or (stated if isinstance(stated, str) else None),
        learned_from=learned_from,
        kept=kept,
    )


def _kept_metadata(model: Path) -> dict[str, str | int]:
    return {
        key: value
        for key, value in read_gguf_metadata(model).items()
        if key.startswith(_KEPT) and isinstance(value, (str, int)) and not isinstance(value, bool)
    }


def _license_of_card(path: Path) -> str | None:
    """The licence in the head of a model card, as the hub writes it."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_CARD_CHARS)
    head = text.split("\n---", 1)[0] if text.startswith("---") else ""
    found = _LICENSE_LINE.search(head)
    return found[1] if found else None
