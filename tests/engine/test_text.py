"""Text in, text out: a tiny random model answers as plain recomputation does."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, normalizers, trainers

from codling.core.errors import CheckpointError, RequestError
from codling.engine.request import BusyError, SamplingParams
from codling.engine.stream import Transcript
from codling.engine.text import TextEngine
from codling.engine.warm import warm_up
from codling.model.transformer import Transformer
from codling.tokens.bpe import train
from codling.tokens.fim import CursorPrompt
from codling.tokens.tokenizer import Tokenizer
from tiny_model import CODE, CONFIG


@pytest.fixture(scope="module")
def engine(tiny_model: Transformer, tiny_tokenizer: Tokenizer) -> Iterator[TextEngine]:
    with TextEngine(
        tiny_model, tiny_tokenizer, name="tiny", max_streams=4, max_length=256
    ) as engine:
        yield engine


def recomputed(engine: TextEngine, ids: list[int], n: int) -> list[int]:
    tokens = list(ids)
    with torch.inference_mode():
        for _ in range(n):
            logits = engine._model.logits(engine._model(torch.tensor([tokens]))[:, -1])
            tokens.append(int(logits.argmax()))
    return tokens[len(ids) :]


def test_batched_and_streamed_text_equals_plain_recomputation(engine: TextEngine) -> None:
    prompts = [CODE[: 3 + 7 * i] for i in range(9)]
    params = SamplingParams(max_tokens=20, ignore_eos=True)
    for prompt, completion in zip(prompts, engine.complete(prompts, params), strict=True):
        ids = engine.complete_prompt(prompt)
        expected = recomputed(engine, ids, 20)
        assert list(completion.token_ids) == expected
        assert engine.tokenizer.decode(expected).startswith(completion.text)
        assert completion.n_prompt_tokens == len(ids)
        streamed = list(engine.submit(ids, params))
        assert [i for d in streamed for i in d.token_ids] == expected
        assert "".join(d.text for d in streamed) == completion.text
        assert [d.finish_reason for d in streamed] == [None] * 19 + ["length"]


def test_streams_of_wild_text_never_show_half_a_character(engine: TextEngine) -> None:
    params = SamplingParams(max_tokens=60, temperature=3.0, seed=3, ignore_eos=True)
    for completion in engine.complete(["# 漢字"] * 4, params):
        whole = engine.tokenizer.decode(completion.token_ids)
        assert whole in (completion.text, completion.text + "\ufffd")


def test_a_stop_string_across_tokens_ends_the_text_before_it(engine: TextEngine) -> None:
    free = SamplingParams(max_tokens=40, temperature=1.0, seed=2, ignore_eos=True)
    (whole,) = engine.complete(["class"], free)
    for start in range(2, len(whole.text) - 3, 5):
        stop = whole.text[start : start + 3]
        (cut,) = engine.complete(["class"], replace(free, stop=(stop, "never")))
        assert cut.text == whole.text[: whole.text.index(stop)]
        assert cut.finish_reason == "stop"


def test_the_same_seed_gives_the_same_text_alone_and_in_company(engine: TextEngine) -> None:
    params = SamplingParams(max_tokens=30, temperature=1.2, top_k=50, top_p=0.9, seed=7)
    alone = engine.complete(["def add"], params)[0].text
    together = engine.complete(["x", "def add", "class Point:\n", "def add"], params)
    assert [c.text for c in together][1::2] == [alone, alone]
    assert len({c.text for p in params.choices(4) for c in engine.complete(["def"], p)}) > 1


def test_logprobs_agree_with_scoring_the_finished_text(engine: TextEngine) -> None:
    params = SamplingParams(max_tokens=12, temperature=1.0, seed=1, logprobs=3, ignore_eos=True)
    (completion,) = engine.complete([CODE[:30]], params)
    ids = engine.complete_prompt(CODE[:30])
    scored = engine.score([*ids, *completion.token_ids], top=3)
    assert scored[0] is None
    for got, expected in zip(completion.logprobs, scored[len(ids) :], strict=True):
        assert expected is not None
        assert got.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert [t.token_id for t in got.top] == [t.token_id for t in expected.top]
        assert got.bytes == engine.tokenizer.token_bytes(got.token_id)
    assert completion.logprobs[0].top[0].logprob >= completion.logprobs[0].logprob


def test_insertion_goes_through_the_one_prompt(engine: TextEngine) -> None:
    params = SamplingParams(max_tokens=10)
    (completion,) = engine.insert([("def add(", "    return a + b")], params)
    ids = engine.insert_prompt("def add(", "    return a + b")
    specials = engine.tokenizer.specials
    assert ids[:2] == [specials.bos, specials.fim_begin]
    assert ids[-1] == specials.fim_end
    expected = recomputed(engine, ids, 10)
    assert list(completion.token_ids) == expected[: len(completion.token_ids)]


def test_insertion_without_fim_tokens_names_the_cure(tiny_model: Transformer) -> None:
    raw = json.loads(train(iter([CODE]), 300).to_str())
    raw["added_tokens"] = []
    with (
        TextEngine(tiny_model, Tokenizer(raw), name="plain") as engine,
        pytest.raises(RequestError, match=r"plain was not trained to insert.*prefix alone"),
    ):
        engine.insert([("a", "b")])


def test_requests_that_come_while_others_are_cancelled_disturb_nothing(
    engine: TextEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(dict[Any, Any]):
        """Its members change while somebody looks at all of them."""

        def items(self) -> Any:
            raise AssertionError("another thread may submit meanwhile")

    monkeypatch.setattr(engine._worker, "_streams", Watched())
    stream = engine.submit([5, 6, 7], SamplingParams(max_tokens=100, ignore_eos=True))
    next(iter(stream))
    stream.cancel()
    assert engine.submit([5, 6, 7], SamplingParams(max_tokens=2)).result().token_ids


def test_a_cancelled_stream_ends_and_frees_its_slot(
    tiny_model: Transformer, tiny_tokenizer: Tokenizer
) -> None:
    with TextEngine(tiny_model, tiny_tokenizer, max_streams=1, max_length=512) as engine:
        long = SamplingParams(max_tokens=500, ignore_eos=True)
        stream = engine.submit([5, 6, 7], long)
        deltas = iter(stream)
        next(deltas)
        stream.cancel()
        assert engine.complete(["def"], SamplingParams(max_tokens=3))[0].text is not None
        rest = list(deltas)
        assert rest[-1].finish_reason == "cancelled"
        assert len(rest) < 500


def test_an_error_in_a_step_reaches_every_stream_and_the_engine_goes_on(
    tiny_model: Transformer, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TextEngine(tiny_model, tiny_tokenizer, max_streams=2, max_length=128) as engine:
        params = SamplingParams(max_tokens=8)
        good = engine.complete(["def"], params)
        gate = threading.Event()

        def broken(*_: object) -> None:
            gate.wait()
            raise RuntimeError("out of memory")

        monkeypatch.setattr(engine._runner, "run", broken)
        streams = [engine.submit([1, 2, 3], params) for _ in range(4)]
        gate.set()
        for stream in streams:
            with pytest.raises(RuntimeError, match="out of memory"):
                stream.result()
        monkeypatch.undo()
        assert engine.complete(["def"], params) == good


def test_more_prompts_than_the_queue_holds_are_fed_bit_by_bit(
    tiny_model: Transformer, tiny_tokenizer: Tokenizer
) -> None:
    with TextEngine(
        tiny_model, tiny_tokenizer, max_streams=2, max_length=64, max_waiting=3
    ) as engine:
        params = SamplingParams(max_tokens=2, ignore_eos=True)
        assert len(engine.complete(["a"] * 20, params)) == 20
        long = SamplingParams(max_tokens=60, ignore_eos=True)
        with pytest.raises(BusyError):
            [engine.submit([1, 2], long) for _ in range(20)]


def test_a_repeated_prompt_is_mostly_cached(engine: TextEngine) -> None:
    params = SamplingParams(max_tokens=2, ignore_eos=True)
    prompt = "Point" + CODE
    first, second = (engine.complete([prompt], params)[0] for _ in range(2))
    assert second.n_cached_tokens == second.n_prompt_tokens - 1
    assert first.token_ids == second.token_ids


def test_a_prompt_too_long_or_empty_is_refused(engine: TextEngine) -> None:
    with pytest.raises(RequestError, match="takes at most 256"):
        engine.complete([CODE * 20])
    with pytest.raises(RequestError, match="empty"):
        engine.submit([])
    for strange in (-1, CONFIG.vocab_size):
        with pytest.raises(RequestError, match="token id outside 0 to 319"):
            engine.submit([1, strange])
        with pytest.raises(RequestError, match="stop_token_ids names a token outside 0 to 319"):
            engine.submit([1], SamplingParams(stop_token_ids=(strange,)))


def test_an_insertion_prompt_is_cut_to_leave_room(engine: TextEngine) -> None:
    (completion,) = engine.insert([(CODE * 20, CODE * 20)], SamplingParams(max_tokens=16))
    assert completion.n_prompt_tokens <= 256 - 16


def test_a_tokenizer_larger_than_the_model_is_refused(tiny_tokenizer: Tokenizer) -> None:
    small = Transformer(replace(CONFIG, vocab_size=300))
    with pytest.raises(CheckpointError, match="tokens but the model only 300; take both"):
        TextEngine(small, tiny_tokenizer)


def test_the_cache_is_cut_to_its_budget(tiny_tokenizer: Tokenizer) -> None:
    config = replace(CONFIG, max_position=1 << 20)
    per_token = config.kv_elements_per_token * 4
    with TextEngine(
        Transformer(config), tiny_tokenizer, cache_gib=8192 * per_token / 2**30
    ) as engine:
        assert engine.max_length == 8192
        shape = engine._runner.shape
        assert (shape.n_streams, shape.n_pages * shape.page) == (16, 8192)


def sentencepiece(special: str = "<s>") -> Tokenizer:
    """A tokenizer that puts a blank before a text that begins, as SentencePiece does."""
    pieces = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    pieces.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    pieces.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    trainer = trainers.BpeTrainer(special_tokens=names, show_progress=False)
    pieces.train_from_iterator(["a + b + de"] * 5, trainer)
    raw = json.loads(pieces.to_str())
    raw["added_tokens"] = raw["added_tokens"][:3]
    return Tokenizer(raw, tokenizer_config={"bos_token": special, "eos_token": "</s>"})


def test_the_first_blank_of_an_answer_that_goes_on_is_kept(tiny_model: Transformer) -> None:
    pieces = sentencepiece()
    ids = pieces.encode("a + b + de")
    with TextEngine(tiny_model, pieces, max_streams=4, max_length=64) as engine:
        for n in range(1, len(ids)):
            transcript = Transcript(pieces, [], engine._lead(ids[:n], "complete"))
            told = [transcript.push(i, None, None, silent=False).text for i in ids[n:]]
            assert "".join(told) == "a + b + de"[len(pieces.decode(ids[:n])) :]


def test_the_blank_before_a_text_that_begins_is_no_part_of_the_answer(
    tiny_model: Transformer,
) -> None:
    pieces = sentencepiece()
    bos, blank = pieces.specials.bos, pieces.encode("a")[0]
    assert pieces.token_bytes(blank).startswith(b" ")
    with TextEngine(tiny_model, pieces, max_streams=4, max_length=64) as engine:
        assert engine._lead([bos], "complete") == " "
        assert engine._lead([bos, blank], "complete") == ""
        assert engine._lead([bos, blank], "insert") == ""
        assert engine._lead([bos, blank], "chat") == " "


def test_an_answer_at_a_cursor_begins_with_the_end_of_the_prompt(engine: TextEngine) -> None:
    for text in (CODE[:40] + "\n    ", CODE[:40] + " ret", CODE[:40].rstrip() + "\n\t"):
        prompt = engine.cursor_prompt(text)
        n = len(prompt.lead.encode())
        assert n
        params = SamplingParams(max_tokens=12, ignore_eos=True)
        streamed = list(engine.submit(prompt, params))
        ids = [i for d in streamed for i in d.token_ids]
        assert len(ids) == 12
        assert "".join(d.text for d in streamed) == heal_by_hand(engine, prompt, 12)
        sampled = replace(params, temperature=2.0, seed=1)
        mixed = [engine.submit(prompt, sampled), engine.submit(list(prompt), params)]
        assert mixed[0].result().text == engine.submit(prompt, sampled).result().text


def heal_by_hand(engine: TextEngine, prompt: CursorPrompt, n: int) -> str:
    """The likeliest text of which every token agrees with the lead; `n` tokens that say more."""
    tokens, lead = list(prompt), prompt.lead.encode()
    answer, n_said = b"", 0
    while n_said < n:
        with torch.inference_mode():
            hidden = engine._model(torch.tensor([tokens]))[:, -1]
            order = engine._model.logits(hidden)[0].argsort(descending=True).tolist()
        texts = ((i, answer + engine.tokenizer.token_bytes(i)) for i in order)
        token, said = next(
            (i, s)
            for i, s in texts
            if (not engine.tokenizer.is_special(i) and len(s) > len(answer))
            or len(answer) >= len(lead)
            if s.startswith(lead) or lead.startswith(s)
        )
        tokens.append(token)
        answer = said
        n_said += len(answer) > len(lead)
    return engine.tokenizer.decode(tokens[len(prompt) :]).removeprefix(prompt.lead)


def test_warming_up_compiles_what_the_first_request_needs(engine: TextEngine) -> None:
    warm_up(engine)
    assert "_token_index" in vars(engine)
