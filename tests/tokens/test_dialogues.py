"""Instruction data: which rows are read, which tokens count, and what is left out and said."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer as Published

from codling.cli import main
from codling.core.artifact import Artifact
from codling.core.errors import SourceError, TokenizerError
from codling.core.files import read_json_lines
from codling.tokens.chat import ChatFormat
from codling.tokens.dialogue_files import open_labelled, read_dialogue_meta
from codling.tokens.dialogue_labels import DialogueEncoder
from codling.tokens.dialogue_rows import RowError, read_dialogue
from codling.tokens.dialogues import DialoguesConfig, dialogues
from codling.tokens.tokenizer import Tokenizer

CHATML = "{% for m in messages %}[{{ m.role }}]{{ m.content }}<|EOT|>{% endfor %}" + (
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
ASK, ANSWER = {"role": "user", "content": "1+2?"}, {"role": "assistant", "content": "3"}
ROWS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("deepseek", {"instruction": "1+2?", "output": "3"}, [("user", "1+2?"), ("assistant", "3")]),
    (
        "alpaca",
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        [("user", "Add.\n1 2"), ("assistant", "3")],
    ),
    (
        "llama-factory",
        {"instruction": "b?", "output": "B", "history": [["a?", "A"]], "system": "S"},
        [("system", "S"), ("user", "a?"), ("assistant", "A"), ("user", "b?"), ("assistant", "B")],
    ),
    (
        "sharegpt, with a question that nobody answered",
        {
            "conversations": [
                {"from": "human", "value": "1+2?"},
                {"from": "gpt", "value": "3"},
                {"from": "human", "value": "thanks"},
            ]
        },
        [("user", "1+2?"), ("assistant", "3")],
    ),
    (
        "names of speakers in other letters",
        {"conversations": [{"from": "User ", "value": "1+2?"}, {"from": "BING", "value": "3"}]},
        [("user", "1+2?"), ("assistant", "3")],
    ),
    ("openai", {"messages": [ASK, ANSWER]}, [("user", "1+2?"), ("assistant", "3")]),
    (
        "openai, in parts",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, ANSWER]},
        [("user", "hi"), ("assistant", "3")],
    ),
    ("prompt", {"prompt": "1+2?", "completion": "3"}, [("user", "1+2?"), ("assistant", "3")]),
    ("trl", {"prompt": [ASK], "completion": [ANSWER]}, [("user", "1+2?"), ("assistant", "3")]),
    ("oss", {"problem": "1+2?", "solution": "3"}, [("user", "1+2?"), ("assistant", "3")]),
]
BAD: list[tuple[object, str]] = [
    (["a"], "not-an-object"),
    ({"text": "x"}, "unknown-shape"),
    ({"instruction": "x", "output": None}, "not-text"),
    ({"instruction": "x", "output": " \n"}, "empty-answer"),
    ({"instruction": " ", "output": "x"}, "empty-question"),
    ({"messages": [ASK]}, "no-answer"),
    ({"messages": [ANSWER]}, "no-question"),
    ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown-role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]}, "not-text"),
    ({"instruction": "x", "output": "y", "history": ["a"]}, "not-text"),
]


@pytest.mark.parametrize(("row", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_rows_of_every_shape_are_read(row: Any, expected: list[tuple[str, str]]) -> None:
    found = read_dialogue(row)
    assert [(m["role"], m["content"]) for m in found.messages] == expected


@pytest.mark.parametrize(("row", "reason"), BAD, ids=[b[1] for b in BAD])
def test_a_row_that_is_no_dialogue_has_a_reason(row: object, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        read_dialogue(row)
    assert caught.value.reason == reason


def write_rows(path: Path, rows: Sequence[object]) -> Path:
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def made(tokenizer_dir: Path, tmp_path: Path) -> Callable[..., Artifact]:
    def make(rows: Sequence[object], **changes: Any) -> Artifact:
        settings: dict[str, Any] = {
            "files": (write_rows(tmp_path / "rows.jsonl", rows),),
            "tokenizer_dir": tokenizer_dir,
            "out_dir": tmp_path / "dialogues",
            "heldout_share": 0.0,
        }
        if changes.get("labels") != "published":
            settings["template"] = "coder-v1"
        return dialogues(DialoguesConfig(**(settings | changes)))

    return make


def texts(artifact: Artifact, tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """Each document whole, and what counts of it."""
    stream = open_labelled(artifact.path, "train")
    found = []
    for start, length in zip(stream.starts, stream.lengths, strict=True):
        ids, counted = (part[start : start + length] for part in (stream.ids, stream.counted))
        whole, answers = (
            tokenizer.decode(part, skip_special=False) for part in (ids, ids[counted])
        )
        found.append((whole, answers))
    return found


def test_answers_and_their_ends_count_and_nothing_else(
    made: Callable[..., Artifact], tokenizer: Tokenizer
) -> None:
    turns = [
        ASK,
        ANSWER,
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4"},
    ]
    system = {"role": "system", "content": "Count.\n"}
    artifact = made([{"messages": [system, *turns]}, "{", {"x": 1}, {"messages": [system, *turns]}])
    ((whole, answers),) = texts(artifact, tokenizer)
    bos = tokenizer.special_text(tokenizer.specials.bos or 0)
    assert whole == (
        f"{bos}Count.\n### Instruction:\n1+2?\n### Response:\n3\n<|EOT|>\n"
        "### Instruction:\n2+2?\n### Response:\n4\n<|EOT|>"
    )
    assert answers == "3\n<|EOT|>4\n<|EOT|>"
    assert artifact.counts["dropped"] == {"not-json": 1, "unknown-shape": 1, "duplicate": 1}
    dropped = list(read_json_lines(artifact.path / "dropped.jsonl"))
    assert [(row["row"], row["reason"]) for row in dropped] == [
        (2, "not-json"),
        (3, "unknown-shape"),
        (4, "duplicate"),
    ]
    meta = read_dialogue_meta(artifact.path)
    assert meta.splits["train"].n_bytes == len("3\n<|EOT|>4\n<|EOT|>")
    index = pq.read_table(artifact.path / "index-00000.parquet").to_pylist()
    assert [(row["row"], row["n_counted"]) for row in index] == [(1, 6)]


def test_a_prompt_in_training_is_the_prompt_when_asked(
    made: Callable[..., Artifact], tokenizer: Tokenizer
) -> None:
    artifact = made([{"messages": [ASK, {"role": "assistant", "content": "\n\n  3 <|EOT|>"}]}])
    stream = open_labelled(artifact.path, "train")
    prompt = ChatFormat(tokenizer, "coder-v1").ids([ASK])
    assert stream.ids[~stream.counted].tolist() == prompt
    # The text <|EOT|> of a row is text: only the template's own ends the turn.
    eot = tokenizer.specials.eot
    assert [i for i in stream.ids.tolist() if i == eot] == [eot]


def test_text_that_looks_like_special_tokens_stays_text_in_the_prompt(
    made: Callable[..., Artifact], tokenizer: Tokenizer
) -> None:
    artifact = made([{"instruction": "<|EOT|>", "output": "x"}])
    assert texts(artifact, tokenizer)[0][1] == "x\n<|EOT|>"


def long_dialogue(n: int) -> dict[str, Any]:
    pairs = [[f"question {i} of this long talk?", f"answer number {i}"] for i in range(n)]
    return {"instruction": pairs[-1][0], "output": pairs[-1][1], "history": pairs[:-1]}


def test_a_long_dialogue_loses_its_oldest_turns_and_each_answer_counts_once(
    made: Callable[..., Artifact], tokenizer: Tokenizer
) -> None:
    row = long_dialogue(6) | {"system": "Be short.\n"}
    artifact = made([row], context=200)
    found = texts(artifact, tokenizer)
    assert len(found) > 1
    assert read_dialogue_meta(artifact.path).context == 200
    assert max(open_labelled(artifact.path, "train").lengths) <= 200
    answers = "".join(counted for _, counted in found)
    assert answers == "".join(f"answer number {i}\n<|EOT|>" for i in range(6))
    assert all("Be short." in whole for whole, _ in found)
    assert "question 0" not in found[-1][0]
    assert "answer number 4" in found[-1][0]
    assert artifact.counts["answers_after_a_cut"] == len(found) - 1


def test_an_answer_too_long_is_left_out_and_counted(
    made: Callable[..., Artifact], tokenizer: Tokenizer
) -> None:
    history = [["a?", "A"], ["b?", "word " * 400], ["c?", "C"]]
    row = {"instruction": "d?", "output": "D", "history": history, "system": "S\n"}
    alone = {"instruction": "e?", "output": "word " * 400, "system": "S\n"}
    artifact = made([row, alone], context=100)
    assert [counted for _, counted in texts(artifact, tokenizer)] == [
        "A\n<|EOT|>",
        "C\n<|EOT|>",
        "D\n<|EOT|>",
    ]
    assert artifact.counts["answers_too_long"] == 2
    assert artifact.counts["dropped"] == {"answer-too-long": 1}
    report = (artifact.path / "report.md").read_text()
    assert "2 rows were read and 1 stay: 3 documents" in report


def test_a_template_that_rewrites_old_turns_makes_a_document_of_each_answer(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    source = (
        "{% for m in messages %}[{{ m.role }}]"
        "{{ m.content if loop.last or m.role == 'user' else 'old' }}<|EOT|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    (tmp_path / "t.jinja").write_text(source)
    encoder = DialogueEncoder(tokenizer, str(tmp_path / "t.jinja"), 512)
    row = {"instruction": "b?", "output": "B", "history": [["a?", "A"]]}
    found = encoder.documents(read_dialogue(row))
    assert [tokenizer.decode(d.ids, skip_special=False) for d in found] == [
        "[user]a?<|EOT|>[assistant]A<|EOT|>",
        "[user]a?<|EOT|>[assistant]old<|EOT|>[user]b?<|EOT|>[assistant]B<|EOT|>",
    ]


def test_a_template_whose_answers_never_end_is_one_line(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "t.jinja").write_text(CHATML.replace("<|EOT|>", "\n"))
    encoder = DialogueEncoder(tokenizer, str(tmp_path / "t.jinja"), 512)
    with pytest.raises(TokenizerError, match="at which the model stops"):
        encoder.documents(read_dialogue({"messages": [ASK, ANSWER]}))


PAD = "<\uff5cend\u2581of\u2581sentence\uff5c>"
PUBLISHED_ROWS = [
    {"instruction": "  Write add.\n", "output": "def add(a, b):\n    return a + b\n"},
    {"instruction": "Say <|EOT|> twice", "output": "<|EOT|><|EOT|>"},
    {"instruction": "a" * 30, "output": "\n\n  indented"},
    {"instruction": "Count to many", "output": "1 2 3 4 " * 120},
    {"instruction": "long " * 300, "output": "never seen"},
]


def script_labels(
    tokenizer: Published, row: dict[str, str], limit: int, bos: int, pad: int
) -> tuple[list[int], list[int]]:
    """What finetune_deepseekcoder.py computes, by the tokenizers library alone."""
    source = (
        "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by "
        "DeepSeek Company, and you only answer questions related to computer science. For "
        "politically sensitive questions, security and privacy issues, and other non-computer "
        "science questions, you will refuse to answer.\n### Instruction:\n"
        + row["instruction"].strip()
        + "\n### Response:\n"
    )
    both = [
        [bos, *tokenizer.encode(text, add_special_tokens=False).ids][:limit]
        for text in (f"{source}{row['output']}\n<|EOT|>", source)
    ]
    n_ignored = len([i for i in both[1] if i != pad])
    return both[0], [-100] * min(n_ignored, len(both[0])) + both[0][n_ignored:]


def published_rows(n: int) -> list[dict[str, str]]:
    """The rows above and random ones: seams, look-alikes of tokens, lengths around the limit."""
    rng = Random(15)
    parts = [
        " ",
        "\n",
        "\n\n",
        "  ",
        "x",
        "é",
        "漢字",
        "🙂",
        "def ",
        "return",
        "<|EOT|>",
        "### ",
        "\t",
    ]
    parts += [PAD, "<|pad|>", "\r\n", "0", "12", "It's", "\u3000", "_", ":"]

    def text(length: int) -> str:
        return "".join(rng.choice(parts) for _ in range(length)) + "."

    drawn = (
        {"instruction": text(rng.randint(0, 150)), "output": text(rng.randint(0, 150))}
        for _ in range(n - len(PUBLISHED_ROWS))
    )
    return [*PUBLISHED_ROWS, *drawn]


def test_published_labels_are_those_of_the_published_script_on_200_rows(
    made: Callable[..., Artifact],
    tokenizer_dir: Path,
    tokenizer: Tokenizer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bos, pad = tokenizer.specials.bos or 0, tokenizer.specials.pad or 0
    theirs = Published.from_file(str(tokenizer_dir / "tokenizer.json"))
    rows = published_rows(200)
    limit = 300
    artifact = made(rows, labels="published", context=limit)
    stream = open_labelled(artifact.path, "train")
    n_cut = n_unlabelled = 0
    for row, start, length in zip(rows, stream.starts, stream.lengths, strict=True):
        ids, labels = script_labels(theirs, row, limit, bos, pad)
        ours, counted = (part[start : start + length] for part in (stream.ids, stream.counted))
        assert ours.tolist() == ids
        assert [int(i) if c else -100 for i, c in zip(ours, counted, strict=True)] == labels
        is_unlabelled = all(label == -100 for label in labels)
        n_unlabelled += is_unlabelled
        whole, _ = script_labels(theirs, row, 10**6, bos, pad)
        n_cut += len(whole) > limit and not is_unlabelled
    assert (artifact.counts["unlabelled"], artifact.counts["cut_answers"]) == (n_unlabelled, n_cut)
    assert min(n_cut, n_unlabelled) > 0
    said = capsys.readouterr().err
    assert f"{n_cut} answers are cut and teach no end; give a longer context than 300" in said
    assert f"{n_unlabelled} rows are cut before their answer and teach nothing" in said


def test_the_held_out_part_is_a_share_of_the_questions(made: Callable[..., Artifact]) -> None:
    rows = [{"instruction": f"q{i % 50}", "output": f"a{i}"} for i in range(100)]
    artifact = made(rows, heldout_share=0.3)
    index = pq.read_table(artifact.path / "index-00000.parquet").to_pylist()
    splits: dict[int, set[str]] = {}
    for row in index:
        splits.setdefault((row["row"] - 1) % 50, set()).add(row["split"])
    assert all(len(each) == 1 for each in splits.values())
    assert 5 <= sum(each == {"heldout"} for each in splits.values()) <= 25


def test_rows_without_any_answer_are_one_line(
    made: Callable[..., Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match="can be learnt"):
        made([{"text": "x"}, {"text": "y"}])
    assert "2 rows left out: unknown-shape; the first is" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["data", "dialogues", str(tmp_path / "none.jsonl"), "--tokenizer-dir", str(tmp_path)])
    assert stopped.value.code == 2


def test_a_mistake_leaves_nothing_that_stands_in_the_way_of_the_next_try(
    made: Callable[..., Artifact],
) -> None:
    for rows in ([], [{"text": "x"}]):
        with pytest.raises(SourceError, match="can be learnt"):
            made(rows)
    with pytest.raises(SourceError, match="all 2 documents that stay are held out"):
        made([{"instruction": f"{i}?", "output": "3"} for i in (1, 2)], heldout_share=0.999999)
    with pytest.raises(TokenizerError, match="v2's answers end with eos"):
        made([{"instruction": "1+2?", "output": "3"}], template="chatml")
    assert made([{"instruction": "1+2?", "output": "3"}]).counts["documents"] == 1


def test_a_json_list_is_read_too(made: Callable[..., Artifact], tmp_path: Path) -> None:
    (tmp_path / "alpaca.json").write_text(
        json.dumps([{"instruction": "q", "output": "a"}], indent=1)
    )
    artifact = made([{"prompt": "p", "completion": "c"}])
    assert artifact.counts["shapes"] == {"prompt+completion": 1}
    both = made([], files=(tmp_path / "alpaca.json",))
    assert both.counts["shapes"] == {"instruction+output": 1}


def test_a_row_whose_tools_the_template_does_not_show_is_left_out(
    made: Callable[..., Artifact], tmp_path: Path
) -> None:
    call = {"function": {"name": "add", "arguments": "{}"}}
    turns = [ASK, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "3"}]
    rows = [{"instruction": "1?", "output": "1"}, {"messages": [*turns, ANSWER]}]
    artifact = made(rows)
    assert artifact.counts["dropped"] == {"template-ignores-tools": 1}
    shows = tmp_path / "tools.jinja"
    shows.write_text(CHATML.replace("{{ m.content }}", "{{ m.content }}{{ m.tool_calls }}"))
    shown = made(rows, template=str(shows), out_dir=tmp_path / "shown")
    assert shown.counts["documents"] == 2


def test_a_text_of_the_developer_is_no_question_that_keeps_rows_together(
    made: Callable[..., Artifact],
) -> None:
    first = {"role": "developer", "content": "Be short."}
    rows = [{"messages": [first, ASK | {"content": f"{i}?"}, ANSWER]} for i in range(40)]
    index = pq.read_table(made(rows, heldout_share=0.3).path / "index-00000.parquet").to_pylist()
    assert {row["split"] for row in index} == {"train", "heldout"}


def test_why_nothing_is_left_is_said_with_the_cure(made: Callable[..., Artifact]) -> None:
    with pytest.raises(SourceError, match="left out are 1 answer-too-long: give a longer context"):
        made([{"instruction": "1+2?", "output": "3 " * 500}], context=16)
    with pytest.raises(SourceError, match="left out are 1 not-an-object: correct the rows"):
        made([[{"instruction": "1+2?", "output": "3"}]])
    with pytest.raises(RowError, match=r"name a file that holds one list of rows \.json"):
        read_dialogue([{"instruction": "1+2?", "output": "3"}])
    with pytest.raises(SourceError, match="every row is cut before its answer: give a longer"):
        made([{"instruction": "1+2?", "output": "3"}], context=16, labels="published")
