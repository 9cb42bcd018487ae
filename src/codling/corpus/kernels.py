"""Loads the compiled loops of the stages that work in processes, when it is imported.

Input and output: nothing. The server that worker processes are forked from imports this (collect.py
asks for it), so that each of them begins with machine code in memory. Nothing else imports it: it
is the one module here whose import does something.
"""

import numpy as np

from codling.corpus import byte_kernel, mark_kernel
from codling.corpus.secrets import ANCHORS

_TEXT = np.frombuffer("x = 1\n\u00e9".encode(), np.uint8)
_OFFSETS = np.array([0, len(_TEXT)], np.int64)

byte_kernel.count(_TEXT, _OFFSETS)
mark_kernel.mark(_TEXT, _OFFSETS, ANCHORS)
