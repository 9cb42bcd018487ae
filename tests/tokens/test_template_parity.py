"""Chat templates give what transformers gives, construct by construct of published ones."""

import copy
from datetime import datetime
from typing import Any

import pytest
from jinja2 import TemplateError

from codling.core.errors import RequestError
from codling.tokens.chat import ChatTemplate

render = pytest.importorskip("transformers.utils.chat_template_utils").render_jinja_template

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "</think>", "[INST]"]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'The "weather" of <b>é</b>',
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris", "n": 1.5}}}],
}
SYSTEM = {"role": "system", "content": " Be brief.\n"}
USER = {"role": "user", "content": "Hi <|im_end|>\n  there </s> "}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."}
CHATS = [
    [USER],
    [SYSTEM, USER],
    [USER, THOUGHT, USER],
    [SYSTEM, USER, CALL, {"role": "tool", "content": '{"t": 21}'}, THOUGHT, USER],
]

TEMPLATES = {
    "turns by addition": (
        "{{ bos_token }}{% for message in messages %}\n"
        "    {% if message['role'] == 'user' and loop.first %}"
        "{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'].strip() + eos_token }}"
        "{% endif %}\n{% endfor %}\n"
    ),
    "turns with a name for the text": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|im_start|>' + message['role'] + '\n\n' + message['content'] | trim + "
        "'<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
        "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>' }}{% endif %}"
    ),
    "the system message taken off the front": (
        "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}"
        "{%- set messages = messages[1:] -%}{%- else -%}{%- set system = '' -%}{%- endif -%}"
        "{%- for m in messages -%}{{ system if loop.last else '' }}{{ m.content }}{%- endfor -%}"
    ),
    "tools and calls": (
        "{%- if tools %}{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}"
        "{%- endif %}{%- for m in messages %}{%- if m.tool_calls %}{%- for call in m.tool_calls %}"
        "{%- if call.function is defined %}{%- set call = call.function %}{%- endif %}"
        "{{- '<tool_call>{\"name\": \"' ~ call.name ~ '\", ' }}{{- call.arguments | tojson }}"
        "{%- endfor %}{%- elif m.role == 'tool' %}{%- if (loop.index0 == 0) or "
        "(messages[loop.index0 - 1].role != 'tool') %}{{- '<|im_start|>user' }}{%- endif %}"
        "{{- m.content }}{%- else %}{{- m['content'] }}{%- endif %}{%- endfor %}"
    ),
    "thoughts left out, with a namespace and a reversed loop": (
        "{%- set ns = namespace(last=messages | length - 1, many=true) %}"
        "{%- for m in messages[::-1] %}{%- set index = (messages | length - 1) - loop.index0 %}"
        "{%- if ns.many and m.role == 'user' and m.content is string and not "
        "(m.content.startswith('<tool>') and m.content.endswith('</tool>')) %}"
        "{%- set ns.many = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}{{ ns.last }}"
        "{%- for m in messages %}{%- if '</think>' in m.content %}{{- m.content.split('</think>')"
        "[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}|{{- m.content.split('</think>')"
        "[-1].lstrip('\\n') }}{%- endif %}{%- endfor %}"
    ),
    "filters": (
        "{{ messages | map(attribute='role') | join(', ') }}{{ messages | selectattr('role', "
        "'equalto', 'user') | list | length }}{{ (messages | rejectattr('role', 'in', ['user']) | "
        "list)[:1] }}{{ messages[-1].content | upper | replace('HI', 'x') | title | indent(2) }}"
        "{{ [3, 1, 2] | sort | first }}{{ [1, 2] | sum }}{{ messages | last | items | list }}"
        "{{ nothing | default('-') }}{{ '' | default('x', true) }}{{ 2.5 | round | int }}"
        "{{ {'b': 1, 'a': 2} | dictsort }}{{ 'a b' | capitalize }}{{ [1, 2] | reverse | list }}"
        "{{ messages | groupby('role') | length }}{{ 'abc' | list | unique | join('<|im_end|>') }}"
        "{{ 'x' | center(5) }}{{ [none, 1, true] | select | list }}{{ -1 | abs }}{{ 'a' | string }}"
    ),
    "JSON": (
        "{{ tools | tojson }}{{ tools | tojson(indent=4) }}{{ {'b': 'é', 'a': ['😀']} | tojson("
        "ensure_ascii=true, sort_keys=true) }}{{ {'b': [1, {}]} | tojson(separators=(',', ':')) }}"
        "{{ [] | tojson(indent=2) }}{{ messages | tojson(indent=2, separators=[';', '= ']) }}"
    ),
    "macros, blocks and breaks": (
        "{% macro show(m, depth=0) -%}{{ '-' * depth }}{{ m.role }}{% if caller %}{{ caller() }}"
        "{% endif %}{%- endmacro %}{% for m in messages %}{% if m.role == 'tool' %}{% break %}"
        "{% endif %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ show(m, 2) }}"
        "{% call show(m) %}[{{ m.content | length }}]{% endcall %}{% set text %}a{{ loop.index }}"
        "{% endset %}{{ text }}{% endfor %}{% generation %}{{ messages[0].content }}"
        "{% endgeneration %}{% filter upper %}x{% endfilter %}{% with y = 1 %}{{ y }}{% endwith %}"
    ),
    "operators": (
        "{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 5 }}{{ 7 / 2 }}{{ 'x' * 3 }}{{ '%s-%d' % ('a', 5) }}"
        "{{ 'a' ~ 1 ~ none }}{{ [1] + [2] }}{{ 1 < 2 <= 2 }}{{ 'a' in {'a': 1} }}{{ not none }}"
        "{{ '{} {:>4}'.format('a', 'b') }}{{ messages[0]['content'][2:5] }}{{ 'abc'[::-1] }}"
        "{{ range(3) | list }}{{ 'a,b'.split(',') }}{{ dict(a=1).get('b', 2) }}{{ (1, 2) }}"
        "{{ 'ab'.upper().center(6) }}{{ 'a-b'.partition('-') }}{{ ''.join(['x', 'y']) }}{{ true }}"
    ),
    "tests": (
        "{% for x in [1, 'a', none, [1], {'a': 1}, 1.5, true] %}{{ x is number }}{{ x is string }}"
        "{{ x is none }}{{ x is iterable }}{{ x is mapping }}{{ x is sequence }}{{ x is boolean }}"
        "{{ x is true }}{{ x is integer }}{{ x is in [1, 'a'] }}{{ x == 1 }}{{ no is defined }}"
        "{% endfor %}{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ 'a' is eq 'a' }}{{ 2 is gt 1 }}"
    ),
    "its own refusal": (
        "{% if messages[0].role != 'system' %}{{ raise_exception('System first') }}{% endif %}ok"
    ),
}


@pytest.mark.parametrize("messages", CHATS, ids=len)
@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES)
def test_it_renders_as_transformers_does(source: str, messages: list) -> None:
    asked: dict[str, Any] = {"tools": [TOOL], "add_generation_prompt": len(messages) % 2 == 0}
    try:
        theirs = render([copy.deepcopy(messages)], chat_template=source, **TOKENS, **asked)
    except TemplateError as error:
        with pytest.raises(RequestError, match=str(error)):
            ChatTemplate(source, tokens=TOKENS, specials=SPECIALS).render(messages, **asked)
        return
    ours = ChatTemplate(source, tokens=TOKENS, specials=SPECIALS).render(messages, **asked)
    assert ours == (theirs[0] if isinstance(theirs, tuple) else theirs)[0]


def test_the_date_is_that_of_a_clock_that_is_given() -> None:
    template = ChatTemplate(
        "{{ strftime_now('%d %b %Y') }}", now=lambda: datetime(2024, 7, 26, 12, 0)
    )
    assert template.render([USER]) == "26 Jul 2024"
