"""From a chat answer to "complete this function" to the program that it stands for, in any
language.

Input: the prompt (header, comment, open signature), the answer, the language, the tests. Output:
a program that the tests follow, open where they begin with the brace that closes the function.

An answer may be the body alone, the function, or a whole file: with imports and helpers before or
after, another class or parameter name, a main, a demonstration. It is taken apart into items, what
the prompt gives or the tests bring is left out, and the rest stays unchanged. Nothing is
corrected: a wrong answer stays wrong.

Not here: DeepSeek-Coder's rule (deepseek_rules.py), Python (python_code.py), shell (shell_code.py).
"""

import re
from collections.abc import Sequence

from codling.grading.code_items import Item, find_closing, mask_code, split_items, surplus_closer
from codling.grading.fences import FencedBlock, find_blocks, strip_thoughts
from codling.grading.languages import AnswerLanguage, language_of, languages
from codling.grading.shell_code import shell_functions


def chat_program(prompt: str, answer: str, language: str, tests: str) -> str:
    """The program that an answer stands for, without its tests (see the module)."""
    name = function_name(prompt, language)
    code = answer_block(answer, language, name)
    code += _call_method(prompt, code, language, name)
    if not defines(code, language, name):
        return _continue_body(prompt, code, language)
    match language_of(language).form:
        case "shell":
            return shell_functions(code, name) + language_of(language).ends_open
        case "class":
            return _build_class(prompt, code, language, name)
        case "top":
            return _build_top_level(prompt, code, language, name, tests)
        case "plain":
            return _head(prompt, language) + code


def _call_method(prompt: str, code: str, language: str, name: str) -> str:
    """The prompt's function by a method of the answer's class (`class Solution`), where the answer
    has no such function of its own."""
    row = language_of(language)
    if not row.method or not name:
        return ""
    method = re.compile(row.method.replace("NAME", re.escape(name)), re.M)
    for item in _items(code, language):
        kind = re.match(r"\s*(?:export\s+(?:default\s+)?)?(?:class|struct)\s+(\w+)", item.mask)
        if kind is None and defines(item.text, language, name):
            return ""
        if kind and "{" in item.mask and (found := method.search(item.mask)):
            call = (row.static_call if "static" in found[0] else "") or row.call
            names = ", ".join(_parameters(prompt.strip().splitlines()[-1], row))
            body = call.format(host=kind[1], name=name, names=names)
            return f"\n\n{prompt.strip().splitlines()[-1]}\n    return {body};\n}}\n"
    return ""


def _parameters(signature: str, language: AnswerLanguage) -> list[str]:
    """The names of a signature's parameters: in C++ the last word of each, elsewhere the first."""
    inner = signature[signature.index("(") + 1 : signature.rindex(")")]
    return re.findall(language.parameters, inner)


def function_name(prompt: str, language: str) -> str:
    """The name of the function that the prompt leaves open."""
    text = prompt.strip()
    if pattern := language_of(language).name:
        found = re.findall(pattern, text)
        return str(found[-1]) if found else ""
    found = re.findall(r"(\w+)\s*\(", text.splitlines()[-1])
    return str(found[0]) if found else ""


def defines(code: str, language: str, name: str) -> bool:
    """Whether the code defines the function `name`."""
    return bool(name) and _definition(name, language).search(_mask(code, language)) is not None


def answer_block(answer: str, language: str, name: str) -> str:
    """The code of an answer: the last block that defines the function, with those before it that
    define what it uses; else the last block in the language; else the text.

    A block that only quotes lines of an earlier one, as explanations do, is passed over.
    """
    text = strip_thoughts(answer).replace("\r\n", "\n")
    found = [b for b in find_blocks(text) if b.code.strip()]
    fitting = [b for b in found if b.is_in(language) or not _names_other_language(b)] or found
    if not fitting:
        return _skip_prose(text, language, name)
    codes = [b.code for i, b in enumerate(fitting) if not b.repeats_one_of(fitting[:i])]
    whole = [i for i, code in enumerate(codes) if defines(code, language, name)]
    if not whole:
        named = [b.code for b in fitting if b.is_in(language)]
        return (named or codes)[0]
    chosen = codes[whole[-1]]
    others = [
        c for i, c in enumerate(codes) if i not in whole and _defines_used(c, chosen, language)
    ]
    return "\n\n".join([*others, chosen])


def _names_other_language(block: FencedBlock) -> bool:
    """Whether its fence names some other language."""
    return any(block.is_in(language) for language in languages())


def _defines_used(code: str, chosen: str, language: str) -> bool:
    """Whether a block defines a function or type that the chosen one uses and does not define."""
    kinds = r"\b(?:def|function|func|fn|class|struct|enum|interface|sub)\s+(\w+)"
    typed = r"^[^\n(){};=]*[ \t*&](\w+)\s*\([^;{}]*\)[^;{}]*\{"
    mask = _mask(code, language)
    names = {*re.findall(kinds, mask), *re.findall(typed, mask, re.M)}
    used = _mask(chosen, language)
    return any(re.search(rf"\b{n}\b", used) and not defines(chosen, language, n) for n in names)


