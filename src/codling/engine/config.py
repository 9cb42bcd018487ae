"""What the configs of all that runs a model share. No torch.

Not here: the settings themselves (verbs.py, serve/config.py, evaluate/config.py).
"""

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"]
"""How weights are held; on the CPU "auto" is int8 for files that hold 4 to 8 bits per weight, which
are computed as they are stored, and float32 for others; on a GPU it is bfloat16. float16 is for
GPUs without bfloat16."""
FORMER_NAMES = {"dtype": "precision", "context": "max_length"}
"""Former names of settings that several verbs share, and what they are called now."""
