"""Which device a model computes on, and in which type its products.

Input: what a setting says. Output: torch's device, or an error where the machine has none such;
torch's type.

Not here: how many processes share the devices (train/parallel/ranks.py).
"""

import torch

from codling.core.errors import ConfigError

_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def choose_device(name: str) -> torch.device:
    """The device that a config's "auto", "cpu" or "cuda" means; ConfigError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device is {name!r}; choose auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch sees no CUDA device here; use --device cpu")
    return device


def choose_type(precision: str, device: torch.device) -> torch.dtype:
    """The type of the matrix products that a config's "auto", "bf16" or "fp32" means on `device`.

    auto: bf16, but fp32 on a CPU without instructions for it, where each bf16 number is turned into
    fp32 first and products take four times as long as those of fp32 numbers.
    """
    if precision == "auto":
        precision = "bf16" if device.type != "cpu" or has_bf16() else "fp32"
    return _TYPES[precision]


def has_bf16() -> bool:
    """Whether this CPU multiplies bf16 numbers: x86's AVX-512 or AMX, ARM's extension."""
    known = torch.cpu.get_capabilities()
    return any(has for name, has in known.items() if name.endswith("bf16"))
