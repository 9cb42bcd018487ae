"""Unified diffs in what a model said, and of a file that it wrote anew.

Not here: applying them (evaluate/repair_trees.py).
"""

import difflib
import re

from codling.grading.fences import find_blocks, strip_thoughts


def extract_diff(text: str) -> str:
    """The diff of the last block that holds one, or of the text from its first header on.

    >>> extract_diff("So:\\n```diff\\n--- a/x\\n+++ b/x\\n```")
    '--- a/x\\n+++ b/x\\n'
    """
    said = strip_thoughts(text)
    blocks = [b.code for b in find_blocks(said) if re.search(r"^(?:---|diff --git) ", b.code, re.M)]
    found = blocks[-1] if blocks else said
    start = re.search(r"^(?:diff --git|--- )", found, re.M)
    return found[start.start() :].rstrip() + "\n" if start else ""


def diff_of_block(path: str, source: str, text: str) -> str:
    """The diff from `source` to the last code block of `text`; "" if there is no block."""
    blocks = find_blocks(strip_thoughts(text))
    if not blocks:
        return ""
    old, new = (each.rstrip("\n").split("\n") for each in (source, blocks[-1].code))
    lines = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    return "\n".join(lines) + "\n"
