"""The policy-gradient objective and its variants: what is divided by what, what is clipped, what carries the gradient.

    L = D( -surrogate_it + beta KL_it ),   KL_it = exp(ref - policy) - (ref - policy) - 1

    divide_by   sequence   D(x) = 1/N sum_i 1/|o_i| sum_t x_it                        Eq. 1, GRPO
                tokens     D(x) = 1/T sum_i sum_t x_it                                DAPO
                constant   D(x) = 1/(N C) sum_i sum_t x_it                            Dr. GRPO
    ratio       token      rho_it = exp(policy_it - old_it)                           Eq. 1, GRPO
                sequence   rho_i  = exp(1/|o_i| sum_t (policy_it - old_it))           GSPO
    surrogate   clip       min(rho A_i, clip(rho, 1 - clip_low, 1 + clip_high) A_i)   Eq. 1, GRPO
                cispo      constant(min(rho, 1 + clip_high)) A_i policy_it            CISPO

N counts the rollouts and T the completion tokens of the *whole* update, over all micro-batches and processes; C is
``max_completion_tokens``. The caller gives them: a micro-batch returns its part of the sum, so the gradient does not
depend on how the update is cut into micro-batches. Everything here is float32: the differences of log-probabilities
are small, and bfloat16 has three decimal digits. Which names the combinations have: docs/methods/losses.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Divisor:
    """What the sum over the tokens of an update is divided by."""

    by: Literal["sequence", "tokens", "constant"]
    """See the module."""
    num_rollouts: int
    """N, of the whole update over all micro-batches and processes."""
    num_tokens: int
    """T, their completion tokens."""
    max_completion_tokens: int | None = None
    """C; needed by "constant" alone."""

    def __post_init__(self) -> None:
        if self.by == "constant" and not self.max_completion_tokens:
            raise ValueError('a loss divided by "constant" needs max_completion_tokens')

    def divide(self, values: Tensor, mask: Tensor) -> Tensor:
        """[] this micro-batch's part of D(values); both are [batch, completion], the mask 1 on sampled tokens."""
        if self.by == "sequence":
            return _sum_of_means(values, mask) / self.num_rollouts
        constant = self.num_rollouts * (self.max_completion_tokens or 0)
        return (values * mask).sum() / (self.num_tokens if self.by == "tokens" else constant)


@dataclass(frozen=True, kw_only=True)
class LossParts:
    """The loss of a micro-batch and the sums that metrics are made of."""

    loss: Tensor
    """[] this micro-batch's part of the update's loss; differentiable."""
    num_clipped: Tensor
    """[] completion tokens at which clipping changed the product of ratio and advantage; with a ratio of sequences \
all tokens of the clipped ones."""
    kl_sum: Tensor
    """[] sum over rollouts of the mean KL to the reference, whatever the loss is divided by; 0 without a reference."""


def policy_loss(
    policy_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    completion_mask: Tensor,
    *,
    divisor: Divisor,
    clip_low: float,
    clip_high: float,
    ratio: Literal["token", "sequence"] = "token",
    surrogate: Literal["clip", "cispo"] = "clip",
    beta: float = 0.0,
    reference_logprobs: Tensor | None = None,
) -> LossParts:
    """This micro-batch's part of the loss of an update.

    Args:
        policy_logprobs: [batch, completion], differentiable.
        old_logprobs: [batch, completion], of the policy that the update started from.
        advantages: [batch].
        completion_mask: [batch, completion], True on sampled tokens; each row has at least one.
        divisor: what the sum over the tokens of the whole update is divided by.
        clip_low: the ratio is clipped below at 1 - clip_low; without effect on "cispo".
        clip_high: the ratio is clipped above at 1 + clip_high.
        ratio: whether each token has its ratio or a whole completion has one.
        surrogate: see the module.
        beta: weight of the KL term; above 0 it needs ``reference_logprobs``, [batch, completion].
        reference_logprobs: of the frozen reference, or None.
    """
    mask = completion_mask.to(policy_logprobs.dtype)
    log_ratio = (policy_logprobs - old_logprobs) * mask
    if ratio == "sequence":
        log_ratio = (log_ratio.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)).expand_as(mask)
    rho = torch.exp(log_ratio)  # [batch, completion]
    advantage = advantages.unsqueeze(1)
    unclipped = rho * advantage
    if surrogate == "clip":
        clipped = torch.minimum(unclipped, rho.clamp(1 - clip_low, 1 + clip_high) * advantage)
        per_token = -clipped
    else:  # bounded above only, as MiniMax-M1 used it: a small weight does no harm
        clipped = rho.clamp(max=1 + clip_high).detach() * advantage
        per_token = -clipped * policy_logprobs
    kl_sum = torch.zeros((), device=policy_logprobs.device)
    if reference_logprobs is not None:
        difference = (reference_logprobs - policy_logprobs) * mask
        # Paper: Eq. 1 writes the divergence itself; this is an estimate of it on the sampled tokens.
        kl = torch.exp(difference) - difference - 1  # unbiased, never negative (Schulman's k3)
        per_token = per_token + beta * kl
        kl_sum = _sum_of_means(kl.detach(), mask)
    return LossParts(
        loss=divisor.divide(per_token, mask),
        num_clipped=((clipped != unclipped) & completion_mask.bool()).sum(),
        kl_sum=kl_sum,
    )


def _sum_of_means(values: Tensor, mask: Tensor) -> Tensor:
    """[] the sum over rows of the mean over a row's tokens."""
    return (values * (mask / mask.sum(dim=1, keepdim=True))).sum()
