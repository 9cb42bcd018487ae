"""Stand-ins for the special tokens that a chat template writes, so that no other text can contain
one.

Input: a parsed template. Output: the same template, in which every special token of its own
literals is one character that no text can hold: half a surrogate pair. Foreign text with such a
character is refused before the rendering (chat.py), so whatever a template does to foreign text,
joins, cuts, replacements, no stand-in comes out of it; and only stand-ins become special tokens.
Foreign text itself is left as it is: a template that looks for `</think>` in an answer finds it.

The rewriting also wraps what the sandbox has to count (template_sandbox.py).

Not here: the tokens' ids.
"""

import re
from collections.abc import Collection, Sequence
from typing import TypeVar, cast

from jinja2 import TemplateError, nodes
from jinja2.visitor import NodeTransformer

ROLES = ("system", "user", "assistant", "tool", "developer")
"""The roles of messages: our own names, not foreign text."""

_T = TypeVar("_T")
_FIRST, _LAST = 0xD800, 0xDFFF
_STAND_IN = re.compile("[\ud800-\udfff]")


class StandIns:
    """The stand-ins of one template: U+D800 for the first special token it names, and so on."""

    def __init__(self, specials: Collection[str] = ()) -> None:
        """`specials`: the texts of the tokenizer's special tokens."""
        self._specials = frozenset(specials)
        ordered = sorted(self._specials, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered)) if ordered else r"(?!)")
        self._texts: list[str] = []
        self._stand_ins: dict[str, str] = {}
        self._frames = [f for token in ordered for f in _frames(token)]

    def replace_specials(self, text: str) -> str:
        """A literal of the template with stand-ins for the special tokens in it."""
        if _STAND_IN.search(text):
            raise TemplateError("it holds half a surrogate pair")
        return self._pattern.sub(lambda match: self._stand_in(match.group()), text)

    def restore_specials(self, value: _T) -> _T:
        """A text with the special tokens written out; anything else as it is."""
        if isinstance(value, tuple):
            return cast(_T, tuple(map(self.restore_specials, value)))
        if not isinstance(value, str) or not self.occur_in(value):
            return value
        return cast(_T, _STAND_IN.sub(lambda match: self.text_of(match.group()), value))

    def occur_in(self, text: str) -> bool:
        """Whether a stand-in is in `text`."""
        return not text.isascii() and _STAND_IN.search(text) is not None

    def pieces(self, text: str) -> list[tuple[str, bool]]:
        """What was rendered, as (text, whether it is a special token)."""
        found, start = [], 0
        for match in _STAND_IN.finditer(text):
            if match.start() > start:
                found.append((text[start : match.start()], False))
            found.append((self.text_of(match.group()), True))
            start = match.end()
        return [*found, (text[start:], False)] if start < len(text) else found

    def text_of(self, stand_in: str) -> str:
        """The special token that a stand-in stands for."""
        at = ord(stand_in) - _FIRST
        if at >= len(self._texts):
            raise TemplateError("it makes half a surrogate pair")
        return self._texts[at]

    def around(self, before: str, role: str, after: str) -> str:
        """The stand-in of a special token that consists of a role and what is around it."""
        text = before + role + after
        return self._stand_in(text) if role in ROLES and text in self._specials else text

    def frame(self, before: str, after: str) -> tuple[str, str] | None:
        """The ends of a special token with a role in it, if a literal ends and one begins so."""
        for left, right in self._frames:
            if before.endswith(left) and after.startswith(right):
                return left, right
        return None

    def _stand_in(self, text: str) -> str:
        if text not in self._stand_ins:
            if len(self._texts) > _LAST - _FIRST:
                raise TemplateError("it names more than 2,048 special tokens")
            self._stand_ins[text] = chr(_FIRST + len(self._texts))
            self._texts.append(text)
        return self._stand_ins[text]


def _frames(token: str) -> list[tuple[str, str]]:
    """Ways to read a special token as a role with something on both sides."""
    parts = [token.partition(role) for role in ROLES if role in token]
    return [(before, after) for before, _, after in parts if before and after]


def rewrite(template: nodes.Template, marks: StandIns) -> nodes.Template:
    """The template with stand-ins, and with calls of the environment where work is counted."""
    return cast(nodes.Template, _Rewriter(marks).visit(template))


