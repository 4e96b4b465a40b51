"""Rollouts -> log-probabilities of the completion tokens, in two layouts.

    padded   one row per rollout; prompts padded on the left, completions on the right. The definition, and what a
             model is run with that cannot do better.
    packed   one row of tokens for all rollouts, in which every shared beginning stands once (srl.packing). The same
             numbers within float error.

The log-softmax is taken in float32 whatever the model's number format: a sum over a vocabulary of 150,000 in bfloat16
is noise. With the model's output layer at hand (``head``) the logits are never held all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from srl.packing.attention import PackedAttention, attention_for
from srl.packing.head import logprobs_for_logits
from srl.packing.tree import pack

Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]
"""(prompt ids, completion ids); each has at least one token."""


@dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """Prompts and completions as one padded batch."""

    input_ids: Tensor
    """[batch, prompt + completion] token ids."""
    attention_mask: Tensor
    """[batch, prompt + completion] 1 on real tokens, 0 on padding of either side."""
    completion_mask: Tensor
    """[batch, completion] True on sampled tokens."""

    @property
    def completion_ids(self) -> Tensor:
        """[batch, completion] sampled tokens, padding after them."""
        return self.input_ids[:, -self.completion_mask.shape[1] :]


@dataclass(frozen=True, kw_only=True)
class PackedBatch:
    """Prompts and completions as one row of N tokens; M of them predict a token of a completion."""

    input_ids: Tensor
    """[1, N] token ids."""
    position_ids: Tensor
    """[1, N] of each token within its sequence."""
    predictors: Tensor
    """[M] places in the row whose output predicts a token of a completion, rollout after rollout."""
    targets: Tensor
    """[M] these tokens."""
    completion_mask: Tensor
    """[batch, completion] True on sampled tokens; M in all."""
    attention: PackedAttention
    """Knows which token sees which."""


def pad_batch(pairs: Pairs, *, pad_token_id: int, device: torch.device | str = "cpu") -> TokenBatch:
    """Pad (prompt ids, completion ids) pairs."""
    prompt_length = max(len(prompt) for prompt, _ in pairs)
    completion_length = max(len(completion) for _, completion in pairs)
    shape = (len(pairs), prompt_length + completion_length)
    input_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    for row, (prompt, completion) in enumerate(pairs):
        start, end = prompt_length - len(prompt), prompt_length + len(completion)
        input_ids[row, start:end] = torch.tensor([*prompt, *completion], dtype=torch.long)
        attention_mask[row, start:end] = 1
    return TokenBatch(
        input_ids=input_ids.to(device),
        attention_mask=attention_mask.to(device),
        completion_mask=attention_mask[:, prompt_length:].bool().to(device),
    )


def pack_batch(pairs: Pairs, *, across_prompts: bool = True, device: torch.device | str = "cpu") -> PackedBatch:
    """Pack (prompt ids, completion ids) pairs; see ``srl.packing.tree.pack``."""
    rows = pack(pairs, across_prompts=across_prompts)
    lengths = torch.tensor([len(completion) for _, completion in pairs])
    targets = np.concatenate([np.asarray(completion, dtype=np.int64) for _, completion in pairs])
    return PackedBatch(
        input_ids=torch.from_numpy(rows.token_ids)[None].to(device),
        position_ids=torch.from_numpy(rows.positions)[None].to(device),
        predictors=torch.from_numpy(np.concatenate(rows.predictors)).to(device),
        targets=torch.from_numpy(targets).to(device),
        completion_mask=(torch.arange(int(lengths.max()))[None] < lengths[:, None]).to(device),
        attention=attention_for(rows, torch.device(device)),
    )


def completion_logprobs(
    model: nn.Module, batch: TokenBatch, *, temperature: float, head: nn.Linear | None = None
) -> Tensor:
    """[batch, completion] float32 log-probabilities of the sampled tokens under softmax(logits / temperature).

    The temperature is the rollouts': the ratio of the objective compares the distributions that were sampled from.
    Columns outside ``completion_mask`` hold numbers without meaning. ``head`` is the model's output layer if its
    result is the logits as they are (``srl.model_support``).
    """
    length = batch.completion_mask.shape[1]
    inputs = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        # Real tokens count from 0 in every row, so that padding on the left does not shift absolute positions.
        "position_ids": (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0),
        "use_cache": False,
    }
    targets = batch.completion_ids
    if head is None:
        logits = model(**inputs, logits_to_keep=length + 1).logits  # the token before the first sampled predicts it
        logits = logits[:, :-1].float() / temperature
        return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)
    columns = torch.arange(-length - 1, -1, device=targets.device) + batch.input_ids.shape[1]
    with logprobs_for_logits(head, targets.reshape(-1), temperature=temperature):
        return model(**inputs, logits_to_keep=columns).logits.squeeze(-1)


def packed_logprobs(model: nn.Module, batch: PackedBatch, *, temperature: float, head: nn.Linear | None) -> Tensor:
    """What ``completion_logprobs`` gives, from a packed row; 0 outside ``completion_mask``.

    Call it and the backward pass within ``srl.packing.attention.packed(model)``.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "position_ids": batch.position_ids,
        "logits_to_keep": batch.predictors,
        "packed": batch.attention,
        "use_cache": False,
    }
    if head is None:
        logits = model(**inputs).logits[0].float() / temperature
        logprobs = logits.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)
    else:
        with logprobs_for_logits(head, batch.targets, temperature=temperature):
            logprobs = model(**inputs).logits.view(-1)
    padded = torch.zeros(batch.completion_mask.shape, dtype=logprobs.dtype, device=logprobs.device)
    return padded.masked_scatter(batch.completion_mask, logprobs)
