"""A tiny random model with a memory: what comes out is drawn from the mixture."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from codling.core.errors import ArtifactError, RequestError
from codling.engine.memory.index import NOTHING
from codling.engine.memory.mixture import LENGTHS, N_KINDS, Weights, mix_into
from codling.engine.memory.open_text import split_prompt
from codling.engine.memory.recall import Recall
from codling.engine.memory.repository import FileName, Memory
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.model.transformer import Transformer
from codling.tokens.tokenizer import SpecialTokens, Tokenizer
from tiny_model import CODE as ALL_CODE

CODE = ALL_CODE.partition("#")[0]
ADD, NEW = FileName("app", "pkg/add.py"), FileName("app", "pkg/new.py")


def row(path: str, content: str, repo: str = "app") -> dict[str, str]:
    return {
        "path": path,
        "repo": repo,
        "license": "MIT",
        "language": "python",
        "content": content,
    }


def trusting(value: float) -> Weights:
    table = np.full((len(LENGTHS), N_KINDS), value)
    return Weights(table, np.zeros_like(table))


@pytest.fixture
def memory(tiny_tokenizer: Tokenizer) -> Memory:
    return Memory.build(tiny_tokenizer, [row("pkg/add.py", CODE)], trusting(0.99))


@pytest.fixture
def engine(tiny_model: Transformer, tiny_tokenizer: Tokenizer) -> Iterator[TextEngine]:
    with TextEngine(tiny_model, tiny_tokenizer, max_length=200) as engine:
        yield engine


@pytest.mark.long
def test_a_memory_that_is_trusted_completes_the_line_and_names_it(
    engine: TextEngine, memory: Memory
) -> None:
    engine.memory = memory
    (done,) = engine.complete(["def add(a"], SamplingParams(max_tokens=60, stop=("\n\n",)))
    assert done.text == ", b):\n    return a + b"
    assert {(o.path, o.license) for o in done.origins} == {("pkg/add.py", "MIT")}
    assert {1, 2} <= {o.line for o in done.origins}


def test_without_a_memory_nothing_changes(engine: TextEngine, memory: Memory) -> None:
    params = SamplingParams(max_tokens=20)
    plain = engine.complete(["def add(a"], params)
    engine.memory = memory
    engine.memory = None
    assert engine.complete(["def add(a"], params) == plain
    assert plain[0].origins == ()


@pytest.mark.long
def test_sampling_draws_from_the_mixture(engine: TextEngine, memory: Memory) -> None:
    memory.weights = trusting(0.5)
    engine.memory = memory
    params = SamplingParams(max_tokens=1, temperature=1.0, seed=0)
    ids = engine.complete_prompt("def add(a")
    drawn = Counter(engine.submit(ids, p).result().token_ids[0] for p in params.choices(400))
    wanted = memory.recall(np.array(ids, np.int64)).ids.tolist()
    assert len(wanted) == 1
    # 0.5 from memory, and what the model gives it besides.
    engine.memory = None
    own = engine.submit(ids, SamplingParams(max_tokens=1, logprobs=64)).result().logprobs[0]
    share = {t.token_id: float(np.exp(t.logprob)) for t in own.top}.get(wanted[0], 0.0)
    expected = 0.5 + 0.5 * share
    assert drawn[wanted[0]] / 400 == pytest.approx(expected, abs=0.08)


def test_logprobs_are_those_of_the_mixture(engine: TextEngine, memory: Memory) -> None:
    memory.weights = trusting(0.5)
    engine.memory = memory
    (done,) = engine.complete(["def add(a"], SamplingParams(max_tokens=1, logprobs=1))
    assert float(np.exp(done.logprobs[0].logprob)) > 0.5


def test_an_edited_file_is_read_as_it_stands_now(tiny_tokenizer: Tokenizer, memory: Memory) -> None:
    context = np.array(tiny_tokenizer.encode("def add(a"), np.int64)
    memory.update(ADD, "def add(alpha, beta):\n    return alpha\n")
    assert tiny_tokenizer.decode(memory.recall(context).ids.tolist())[0] != ","
    memory.update(NEW, "\n\ndef add(a, zzz)\n")
    found = memory.recall(context)
    origins = [memory.locate(int(place)) for place in found.places]
    assert ("pkg/new.py", 3, "LicenseRef-own") in [(o.path, o.line, o.license) for o in origins]
    assert ("pkg/add.py", 1, "MIT") in [(o.path, o.line, o.license) for o in origins]
    memory.forget(NEW)
    memory.forget(ADD)
    assert memory.recall(context).length == 0
    assert memory.names == []


def recalled(memory: Memory, text: str) -> set[str]:
    """The repositories from which the memory goes on with `text`."""
    found = memory.recall(np.array(memory.tokenizer.encode(text), np.int64))
    return {memory.locate(int(place)).repo for place in found.places}


MAIN = "src/main.py"
TWO_REPOS = [row(MAIN, CODE, "one"), row(MAIN, "def sub(a, b):\n    return a - b\n", "two")]


def test_a_file_of_one_repository_is_forgotten_and_that_of_another_stays(
    tiny_tokenizer: Tokenizer,
) -> None:
    memory = Memory.build(tiny_tokenizer, TWO_REPOS)
    memory.forget(FileName("one", MAIN))
    assert memory.names == [FileName("two", MAIN)]
    assert recalled(memory, "def add(a") != {"one"}
    assert recalled(memory, "def sub(a") == {"two"}


@pytest.mark.parametrize(
    ("edited", "other", "text"), [("one", "two", "sub"), ("two", "one", "add")]
)
def test_an_edit_in_one_repository_leaves_the_file_of_another(
    tiny_tokenizer: Tokenizer, edited: str, other: str, text: str
) -> None:
    memory = Memory.build(tiny_tokenizer, TWO_REPOS)
    for content in ("def mul(x):\n    return x * x\n", "def mul(x, y):\n    return x * y\n"):
        memory.update(FileName(edited, MAIN), content)
        assert recalled(memory, f"def {text}(a") == {other}
        assert recalled(memory, "def mul(x") == {edited}
    memory.forget(FileName(edited, MAIN))
    assert recalled(memory, f"def {text}(a") == {other}
    assert memory.names == [FileName(other, MAIN)]


def test_files_of_one_name_in_two_sources_are_forgotten_together(tiny_tokenizer: Tokenizer) -> None:
    memory = Memory.build(tiny_tokenizer, [*TWO_REPOS, row(MAIN, "def mul(a):\n    pass\n", "one")])
    memory.forget(FileName("one", MAIN))
    assert not any("one" in recalled(memory, f"def {name}(") for name in ("add", "sub", "mul"))


def test_a_path_that_several_repositories_have_is_asked_about(tiny_tokenizer: Tokenizer) -> None:
    memory = Memory.build(tiny_tokenizer, TWO_REPOS)
    with pytest.raises(RequestError, match=r"have src/main[.]py: one, two; say"):
        memory.find(MAIN)
    assert memory.find(MAIN, "two") == FileName("two", MAIN)
    assert memory.find(MAIN, "three") is None
    memory.forget(FileName("two", MAIN))
    assert memory.find(MAIN) == FileName("one", MAIN)


def test_a_forgotten_file_leaves_no_trace_in_answers(engine: TextEngine, memory: Memory) -> None:
    params = SamplingParams(max_tokens=20)
    plain = engine.complete(["def add(a"], params)[0].text
    memory.forget(ADD)
    memory.weights = trusting(0.99)
    engine.memory = memory
    assert engine.complete(["def add(a"], params)[0].text == plain


def test_the_open_file_is_a_memory_of_its_own(tiny_tokenizer: Tokenizer) -> None:
    table = np.full((len(LENGTHS), N_KINDS), 0.9)
    memory = Memory.build(tiny_tokenizer, [], Weights(np.zeros_like(table), table))
    ids = tiny_tokenizer.encode("alpha = beta\nalpha =")
    logits = np.zeros(tiny_tokenizer.vocab_size, np.float32)
    Recall(memory, ids, 5).mix(logits)
    assert (
        logits.argmax()
        == tiny_tokenizer.encode("alpha = beta\n")[len(tiny_tokenizer.encode("alpha ="))]
    )


def test_the_suffix_of_an_insertion_is_part_of_the_open_file_but_no_context() -> None:
    marks = SpecialTokens(bos=0, fim_begin=1, fim_hole=2, fim_end=3)
    assert split_prompt([0, 1, 10, 2, 20, 21, 3], marks) == ([10], [20, 21])
    assert split_prompt([1, 2, 3], marks) == ([], [])


def test_it_survives_being_written(tmp_path, tiny_tokenizer: Tokenizer, memory: Memory) -> None:
    memory.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "file_starts.npy",
        "memory.json",
        "order.npy",
        "tokens.npy",
    ]
    with pytest.raises(ArtifactError):
        Memory.open(tmp_path, tiny_tokenizer)


def test_a_token_costs_at_most_eight_bytes(tiny_tokenizer: Tokenizer) -> None:
    memory = Memory.build(tiny_tokenizer, [row(f"{i}.py", CODE * 5) for i in range(20)])
    assert memory.n_bytes <= 8 * memory.n_tokens + 8 * 20
    assert NOTHING.length == 0
    assert mix_into(np.zeros(4, np.float32), NOTHING, NOTHING, memory.weights).size == 0
