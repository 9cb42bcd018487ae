"""Which device a model computes on.

Input: what a setting says. Output: torch's device, or an error where the machine has none such.

Not here: how many processes share the devices (train/parallel/ranks.py).
"""

import torch

from codling.core.errors import ConfigError

PRODUCT_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""Types of the matrix products, by the settings' word `precision`."""


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