def _skip_prose(text: str, language: str, name: str) -> str:
    """An answer without fences: from the first line of code on, where it defines the function."""
    lines = text.split("\n")
    starts = (
        r"\s*(?:#include|import|using|package|use|const|require|<\?php|#!|template|class|public)\b"
    )
    defining = [i for i, x in enumerate(lines) if defines(x, language, name)]
    if not defining:
        return text
    first = next((i for i, x in enumerate(lines) if re.match(starts, x)), defining[0])
    last = max((i for i, x in enumerate(lines) if re.match(r"\s*(?:[}\])]|end\b)", x)), default=-1)
    return "\n".join(lines[min(first, defining[0]) : max(last, defining[-1]) + 1])


def _continue_body(prompt: str, code: str, language: str) -> str:
    """The prompt and a body, which may contain surplus closing braces."""
    start = prompt.strip() + "\n"
    if language_of(language).keeps_body:
        return start + code
    mask = _mask(code, language)
    body = code[: surplus_closer(mask)].rstrip()
    return start + body if language_of(language).ends_open else f"{start}{body}\n}}\n"


def _build_top_level(prompt: str, code: str, language: str, name: str, tests: str) -> str:
    """A program of top-level items."""
    head, row = _head(prompt, language), language_of(language)
    given = {_key(item) for item in split_items(head, language)}
    taken = _declared_names(tests, language)
    items = [i for i in _items(code, language) if _key(i) not in given]
    items = [i for i in items if not _is_dropped(i, language, name, taken)]
    imports = [i for i in items if _matches(i, row.imports)]
    rest = [_strip_export(i, row) for i in items if i not in imports]
    if row.exact_imports:
        lines = _go_imports(imports, head, "".join(i.mask for i in rest))
        return head + lines + "".join(i.text for i in rest) + "\n"
    first, body = "".join(i.text for i in imports), "".join(i.text for i in rest)
    if row.wrap_if and re.search(row.wrap_if, "".join(i.mask for i in rest), re.M):
        body = row.wrap.replace("NAME", name).replace("BODY", body)
    return f"{head}{first}\n{body}\n{row.ends_open}"


def _build_class(prompt: str, code: str, language: str, name: str) -> str:
    """A program whose one class holds all that the answer's classes and bare methods hold."""
    head, row = _head(prompt, language), language_of(language)
    items = _items(code, language)
    imports = [i for i in items if _matches(i, row.imports)]
    members, others, host = [], [], ""
    for item in (i for i in items if i not in imports and not _matches(i, row.dropped)):
        kind = re.search(r"\b(?:class|struct|interface|enum|record)\s+(\w+)", item.head)
        if kind and defines(item.text, language, name):
            host = kind[1]
            members += _members(item, language)
        elif kind is None:
            members.append(item)
        elif not re.search(row.main, item.mask):
            others.append(item)
    members = [i for i in members if not re.search(row.main, i.head)]
    texts = (
        [_make_static(i) for i in members]
        if _needs_static(members, language, name)
        else [i.text for i in members]
    )
    nested = [_nest_type(i, row) for i in others]
    body = _rename_host("".join([*texts, *nested]), host, language)
    start = head.rstrip().rpartition("\n")[0] if "{" in head else head
    at = head.rfind("class Problem")
    new = "".join(i.text.strip() + "\n" for i in imports if i.text.strip() not in head)
    return f"{head[:at]}{new}{head[at:]}\n{body}\n{row.ends_open}" if at >= 0 else start + body


def _items(code: str, language: str) -> list[Item]:
    """The items of an answer; a C# namespace is opened."""
    row, found = language_of(language), []
    if row.stripped:
        code = re.sub(row.stripped, "", code)
    for item in split_items(code, language):
        if _matches(item, row.opened):
            found += _members(item, language)
        elif item.mask.strip().strip("};"):
            found.append(item)
    return found


def _members(item: Item, language: str) -> list[Item]:
    """The members between an item's braces."""
    start = item.mask.index("{")
    return split_items(item.text[start + 1 : find_closing(item.mask, start)], language)


def _is_dropped(item: Item, language: str, name: str, taken: set[str]) -> bool:
    """Whether an item would get into the tests' way, or only shows the function off."""
    row = language_of(language)
    if _matches(item, row.dropped) or (row.main and re.search(row.main, item.head)):
        return True
    declared = _declared_names(item.text, language)
    if name not in declared and declared & taken:
        return True
    if not row.shows or _matches(item, row.declares):
        return False
    assigns = re.match(r"\s*[$\w.\[\]]+\s*=(?!=)", item.mask) and name not in item.mask
    calls = [rf"\b{re.escape(word)}\s*\(" for word in taken] + [rf"\b{re.escape(name)}\b"]
    shows = re.search("|".join([row.shows, *calls]), item.mask)
    return bool(shows) and not assigns


