"""Logits -> the next token of each row, and its log-probability.

Random numbers are given, one for each row, and turned into tokens through the cumulative distribution. So what a row
samples depends on its own numbers and logits alone, never on which rows are computed beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from srl.errors import SRLError
from srl.types import SamplingParams


def choose_tokens(logits: Tensor, sampling: SamplingParams, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """The next token of each row and its log-probability, [rows] each.

    Args:
        logits: [rows, vocabulary].
        sampling: temperature 0 takes the most likely token.
        uniforms: [rows] float64 in [0, 1); without effect at temperature 0.

    The log-probability is that under softmax(logits / temperature), before ``top_k`` and ``top_p``. Raises SRLError
    where logits are no numbers.
    """
    logits = logits.float()
    if sampling.temperature == 0:
        tokens = logits.argmax(dim=-1)
    else:
        logits = logits / sampling.temperature
        tokens = _draw(_restrict(logits, sampling).softmax(dim=-1), uniforms)
    logprobs = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)
    if not bool(logprobs.isfinite().all()):
        raise SRLError(
            "the policy's logits are not finite numbers, so nothing can be sampled; its weights have diverged. Lower "
            "the learning rate and resume from an earlier checkpoint"
        )
    return tokens, logprobs


def _restrict(logits: Tensor, sampling: SamplingParams) -> Tensor:
    """Minus infinity at every token that ``top_k`` or ``top_p`` leaves out."""
    if 0 < sampling.top_k < logits.shape[-1]:
        smallest = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if sampling.top_p < 1.0:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        # The smallest set of most likely tokens that has the mass: a token stays while those before it lack it.
        leaves = probabilities.cumsum(dim=-1) - probabilities >= sampling.top_p
        logits = logits.masked_fill(torch.zeros_like(leaves).scatter(-1, order, leaves), -torch.inf)
    return logits


def _draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """[rows] the first token whose cumulative probability is above the row's number."""
    # float64: summed in float32 over 150,000 tokens the rare ones at the end would come too often or never.
    cumulative = probabilities.double().cumsum(dim=-1)
    wanted = uniforms.to(cumulative.device).unsqueeze(-1) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, wanted, right=True).squeeze(-1).clamp(max=probabilities.shape[-1] - 1)
