"""Answers that keep to a form: which tokens may come next, by xgrammar.

Input: a Form, then each token as it is chosen. Output: rows of logits in which only allowed tokens
are left. The mask of the next token is made by a thread beside the forward pass, for the places
after drafted tokens too, so speculation goes on as without a form.

An answer is whole whenever it ends: while its limit comes nearer, the shortest way to end it is
known, and a token after which that way would not fit is not taken: the way out is taken instead
(closing.py). The package is an extra: pip install 'codling[structured]'.

Shapes: V vocabulary. Not here: what a request may ask for (form.py).
"""

import functools
import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codling.core.errors import RequestError
from codling.core.foreign_json import parse_row
from codling.engine.closing import find_closing
from codling.engine.form import Form
from codling.engine.grammar_rules import refuse_endless
from codling.engine.schema_words import refuse_unkept
from codling.tokens.tokenizer import Tokenizer

MISSING = (
    "this server cannot hold an answer to a form: it needs the package xgrammar; install it with "
    "pip install 'codling[structured]'"
)
_MAX_BLANKS = 32
"""Blanks in a row between the parts of JSON: more are never written on purpose."""
_MAX_COMPILED = 64
_CACHE_BYTES = 256 * 2**20
_WATCH = 64
"""The limit is watched from this many tokens, and four times the closing, before it."""

_MAX_FAILED = 2
"""A form of which no end was found so often is left to the model."""


class FormCompiler:
    """Compiles forms for one tokenizer; from any thread."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        """`vocab_size`: rows of the model's logits, which may have more than the tokenizer."""
        self._tokenizer, self._vocab_size = tokenizer, vocab_size
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[Form, frozenset[str]], Any] = OrderedDict()
        self._compilers: dict[frozenset[str], Any] = {}
        self._mute: dict[frozenset[str], frozenset[int]] = {}
        self._filler: ThreadPoolExecutor | None = None

    def prepare(self, form: Form, marks: Collection[str] = ()) -> Any:  # noqa: ANN401 -- untyped
        """The compiled form, kept for the next request; it may take seconds.

        `marks`: special tokens that may stand in the answer as text. RequestError says what is
        wrong with the form, or that the package is missing.
        """
        key = (form, frozenset(marks))
        with self._lock:
            if key in self._compiled:
                self._compiled.move_to_end(key)
                return self._compiled[key]
            made = self._compile(form, key[1])
            self._compiled[key] = made
            if len(self._compiled) > _MAX_COMPILED:
                self._compiled.popitem(last=False)
        return made

    def start(
        self, form: Form, end_ids: Collection[int], marks: Collection[str] = ()
    ) -> "Constraint":
        """What holds one answer to a form; `end_ids` are the tokens that may end it."""
        compiled = self.prepare(form, marks)
        eos = self._tokenizer.specials.eos
        ends = sorted(end_ids) or ([] if eos is None else [eos])
        if not ends:
            raise RequestError("this model has no token that ends an answer, so none has a form")
        if self._filler is None:
            self._filler = ThreadPoolExecutor(1, thread_name_prefix="codling-form")
        matcher = _xgrammar().GrammarMatcher(compiled, override_stop_tokens=ends)
        mute = self._mute[frozenset(marks)] - set(ends)
        return Constraint(matcher, self._vocab_size, ends, self._filler, self._spell, mute)

    def close(self) -> None:
        """End the thread."""
        if self._filler is not None:
            self._filler.shutdown(wait=False, cancel_futures=True)

    def _spell(self, text: bytes) -> list[int]:
        """The tokens of a text, each the longest that fits."""
        ids: list[int] = []
        while text:
            n = min(len(text), self._longest)
            while text[:n] not in self._by_bytes:
                n -= 1
            ids.append(self._by_bytes[text[:n]])
            text = text[n:]
        return ids

    @functools.cached_property
    def _by_bytes(self) -> dict[bytes, int]:
        tokens = range(self._tokenizer.vocab_size)
        return {
            raw: i
            for i in reversed(tokens)
            if not self._tokenizer.is_special(i) and (raw := self._tokenizer.token_bytes(i))
        }

    @functools.cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_bytes))

    def _compile(self, form: Form, marks: frozenset[str]) -> Any:  # noqa: ANN401 -- untyped
        compiler = self._compiler(marks)
        try:
            match form.kind:
                case "json":
                    schema = '{"type": "object"}'
                    return compiler.compile_json_schema(
                        schema, strict_mode=False, max_whitespace_cnt=_MAX_BLANKS
                    )
                case "schema":
                    refuse_unkept(parse_row(form.source, "the schema", RequestError))
                    return compiler.compile_json_schema(
                        form.source, strict_mode=False, max_whitespace_cnt=_MAX_BLANKS
                    )
                case "grammar":
                    refuse_endless(_xgrammar().Grammar.from_ebnf(form.source))
                    return compiler.compile_grammar(form.source)
                case "regex":
                    refuse_endless(_xgrammar().Grammar.from_regex(form.source))
                    return compiler.compile_regex(form.source)
                case "tags":
                    return compiler.compile_structural_tag(form.source)
        except (RuntimeError, ValueError) as error:
            raise RequestError(f"the form of the answer cannot be used: {_reason(error)}") from None

    def _compiler(self, marks: frozenset[str]) -> Any:  # noqa: ANN401 -- untyped
        if marks not in self._compilers:
            xgrammar = _xgrammar()
            tokenizer = self._tokenizer
            shown = {tokenizer.token_id(mark) for mark in marks}
            # A token without bytes is one that no grammar allows.
            vocabulary = [
                b"" if tokenizer.is_special(i) and i not in shown else tokenizer.token_bytes(i)
                for i in range(tokenizer.vocab_size)
            ]
            self._mute[marks] = frozenset(i for i, text in enumerate(vocabulary) if not text)
            eos = tokenizer.specials.eos
            info = xgrammar.TokenizerInfo(
                vocabulary,
                xgrammar.VocabType.RAW,
                vocab_size=self._vocab_size,
                stop_token_ids=[0 if eos is None else eos],
            )
            self._compilers[marks] = xgrammar.GrammarCompiler(
                info, max_threads=1, cache_limit_bytes=_CACHE_BYTES
            )
        return self._compilers[marks]


