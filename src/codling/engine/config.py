"""What the configs of all that runs a model share. No torch.

Not here: the settings themselves (verbs.py, serve/config.py, evaluate/config.py).
"""

from typing import Literal

from codling.core.ranges import ContextLength, CountFromZero

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"]
"""How weights are held; on the CPU "auto" is int8, the fastest that loses less than half a percent:
what is stored in 4 to 8 bits is computed as it is, the rest rounded to 8; on a GPU it is bfloat16.
float32 is exact. float16 is for GPUs without bfloat16."""
CacheForm = Literal["auto", "int8"]
"""How keys and values are held: auto is float32 beside float32 weights and bfloat16 beside others;
int8 has a scale per head and token, on CPUs."""
ContextReach = ContextLength | Literal["auto"]
SuffixReach = CountFromZero | Literal["auto"]
"""How long prompts at a cursor may be (reach.py)."""
FORMER_NAMES = {"dtype": "precision", "context": "max_length"}
"""Former names of settings that several verbs share, and what they are called now."""
