"""Rollouts -> padded token batches -> log-probabilities of the completion tokens.

Prompts are padded on the left and completions on the right, so that the completions of a batch stand in the same
columns and the output layer runs over these columns only. The log-softmax is taken in float32 whatever the model's
number format: a sum over a vocabulary of 150,000 in bfloat16 is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


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


def pad_batch(
    sequences: Sequence[tuple[Sequence[int], Sequence[int]]], *, pad_token_id: int, device: torch.device | str = "cpu"
) -> TokenBatch:
    """Pad (prompt ids, completion ids) pairs; every prompt and completion has at least one token."""
    prompt_length = max(len(prompt) for prompt, _ in sequences)
    completion_length = max(len(completion) for _, completion in sequences)
    shape = (len(sequences), prompt_length + completion_length)
    input_ids = torch.full(shape, pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    for row, (prompt, completion) in enumerate(sequences):
        start, end = prompt_length - len(prompt), prompt_length + len(completion)
        input_ids[row, start:end] = torch.tensor([*prompt, *completion], dtype=torch.long)
        attention_mask[row, start:end] = 1
    return TokenBatch(
        input_ids=input_ids.to(device),
        attention_mask=attention_mask.to(device),
        completion_mask=attention_mask[:, prompt_length:].bool().to(device),
    )


def completion_logprobs(model: nn.Module, batch: TokenBatch, *, temperature: float) -> Tensor:
    """[batch, completion] float32 log-probabilities of the sampled tokens under softmax(logits / temperature).

    The temperature is the rollouts': the ratio of the objective compares the distributions that were sampled from.
    Columns outside ``completion_mask`` hold numbers without meaning.
    """
    length = batch.completion_mask.shape[1]
    # Real tokens count from 0 in every row, so that padding on the left does not shift absolute positions.
    position_ids = (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=position_ids,
        logits_to_keep=length + 1,  # the token before the first sampled one predicts it
        use_cache=False,
    ).logits
    logits = logits[:, -(length + 1) : -1].float() / temperature
    return logits.gather(-1, batch.completion_ids.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)
