"""Cuts code and answers out of what a model said.

Input: generated text. Output: the part that is judged. The rules are DeepSeek-Coder's; what a
benchmark adds is in its task file.

Not here: judging.
"""

import re
from collections.abc import Sequence

PYTHON_STOPS = ("\ndef", "\nclass", "\nif", "\n#", "\nprint")
_FENCE = re.compile(r"```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:\n[ \t]*```|```|\Z)", re.S)


def cut_at(text: str, stops: Sequence[str]) -> str:
    """`text` before the first of the stop strings.

    >>> cut_at("    return 1\\ndef g():", PYTHON_STOPS)
    '    return 1'
    """
    ends = [end for stop in stops if (end := text.find(stop)) != -1]
    return text[: min(ends, default=len(text))]


def fenced(text: str) -> str:
    """The first fenced code block, or the whole text if there is none (an unclosed fence counts).

    >>> fenced("Sure:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1'
    """
    found = _FENCE.search(text)
    return found[2] if found else text


def python_answer(text: str, prompt: str, name: str) -> str:
    """A whole program from a chat answer to "complete this function": the prompt's header, then
    the code.

    The header is what stands before the function `name` in the prompt: imports and helpers, which
    answers leave out. An answer that holds only the body continues the prompt itself.
    """
    code = cut_main(fenced(text))
    if not re.search(rf"^[ \t]*def {re.escape(name)}\b", code, re.M):
        return prompt + code
    start = re.search(rf"^def {re.escape(name)}\b", prompt, re.M)
    return (prompt[: start.start()] if start else "") + "\n" + code


def cut_main(code: str) -> str:
    """Python code without its `if __name__ == "__main__":` part and what follows."""
    return cut_at(code, ("\nif __name__",))


def last_number(text: str) -> str:
    """The last number in a text, without thousands separators; "" if there is none.

    >>> last_number("so 1,200 + 34 is $1,234.50.")
    '1234.50'
    """
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return str(found[-1].replace(",", "")) if found else ""


def boxed(text: str) -> str | None:
    """The contents of the last \\boxed{...} with balanced braces, or None.

    >>> boxed(r"thus $\\boxed{\\frac{1}{2}}$")
    '\\\\frac{1}{2}'
    """
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start == -1:
        return None
    begin = text.index("{", start) + 1
    depth = 1
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return None
