"""Python expressions as answers: one expression that cannot make a test pass by itself.

Not here: running it, and whether its value is right (sandbox/).
"""

import ast

_OF_NO_USE = {"type", "object", "super", "eval", "exec", "compile", "open", "globals", "locals",
              "vars", "getattr", "setattr", "delattr", "breakpoint", "exit", "quit"}  # fmt: skip
"""Names that no arguments need, but an object that claims to equal everything does."""


def is_plain_call(text: str) -> bool:
    """Whether a text is one call of f, whose arguments change nothing and define no class."""
    call = _parse(text)
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "f":
        return False
    return _changes_nothing(call)


def is_plain_value(text: str, code: str) -> bool:
    """Whether a text is one expression without what `code` defines, and not one of several values:
    `6 or 7` bets on both."""
    value = _parse(text)
    if value is None or isinstance(value, ast.BoolOp | ast.IfExp | ast.Compare):
        return False
    own = {"f"} | {
        node.name
        for node in ast.walk(_parse_code(code))
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    }
    return not own & {n.id for n in ast.walk(value) if isinstance(n, ast.Name)} and (
        _changes_nothing(value)
    )


def _parse(text: str) -> ast.expr | None:
    """The one expression that a text is, or None."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parse_code(code: str) -> ast.AST:
    """The problem's own code; that of the published data always parses."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _changes_nothing(value: ast.expr) -> bool:
    nodes = list(ast.walk(value))
    names = {n.id for n in nodes if isinstance(n, ast.Name)}
    names |= {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    hidden = any(name.startswith("_") for name in names)
    return not hidden and not names & _OF_NO_USE and not _assigns(nodes)


def _assigns(nodes: list[ast.AST]) -> bool:
    return any(isinstance(node, ast.NamedExpr) for node in nodes)
