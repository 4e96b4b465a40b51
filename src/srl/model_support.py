"""Finds out by trying what a model can be run with: packed rows, and an output layer whose result is the logits.

No list of architectures: a handful of tokens goes through the model both ways, and the numbers are compared. What
cannot be seen in so few tokens is the sliding window, which is read from the configuration.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers import PreTrainedModel

from srl.logprobs import completion_logprobs, pack_batch, packed_logprobs, pad_batch
from srl.packing.attention import packed

logger = logging.getLogger("srl")
TOLERANCE = 2e-4
"""Largest difference of log-probabilities that counts as float error; a wrong mask or scale is off by far more."""


@dataclass(frozen=True, kw_only=True)
class Support:
    """What a model can be run with."""

    head: nn.Linear | None
    """Its output layer; None where something comes after it (softcapping, scaling), or before (LoRA)."""
    packs: bool
    """Whether it reads packed rows."""
    tried: bool
    """Whether that was tried."""
    max_length: int | None
    """Longest sequence for which packed rows are exact, None without such a limit: a model with sliding-window
    attention forgets what is further away, a packed row does not."""


_FOUND: WeakKeyDictionary[nn.Module, Support] = WeakKeyDictionary()


def examine(model: PreTrainedModel, *, tries_packing: bool = True) -> Support:
    """Try the model out, once; a warning says where it falls back to padded batches. Leaves the model as it was."""
    known = _FOUND.get(model)
    if known is None or (tries_packing and not known.tried):
        known = _FOUND[model] = _examine(model, tries_packing=tries_packing)
    return known


@torch.no_grad()
def _examine(model: PreTrainedModel, *, tries_packing: bool = True) -> Support:
    pairs = _probe(int(model.config.get_text_config().vocab_size))
    device = model.device
    batch = pad_batch(pairs, pad_token_id=0, device=device)
    mask = batch.completion_mask
    was_training = model.training
    model.eval()
    try:
        expected = completion_logprobs(model, batch, temperature=0.8)
        head = model.get_output_embeddings()
        if type(head) is not nn.Linear or not _agrees(
            lambda: completion_logprobs(model, batch, temperature=0.8, head=head) * mask, expected * mask
        ):
            head = None

        def run_packed() -> torch.Tensor:
            with packed(model):
                row = pack_batch(pairs, device=device)
                return packed_logprobs(model, row, temperature=0.8, head=head)

        packs = tries_packing and _agrees(run_packed, expected * mask)
    finally:
        model.train(was_training)
    if tries_packing and not packs:
        logger.warning(
            "%s cannot read packed rows (its attention is not one that can be replaced, or gave other numbers), so "
            "prompts are not shared and batches are padded: slower, and the same result",
            type(model).__name__,
        )
    return Support(head=head, packs=packs, tried=tries_packing, max_length=sliding_window(model))


def sliding_window(model: PreTrainedModel) -> int | None:
    """Tokens that a layer with sliding-window or chunked attention sees at most, None where no layer has it."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or []
    slides = any("sliding" in kind for kind in kinds) if kinds else getattr(config, "use_sliding_window", True)
    window = getattr(config, "sliding_window", None) if slides else None
    chunk = getattr(config, "attention_chunk_size", None) if any("chunked" in kind for kind in kinds) else None
    return min((int(length) for length in (window, chunk, _longest_of_rope(config)) if length), default=None)


def _longest_of_rope(config: Any) -> int | None:
    """From where rotary frequencies depend on the longest sequence of a batch, which so changes all the others."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") not in ("dynamic", "longrope"):
        return None
    return rope.get("original_max_position_embeddings") or config.max_position_embeddings


def _agrees(run: Any, expected: torch.Tensor) -> bool:
    """Whether ``run`` gives ``expected``. A model that fails there fails in a way of its own, hence any exception."""
    try:
        difference = float((run() - expected).abs().max())
    except Exception as error:  # noqa: BLE001
        logger.debug("%s: %s", type(error).__name__, error)
        return False
    return difference <= TOLERANCE


def _probe(vocab_size: int) -> list[tuple[list[int], list[int]]]:
    """Two prompts with a common beginning, one of them with two completions, and a prompt of its own."""
    tokens = [(7919 * place + 13) % vocab_size for place in range(96)]
    long, short, alone = tokens[:40], [*tokens[:24], *tokens[60:63]], tokens[63:68]
    return [(long, tokens[68:80]), (long, tokens[70:74]), (short, tokens[80:86]), (alone, tokens[86:90])]
