"""Checkpoints by their name on the Hugging Face hub (extra `hub`).

Input: a path, or a name such as deepseek-ai/deepseek-coder-1.3b-base. Output: a local folder. Only
configs, tokenizers and safetensors are fetched: pickle files stay where they are.

Not here: reading what was fetched (load.py).
"""

import re
from pathlib import Path

from codling.core.errors import CheckpointError, ToolMissingError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_WANTED = ["*.json", "*.safetensors", "*.jinja"]


def local_path(path: Path) -> Path:
    """`path` itself if it exists or cannot be a hub name; else the folder with what the hub has.

    Raises ToolMissingError without the extra `hub`, CheckpointError if the hub does not deliver.
    """
    if path.exists() or not is_hub_name(path):
        return path
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise ToolMissingError(
            f"no folder {path}; to fetch it from the hub, pip install 'codling[hub]'"
        ) from None
    try:
        return Path(snapshot_download(str(path), allow_patterns=_WANTED))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"no folder {path}, and the hub did not deliver it: {reason}"
        ) from None


def is_hub_name(path: Path) -> bool:
    """Whether `path` looks like ORGANISATION/MODEL and not like a path of this machine.

    >>> is_hub_name(Path("org/model")), is_hub_name(Path("./model")), is_hub_name(Path("a/b/c"))
    (True, False, False)
    """
    known_parent = path.parent != Path() and path.parent.exists()
    return bool(_NAME.fullmatch(str(path))) and not known_parent and path.suffix != ".gguf"
