"""Answers with a form: whatever the model, the seed and the limit, they have it."""

import json
import re
import sys
from collections.abc import Iterator

import pytest

from codling.core.errors import RequestError
from codling.engine import structured
from codling.engine.closing import find_closing
from codling.engine.form import Form
from codling.engine.request import Completion, SamplingParams
from codling.engine.text import TextEngine
from codling.model.transformer import Transformer
from codling.tokens.tokenizer import Tokenizer

xgrammar = pytest.importorskip("xgrammar", reason="needs the extra structured")
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "bb"]}, "minItems": 2},
    },
    "required": ["name", "age", "tags"],
}
SHORTEST = len('{"name":"00","age":0,"tags":["a","a"]}')
ANY = Form("json")


@pytest.fixture(scope="module")
def engine(tiny_model: Transformer, tiny_tokenizer: Tokenizer) -> Iterator[TextEngine]:
    with TextEngine(tiny_model, tiny_tokenizer, max_streams=4, max_length=256) as engine:
        yield engine


def answer(engine: TextEngine, form: Form, n: int, seed: int | None = None, **more) -> Completion:
    params = SamplingParams(
        max_tokens=n, form=form, temperature=0 if seed is None else 1.0, seed=seed, **more
    )
    return engine.submit(engine.complete_prompt("def add("), params).result()


def check_person(text: str) -> None:
    person = json.loads(text)
    assert len(person["name"]) >= 2
    assert type(person["age"]) is int
    assert len(person["tags"]) >= 2
    assert set(person["tags"]) <= {"a", "bb"}


@pytest.mark.parametrize(
    "n", [1, 40, pytest.param(7, marks=pytest.mark.slow), pytest.param(90, marks=pytest.mark.slow)]
)
def test_json_of_a_schema_is_whole_wherever_its_limit_falls(engine: TextEngine, n: int) -> None:
    for seed in (None, 1, 2):
        made = answer(engine, Form.of_schema(PERSON, "schema"), n, seed)
        check_person(made.text)
        assert made.finish_reason == "length" or len(made.token_ids) <= n
        # Only what is shorter than anything of this form is exceeded.
        assert len(made.token_ids) <= max(n, SHORTEST)


def test_any_json_object_will_do_and_two_tokens_are_enough(engine: TextEngine) -> None:
    assert answer(engine, ANY, 2).text == "{}"
    for seed in (3, 4):
        assert isinstance(json.loads(answer(engine, ANY, 60, seed).text), dict)


def test_a_grammar_in_gbnf_and_an_expression_bind_too(engine: TextEngine) -> None:
    grammar = Form("grammar", 'root ::= ("ab" | "cd")+ "." [0-9]+')
    assert re.fullmatch(r"(ab|cd)+\.[0-9]+", answer(engine, grammar, 12, 1).text)
    assert re.fullmatch("[a-c]+x", answer(engine, Form("regex", "[a-c]+x"), 5, 1).text)
    assert answer(engine, Form.of_choices(["yes", "no"], "choice"), 9).text in ("yes", "no")


def test_speculation_changes_nothing_and_is_used(
    tiny_model: Transformer, tiny_tokenizer: Tokenizer, engine: TextEngine
) -> None:
    form = Form("grammar", 'root ::= ("ab" | "cd"){24} "."')
    with TextEngine(tiny_model, tiny_tokenizer, max_length=256, speculate=False) as plain:
        slow = answer(plain, form, 60)
    quick = answer(engine, form, 60)
    assert quick.token_ids == slow.token_ids
    assert quick.n_accepted_tokens > 0


def test_answers_with_and_without_a_form_run_in_one_batch(engine: TextEngine) -> None:
    free = SamplingParams(max_tokens=12, ignore_eos=True)
    alone = engine.complete(["x = "], free)[0]
    prompt = engine.complete_prompt("x = ")
    streams = [
        engine.submit(prompt, free),
        engine.submit(prompt, SamplingParams(max_tokens=12, form=ANY)),
        engine.submit(prompt, SamplingParams(max_tokens=50, form=Form.of_schema(PERSON, "s"))),
    ]
    texts = [stream.result() for stream in streams]
    assert texts[0].token_ids == alone.token_ids
    assert isinstance(json.loads(texts[1].text), dict)
    check_person(texts[2].text)


def test_a_loop_ends_and_the_answer_is_whole_all_the_same(engine: TextEngine) -> None:
    comma = next(iter(engine.tokenizer.encode("0")))
    made = answer(
        engine, Form.of_schema({"type": "string"}, "s"), 200, None,
        logit_bias=((comma, 100.0),), stop_loops=True,
    )  # fmt: skip
    assert set(json.loads(made.text)) == {"0"}
    assert made.finish_reason == "length"
    assert len(made.token_ids) < 100


def test_an_answer_that_is_whole_ends_also_where_ends_are_passed_over(engine: TextEngine) -> None:
    made = answer(engine, Form("grammar", 'root ::= "ab"'), 9, ignore_eos=True)
    assert (made.text, made.finish_reason) == ("ab", "stop")
    # Nothing of it goes on to harm other requests.
    assert answer(engine, ANY, 2).text == "{}"


