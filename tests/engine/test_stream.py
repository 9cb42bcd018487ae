"""Stop strings across tokens, and characters across tokens."""

import asyncio
import json
import threading

import pytest

from codling.engine.request import Delta
from codling.engine.stream import LeadFilter, StopFilter, Stream, Transcript
from codling.tokens.bpe import train
from codling.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def bytes_only() -> Tokenizer:
    """A tokenizer with a token per byte, so that every character but ASCII is several tokens."""
    return Tokenizer(json.loads(train(iter(["a"]), 265).to_str()))


def filtered(stops: list[str], pieces: list[str]) -> tuple[list[str], bool]:
    stop_filter = StopFilter(stops)
    texts = [stop_filter.push(p) for p in pieces]
    return [*texts, stop_filter.flush()], stop_filter.has_stopped


def test_a_lead_that_the_caller_has_already_is_left_out_once(bytes_only: Tokenizer) -> None:
    for text, shown in ((" a b", "a b"), ("a", "a"), ("  a", " a")):
        transcript = Transcript(bytes_only, [], lead=" ")
        ids = bytes_only.encode(text)
        pieces = [transcript.push(i, None, None, silent=False).text for i in ids]
        assert "".join(pieces) == shown


def test_a_stop_string_cut_by_tokens_is_held_back_and_found() -> None:
    assert filtered(["\ndef"], ["a\n", "d", "ef f()"]) == (["a", "", "", ""], True)


def test_text_that_only_began_like_a_stop_string_comes_later() -> None:
    assert filtered(["\ndef"], ["a\n", "de", "l x"]) == (["a", "", "\ndel x", ""], False)


def test_the_earliest_of_several_stop_strings_ends_the_text() -> None:
    assert filtered(["c", "bc"], ["a", "b", "cd"])[0] == ["a", "", "", ""]


def test_a_repeated_beginning_of_a_stop_string_does_not_confuse() -> None:
    assert filtered(["aab"], ["a", "a", "a", "b", "c"]) == (["", "", "a", "", "", ""], True)


def test_text_held_back_is_given_at_the_end() -> None:
    assert filtered(["END"], ["x", "EN"]) == (["x", "", "EN"], False)


def test_characters_come_whole_however_their_bytes_are_cut(bytes_only: Tokenizer) -> None:
    text = "naïve 漢字 👩‍💻 end"
    transcript = Transcript(bytes_only, [])
    ids = bytes_only.encode(text)
    deltas = [transcript.push(i, None, None, silent=False).text for i in ids]
    assert "".join(deltas) == text
    assert len(ids) == len(text.encode())
    assert all("\ufffd" not in d for d in deltas)


def test_half_a_character_at_the_token_limit_is_left_out(bytes_only: Tokenizer) -> None:
    transcript = Transcript(bytes_only, [])
    ids = bytes_only.encode("a漢")[:-1]
    deltas = [transcript.push(i, None, None, silent=False) for i in ids[:-1]]
    deltas.append(transcript.push(ids[-1], None, "length", silent=False))
    assert "".join(d.text for d in deltas) == "a"
    assert deltas[-1].finish_reason == "length"


def test_a_stop_string_may_begin_inside_a_token_and_end_in_a_character(
    bytes_only: Tokenizer,
) -> None:
    transcript = Transcript(bytes_only, ["字"])
    deltas = [transcript.push(i, None, None, silent=False) for i in bytes_only.encode("漢字漢")]
    assert "".join(d.text for d in deltas) == "漢"
    assert [d.finish_reason for d in deltas].index("stop") == 5


def new_stream(tokenizer: Tokenizer) -> tuple[Stream, list[Stream]]:
    cancelled: list[Stream] = []
    return Stream(3, Transcript(tokenizer, []), cancelled.append), cancelled


def test_leaving_the_loop_early_cancels(bytes_only: Tokenizer) -> None:
    stream, cancelled = new_stream(bytes_only)
    stream.put(Delta(text="a"))
    for _ in stream:
        break
    assert cancelled == [stream]


def test_an_error_is_raised_where_the_stream_is_read(bytes_only: Tokenizer) -> None:
    stream, cancelled = new_stream(bytes_only)
    stream.put(Delta(text="a"))
    stream.put(RuntimeError("no memory"))
    with pytest.raises(RuntimeError, match="no memory"):
        stream.result()
    assert cancelled == []


def test_a_stream_can_be_read_in_an_event_loop(bytes_only: Tokenizer) -> None:
    stream, cancelled = new_stream(bytes_only)

    async def read() -> list[str]:
        return [delta.text async for delta in stream]

    deltas = [Delta(text="a"), Delta(text="b"), Delta(text="", finish_reason="stop")]
    feeder = threading.Timer(0.02, lambda: list(map(stream.put, deltas)))
    feeder.start()
    assert asyncio.run(read()) == ["a", "b", ""]
    assert cancelled == []


@pytest.mark.parametrize(
    ("lead", "answer", "left"),
    [
        ("    ", "    if n:", "if n:"),
        ("    ", "if n:", "if n:"),
        ("    ", "        if n:", "    if n:"),
        ("    ", "  if n:", "if n:"),
        ("    ", "\tif n:", "if n:"),
        ("\t", "\tif n:\n\t\treturn", "if n:\n\t\treturn"),
        ("    ", "\n    if n:", "\n    if n:"),
        ("    ", "   ", ""),
        ("", "    x", "    x"),
    ],
)
def test_an_indentation_that_the_caller_has_is_left_out(lead: str, answer: str, left: str) -> None:
    for size in (1, 2, 3, 20):
        filtered = LeadFilter(lead)
        pieces = [answer[i : i + size] for i in range(0, len(answer), size)]
        assert "".join(map(filtered.push, pieces)) == left
