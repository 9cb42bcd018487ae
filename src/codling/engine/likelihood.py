"""Log-probabilities of several continuations of texts, for multiple choice.

Input: the ids of texts and of their continuations. Output: the sum of the log-probabilities of each
continuation's tokens. Texts that are asked about together run through the model in one pass, as
branches of one row: what they begin with is read once (and not at all where the text before already
had it: solved examples are often the same), each text once for all its continuations, and nothing
is padded. A mask shows each token its own branch.

Not here: generation (engine.py), a whole text's log-probabilities (text.py).

Legend: L new tokens, S slots, V vocabulary, K heads, D width.
"""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import torch
from torch import Tensor
from torch.nn import functional as F

from codling.model.cache import KVCache, Span
from codling.model.transformer import Transformer

_GROW = 512
"""Slots by which the cache grows."""
_PASS = 512
"""New tokens of one pass, unless one text alone has more."""
_ROWS = 128
"""Places whose logits are held at once."""
_GATHER_SECONDS = 0.003
"""How long texts that other threads ask about may come to a pass."""


@dataclass(frozen=True)
class Asked:
    """A text and its continuations; none may be empty."""

    start: Sequence[int]
    options: Sequence[Sequence[int]]

    @property
    def n_after(self) -> int:
        """Tokens that the continuations add: their last ones tell nothing."""
        return sum(len(option) - 1 for option in self.options)


