"""Answers that reach for the tests instead of solving the problem.

Input: a language and the text of an answer. Output: the first thing in it that no solution needs
and a forged verdict does, or "". It is a list of names, so it is not a complete defence: what it
misses is said in docs/evaluation.md, language by language. Only strict verdicts ask it.

Not here: what the sandbox itself holds (inside/notary.py, runners/).
"""

import ast
import re
from collections.abc import Iterator

_PYTHON_NAMES = frozenset((
    "_getframe", "_current_frames", "currentframe", "f_back", "f_locals", "f_globals", "f_code",
    "tb_frame", "gi_frame", "cr_frame", "ag_frame", "co_consts", "co_code", "addaudithook",
    "settrace", "setprofile", "_getframemodulename", "get_objects", "get_referrers",
    "__subclasses__", "walk_stack", "extract_stack", "pythonapi",
))  # fmt: skip
_PYTHON_MODULES = frozenset((
    "inspect", "gc", "ctypes", "_ctypes", "cffi", "__main__", "builtins", "inside", "_testcapi",
    "bdb", "pdb", "mock",
))  # fmt: skip
_NAMES_ALONE = _PYTHON_NAMES | {"__builtins__"}
_TOLD = (_PYTHON_NAMES | _PYTHON_MODULES | {"__builtins__"}) - {"mock", "inside", "__main__"}
"""Strings that are names for getattr or __import__."""
_BY_NAME = frozenset(("__import__", "__builtins__", "exec", "eval", "compile", "globals", "vars"))
"""What makes a module of a name."""
_FREE_TO_SET = frozenset(("stdin", "stdout", "stderr"))
_COMPARISONS = frozenset(("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"))

_OWN_FILES = (
    r"/proc/|/dev/fd|\bmain(?:_test)?\.(?:cpp|js|ts|php|sh|rs|rb|lua|pl|R|d|rkt|jl|cs|exe|go)\b"
    r"|Problem\.class"
)
_PATTERNS = {
    "cpp": r"#\s*(?:define|undef)\s+(?:assert|main|candidate|exit)\b|#\s*define\s+NDEBUG"
    r"|__assert_fail|__(?:wrap|real)_main|\basm\b|__asm__|__builtin_longjmp|__FILE__",
    "java": r"\bUnsafe\b|HotSpotDiagnostic|StackWalker|setAccessible|getResource|\bMethodHandles\b"
    r"|setDefaultAssertionStatus|\bInstrumentation\b",
    "js": r"__filename|arguments\s*\.\s*callee|\.caller\b|\bprepareStackTrace\b"
    r"|['\"](?:node:)?(?:inspector|v8|module|child_process)['\"]|require\s*\.\s*(?:main|cache)"
    r"|\bprocess\s*\.\s*(?:binding|mainModule|argv)|\bassert\s*(?:\.\s*\w+\s*)+=(?!=)"
    r"|function\s+require\b|\brequire\s*=(?!=)|\(\s*assert\s*,|\._load\b|\._compile\b",
    "cs": r"\bStackTrace\b|\bStackFrame\b|GetExecutingAssembly|BindingFlags|\bunsafe\b"
    r"|(?:Trace|Debug)\.Listeners|class\s+Debug\b",
    "php": r"__FILE__|debug_backtrace|get_included_files|\bReflection|__halt_compiler|php://fd"
    r"|SCRIPT_(?:NAME|FILENAME)|\bargv\b",
    "sh": r"(?<!sage: )\$\{?0\b|BASH_(?:SOURCE|EXECUTION_STRING|ARGV|COMMAND)|\bFUNCNAME\b"
    r"|\bcaller\b|\b(?:declare|typeset)\s+-f|[<>]&\s*[34]\b|\balias\b|\benable\s+-|\bextdebug\b"
    r"|\bread\s[^\n]*-u|\btrap\b[^\n]*\b(?:ERR|DEBUG|RETURN)\b"
    r"|(?:^|[;&|])\s*(?:function\s+)?(?:set|test|exit|printf|return|cat|builtin|\[)\s*\(\s*\)"
    r"|\bfunction\s+(?:set|test|exit|printf|return|cat|builtin)\b",
    "go": r"\bsyscall\b|\"unsafe\"|\bTestMain\b|//go:|\"embed\"|\bos\.Args\b|\bos\.Exit\b",
    "rs": r"include_str!|include_bytes!|macro_rules!\s*assert|\bfile!|\basm!",
    "rb": r"__FILE__|\$0\b|\$PROGRAM_NAME|ObjectSpace|\bDATA\b|\bbinding\.|TOPLEVEL_BINDING"
    r"|def\s+assert|module\s+Test\b|Test::Unit::A|\bexit!|at_exit|set_trace_func|TracePoint",
    "lua": r"\bdebug\s*\.(?!\s*traceback\b)|package\.loaded|\blu(?:\.\w+)+\s*=(?!=)"
    r"|\bos\.exit\s*(?:=(?!=)|\(\s*(?:0|true)?\s*\))|\barg\s*\[\s*[-0]",
    "pl": r"__FILE__|\$0\b|\bB::|PadWalker|sub\s+eq_deeply|\bDB::|\*(?:main::)?eq_deeply",
    "r": r"sys\.(?:call|function|frame|frames|calls|parent)\b"
    r"|(?:stopifnot|all\.equal|isTRUE)\s*(?:<-|=(?!=))|unlockBinding|assignInNamespace|commandArgs",
    "d": r"__FILE__|\bimport\s*\(|\basm\b|AssertError|assertHandler",
    "rkt": r"define\s+\(?check-within|current-namespace|find-system-path|current-command-line",
    "jl": r"@__FILE__|PROGRAM_FILE|stacktrace|macro\s+test\b|Base\.Test|unsafe_",
}
_IDIOMS = re.compile(
    r"require\.main\s*===?\s*module|module\s*===?\s*require\.main"
    r"|(?:__FILE__|\$0|\$PROGRAM_NAME)\s*==\s*(?:__FILE__|\$0|\$PROGRAM_NAME)"
)
"""How programs of these languages ask whether they are run by themselves."""
_AWK = re.compile(r"\b[gmn]?awk\b(?:[^'\n|;&]|'[^']*')*")
"""A call of awk, to whose own programs $0 is the line."""
_PATTERNS["ts"] = _PATTERNS["js"]
_COMPILED = {
    name: re.compile(f"{pattern}|{_OWN_FILES}", re.M) for name, pattern in _PATTERNS.items()
}


