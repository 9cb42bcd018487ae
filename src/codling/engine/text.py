"""The engine's public interface: strings in, strings out, for one opened checkpoint.

Input: a checkpoint (Hugging Face folder or GGUF file), then prompts. Output: completions, streams,
scores. All requests, from any thread, run in one batch on one background thread.

    engine = TextEngine.open(Path("runs/stdlib/checkpoint"))
    engine.complete(["def add(a, b):"], SamplingParams(max_tokens=20))[0].text
    for delta in engine.submit(engine.insert_prompt("def add(", "    return a + b"), mode="insert"):
        print(delta.text, end="")

Not here: HTTP (serve/), how insertion prompts (tokens/fim.py) and chats (tokens/chat.py) look.
"""

import time
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch.nn import functional as F

from codling.checkpoint.adapter import adapter_path
from codling.checkpoint.hub import model_name
from codling.checkpoint.load import read_header
from codling.checkpoint.of_run import model_and_adapter
from codling.checkpoint.verify import check_files
from codling.core.errors import CheckpointError, RequestError
from codling.corpus.context import Cursor, CursorContext, RepositoryContext, SnapshotContext
from codling.engine.config import CacheForm, Precision
from codling.engine.draft import DraftSource
from codling.engine.engine import Engine
from codling.engine.form import Form
from codling.engine.likelihood import SharedLikelihood
from codling.engine.memory.open_text import OpenText, PromptLookup
from codling.engine.memory.recall import Recall
from codling.engine.memory.repository import Memory
from codling.engine.opening import OpeningTokenizer, load_weights
from codling.engine.reach import CursorReach
from codling.engine.request import (
    BusyError,
    Completion,
    Mode,
    SamplingParams,
    TokenLogprob,
)
from codling.engine.reserved import share_out
from codling.engine.runner import Runner
from codling.engine.sequence import Sequence
from codling.engine.speculate import Speculation
from codling.engine.stream import Stream
from codling.engine.structured import FormCompiler
from codling.engine.worker import Worker, token_logprob
from codling.model.config import ModelConfig
from codling.model.next_tokens import predict_pieces
from codling.model.packed.quantize import Bits
from codling.model.transformer import Transformer
from codling.tokens.chat import ChatFormat, Message
from codling.tokens.counting import count_tokens
from codling.tokens.fim import CursorPrompt, insertion_prompt
from codling.tokens.healing import Healing, TokenIndex, continuation_prompt
from codling.tokens.template_files import TEMPLATE
from codling.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from codling.engine.memory.live import LiveRepository

DEFAULT = SamplingParams()
_N_MARKS = 4
"""Special tokens of an insertion prompt: bos and three FIM marks."""