class Likelihood:
    """A model, and the keys and values of the text that was last asked about."""

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._device = model.norm.weight.device  # packed embeddings have no weight
        self._cache: KVCache | None = None
        self._ids: list[int] = []

    def score(self, start: Sequence[int], options: Sequence[Sequence[int]]) -> list[float]:
        """The log-probability of each of `options` after `start`; none may be empty."""
        return self.score_all([Asked(start, options)])[0]

    def score_all(self, asked: Sequence[Asked]) -> list[list[float]]:
        """The same for several texts, in as few passes as hold them."""
        order = sorted(range(len(asked)), key=lambda i: list(asked[i].start))
        found: list[list[float]] = [[] for _ in asked]
        for places in self._packs(asked, order):
            for place, sums in zip(
                places, self._score_pack([asked[i] for i in places]), strict=True
            ):
                found[place] = sums
        return found

    def _packs(self, asked: Sequence[Asked], order: Sequence[int]) -> Iterator[list[int]]:
        """Neighbours in `order` whose new tokens fit into a pass."""
        pack: list[int] = []
        for i in order:
            if pack and self._n_new([asked[j] for j in (*pack, i)]) > _PASS:
                yield pack
                pack = []
            pack.append(i)
        if pack:
            yield pack

    def _n_new(self, pack: Sequence[Asked]) -> int:
        common = _n_common(pack)
        rest = sum(len(each.start) - common + each.n_after for each in pack)
        return common - _n_shared(self._ids, pack[0].start[:common]) + rest

    @torch.inference_mode()
    def _score_pack(self, pack: Sequence[Asked]) -> list[list[float]]:
        common = _n_common(pack)
        known = _n_shared(self._ids, pack[0].start[:common])
        tree = _grow_tree(pack, common, known)
        cache = self._reserve(known + len(tree.ids))
        branches = _Branches(cache, known, tree, self._device)
        self._ids = []  # should the pass fail, nothing is known
        hidden_LE = self._model(torch.tensor([tree.ids], device=self._device), cache=branches)[0]
        self._ids = list(pack[0].start)
        values = iter(self._logprobs(hidden_LE, tree.places, tree.nexts))
        return [
            [sum(itertools.islice(values, len(option))) for option in each.options] for each in pack
        ]

    def _logprobs(
        self, hidden_LE: Tensor, places: Sequence[int], nexts: Sequence[int]
    ) -> list[float]:
        """The log-probability of each of `nexts` after the token at its place."""
        wanted, of_each = torch.unique(torch.tensor(places), return_inverse=True)
        next_N = torch.tensor(nexts)
        found_N = torch.empty(len(nexts))
        for begin in range(0, len(wanted), _ROWS):
            rows = wanted[begin : begin + _ROWS]
            logits_RV = self._model.logits(hidden_LE[rows.to(self._device)]).float().cpu()
            logprobs_RV = F.log_softmax(logits_RV, dim=-1)
            here = (of_each >= begin) & (of_each < begin + len(rows))
            found_N[here] = logprobs_RV[of_each[here] - begin, next_N[here]]
        return [float(value) for value in found_N]

    def _reserve(self, length: int) -> KVCache:
        """A row with room; what is known of the old one stays."""
        cache = self._cache
        if cache is None or cache.max_length < length:
            weight = self._model.norm.weight
            slots = -(-length // _GROW) * _GROW
            grown = KVCache.allocate(
                self._model.config, 1, slots, dtype=weight.dtype, device=self._device
            )
            if cache is not None:
                for new, old in zip(grown.stores, cache.stores, strict=True):
                    for into, of in zip(new, old, strict=True):
                        into[:, :, : of.shape[2]] = of
            self._cache = cache = grown
        return cache


@dataclass(frozen=True)
class _Tree:
    """The new tokens of a pass: a trunk, a branch for each text, a twig for each continuation."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    seen: list[list[tuple[int, int]]] = field(default_factory=list)
    """For each token the spans of new tokens that it sees, itself the last of them."""
    places: list[int] = field(default_factory=list)
    nexts: list[int] = field(default_factory=list)
    """Of which token's next one which is asked for."""

    def add(
        self, ids: Sequence[int], position: int, before: Sequence[tuple[int, int]]
    ) -> tuple[int, int]:
        """A piece behind the spans `before`; gives its own span."""
        begin = len(self.ids)
        self.ids.extend(ids)
        self.positions.extend(range(position, position + len(ids)))
        self.seen.extend([*before, (begin, begin + i + 1)] for i in range(len(ids)))
        return begin, begin + len(ids)


def _grow_tree(pack: Sequence[Asked], common: int, known: int) -> _Tree:
    tree = _Tree()
    trunk = tree.add(pack[0].start[known:common], known, [])
    for each in pack:
        branch = tree.add(each.start[common:], common, [trunk])
        for option in each.options:
            twig = tree.add(option[:-1], len(each.start), [trunk, branch])
            tree.places.extend([branch[1] - 1, *range(*twig)])
            tree.nexts.extend(option)
    return tree


class _Branches(KVCache):
    """One row whose new tokens stand side by side behind what is known."""

    def __init__(self, row: KVCache, known: int, tree: _Tree, device: torch.device) -> None:
        super().__init__(row.stores, torch.tensor([known]))
        length = len(tree.ids)
        bias_LS = torch.full((length, known + length), float("-inf"), dtype=row.stores[0][0].dtype)
        bias_LS[:, :known] = 0.0
        for i, spans in enumerate(tree.seen):
            for begin, end in spans:
                bias_LS[i, known + begin : known + end] = 0.0
        self._span = Span(
            length=length,
            n_visible=known + length,
            start=None,
            positions_BL=torch.tensor([tree.positions], device=device),
            bias=bias_LS.to(device)[None, None],
            is_causal=False,
        )

    def span(self, length: int) -> Span:
        """The tree's own."""
        assert length == self._span.length
        return self._span

    def write(self, layer: int, span: Span, *new: Tensor) -> tuple[Tensor, ...]:
        """Into the slots behind what is known, in the order of the tree."""
        begin = span.n_visible - span.length
        for store, tensor_BKLD in zip(self.stores[layer], new, strict=True):
            store[:, :, begin : span.n_visible] = tensor_BKLD
        return tuple(store[:, :, : span.n_visible] for store in self.stores[layer])


class SharedLikelihood:
    """A Likelihood for several threads: what they ask at the same time runs in the same passes."""

    def __init__(self, model: Transformer) -> None:
        self._likelihood = Likelihood(model)
        self._turn = threading.Lock()
        self._waiting: SimpleQueue[_Request] = SimpleQueue()

    def score(self, start: Sequence[int], options: Sequence[Sequence[int]]) -> list[float]:
        """As Likelihood's; the thread whose turn it is works for all that wait."""
        own = _Request(Asked(start, options))
        self._waiting.put(own)
        with self._turn:
            if not own.is_done:
                time.sleep(_GATHER_SECONDS)
                self._answer()
        if own.error is not None:
            raise own.error
        return own.sums

    def _answer(self) -> None:
        requests = [self._waiting.get() for _ in range(self._waiting.qsize())]
        try:
            found = self._likelihood.score_all([each.asked for each in requests])
            for request, sums in zip(requests, found, strict=True):
                request.sums = sums
        except Exception as error:  # noqa: BLE001 -- each of those who asked gets it
            for request in requests:
                request.error = error
        for request in requests:
            request.is_done = True


@dataclass
class _Request:
    asked: Asked
    sums: list[float] = field(default_factory=list)
    is_done: bool = False
    error: Exception | None = None


def _n_common(pack: Sequence[Asked]) -> int:
    """Tokens with which all begin, less the last of a text: what follows it is asked for."""
    first, shortest = pack[0].start, min(len(each.start) for each in pack) - 1
    return min([shortest, *(_n_shared(first, each.start) for each in pack[1:])])


def _n_shared(old: Sequence[int], new: Sequence[int]) -> int:
    """Tokens at the beginning that both have."""
    for place, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            return place
    return min(len(old), len(new))