def find_tampering(language: str, answer: str) -> str:
    """What `answer` reaches for that a solution does not need; "" if nothing is seen.

    >>> find_tampering("python", "import sys\\nsys._getframe(1)")
    '_getframe'
    """
    if language == "python":
        return next(_find_in_python(answer), "")
    answer = _IDIOMS.sub("", answer)
    if language == "sh":
        answer = _AWK.sub(lambda call: _without_lines(call[0]), answer)
    found = _COMPILED[language].search(answer) if language in _COMPILED else None
    return " ".join(found[0].split()) if found else ""


def _without_lines(call: str) -> str:
    """A call of awk without its program's $0, which bash does not replace between these quotes or
    after a backslash."""
    quoted = re.sub(r"'[^']*'", lambda part: part[0].replace("$0", ""), call)
    return quoted.replace("\\$0", "")


def _find_in_python(answer: str) -> Iterator[str]:
    try:
        tree = ast.parse(answer)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # running it reports the syntax error
    nodes = list(ast.walk(tree))
    imports = [node for node in nodes if isinstance(node, ast.Import)]
    modules = {(a.asname or a.name).split(".")[0] for node in imports for a in node.names}
    told = _TOLD if _asks_by_name(nodes, modules) else _TOLD - _PYTHON_MODULES
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _import(node)
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, modules)
        elif isinstance(node, ast.Name) and node.id in _NAMES_ALONE:
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [node.value] if node.value in told or "/proc/" in node.value else []
        elif isinstance(node, ast.Call):
            yield from _set_by_name(node, modules)
        elif isinstance(node, ast.FunctionDef | ast.Assign):
            yield from _find_always_true(node)


def _asks_by_name(nodes: list[ast.AST], modules: set[str]) -> bool:
    """Whether a string may be the name of a module here, and is not just a word."""
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return bool(names & _BY_NAME or {"importlib", "sys"} & (modules | froms))


def _set_by_name(node: ast.Call, modules: set[str]) -> Iterator[str]:
    """`setattr` of a module."""
    said = [each.id for each in (node.func, *node.args[:1]) if isinstance(each, ast.Name)]
    if said[:1] == ["setattr"] and modules & set(said[1:]):
        yield f"setattr of {said[1]}"


def _import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    names = [alias.name for alias in node.names]
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    yield from (name for name in names if _PYTHON_MODULES & set(name.split(".")))


def _attribute(node: ast.Attribute, modules: set[str]) -> Iterator[str]:
    if node.attr in _PYTHON_NAMES:
        yield node.attr
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if owner == "sys" and node.attr == "modules":
        yield "sys.modules"
    if isinstance(node.ctx, ast.Store) and owner in modules and node.attr not in _FREE_TO_SET:
        yield f"{owner}.{node.attr} replaced"


def _find_always_true(node: ast.FunctionDef | ast.Assign) -> Iterator[str]:
    """A comparison that is true of anything."""
    if isinstance(node, ast.FunctionDef):
        names = [node.name]
        said = [each.value for each in ast.walk(node) if isinstance(each, ast.Return)]
    else:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        said = [node.value.body] if isinstance(node.value, ast.Lambda) else []
    always = said and all(isinstance(v, ast.Constant) and v.value is True for v in said)
    yield from (f"{name} that is always true" for name in names if always and name in _COMPARISONS)
