"""Loads the compiled loops of the stages that work in processes, when it is imported.

Input and output: nothing. The server that worker processes are forked from imports this (collect.py
asks for it), so that each of them begins with machine code in memory. Nothing else imports it: it
is the one module here whose import does something.

Not here: the loops.
"""

import pyarrow as pa
import pyarrow.acero

from codling.corpus import marks_kernel
from codling.corpus.filters import line_stats_kernel
from codling.corpus.redaction.secrets import ANCHORS, ASSIGNED_BIT, PRIVATE_KEY_BIT
from codling.corpus.tables.reader import buffers

# The first array that is made of a numpy array makes pyarrow import pandas, where it is installed.
_text = buffers(pa.array(["x = 1\n\u00e9"]))
pa.array(_text[1])
line_stats_kernel.count(*_text)
marks_kernel.mark(*_text, ANCHORS, pem=PRIVATE_KEY_BIT, named=ASSIGNED_BIT)