def _declared_names(code: str, language: str) -> set[str]:
    """Names that top-level functions and variables of some code have."""
    if not language_of(language).clashes:
        return set()
    words = r"^(?:export\s+)?(?:async\s+)?(?:function|const|let|class|func)\s+(\w+)"
    return set(re.findall(words, _mask(code, language).lstrip(), re.M))


def _strip_export(item: Item, language: AnswerLanguage) -> Item:
    """Remove `export`; for plain JavaScript also turn `import` into `require`."""
    if not language.exports:
        return item
    text = re.sub(r"^(\s*)export\s+(?:default\s+)?(?=\w)", r"\1", item.text, count=1)
    if language.requires:
        text = re.sub(
            r"^(\s*)import\s+(?:\*\s+as\s+)?([\w{}, ]+?)\s+from\s+(['\"][^'\"]+['\"])",
            lambda m: f"{m[1]}const {m[2].replace(' as ', ': ')} = require({m[3]})",
            text,
        )
    return Item(text=text, mask=mask_code(text, language.key))


def _go_imports(items: Sequence[Item], head: str, used: str) -> str:
    """Import lines of what the code uses and the prompt does not import: Go requires exactly
    that."""
    lines = []
    for alias, path in re.findall(r'([\w.]+[ \t]+)?"([^"\n]+)"', "".join(i.text for i in items)):
        word = alias.strip() if alias.strip() not in ("", "import") else path.rpartition("/")[2]
        if f'"{path}"' not in head and re.search(rf"\b{re.escape(word)}\.", used):
            lines.append(f'import {word + " " if alias.strip() == word else ""}"{path}"\n')
    return "".join(dict.fromkeys(lines))


def _needs_static(members: Sequence[Item], language: str, name: str) -> bool:
    pattern = _definition(name, language)
    heads = [i.head for i in members if pattern.search(i.mask.partition("{")[0])]
    return bool(heads) and not any(re.search(r"\bstatic\b", head) for head in heads)


def _make_static(item: Item) -> str:
    """A method or field that belongs to the class itself."""
    kinds = r"\b(?:static|class|interface|enum|record|struct|const)\b"
    if re.search(kinds, item.head) or not re.match(r"\s*[\w@<]", item.mask):
        return item.text
    start = len(item.mask) - len(item.mask.lstrip())
    words = re.compile(r"(?:(?:public|private|protected|internal|final|@\w+)\s+)*")
    found = words.match(item.mask, start)
    at = found.end() if found else start
    return item.text[:at] + "static " + item.text[at:]


def _nest_type(item: Item, language: AnswerLanguage) -> str:
    """A top-level type as a member: Java's need `static` to be made from static methods."""
    if not language.nested_static or not re.search(r"\bclass\b", item.head):
        return item.text
    start = len(item.mask) - len(item.mask.lstrip())
    plain = re.sub(r"^(?:public|private|protected|static)\s+", "", item.text[start:])
    return f"{item.text[:start]}static {plain}"


def _rename_host(text: str, host: str, language: str) -> str:
    """Rename the answer's own class to Problem, as the tests call it."""
    if host in ("", "Problem"):
        return text
    parts, at = [], 0
    for found in re.finditer(rf"\b{host}\b", mask_code(text, language)):
        parts += [text[at : found.start()], "Problem"]
        at = found.end()
    return "".join(parts) + text[at:]


def _head(prompt: str, language: str) -> str:
    """What precedes the signature; of languages whose comments bind to what follows, only
    code."""
    lines = prompt.strip().splitlines()
    if language_of(language).keeps_body:
        kept = [x for x in lines if re.match(r"#lang|import\b|use\b|using\b|require\b", x)]
        return "".join(f"{line}\n" for line in kept)
    return "\n".join(lines[:-1]) + "\n"


def _matches(item: Item, pattern: str) -> bool:
    """Whether an item begins as a column says; "" says nothing."""
    return bool(pattern) and re.match(pattern, item.mask) is not None


def _key(item: Item) -> str:
    """What makes two items the same: their code, or what they declare as a type."""
    kind = re.search(r"\b(?:class|struct|union|enum)\s+(\w+)\s*(?::[^{]*)?\{", item.mask)
    return kind[1] if kind else " ".join(re.sub(r"\s*([#<>])\s*", r"\1", item.text).split())


def _mask(code: str, language: str) -> str:
    return mask_code(code, language) if language_of(language).lexis else code


def _definition(name: str, language: str) -> re.Pattern[str]:
    pattern = language_of(language).defines.replace("NAME", re.escape(name) + r"\b")
    return re.compile(rf"(?:{pattern})", re.M)
