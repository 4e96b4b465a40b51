"""Tiny random models of several architectures, whose attention matters, and sequences that begin alike."""

from __future__ import annotations

import random

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

VOCABULARY = 97
_SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_WINDOW = {"sliding_window": 64}
_ONE_OF_TWO = {"layer_types": ["sliding_attention", "full_attention"]}
_CONFIGS = {
    "Qwen2ForCausalLM": ("Qwen2Config", {}),
    "Qwen3ForCausalLM": ("Qwen3Config", {"head_dim": 8}),
    "LlamaForCausalLM": ("LlamaConfig", {"tie_word_embeddings": True}),
    "GemmaForCausalLM": ("GemmaConfig", {"head_dim": 8}),
    "Gemma2ForCausalLM": ("Gemma2Config", {"head_dim": 8, **_WINDOW}),
    "Gemma3ForCausalLM": ("Gemma3TextConfig", {"head_dim": 8, **_WINDOW, **_ONE_OF_TWO}),
    "MistralForCausalLM": ("MistralConfig", _WINDOW),
    "CohereForCausalLM": ("CohereConfig", {}),
    "GraniteForCausalLM": ("GraniteConfig", {"logits_scaling": 3.0}),
    "GPT2LMHeadModel": ("GPT2Config", {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}),
    "OPTForCausalLM": ("OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}),
    "GptOssForCausalLM": (
        "GptOssConfig",
        {
            "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1, **_WINDOW,
            "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
        },
    ),
    "Llama4ForCausalLM": (
        "Llama4TextConfig",
        {
            "head_dim": 8, "attention_chunk_size": 64, "num_local_experts": 2, "num_experts_per_tok": 1,
            "intermediate_size_mlp": 48, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
        },
    ),
    "MambaForCausalLM": ("MambaConfig", {}),
}  # fmt: skip


def build(name: str, *, seed: int = 0, scale: float = 6.0, **changes: object) -> PreTrainedModel:
    """A model of that class; ``scale`` makes its matrices larger than fresh ones, so that attention is no average."""
    torch.manual_seed(seed)
    config, own = _CONFIGS[name]
    model = getattr(transformers, name)(getattr(transformers, config)(**(_SHAPE | own | changes)))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(scale)
            elif parameter.abs().max() == 0:
                parameter.normal_(std=0.3)  # biases, and norms that add 1
    return model


def branching_pairs(seed: int = 0, *, length: int = 24) -> list[tuple[list[int], list[int]]]:
    """Two trajectories of three contexts each and a prompt of one token, with one to three completions."""
    rng = random.Random(seed)

    def tokens(count: int) -> list[int]:
        return [rng.randrange(3, VOCABULARY) for _ in range(count)]

    prompts: list[list[int]] = [tokens(1)]
    system = tokens(length // 2 + 6)
    for _ in range(2):
        context = [*system, *tokens(length)]
        prompts += [[*context[: len(context) - cut], *tokens(3)] for cut in (0, length // 3, 2 * length // 3)]
    rng.shuffle(prompts)
    return [(prompt, tokens(rng.randint(1, length // 2))) for prompt in prompts for _ in range(rng.randint(1, 3))]


class LowRank(nn.Module):
    """A frozen linear layer with a trained low-rank term, as LoRA adds it."""

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / 4)
        self.up = nn.Parameter(torch.randn(base.out_features, rank) / 4)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        return self.base(states) + states @ self.down.T @ self.up.T


def add_low_rank(model: PreTrainedModel, names: tuple[str, ...]) -> None:
    """Replace every linear layer of one of these names; all other weights are frozen."""
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in names and isinstance(child, nn.Linear):
                setattr(module, name, LowRank(child))