class _Rewriter(NodeTransformer):
    """One pass over all nodes; jinja2 finds the methods by their names."""

    def __init__(self, marks: StandIns) -> None:
        self._marks = marks

    def visit_Const(self, node: nodes.Const) -> nodes.Node:  # noqa: N802
        if isinstance(node.value, str):
            node.value = self._marks.replace_specials(node.value)
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802
        node.data = self._marks.replace_specials(node.data)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        node.node = self.visit(node.node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _call("weigh", [node.node], node)
        node.arg = node.arg if isinstance(node.arg, nodes.Const) else self.visit(node.arg)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        node.key = self._compare_as_text(node.key)
        node.value = self.visit(node.value)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        node.expr = self._compare_as_text(node.expr)
        for operand in node.ops:
            operand.expr = self._compare_as_text(operand.expr)
        return node

    def _compare_as_text(self, node: nodes.Expr) -> nodes.Expr:
        # Literals are compared as they are written.
        is_literal = isinstance(node, nodes.Const)
        return node if is_literal else _call("compare_as_text", [self.visit(node)], node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        parts = self._with_role_tokens(_flat(node, nodes.Concat))
        return _call("join_parts", [self.visit(p) for p in parts], node)

    def visit_Add(self, node: nodes.Add) -> nodes.Node:  # noqa: N802
        parts = [self.visit(p) for p in self._with_role_tokens(_flat(node, nodes.Add))]
        total = parts[0]
        for part in parts[1:]:
            total = nodes.Add(total, part).set_lineno(node.lineno)
            total.environment = node.environment
        return cast(nodes.Node, total)

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        parts: list[nodes.Expr] = []
        for child in node.nodes:
            parts += _flat(child, nodes.Concat) if isinstance(child, nodes.Concat) else [child]
        node.nodes = [self.visit(p) for p in self._with_role_tokens(parts)]
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if node.test is not None:
            node.test = nodes.And(_call("tick", [], node), node.test)
        node.body.insert(0, _tick(node.body, node))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _tick(node.body, node))
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, _tick(node.body, node))
        return node

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier) -> nodes.Node:  # noqa: N802
        raise TemplateError(f"line {node.lineno}: autoescape is for HTML")

    def _with_role_tokens(self, parts: Sequence[nodes.Expr]) -> list[nodes.Expr]:
        """`'<|' + message.role + '|>'`: one special token where the tokenizer has it."""
        found = list(parts)
        for at in range(1, len(found) - 1):
            before, role, after = found[at - 1 : at + 2]
            left, right = _literal(before), _literal(after)
            if left is None or right is None or not _is_role(role):
                continue
            if frame := self._marks.frame(left, right):
                ends = [nodes.Const(end, lineno=role.lineno) for end in frame]
                _set_literal(before, left.removesuffix(frame[0]))
                _set_literal(after, right.removeprefix(frame[1]))
                found[at] = _call("role_token", [ends[0], role, ends[1]], role)
        return found


def _flat(node: nodes.Expr, kind: type[nodes.Add] | type[nodes.Concat]) -> list[nodes.Expr]:
    """The operands of a chain, from left to right."""
    if isinstance(node, nodes.Concat) and kind is nodes.Concat:
        return list(node.nodes)
    chain: list[nodes.Expr] = []
    while isinstance(node, nodes.Add) and kind is nodes.Add:
        chain.append(node.right)
        node = node.left
    return [node, *reversed(chain)]


def _call(name: str, args: Sequence[nodes.Expr], at: nodes.Node) -> nodes.Call:
    """A call of a method of the environment."""
    call = nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None)
    return cast(nodes.Call, call.set_lineno(at.lineno))


def _tick(body: Sequence[nodes.Node], at: nodes.Node) -> nodes.ExprStmt:
    """Counts one turn of a loop with what it writes of itself."""
    holder = nodes.Scope(list(body))
    n_chars = sum(len(data.data) for data in holder.find_all(nodes.TemplateData))
    call = _call("tick", [nodes.Const(n_chars, lineno=at.lineno)], at)
    return cast(nodes.ExprStmt, nodes.ExprStmt(call).set_lineno(at.lineno))


def _literal(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.TemplateData):
        return node.data
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else None


def _set_literal(node: nodes.Node, text: str) -> None:
    if isinstance(node, nodes.TemplateData):
        node.data = text
    elif isinstance(node, nodes.Const):
        node.value = text


def _is_role(node: nodes.Node) -> bool:
    """`message.role`, `message['role']`, or a variable of that name."""
    if isinstance(node, nodes.Getitem):
        return _literal(node.arg) == "role"
    return getattr(node, "attr", getattr(node, "name", None)) == "role"
