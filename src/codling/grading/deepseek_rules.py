"""DeepSeek-Coder's published rule for cutting code out of chat answers, unchanged, faults included.

Input: prompt, answer, language. Output: a program without its tests. It takes the first block
whose fence names the language, cuts it at the main function, begins at the last line of the prompt
(its signature, letter case aside), ends before the last brace at the signature's indentation, and
puts the prompt's other lines in front. So helpers before the function are lost, and a changed
signature leaves a broken program. Source: Evaluation/HumanEval/utils/utils.py of its repository.

Not here: our own rule (chat_code.py, python_code.py).
"""

import re

from codling.grading.languages import AnswerLanguage, language_of


def deepseek_program(prompt: str, answer: str, language: str, tag: str) -> str:
    """The program; `tag` is what the fence must say (the language's full name)."""
    found = re.search(rf"```{re.escape(tag)}\n(.*?)```", answer, re.S | re.I)
    if found is None:
        return f"{prompt}\n{answer}"
    code = found[1]
    row = language_of(language)
    main = code.find(row.deepseek_main or "\0")
    code = code if main < 0 else code[:main]
    signature, header = _signature(prompt, row)
    start = code.lower().find(signature.lower())
    indent = row.deepseek_indent
    if start >= 0:
        indent = len(code[:start]) - len(code[:start].rstrip(" "))
    end = code.rfind("\n" + " " * indent + "}")
    body = code[max(start, 0) : end if end >= 0 else len(code)]
    if row.deepseek_brace:  # which the cut takes away; the tests of other languages bring it
        body += "\n" + " " * indent + "}"
    return f"{header}\n{body}\n"


def deepseek_block(answer: str) -> str:
    """The first ```python block of an answer, or all of it (its rule for MBPP)."""
    found = re.search(r"```python\n(.*?)```", answer, re.S | re.I)
    return found[1] if found else answer


def _signature(prompt: str, language: AnswerLanguage) -> tuple[str, str]:
    """How the function begins, and the lines before it that are not blank."""
    lines = [line for line in prompt.strip().split("\n") if line.strip()]
    if start := language.deepseek_signature:
        at = max(i for i, line in enumerate(lines) if line.startswith(start))
        return lines[at].split("(")[0].strip(), "\n".join(lines[:at])
    return lines[-1].split("{")[0].strip(), "\n".join(lines[:-1])
