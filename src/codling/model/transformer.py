"""The model: token ids to hidden states to logits.

Input: token ids [B, L] and, for generation, a KVCache. Output: hidden states [B, L, E] after
the final norm; `logits` turns the wanted ones into scores over the vocabulary, so that neither
training nor prefill makes logits that nobody reads. Parameter names are the published ones without
"model." in front (checkpoint/names.py).

Not here: losses (train/), sampling and batching (engine/), files (checkpoint/), tokenizers.

Legend: B batch, L length, E hidden width, V vocabulary.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codling.model.attention import Attention
from codling.model.balance import Capacity
from codling.model.cache import KVCache, Span, separate_documents
from codling.model.config import ModelConfig
from codling.model.mla import MLA
from codling.model.mlp import MLP
from codling.model.moe import MoE, RoutingLog
from codling.model.norm import RMSNorm
from codling.model.rope import Rope, Rotation
from codling.model.shared_window import SharedWindow


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = (Attention if config.mla is None else MLA)(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = (
            MoE(config)
            if config.is_moe_layer(layer)
            else MLP(config.hidden_size, config.intermediate_size)
        )

    def forward(  # noqa: PLR0913 (positions, cache and mask, and what experts need and tell)
        self,
        x_BLE: Tensor,
        rotation: Rotation,
        cache: KVCache | None = None,
        span: Span | SharedWindow | None = None,
        log: RoutingLog | None = None,
        capacity: Capacity | None = None,
    ) -> Tensor:
        """[B, L, hidden]."""
        x_BLE = x_BLE + self.self_attn(self.input_layernorm(x_BLE), rotation, cache, span)
        normed_BLE = self.post_attention_layernorm(x_BLE)
        changed_BLE: Tensor = (
            self.mlp(normed_BLE, log, capacity)
            if isinstance(self.mlp, MoE)
            else self.mlp(normed_BLE)
        )
        return x_BLE + changed_BLE


class Transformer(nn.Module):
    """A decoder-only language model of the shape that `config` gives."""

    recompute: bool = False
    """For training: of each block only its input is kept, and the backward pass computes the rest
    again (gradient checkpointing, arXiv:1604.06174). The gradients are the same."""

    def __init__(self, config: ModelConfig, generator: torch.Generator | None = None) -> None:
        """Weights come from N(0, init_std) with `generator`; on the meta device they stay empty."""
        super().__init__()
        self.config = config
        # A given weight is not initialised: on the meta device that would import torch._dynamo,
        # which takes a second and 75 MB.
        self.embed_tokens = nn.Embedding(
            config.vocab_size,
            config.hidden_size,
            _weight=torch.empty(config.vocab_size, config.hidden_size),
        )
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.n_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.rope = Rope(config)
        self.tie()
        self.init_weights(generator)

    def tie(self) -> None:
        """Make input and output embedding one tensor where the config says so."""
        if self.config.tie_embeddings and isinstance(self.lm_head, nn.Linear):
            self.lm_head.weight = self.embed_tokens.weight

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Matrices from N(0, init_std), biases 0, norms 1."""
        for name, parameter in self.named_parameters():
            if parameter.is_meta:
                continue
            if parameter.dim() > 1:
                parameter.normal_(0.0, self.config.init_std, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)

    def forward(  # noqa: PLR0913 (what tokens see and where they stand, and what experts need)
        self,
        tokens_BL: Tensor,
        *,
        cache: KVCache | None = None,
        log: RoutingLog | None = None,
        documents_BL: Tensor | None = None,
        branches: Span | None = None,
        capacity: Capacity | None = None,
        window: SharedWindow | None = None,
    ) -> Tensor:
        """Hidden states after the final norm, [B, L, E].

        Without a cache the tokens stand at positions 0 to L - 1. With one, row b's tokens take the
        positions from cache.lengths_B[b] on; call cache.advance afterwards. The routing of every
        layer with experts is appended to `log`, for balance losses. `documents_BL`, without a
        cache, numbers the document of every token: tokens see their own document alone. Positions
        run on through a row; what a rotation tells is how far two tokens are apart. Layers with
        experts leave out what goes beyond `capacity`, which training alone gives. The tokens may be
        this process's of a shared `window`, which knows the documents.
        """
        x_BLE: Tensor = self.embed_tokens(tokens_BL)
        if window is not None:
            rotation = self.rope.places(window)
            x_BLE = self.pass_blocks(self.layers, x_BLE, rotation, window, log, capacity)
        elif cache is None:
            apart = branches
            if documents_BL is not None:
                apart = separate_documents(documents_BL, x_BLE.dtype)
            rotation = (
                self.rope.span(0, tokens_BL.shape[1])
                if branches is None
                else self._rotation(branches)
            )
            x_BLE = self.pass_blocks(self.layers, x_BLE, rotation, apart, log, capacity)
        else:
            span = cache.span(tokens_BL.shape[1])
            rotation = self._rotation(span)
            for block in self.layers:
                x_BLE = block(x_BLE, rotation, cache, span, log)
        hidden_BLE: Tensor = self.norm(x_BLE)
        return hidden_BLE

    def pass_blocks(  # noqa: PLR0913 (as above)
        self,
        blocks: Iterable[nn.Module],
        x_BLE: Tensor,
        rotation: Rotation,
        span: Span | SharedWindow | None,
        log: RoutingLog | None,
        capacity: Capacity | None,
    ) -> Tensor:
        """Hidden states behind `blocks`, without a cache: [B, L, E]."""
        for block in blocks:
            # A log that is always empty: a compiled block depends on its length.
            own = None if log is None else RoutingLog()
            x_BLE = self._pass_block(block, x_BLE, rotation, None, span, own, capacity)
            if log is not None and own is not None:
                log.routings += own.routings[:1]
        return x_BLE

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden states of any leading shape: [..., V]."""
        scores: Tensor = self.lm_head(hidden)
        return scores

    def n_parameters(self) -> int:
        """Number of weights; tied ones count once."""
        return sum(p.numel() for p in self.parameters())

    def _pass_block(self, block: nn.Module, *arguments: object) -> Tensor:
        if not self.recompute or not torch.is_grad_enabled():
            passed: Tensor = block(*arguments)
            return passed
        # Nothing is drawn at random in a block, so no generator's state has to be kept.
        again: Tensor = checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
        return again

    def _rotation(self, span: Span) -> Rotation:
        if span.start is not None:
            return self.rope.span(span.start, span.length)
        # Not n_visible: padding may stand beyond the last slot.
        self.rope.reserve(span.n_visible + span.length)
        return self.rope.at(span.positions_BL)
