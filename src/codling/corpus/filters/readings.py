"""What a file says that its grammar cannot know: macros, branches of `#if`, the language of a `.h`.

Input: a language, a path and the bytes of a file. Output: other texts, in which what stands
outside the grammar is blanked, and the languages to read them as, the likeliest first.

The grammars for C and its relatives see neither macros nor which lines a compiler gets: a function
whose head stands twice, once for each branch of an `#if`, opens two braces and closes one. So
directives are blanked with all branches but the first, then names in capitals that stand beside
another name (`UV_EXTERN int f(void);`). A `.h` is C, C++ or Objective-C. TypeScript's grammar knows
neither `import("x").Name` among type arguments nor a generic call signature that follows a line
without a semicolon.

Not here: parsing (syntax.py), and what counts as an error (parse_errors.py).
"""

import re
from collections.abc import Iterator

C_FAMILY = frozenset({"c", "cpp", "cuda", "objective-c"})
_TYPESCRIPT = frozenset({"typescript"})
_DIRECTIVE = re.compile(
    rb"(?P<comment>/\*[\s\S]*?(?:\*/|(?P<unended>\Z)))|//[^\n]*|"
    rb"\"[^\"\\\n]*+(?>(?:\\.[^\"\\\n]*+)*)\"|'[^'\\\n]*+(?>(?:\\.[^'\\\n]*+)*)'|"
    rb"(?m:^)[ \t]*#[ \t]*(?P<word>(?:el)?if(?:n?def)?|else|endif|define|undef|include|"
    rb"include_next|import|pragma|error|warning|line|ident)\b"
    rb"(?P<rest>(?>(?://[^\n]*|/\*[\s\S]*?(?:\*/|\Z)|\\\r?\n|[^\n])*))"
)
_ARGUMENTS = (
    rb"\([^()\"\n]*+(?>(?:(?:\"[^\"\\\n]*+(?>(?:\\.[^\"\\\n]*+)*)\"|\([^()\n]*\))[^()\"\n]*+)*)\)"
)
_MACRO = re.compile(
    rb"\b[A-Z][A-Z0-9_]{2,}\b(?:" + _ARGUMENTS + rb")?(?=\s+(?:/[/*]|[A-Za-z_@]))|"
    rb"(?<=\w)[ \t*]+[A-Z][A-Z0-9_]{2,}\b(?:" + _ARGUMENTS + rb")?(?=\s+\w|\s*[;{=,])|"
    rb"(?<=\))\s+[A-Z][A-Z0-9_]{2,}\b(?=\s*[;{])"
)
_MACRO_HEAD = re.compile(rb"^[A-Z][A-Z0-9_]{2,}" + _ARGUMENTS + rb"(?=\s*\{)", re.MULTILINE)
"""`TEST_CASE("a name") {`: the macro makes a function's head."""
_TYPE_IMPORT = re.compile(rb"\bimport\((?:'[^'\n]*'|\"[^\"\n]*\")\)\.(?=[A-Z])")
_CALL_SIGNATURE = re.compile(rb"(?<=[\w>)\]}])(?=\n[ \t]*<[A-Za-z_][^;{}\n]*>\()")
"""The end of the line before `<A>(a: A): B` in an interface."""
_HEADER_LANGUAGES = ("c", "cpp", "objective-c")


def readings(language: str, path: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Other ways to read a file, as languages and texts."""
    if language in _TYPESCRIPT:
        named = _TYPE_IMPORT.sub(_blank_match, data)
        yield from ((language, text) for text in (named, _CALL_SIGNATURE.sub(b";", named)))
    elif language in C_FAMILY:
        branch = one_branch(data)
        if branch is None:
            return
        plain = _MACRO.sub(_blank_match, _MACRO_HEAD.sub(b"void f()", branch))
        languages = _HEADER_LANGUAGES if path.endswith(".h") else (language,)
        for text in (branch, plain):
            yield from ((each, text) for each in languages)


def one_branch(data: bytes) -> bytes | None:
    r"""C without directives and without all branches but the first; None if an `#if` stays open.

    >>> one_branch(b"#if A\nx {\n#else\ny {\n#endif\n}\n")
    b'     \nx {\n     \n   \n      \n}\n'
    """
    made: list[bytes] = []
    outer: list[bool] = []
    is_dead, at = False, 0
    for match in _DIRECTIVE.finditer(data):
        if match["unended"] is not None:
            return None
        if match["word"] is None:
            continue
        piece = data[at : match.start()]
        made += [_blank(piece) if is_dead else piece, _blank(match[0])]
        at = match.end()
        if match["word"].startswith(b"if"):
            outer.append(is_dead)
            is_dead = is_dead or match["rest"].split()[:1] == [b"0"]
        elif match["word"] == b"endif":
            is_dead = outer.pop() if outer else False
        elif match["word"].startswith(b"el") and outer:
            is_dead = True
    return None if outer else b"".join([*made, _blank(data[at:]) if is_dead else data[at:]])


def _blank(text: bytes) -> bytes:
    return re.sub(rb"[^\n]", b" ", text)


def _blank_match(match: re.Match[bytes]) -> bytes:
    return _blank(match[0])
