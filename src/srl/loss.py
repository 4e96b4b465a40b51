"""The clipped policy-gradient objective with its sequence mean (Eq. 1), and what is divided by what.

    L = 1/N sum_i 1/|o_i| sum_t [ -min(rho A_i, clip(rho, 1 - clip_low, 1 + clip_high) A_i) + beta KL_t ]
    rho = exp(policy - old),   KL_t = exp(ref - policy) - (ref - policy) - 1

N is the number of rollouts of the *whole* update, given by the caller: a micro-batch returns its part of the sum, so
the gradient does not depend on how the update is cut into micro-batches. Everything here is float32: the differences of
log-probabilities are small, and bfloat16 has three decimal digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LossParts:
    """The loss of a micro-batch and the sums that metrics are made of."""

    loss: Tensor
    """[] this micro-batch's part of the update's loss; differentiable."""
    num_clipped: Tensor
    """[] completion tokens at which the clipped term was the smaller one."""
    kl_sum: Tensor
    """[] sum over rollouts of the mean KL to the reference; 0 without a reference."""


def policy_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    completion_mask: Tensor,
    *,
    num_rollouts: int,
    clip_low: float,
    clip_high: float,
    beta: float = 0.0,
    reference_logprobs: Tensor | None = None,
) -> LossParts:
    """This micro-batch's part of the loss of an update of ``num_rollouts`` rollouts.

    Args:
        policy_logprobs: [batch, completion], differentiable.
        old_logprobs: [batch, completion], of the policy that the update started from.
        advantages: [batch].
        completion_mask: [batch, completion], True on sampled tokens; each row has at least one.
        num_rollouts: rollouts of the whole update over all micro-batches and processes.
        clip_low: the ratio is clipped below at 1 - clip_low.
        clip_high: the ratio is clipped above at 1 + clip_high.
        beta: weight of the KL term; above 0 it needs ``reference_logprobs``, [batch, completion].
        reference_logprobs: of the frozen reference, or None.
    """
    mask = completion_mask.to(policy_logprobs.dtype)
    weight = mask / mask.sum(dim=1, keepdim=True)  # [batch, completion]; every row sums to 1
    ratio = torch.exp((policy_logprobs - old_logprobs) * mask)
    advantage = advantages.unsqueeze(1)
    unclipped = ratio * advantage
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantage
    per_token = -torch.minimum(unclipped, clipped)
    kl_sum = torch.zeros((), device=policy_logprobs.device)
    if reference_logprobs is not None:
        difference = (reference_logprobs - policy_logprobs) * mask
        # Paper: Eq. 1 writes the divergence itself; this is an estimate of it on the sampled tokens.
        kl = torch.exp(difference) - difference - 1  # unbiased, never negative (Schulman's k3)
        per_token = per_token + beta * kl
        kl_sum = (kl.detach() * weight).sum()
    return LossParts(
        loss=(per_token * weight).sum() / num_rollouts,
        num_clipped=((clipped < unclipped) & completion_mask.bool()).sum(),
        kl_sum=kl_sum,
    )