def test_drafts_of_special_tokens_end_before_these_without_a_word(
    engine: TextEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    constraint = engine._forms.start(ANY, engine.tokenizer.stop_ids("complete"))
    (brace,) = engine.tokenizer.encode("{")
    special = engine.tokenizer.specials.fim_hole
    assert special is not None
    assert constraint.trim([brace, special, brace]) == [brace]
    assert capfd.readouterr().err == ""


def test_what_does_not_fit_beside_the_prompt_is_refused(engine: TextEngine) -> None:
    wide = {"type": "string", "minLength": 40}
    params = SamplingParams(form=Form.of_schema(wide, "s"))
    with pytest.raises(RequestError, match="shortest answer of this form"):
        engine.submit([5] * 250, params)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Form("grammar", 'root ::= "a" other'), "other"),
        (Form("schema", '{"type": 5}'), "[Tt]ype"),
        (Form("regex", "(a"), "cannot be used"),
        (Form("schema", '{"type": "integer", "not": {"const": 5}}'), "not is not supported"),
        # What these force has no end, or none that an answer comes to.
        (Form("grammar", 'root ::= "a" root'), "rule root never ends"),
        (Form("grammar", 'root ::= "b" | "a" x\nx ::= "c" x'), "rule x never ends"),
        (Form("grammar", 'root ::= "a"{1000000}'), "1,000,000 bytes"),
        (Form("regex", "(a{1000}){1000}"), "1,000,000 bytes"),
    ],
)
def test_an_unsound_form_is_one_line(engine: TextEngine, form: Form, words: str) -> None:
    with pytest.raises(RequestError, match=words) as refused:
        engine.prepare(form)
    assert "\n" not in str(refused.value)
    assert ".cc" not in str(refused.value)


def test_a_schema_without_a_way_out_is_one_line(engine: TextEngine) -> None:
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    with pytest.raises(RequestError, match="leads back to itself"):
        answer(engine, Form.of_schema(endless, "s"), 20)


def test_a_form_of_any_characters_can_be_ended(engine: TextEngine) -> None:
    form = Form.of_choices(["\U0001f600 \u00e9", "\u65e5\u672c"], "c")
    for n in (1, 3, 20):
        assert answer(engine, form, n, seed=n).text in ("\U0001f600 \u00e9", "\u65e5\u672c")


def test_a_ban_gives_way_to_the_form_and_hurts_nobody_else(engine: TextEngine) -> None:
    bans = tuple((i, -100.0) for i in range(engine.config.vocab_size))
    beside = engine.submit(engine.complete_prompt("def add("), SamplingParams(max_tokens=30))
    assert answer(engine, Form("regex", "[0-9]{3}"), 20, logit_bias=bans).text.isdigit()
    assert len(beside.result().token_ids) == 30


def test_a_form_that_no_text_has_is_one_line(engine: TextEngine) -> None:
    with pytest.raises(RequestError, match="no answer can have this form"):
        answer(engine, Form("regex", r"[^\x00-\U0010ffff]"), 20)


def test_a_form_is_all_of_the_answer_also_where_it_goes_on_within_a_word(
    engine: TextEngine,
) -> None:
    params = SamplingParams(max_tokens=12, form=Form("regex", " ?[0-9]{4}"))
    prompt = engine.cursor_prompt("x = ret")
    assert prompt.forced == " ret"
    whole = [*prompt, *engine.tokenizer.encode(" ret")]
    expected = engine.submit(whole, params).result()
    assert engine.submit(prompt, params).result().text == expected.text
    assert re.fullmatch(" ?[0-9]{4}", expected.text)


def test_without_the_package_the_line_names_the_extra(
    engine: TextEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    structured._xgrammar.cache_clear()
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    with pytest.raises(RequestError, match=re.escape("pip install 'codling[structured]'")):
        engine.prepare(Form("grammar", 'root ::= "not compiled before"'), ["<none>"])
    structured._xgrammar.cache_clear()


@pytest.mark.parametrize(
    ("begun", "end"),
    [
        ('{"name": "An', '"}'),
        ('{"name": "An\\', '""}'),
        ('{"a": [1', "]}"),
        ('{"a": {"b": tr', "ue}}"),
        ('{"a": "\u00fc', '"}'),
        ("{}", ""),
    ],
)
def test_the_way_to_end_json_is_the_shortest(engine: TextEngine, begun: str, end: str) -> None:
    matcher = xgrammar.GrammarMatcher(engine._forms.prepare(ANY))
    assert matcher.accept_string(begun)
    assert find_closing(matcher) == end.encode()
    # The matcher stands where it stood.
    assert matcher.accept_string(end)


def test_a_value_is_written_before_any_blank(engine: TextEngine) -> None:
    form = Form.of_schema({"type": "object", "properties": {"a": {"enum": [1, 2]}}}, "s")
    matcher = xgrammar.GrammarMatcher(engine._forms.prepare(form))
    assert matcher.accept_string('{"a"')
    assert find_closing(matcher) == b":1}"


def test_a_schema_that_costs_more_than_an_answer_is_refused() -> None:
    deep: object = {"type": "integer"}
    for _ in range(40):
        deep = {"items": deep}
    for schema in (deep, {"minLength": 10**9}, {"enum": ["x" * 70_000]}, 5):
        with pytest.raises(RequestError):
            Form.of_schema(schema, "json_schema")
