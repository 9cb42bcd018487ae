"""Splits source code into its top-level items without a grammar: enough to split answers.

Input: source text of C++, Java, C#, JavaScript, TypeScript, PHP, Go or Rust, whole or in part.
Output: items (a function, a class, a directive, a statement) with the text that leads up to them.
Strings and comments are blanked out first, so that their contents are never taken for code.

Not here: what an answer is made of (chat_code.py). It is not a parser: macros that open braces and
regular expressions in odd places can mislead it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codling.grading.languages import language_of

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_GOES_ON = re.compile(
    r"\s*(?:[.,;:?)\]}=&|+*/%^]|\{|-(?!-)|<(?!<)|instanceof\b|in\b|else\b|catch\b|finally\b|while\b)"
)
_WANTS_MORE = re.compile(r"(?:[,.({\[=:?&|+*/%^<]|(?<!-)-|=>|\belse|\bextends|\bimplements)\s*$")
_AFTER_BLOCK = re.compile(r"\s*(?:else\b|from\b|as\b|catch\b|finally\b|while\b|[;,.)\]=(])")
_TOKENS = {
    "line": r"//[^\n]*",
    "block": r"/\*.*?(?:\*/|\Z)",
    "text": r'"""(?:\\.|.)*?(?:"""|\Z)',
    "raw_cpp": r'(?:u8|[uUL])?R"(?P<tag>[^()\s\\]{0,16})\(.*?(?:\)(?P=tag)"|\Z)',
    "raw_rust": r'b?r(?P<hash>#*)".*?(?:"(?P=hash)|\Z)',
    "verbatim": r'(?:\$@|@\$|@)"(?:""|[^"])*(?:"|\Z)',
    "double": r'"(?:\\.|[^"\\\n])*(?:"|(?=\n)|\Z)',
    "double_lines": r'"(?:\\.|[^"\\])*(?:"|\Z)',
    "char": r"(?<![0-9a-fA-F_])'(?:\\(?:u\{[^}]*\}|[^\n])[^'\n]{0,8}|[^'\\\n])'",
    "single": r"'(?:\\.|[^'\\])*(?:'|\Z)",
    "raw_go": r"`[^`]*(?:`|\Z)",
    "hash": r"#(?!\[)[^\n]*",
    "heredoc": r"<<<[ \t]*(?P<q>['\"]?)(?P<doc>\w+)(?P=q)\n.*?(?:\n[ \t]*(?P=doc)\b|\Z)",
    "regex": r"(?:(?<=[(,=:\[!&|?{};\n])|(?<=return))[ \t]*/(?![/*])"
    r"(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*",
}
_C_LIKE = ("line", "block")
"""Comments of languages of which no more is known."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One top-level item; `mask` is `text` with strings and comments blanked out."""

    text: str
    mask: str

    @property
    def head(self) -> str:
        """The masked code up to the first brace, without outer blanks."""
        return self.mask.partition("{")[0].strip()


def split_items(code: str, language: str) -> list[Item]:
    """The items of a source, in order; together they are the whole text.

    >>> [item.head for item in split_items("int a = 1;\\nint f() { return '}'; }\\n", "cpp")]
    ['int a = 1;', 'int f()']
    """
    mask = mask_code(code, language)
    items, start = [], 0
    for end in _ends(mask, language):
        if mask[start:end].strip():
            items.append(Item(text=code[start:end], mask=mask[start:end]))
            start = end
    return items


def mask_code(code: str, language: str) -> str:
    """The code with every character of strings and comments, but line breaks, made a blank.

    >>> mask_code('x = "{"; // }', "js")
    'x =    ;     '
    """
    pattern = _pattern(language)
    parts, at = [], 0
    while found := pattern.search(code, at):
        end = _template_end(code, found.start()) if found[0] == "`" else found.end()
        parts += [code[at : found.start()], re.sub(r"[^\n]", " ", code[found.start() : end])]
        at = max(end, found.start() + 1)
    return "".join(parts) + code[at:]


def find_closing(mask: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed, or the end of the text."""
    depth = 0
    for i in range(start, len(mask)):
        if mask[i] in _PAIRS:
            depth += 1
        elif mask[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i
    return len(mask)


def surplus_closer(mask: str) -> int:
    """Where the first brace closes that nothing in this text has opened; the end if none does."""
    depth = 0
    for found in re.finditer(r"[{}]", mask):
        depth += 1 if found[0] == "{" else -1
        if depth < 0:
            return found.start()
    return len(mask)


def _pattern(language: str) -> re.Pattern[str]:
    names = language_of(language).lexis or _C_LIKE
    parts = ["`" if name == "template" else f"(?:{_TOKENS[name]})" for name in names]
    return re.compile("|".join(parts), re.S)


def _template_end(code: str, start: int) -> int:
    """The end of a template literal, whose ${ } may hold more of them."""
    i = start + 1
    while i < len(code):
        if code[i] == "\\":
            i += 1
        elif code[i] == "`":
            return i + 1
        elif code.startswith("${", i):
            i = _hole_end(code, i + 2)
        i += 1
    return len(code)


def _hole_end(code: str, i: int) -> int:
    depth = 1
    while i < len(code):
        if code[i] == "`":
            i = _template_end(code, i) - 1
        depth += {"{": 1, "}": -1}.get(code[i], 0)
        if depth == 0:
            return i
        i += 1
    return len(code)


def _ends(mask: str, language: str) -> Iterator[int]:
    """Where items end: after a directive's line, a semicolon, a block, or in some languages a
    line."""
    depth, i, n = 0, 0, len(mask)
    while i < n:
        char = mask[i]
        if char == "#" and depth == 0 and _directive(mask, i, language):
            i = _line_end(mask, i)
            yield min(i + 1, n)
        elif char in _PAIRS:
            depth += 1
        elif char in ")]}":
            depth = max(0, depth - 1)
            if depth == 0 and char == "}" and not _AFTER_BLOCK.match(mask, i + 1):
                yield i + 1
        elif depth == 0 and (char == ";" or (char == "\n" and _ends_here(mask, i, language))):
            yield i + 1
        i += 1
    yield n


def _ends_here(mask: str, i: int, language: str) -> bool:
    if not language_of(language).ends_lines:
        return False
    line = mask[mask.rfind("\n", 0, i) + 1 : i]
    return bool(line.strip()) and not _WANTS_MORE.search(line) and not _GOES_ON.match(mask, i)


def _directive(mask: str, i: int, language: str) -> bool:
    """Whether a line that is an item of its own begins here: #include, #region, #![allow]."""
    if mask[mask.rfind("\n", 0, i) + 1 : i].strip():
        return False
    mark = language_of(language).directive
    return bool(mark) and mask.startswith(mark, i)


def _line_end(mask: str, i: int) -> int:
    """The end of a line, which a backslash continues."""
    end = mask.find("\n", i)
    while end != -1 and mask[end - 1] == "\\":
        end = mask.find("\n", end + 1)
    return len(mask) if end == -1 else end