class TextEngine:
    """A model with its tokenizer, ready for requests. Close it, or use it in a `with` block."""

    memory: Memory | None = None
    """Set it, and completions and insertions are mixed with what the repository holds."""
    reach = CursorReach()
    """How long prompts at a cursor are; by default as long as fits."""
    precision: Precision | None = None
    """How its weights are held, where `open` chose it."""

    def __init__(  # noqa: PLR0913 -- the parts, and the limits
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        name: str = "model",
        max_streams: int = 16,
        max_length: int | None = None,
        max_waiting: int = 256,
        cache_gib: float = 4.0,
        fuse: bool = False,
        bits: Bits | None = None,
        cache: CacheForm = "auto",
        chat_format: ChatFormat | None = None,
        speculate: bool = True,
    ) -> None:
        """`max_streams` requests run at once and `max_waiting` more may wait.

        `max_length` counts prompt and completion of one request in tokens; None takes the model's
        context, as far as `cache_gib` allows. That is what keys and values of all requests together
        may take, at least that of one request at its longest. `fuse` decodes dense models on the
        CPU with the compiled loop (decoder_cpu.py) and takes the weights over: not for one that is
        still trained. `bits` rounds its matrices to so many, in place; `cache` is the form of keys
        and values. `chat_format`
        None takes the checkpoint's own chat template, if it has one. `speculate` lets the model try
        tokens that followed the same text elsewhere (speculate.py): the answer stays the same.
        """
        self.tokenizer = tokenizer
        self.config: ModelConfig = model.config
        self.name = name
        self.chat_format = chat_format or ChatFormat(tokenizer)
        _check_vocabulary(tokenizer, model.config, name)
        limits = share_out(model, max_streams, max_length, cache_gib, cache)
        n_slots, self.max_length, n_tokens = limits
        self._model = model.eval()
        self._likelihood = SharedLikelihood(self._model)
        self._runner = Runner(
            model,
            n_slots=n_slots,
            max_length=self.max_length,
            n_tokens=n_tokens,
            fuse=fuse,
            bits=bits,
            form=cache,
        )
        self._engine = Engine(self._runner, max_waiting=max_waiting)
        self._worker = Worker(self._engine, tokenizer)
        self._forms = FormCompiler(tokenizer, model.config.vocab_size)
        self.speculates = speculate
        """Whether requests from now on take drafts."""

    @classmethod
    def open(  # noqa: PLR0913 -- what to load, and the limits
        cls,
        path: Path,
        *,
        precision: Precision = "auto",
        cache: CacheForm = "auto",
        device: str | None = None,
        max_streams: int = 16,
        max_length: int | None = None,
        cache_gib: float = 4.0,
        fuse: bool = True,
        chat_template: str | None = None,
        must_chat: bool = False,
        memory: Path | None = None,
        adapter: Path | None = None,
        speculate: bool = True,
    ) -> Self:
        """Load a checkpoint: a run's folder, a Hugging Face folder, a .gguf file, or a hub name.

        `precision` "auto" is what choose_precision says. `device` None takes a GPU where there is
        one. `chat_template` names one of the checkpoint's, a preset
        or a file; `must_chat` refuses a model without any before its weights are read. `memory` is
        a folder of engine/memory; `adapter` is added to the weights. The rest: as above.
        Raises CheckpointError, TokenizerError, or ArtifactError for the memory.
        """
        found, adapter = model_and_adapter(path, adapter)
        check_files(found)
        _header, opening = read_header(found), OpeningTokenizer(found)  # read once while it is held
        template = chat_template or _taught_template(adapter)
        remembered = None if memory is None else Memory.open(memory, opening.result()[0])
        if must_chat:
            ChatFormat(opening.result()[0], template).template()
        model, precision = load_weights(found, precision, device, adapter, opening)
        tokenizer, index = opening.result()
        engine = cls(
            model,
            tokenizer,
            name=model_name(path),
            max_streams=max_streams,
            max_length=max_length,
            cache_gib=cache_gib,
            fuse=fuse,
            cache=cache,
            chat_format=ChatFormat(tokenizer, template),
            speculate=speculate,
        )
        engine.memory, engine.precision, engine._token_index = remembered, precision, index
        return engine

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on the CPU."""
        return self._runner.device.type == "cpu"

    @property
    def can_insert(self) -> bool:
        """Whether the model knows fill-in-the-middle."""
        return self.tokenizer.can_insert

    def complete(
        self, prompts: Many[str | Many[int]], params: SamplingParams = DEFAULT
    ) -> list[Completion]:
        """Continue each prompt, all in one batch; a prompt is a text or token ids."""
        ids = [self.complete_prompt(p) if isinstance(p, str) else list(p) for p in prompts]
        return self._all(ids, params, "complete")

    def insert(
        self, pairs: Many[tuple[str, str]], params: SamplingParams = DEFAULT
    ) -> list[Completion]:
        """Fill the hole between each (prefix, suffix); RequestError if the model cannot."""
        heals = params.logprobs is None  # they are those of the answer's own tokens
        ids = [self.insert_prompt(*p, max_tokens=params.max_tokens, heals=heals) for p in pairs]
        return self._all(ids, params, "insert")

    def complete_prompt(self, text: str) -> list[int]:
        """The ids of a prompt to continue just as it stands, as benchmarks ask.

        Special tokens written out in it are read as such.
        """
        return self.tokenizer.encode_prompt(text)

    def cursor_prompt(self, text: str, *, literal: bool = True) -> CursorPrompt:
        """The ids of the text before a cursor, to be continued wherever it ends, within a word too.

        `literal`: special tokens written out in it are text, as in a file.
        """
        return continuation_prompt(self.tokenizer, text, literal=literal)

    def insert_prompt(
        self, prefix: str, suffix: str, *, max_tokens: int = 128, heals: bool = True
    ) -> CursorPrompt:
        """The ids that ask for the text between prefix and suffix.

        Far ends are cut so that `max_tokens` more fit. A word at the end of the prefix is written
        again by the answer, unless `heals` is off (insertion_prompt). RequestError if the model has
        no FIM tokens.
        """
        if not self.can_insert:
            raise RequestError(
                f"{self.name} was not trained to insert (it has no fill-in-the-middle tokens); "
                "send the prefix alone, or use a model with FIM such as deepseek-coder-*-base, "
                "DeepSeek-Coder-V2-Lite-Base, Qwen2.5-Coder or one grown by codling",
                param="suffix",
            )
        room = self.reach.count_room(self.max_length, max_tokens)
        near = self.reach.cut_suffix(self.tokenizer, suffix)
        return insertion_prompt(self.tokenizer, prefix, near, max_tokens=room, heals=heals)

    def repository_prompt(
        self,
        repository: "RepositoryContext | SnapshotContext | LiveRepository",
        cursor: Cursor,
        *,
        insert: bool = False,
        max_tokens: int = 128,
    ) -> CursorPrompt:
        """The ids of a prompt at a cursor with the files that its file depends on in front.

        The layout is that of training samples; what does not fit is left out at the far end. With
        `insert` the text after the cursor is part of the prompt, as in insert_prompt.
        """
        room = self._context_room(cursor, insert, max_tokens)
        text = repository.prompt(cursor, budget=room, measure=self._n_tokens)
        if not insert:
            return self.cursor_prompt(text)
        return self.insert_prompt(text, cursor.suffix, max_tokens=max_tokens)

    def repository_context(
        self, repository: "LiveRepository", cursor: Cursor, *, insert: bool, max_tokens: int
    ) -> CursorContext:
        """What `repository_prompt` puts in front of the cursor, and why."""
        room = self._context_room(cursor, insert, max_tokens)
        return repository.lay_out(cursor, budget=room, measure=self._n_tokens)

    def _context_room(self, cursor: Cursor, insert: bool, max_tokens: int) -> int:
        room = self.reach.count_room(self.max_length, max_tokens) - _N_MARKS
        near = self.reach.cut_suffix(self.tokenizer, cursor.suffix)
        return room - (min(self._n_tokens(near), room // 4) if insert else 0)

    def chat_prompt(
        self,
        messages: Many[Message],
        *,
        begun: str = "",
        tools: Many[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """The ids of a conversation, up to where the assistant answers; its answer continues
        `begun`, and may call `tools` if the template knows how.

        RequestError or TokenizerError if the model's template does not take it, or there is none.
        """
        return self.chat_format.ids(messages, begun=begun, tools=tools)

    def submit(
        self, prompt_ids: Many[int], params: SamplingParams = DEFAULT, *, mode: Mode = "complete"
    ) -> Stream:
        """Start a request; returns at once. `mode` decides which special tokens end it.

        Raises RequestError if the prompt is empty or too long, BusyError if too many requests wait.
        """
        n = len(prompt_ids)
        if n == 0:
            raise RequestError("the prompt is empty; send at least one token", param="prompt")
        if n >= self.max_length:
            raise RequestError(
                f"the prompt has {n} tokens, but {self.name} takes at most {self.max_length} for "
                "prompt and completion together; shorten the prompt",
                param="prompt",
            )
        self._check_named(params)
        if min(prompt_ids) < 0 or max(prompt_ids) >= self.config.vocab_size:
            raise RequestError(
                f"the prompt holds a token id outside 0 to {self.config.vocab_size - 1}",
                param="prompt",
            )
        end_ids = frozenset() if params.ignore_eos else self.tokenizer.stop_ids(mode)
        ends = end_ids | frozenset(params.stop_token_ids)
        if params.form is not None and isinstance(prompt_ids, CursorPrompt):
            # All of the answer has the form, so nothing of the prompt may be left to it.
            prompt_ids = [*prompt_ids, *self.tokenizer.encode(prompt_ids.forced)]
        lead = self._lead(prompt_ids, mode)
        sequence = Sequence(list(prompt_ids), params, ends, lead)
        if isinstance(prompt_ids, CursorPrompt) and prompt_ids.forced:
            sequence.healing = self.heal(prompt_ids.forced)
        self._remember(sequence, mixes=mode != "chat")
        if params.form is not None:
            self._constrain(sequence, params.form)
        return self._worker.submit(sequence)

    def _check_named(self, params: SamplingParams) -> None:
        """RequestError if the parameters name a token that the model does not have."""
        last = self.config.vocab_size - 1
        named = {
            "logit_bias": [i for i, _ in params.logit_bias],
            "stop_token_ids": params.stop_token_ids,
        }
        for param, ids in named.items():
            if any(not 0 <= i <= last for i in ids):
                raise RequestError(f"{param} names a token outside 0 to {last}", param=param)

    def prepare(self, form: Form, marks: Many[str] = ()) -> None:
        """Compile a form, so that requests with it begin at once; RequestError if it is unsound or
        the package for it is missing."""
        self._forms.prepare(form, marks)

    def _constrain(self, sequence: Sequence, form: Form) -> None:
        constraint = self._forms.start(form, sequence.end_ids, sequence.params.marks)
        shortest = constraint.shortest()
        if shortest is None and form.kind in ("schema", "tags"):
            raise RequestError(
                "no answer that has this form and ends was found: its schema leads back to itself "
                "without a way out, or asks for too much"
            )
        shortest = shortest or []
        if len(shortest) > self.max_length - len(sequence.prompt_ids):
            raise RequestError(
                f"the shortest answer of this form has {len(shortest)} tokens, and the prompt "
                f"leaves {self.max_length - len(sequence.prompt_ids)}; shorten the prompt",
                param="prompt",
            )
        sequence.constraint = constraint
        # What has its form ends there, also where the model's own end is to be passed over.
        sequence.end_ids = frozenset(constraint.end_ids)

    def _remember(self, sequence: Sequence, *, mixes: bool) -> None:
        """Give a sequence the memory, which `mixes` into what it may answer, and drafts."""
        n_most = sequence.params.max_tokens + len(sequence.lead.encode())
        room = self.max_length - len(sequence.prompt_ids)
        # What has a form may be longer than it should.
        room = room if sequence.params.form else min(n_most, room)
        source: DraftSource
        if self.memory is not None and (mixes or self.speculates):
            source = recall = Recall(self.memory, sequence.prompt_ids, room)
            sequence.recall = recall if mixes else None
        elif self.speculates:
            specials = self.tokenizer.specials
            source = PromptLookup(OpenText(sequence.prompt_ids, specials, room))
        else:
            return
        if self.speculates:
            sequence.speculation = Speculation(source, self._engine.odds.of_one_sequence())

    def heal(self, lead: str) -> Healing:
        """What lets an answer begin with `lead` only."""
        return Healing(self._token_index, self.tokenizer, lead)

    @cached_property
    def _token_index(self) -> TokenIndex:
        return TokenIndex(self.tokenizer)

    @torch.inference_mode()
    def score(
        self, ids: Many[int], *, top: int = 0, check: Callable[[], None] | None = None
    ) -> list[TokenLogprob | None]:
        """Each token's log-probability given those before it; None for the first.

        `top` adds that many likeliest alternatives at each place. `check` is called every few
        hundred tokens and may raise, which ends the scoring.
        """
        if not 0 < len(ids) <= self.max_length:
            raise RequestError(
                f"cannot score {len(ids)} tokens; give 1 to {self.max_length}", param="prompt"
            )
        entries: list[TokenLogprob | None] = [None]
        for logits_LV, targets_L in predict_pieces(self._model, torch.tensor(list(ids))):
            if check is not None:
                check()
            logprobs_LV = F.log_softmax(logits_LV.cpu(), dim=-1)
            values_LK, ids_LK = logprobs_LV.topk(top)
            for i, token_id in enumerate(targets_L.tolist()):
                best = tuple(zip(ids_LK[i].tolist(), values_LK[i].tolist(), strict=True))
                value = float(logprobs_LV[i, token_id])
                entries.append(token_logprob(self.tokenizer, token_id, value, best))
        return entries

    def score_options(self, start: Many[int], options: Many[Many[int]]) -> list[float]:
        """The log-probability of each continuation of the same tokens (likelihood.py)."""
        longest = len(start) + max(map(len, options))
        if not start or longest > self.max_length:
            raise RequestError(
                f"cannot score {longest} tokens after {len(start)}; {self.name} takes 1 to "
                f"{self.max_length}: raise --max-length",
                param="prompt",
            )
        return self._likelihood.score(start, options)

    @torch.inference_mode()
    def logits(self, ids: Many[int], start: int) -> torch.Tensor:
        """The rows [n, vocabulary] from which the tokens from place `start` on are chosen, float32.

        `start` is 1 or more; n is the number of those tokens.
        """
        if not 0 < start < len(ids) <= self.max_length:
            raise RequestError(
                f"cannot score {len(ids)} tokens from {start}; {self.name} takes {self.max_length}",
                param="prompt",
            )
        ids_1L = torch.tensor([list(ids[:-1])], device=self._runner.device)
        hidden_LE = self._model(ids_1L)[0, start - 1 :]
        return self._model.logits(hidden_LE).float().cpu()

    def close(self) -> None:
        """Cancel what runs and end the background threads."""
        self._worker.close()
        self._forms.close()
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lead(self, prompt_ids: Many[int], mode: Mode) -> str:
        """The blanks that the answer may begin with and the caller has."""
        if isinstance(prompt_ids, CursorPrompt):
            return prompt_ids.lead
        # Such a tokenizer puts a blank before a text that begins: after a mark, and before a
        # message. One in the middle of a text is a blank.
        last = prompt_ids[-1]
        begins = self.tokenizer.is_special(last) and last != self.tokenizer.specials.fim_end
        is_added = self.tokenizer.strips_space and (mode == "chat" or begins)
        return " " if is_added else ""

    def _n_tokens(self, text: str) -> int:
        """As far as the context's length: what is longer is cut anyway."""
        return count_tokens(text, self.tokenizer, self.max_length)

    def _all(
        self, prompts: Many[list[int]], params: SamplingParams, mode: Mode
    ) -> list[Completion]:
        """Run all prompts, as many at once as the queue takes."""
        streams: list[Stream] = []
        done: list[Completion] = []
        for ids in prompts:
            while True:
                try:
                    streams.append(self.submit(ids, params, mode=mode))
                    break
                except BusyError:
                    if len(done) < len(streams):
                        done.append(streams[len(done)].result())
                    else:
                        time.sleep(0.01)
        return done + [stream.result() for stream in streams[len(done) :]]


def _taught_template(adapter: Path | None) -> str | None:
    """The chat template that an adapter was taught with, where it brings one."""
    file = None if adapter is None else adapter_path(adapter) / TEMPLATE
    return str(file) if file is not None and file.is_file() else None


def _check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, name: str) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{name}: the tokenizer has {tokenizer.vocab_size} tokens but the model only "
            f"{config.vocab_size}; take both from the same checkpoint"
        )
