"""What a text and a repository propose, and that answers with their drafts are those without."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from codling.engine.memory.open_text import OpenText, PromptLookup
from codling.engine.memory.recall import Recall
from codling.engine.memory.repository import FileName, Memory
from codling.engine.request import Completion, SamplingParams
from codling.engine.speculate import Price
from codling.engine.text import TextEngine
from codling.model.transformer import Transformer
from codling.tokens.tokenizer import SpecialTokens, Tokenizer
from tiny_model import CODE

MARKS = SpecialTokens(bos=0, fim_begin=1, fim_hole=2, fim_end=3)
FILE = {"path": "a.py", "repo": "app", "license": "MIT", "language": "python", "content": CODE}
NAME = FileName("app", "a.py")


class Free(Price):
    """Drafts are always worth a try."""

    def of(self, n_sequences: int) -> float:  # noqa: ARG002 -- as Price
        return 0.0


def proposed(ids: list[int], n: int, then: tuple[int, ...] = ()) -> tuple[list[int], int, bool]:
    lookup = PromptLookup(OpenText(ids, MARKS, room=9))
    draft = lookup.propose([*ids, *then], n)
    return list(draft.tokens), draft.n_matched, draft.is_unanimous


def test_a_text_proposes_what_followed_its_end_earlier() -> None:
    assert proposed([5, 6, 7, 8, 9, 5, 6], 3) == ([7, 8, 9], 2, True)
    assert proposed([5, 6, 7, 8, 9, 5], 2, then=(6, 7)) == ([8, 9], 3, True)
    assert proposed([4, 5, 6], 3) == ([], 0, False)


def test_of_two_continuations_the_one_that_occurs_more_often_is_proposed() -> None:
    assert proposed([6, 5, 7, 6, 5, 7, 6, 5, 8, 6, 5], 1) == ([7], 2, False)
    assert proposed([5, 7, 1, 5, 7, 9, 5, 8, 4, 5], 1) == ([7], 1, False)


def test_a_text_that_repeats_itself_goes_on_so() -> None:
    assert proposed([5, 6, 5, 6], 5) == ([5, 6, 5, 6, 5], 2, True)


def test_the_text_after_the_cursor_proposes_up_to_its_end() -> None:
    assert proposed([0, 1, 5, 2, 9, 5, 6, 3], 4) == ([6], 1, True)


def test_the_repository_proposes_the_rest_of_its_line(tiny_tokenizer: Tokenizer) -> None:
    memory = Memory.build(tiny_tokenizer, [FILE])
    ids = tiny_tokenizer.encode("def add(a")
    whole = tiny_tokenizer.encode(CODE)
    draft = Recall(memory, ids, 9).propose(ids, 6)
    assert list(draft.tokens) == whole[len(ids) : len(ids) + 6]
    memory.update(NAME, "def add(a, zzz):\n")
    draft = Recall(memory, ids, 9).propose(ids, 30)
    assert tiny_tokenizer.decode(draft.tokens) == ", zzz):\n"
    memory.forget(NAME)
    assert not Recall(memory, ids, 9).propose(ids, 6).tokens


@pytest.fixture(params=["model alone", "with the memory"])
def engines(
    request: pytest.FixtureRequest, tiny_model: Transformer, tiny_tokenizer: Tokenizer
) -> Iterator[tuple[TextEngine, TextEngine]]:
    """One engine without drafts, one that always tries them."""
    with (
        TextEngine(tiny_model, tiny_tokenizer, max_length=200, speculate=False) as plain,
        TextEngine(tiny_model, tiny_tokenizer, max_length=200) as drafting,
    ):
        drafting._engine.price = Free()
        if request.param == "with the memory":
            for engine in (plain, drafting):
                engine.memory = Memory.build(tiny_tokenizer, [FILE])
        yield plain, drafting


def ask(engine: TextEngine, params: SamplingParams) -> list[Completion]:
    """Texts that go on at a cursor (the end of each is healed), just as they stand, and in a
    gap."""
    texts = [CODE[:n] for n in (10, 25, 60, 61, 62)]
    prompts: list[list[int]] = [engine.cursor_prompt(text) for text in texts]
    prompts += [engine.complete_prompt(text) for text in texts[:2]]
    prompts += [engine.insert_prompt(CODE[:30], CODE[40:])] if engine.can_insert else []
    streams = [engine.submit(ids, params) for ids in prompts]
    return [stream.result() for stream in streams]


GREEDY = SamplingParams(max_tokens=30)


@pytest.mark.parametrize(
    "params",
    [
        GREEDY,
        replace(GREEDY, logprobs=2),
        replace(GREEDY, temperature=0.8, top_p=0.9, seed=3),
        replace(GREEDY, stop=("a", "re", "\n\n")),
    ],
    ids=["greedy", "logprobs", "sampled", "stops"],
)
def test_whole_answers_are_those_without_drafts(
    engines: tuple[TextEngine, TextEngine], params: SamplingParams
) -> None:
    plain, drafting = engines
    wanted, got = ask(plain, params), ask(drafting, params)
    drafted, accepted = (
        sum(d.n_drafted_tokens for d in got),
        sum(d.n_accepted_tokens for d in got),
    )
    assert drafted > 0
    assert accepted > 0 or params.stop or params.temperature > 0
    for one, other in zip(wanted, got, strict=True):
        assert one.n_drafted_tokens == 0
        assert (other.text, other.token_ids, other.origins) == (
            one.text,
            one.token_ids,
            one.origins,
        )
        assert other.finish_reason == one.finish_reason
        near = [pytest.approx(entry.logprob, abs=1e-4) for entry in one.logprobs]
        assert [entry.logprob for entry in other.logprobs] == near
