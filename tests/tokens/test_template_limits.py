"""A chat template is a foreign program: what it may do is counted, and ends in one line."""

import time

import pytest

from codling.core.errors import CodlingError, RequestError, TokenizerError
from codling.tokens.chat import ChatTemplate

USER = {"role": "user", "content": "Sort a list."}
TWICE = (
    "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}"
    "{{ END }}"
)


def twice(start: str, step: str, end: str = "ns.x") -> str:
    return TWICE.replace("START", start).replace("STEP", step).replace("END", end)


TOO_MUCH = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops that write nothing of what they filter": (
        "{% for a in range(9999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}"
    ),
    "a range": "{% for i in range(10**12) %}x{% endfor %}",
    "a range as a list": "{{ range(10**12) | list }}",
    "blanks": "{{ ' ' * 2000000000 }}",
    "blanks, counted": "{{ ' ' * (messages[0].content | length) ** 9 }}",
    "blanks, turned round": "{{ 2000000000 * ' ' }}",
    "a list": "{{ [0] * 2000000000 }}",
    "center": "{{ 'x' | center(10**9) }}",
    "the method center": "{{ 'x'.center(10**9) }}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "zfill": "{{ '1'.zfill(10**9) }}",
    "indent": "{{ ('x\n' * 9999) | indent(10**9) }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "percent with a star": "{{ '%*d' % (1000000000, 1) }}",
    "percent of many": "{{ ('%999d' * 9999) % 1 }}",
    "the filter format": "{{ '%1000000000d' | format(1) }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "format of a format": "{{ '{:{}}'.format(1, 1000000000) }}",
    "format_map": "{{ '{x:1000000000}'.format_map({'x': 1}) }}",
    "JSON with wide indentation": "{{ messages | tojson(indent=10**9) }}",
    "JSON with long separators": "{{ [1, 2] | tojson(separators=[' ' * 9999, ':']) }}",
    "replace": "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "the filter replace": "{{ ('a' * 99999) | replace('', 'b' * 99999) }}",
    "join": "{{ range(99999) | join('b' * 99999) }}",
    "the method join": "{{ ('b' * 99999).join('a' * 99999) }}",
    "a text that doubles by +": twice("'ab'", "ns.x + ns.x"),
    "a text that doubles by ~": twice("'ab'", "ns.x ~ ns.x"),
    "a list that doubles": twice("[1]", "ns.x + ns.x"),
    "a list in a list, twice each time": twice("[1]", "[ns.x, ns.x]"),
    "a dict in a dict, twice each time": twice("{}", "{'a': ns.x, 'b': ns.x}"),
    "the same as JSON": twice("[1]", "[ns.x, ns.x]", "ns.x | tojson"),
    "the same compared": twice("[1]", "[ns.x, ns.x]", "ns.x == ns.x + []"),
    "the same in a test": twice("[1]", "[ns.x, ns.x]", "ns.x is in [[], ns.x]"),
    "the same as an argument": twice("[1]", "[ns.x, ns.x]", "'%s' % [ns.x]"),
    "the same as a key": twice("(1,)", "(ns.x, ns.x)", "{'a': 1}[ns.x]"),
    "the same as a key of a dict": twice("(1,)", "(ns.x, ns.x)", "{ns.x: 1}"),
    "the same as a key that is made": twice("(1,)", "(ns.x, ns.x)", "dict([(ns.x, 1)])"),
    "the same as a key that is asked for": twice("(1,)", "(ns.x, ns.x)", "{}.get(ns.x)"),
    "the same as an attribute": twice("(1,)", "(ns.x, ns.x)", "messages | attr(ns.x)"),
    "the same for each of many": twice("(1,)", "(ns.x, ns.x)", "[ns.x] | map('string') | list"),
    "the same sorted": twice("[1]", "[ns.x, ns.x]", "[ns.x, ns.x + []] | sort"),
    "the same in a refusal": twice("[1]", "[ns.x, ns.x]", "raise_exception(ns.x)"),
    "many arguments": (
        "{% set x = range(60000) | list %}{% macro m() %}{% endmacro %}"
        "{% for i in range(99999) %}{{ m(*x) }}{% endfor %}"
    ),
    "many copies": (
        "{% set x = dict(range(60000) | map('string') | map('center', 2) | map('list')) %}"
        "{% for i in range(99999) %}{% set y = dict(x) %}{% endfor %}"
    ),
    "numbers": twice("3", "ns.x * ns.x"),
    "powers": "{{ 2 ** 2 ** 2 ** 9999 }}{{ 9 ** 999999999 }}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a macro that calls itself twice": (
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}"
    ),
    "a block that calls itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "a loop that calls itself": "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "much text in a set block": (
        "{% set x %}{% for i in range(99999) %}" + "y" * 50_000 + "{% endfor %}{% endset %}"
    ),
    "much text in the open": "{% for i in range(99999) %}" + "y" * 50_000 + "{% endfor %}",
    "slices of a long text": (
        "{% set x = 'y' * 999999 %}{% for i in range(99999) %}{% set z = x[::-1] %}{% endfor %}"
    ),
    "searches in a long text": (
        "{% set x = 'y' * 999999 %}{% for i in range(99999) %}{{ 'z' in x }}{% endfor %}"
    ),
    "a sum of lists": "{{ range(99999) | batch(1) | sum(start=[]) }}",
    "deep brackets": "{{ " + "(" * 5000 + ")" * 5000 + " }}",
    "deep loops": "{% for a in b %}" * 30 + "{% endfor %}" * 30,
    "a long source": "x" * 300_000,
}