class Constraint:
    """One answer's place in its form. `begin`, then `mask` and `accept` for each token chosen."""

    def __init__(  # noqa: PLR0913 -- what it is made of
        self,
        matcher: Any,  # noqa: ANN401 -- untyped
        vocab_size: int,
        end_ids: Sequence[int],
        filler: ThreadPoolExecutor,
        spell: Any,  # noqa: ANN401 -- text to ids
        mute: Collection[int] = (),
    ) -> None:
        """`mute`: tokens without text, which no form allows and xgrammar complains of."""
        self._matcher, self._vocab_size = matcher, vocab_size
        self.end_ids = end_ids
        """The tokens that may end it."""
        self._filler, self._spell, self._mute = filler, spell, mute
        self._masks: Future[list[NDArray[np.bool_]]] | None = None
        self._at = self._n_failed = 0
        self._is_stuck = False
        self._closing: list[int] | None = None
        self._queue: deque[int] | None = None

    @property
    def is_closing(self) -> bool:
        """Whether the answer is being ended because of its limit."""
        return self._queue is not None

    @property
    def is_closed(self) -> bool:
        """Whether that is done: nothing more may come."""
        return self._queue is not None and not self._queue

    def shortest(self) -> list[int] | None:
        """The fewest tokens found that make the answer whole from here; None if none are found."""
        if self._n_failed == _MAX_FAILED:
            return None
        text = find_closing(self._matcher)
        self._n_failed += text is None
        return None if text is None else self._spell(text)

    def begin(self, draft: Sequence[int]) -> None:
        """Make the masks of the next token and of those after the draft, beside the caller."""
        self._at = 0
        self._masks = self._filler.submit(self._fill, list(draft))

    def trim(self, draft: Sequence[int]) -> list[int]:
        """The draft as far as the form allows it."""
        if self.is_closing:
            return []
        n = next((i for i, t in enumerate(draft) if not self._may_take(t)), len(draft))
        if n:
            self._matcher.rollback(n)
        return list(draft[:n])

    def _may_take(self, token_id: int) -> bool:
        return token_id not in self._mute and bool(self._matcher.accept_token(token_id))

    def mask(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        """The row with what the form does not allow at minus infinity; the row itself if no token
        is allowed, and then the answer ends."""
        assert self._masks is not None
        allowed_V = self._masks.result()[self._at][: len(logits_V)]
        self._is_stuck = not allowed_V.any()
        return logits_V if self._is_stuck else np.where(allowed_V, logits_V, np.float32(-np.inf))

    def settle(self, token_id: int, n_left: int, *, must_end: bool = False) -> int:
        """Take the token that was chosen, or the one that is taken in its place.

        `n_left`: how many more may follow it. `must_end`: end the answer from here.
        """
        self._at += 1
        if self._queue is None and not must_end and self._take(token_id, n_left):
            return token_id
        if self._queue is None:
            closing = self.shortest() if self._closing is None else self._closing
            self._queue = deque(closing or ())
        if not self._queue:
            return self.end_ids[0]
        return self._queue.popleft()

    def _take(self, token_id: int, n_left: int) -> bool:
        """Take a token if the answer can still be ended after it."""
        if self._is_stuck:
            return False
        is_taken = self._matcher.accept_token(token_id)
        assert is_taken, f"token {token_id} was chosen although the form does not allow it"
        n_known = len(self._closing or ())
        if token_id in self.end_ids or n_left > _WATCH + 4 * n_known:
            self._closing = None
            return True
        after = self.shortest()
        if after is None or len(after) <= n_left:
            self._closing = after
            return True
        self._matcher.rollback(1)
        if self._closing is None:
            self._closing = self.shortest()
        return False

    def _fill(self, draft: Sequence[int]) -> list[NDArray[np.bool_]]:
        masks: list[NDArray[np.bool_]] = []
        n_taken = 0
        for token_id in [*draft, None]:
            words = _xgrammar().allocate_token_bitmask(1, self._vocab_size)
            self._matcher.fill_next_token_bitmask(words)
            raw = words.numpy().view(np.uint8)[0]
            masks.append(np.unpackbits(raw, bitorder="little").astype(np.bool_))
            if token_id is None or not self._matcher.accept_token(token_id):
                break
            n_taken += 1
            if self._matcher.is_terminated():
                break
        if n_taken:
            self._matcher.rollback(n_taken)
        return masks


@functools.cache
def _xgrammar() -> Any:  # noqa: ANN401 -- the package has no types of use
    """The package; RequestError where it is not installed."""
    try:
        import xgrammar  # only now: it takes seconds
    except ImportError:
        raise RequestError(MISSING) from None
    return xgrammar


def _reason(error: Exception) -> str:
    """What the package says, in one line, without the place in its own source."""
    text = " ".join(str(error).split())
    return text.partition(".cc:")[2].partition(": ")[2][:300] or text[:300]
