"""What a user calls a model: a run, a checkpoint's folder, a .gguf file, a name on the hub.

Input: a path, or a name such as deepseek-ai/deepseek-coder-1.3b-base on the Hugging Face hub (extra
`hub`). Output: a local folder or file, and the model's name. From the hub only configs, tokenizers
and safetensors are fetched: pickle files stay where they are.

Not here: reading what was fetched (load.py).
"""

import re
from pathlib import Path

from codling.core.errors import CheckpointError, ToolMissingError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_CONFIG = "config.json"
_OF_RUN = "checkpoint"
"""The folder of a run in which its model is."""
_WANTED = ["*.json", "*.safetensors", "*.jinja"]


def local_path(path: Path) -> Path:
    """Where the model is: in `path`, in the checkpoint of the run `path`, or fetched from the hub.

    A folder with one .gguf file and nothing else of a model, as export makes it, is that file.
    A path that is none of these is given back as it is, for its reader to refuse.
    Raises ToolMissingError without the extra `hub`, CheckpointError if the download fails.
    """
    if path.is_dir() and not (path / _CONFIG).exists() and (path / _OF_RUN / _CONFIG).exists():
        return path / _OF_RUN
    if path.is_dir() and not (path / _CONFIG).exists():
        files = [p for p in path.glob("*.gguf") if p.is_file()]
        return files[0] if len(files) == 1 else path
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
            f"no folder {path}, and downloading it from the hub failed: {reason}"
        ) from None


def has_model(path: Path) -> bool:
    """Whether there is something at `path`, or it may be a name on the hub."""
    return path.exists() or is_hub_name(path)


def model_name(path: Path) -> str:
    """What a model is called: by its run, its folder, its file or its name on the hub.

    >>> [model_name(Path(p)) for p in ("runs/stdlib/checkpoint", "runs/stdlib", "a/qwen.gguf")]
    ['stdlib', 'stdlib', 'qwen']
    """
    whole = path.absolute()
    if whole.suffix.lower() == ".gguf" and not whole.is_dir():
        return whole.stem
    return (whole.parent.name if whole.name == _OF_RUN else "") or whole.name or "model"


def is_hub_name(path: Path) -> bool:
    """Whether `path` looks like ORGANISATION/MODEL and not like a path of this machine.

    >>> is_hub_name(Path("org/model")), is_hub_name(Path("./model")), is_hub_name(Path("a/b/c"))
    (True, False, False)
    """
    known_parent = path.parent != Path() and path.parent.exists()
    return bool(_NAME.fullmatch(str(path))) and not known_parent and path.suffix != ".gguf"
