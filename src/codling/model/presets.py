"""The published models by name, and small ones of both shapes that a CPU can train.

Input: a name. Output: its ModelConfig. Numbers from the published config.json files; the tests hold
the parameter counts to the published ones. Base and instruct models of one size differ in tokenizer
and eos only, so they share a config here: NAME-instruct and NAME-chat are accepted.

Not here: what the numbers amount to (sizes.py).
"""

from dataclasses import replace

from codling.core.errors import ConfigError
from codling.core.recipe import explain_unknown_key
from codling.model.config import MLAConfig, ModelConfig, MoEConfig, RopeConfig

_CODER_ROPE = RopeConfig(theta=100_000.0, scaling="linear", factor=4.0)


def _dense(hidden: int, ffn: int, layers: int, heads: int, kv_heads: int) -> ModelConfig:
    """DeepSeek-Coder: Llama's shape, the 32K vocabulary, 16K tokens by linear scaling."""
    return ModelConfig(
        vocab_size=32_256,
        hidden_size=hidden,
        intermediate_size=ffn,
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=kv_heads,
        max_position=16_384,
        rope=_CODER_ROPE,
    )


def _general(config: ModelConfig) -> ModelConfig:
    """DeepSeek-LLM: the 100K vocabulary and 4K tokens, not stretched."""
    return replace(config, vocab_size=102_400, max_position=4_096, rope=RopeConfig(theta=10_000.0))


def _yarn(mscale: float) -> RopeConfig:
    return RopeConfig(
        theta=10_000.0,
        scaling="yarn",
        factor=40.0,
        original_max_position=4_096,
        mscale=mscale,
        mscale_all_dim=mscale,
    )


_LITE = ModelConfig(
    vocab_size=102_400,
    hidden_size=2_048,
    intermediate_size=10_944,
    n_layers=27,
    n_heads=16,
    max_position=163_840,
    rope=_yarn(0.707),
    mla=MLAConfig(),
    moe=MoEConfig(),
)
_V2 = ModelConfig(
    vocab_size=102_400,
    hidden_size=5_120,
    intermediate_size=12_288,
    n_layers=60,
    n_heads=128,
    max_position=163_840,
    # V2-Chat's 0.707; V2.5 has 1.0: a checkpoint's own config decides.
    rope=_yarn(0.707),
    mla=MLAConfig(q_lora_rank=1_536),
    moe=MoEConfig(
        n_routed_experts=160,
        moe_intermediate_size=1_536,
        topk_method="group_limited_greedy",
        n_group=8,
        topk_group=3,
        routed_scaling_factor=16.0,
    ),
)
_TINY_MLA = MLAConfig(kv_lora_rank=128, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64)

PRESETS: dict[str, ModelConfig] = {
    "coder-1.3b": _dense(2_048, 5_504, 24, 16, 16),
    "coder-5.7bmqa": _dense(4_096, 11_008, 32, 32, 1),
    "coder-6.7b": _dense(4_096, 11_008, 32, 32, 32),
    "coder-33b": _dense(7_168, 19_200, 62, 56, 8),
    "coder-7b-v1.5": _general(_dense(4_096, 11_008, 30, 32, 32)),
    "llm-67b": _general(_dense(8_192, 22_016, 95, 64, 8)),
    "v2-lite": _LITE,
    "v2": _V2,
    "coder-v2-lite": _LITE,
    "coder-v2": _V2,
    # Small enough to train on a CPU.
    "tiny-dense": ModelConfig(
        vocab_size=8_192, hidden_size=384, intermediate_size=1_024, n_layers=6, n_heads=6
    ),
    "tiny-gqa": ModelConfig(
        vocab_size=8_192,
        hidden_size=384,
        intermediate_size=1_024,
        n_layers=6,
        n_heads=6,
        n_kv_heads=2,
    ),
    "tiny-moe": ModelConfig(
        vocab_size=8_192,
        hidden_size=384,
        intermediate_size=1_024,
        n_layers=6,
        n_heads=6,
        mla=_TINY_MLA,
        moe=MoEConfig(n_routed_experts=16, n_experts_per_token=3, moe_intermediate_size=192),
    ),
}


def preset(name: str) -> ModelConfig:
    """The config of a published model; ConfigError names the nearest name.

    >>> preset("coder-6.7b-instruct").n_layers
    32
    """
    key = name.lower().removeprefix("deepseek-ai/").removeprefix("deepseek-")
    for ending in ("-base", "-instruct", "-chat"):
        key = key.replace(ending, "")
    if key not in PRESETS:
        raise ConfigError(explain_unknown_key(name, PRESETS, "models"))
    return PRESETS[key]