def failure(source: str) -> str:
    """The one line that a template ends in."""
    with pytest.raises(CodlingError) as caught:
        ChatTemplate(source).render([USER])
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


@pytest.mark.long
@pytest.mark.parametrize("source", TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much_work_ends_in_one_line(source: str) -> None:
    start = time.process_time()
    assert "chat template" in failure(source)
    assert time.process_time() - start < 20


FORBIDDEN = {
    "classes": "{{ messages[0].content.__class__.__mro__ }}",
    "classes by name": "{{ (messages | attr('__class__')).__mro__ }}",
    "globals of a function": "{{ raise_exception.__globals__.x }}",
    "the environment": "{{ self._TemplateReference__context.environment.x }}",
    "classes in a format": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "other files": "{% include '/etc/passwd' %}",
    "other modules": "{% import 'os' as os %}",
    "changing what was said": "{{ messages.append(1) }}",
    "changing a message": "{{ messages[0].update(role='system') }}",
    "changing it by the class": "{{ dict.update(messages[0], {'role': 'system'}) }}",
    "methods of numbers": "{{ (5).to_bytes(1000000000, 'big') }}",
    "bytes": "{{ 'a'.encode() }}",
    "escaping": "{% autoescape true %}{{ '<' }}{% endautoescape %}",
    "half a character": "{{ '\\ud800' }}",
    "no template": "{% if %}",
    "an unknown filter": "{{ 'a' | nothing }}",
    "division": "{{ 1 / 0 }}",
    "text and number": "{{ messages[0].content + 1 }}",
    "what is not there": "{{ nothing.at.all }}",
    "an exception": "{{ raise_exception('no\\nno \\x1b[31m') }}",
    "JSON of a function": "{{ raise_exception | tojson }}",
}


@pytest.mark.parametrize("source", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_a_template_does_wrong_is_one_line(source: str) -> None:
    line = failure(source)
    assert "chat template" in line
    assert line.isprintable()


def test_bounds_grow_with_the_conversation() -> None:
    source = "{% for m in messages %}{{ m.role ~ m.content ~ m.content | trim ~ '!' }}{% endfor %}"
    many = [{"role": "user", "content": "x" * 2000} for _ in range(2000)]
    assert len(ChatTemplate(source).render(many)) == 2000 * 4005
    short = [{"role": "user", "content": "x"}] * 5000
    assert len(ChatTemplate(source).render(short)) == 5000 * 7


@pytest.mark.long
def test_a_budget_is_spent_by_one_rendering_only() -> None:
    template = ChatTemplate("{% for i in range(50000) %}x{% endfor %}")
    for _ in range(4):
        assert len(template.render([USER])) == 50_000


def test_errors_name_the_line_of_a_broken_template() -> None:
    with pytest.raises(TokenizerError, match="line 3"):
        ChatTemplate("a\nb\n{% if %}")
    with pytest.raises(RequestError, match="more work than a chat template needs"):
        ChatTemplate(TOO_MUCH["loops"]).render([USER])
