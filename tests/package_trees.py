"""The package's modules as syntax trees, for the rules of the house."""

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "codling"


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package, by its path below src/codling."""
    return {
        p.relative_to(SOURCE).as_posix(): ast.parse(p.read_text()) for p in SOURCE.rglob("*.py")
    }


def called(node: ast.Call) -> str:
    """The last part of what is called: `f` of f(x) and of a.f(x)."""
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")
