"""The objective of Eq. 1: by hand and by its derivative. Against TRL's, with its variants: test_loss_variants.py."""

import math

import pytest
import torch

from srl.loss import Divisor, policy_loss

CLIP = {"clip_low": 0.2, "clip_high": 0.2}


def per_sequence(num_rollouts, num_tokens=0):
    return Divisor(by="sequence", num_rollouts=num_rollouts, num_tokens=num_tokens)


def test_three_tokens_by_hand():
    """Two rollouts, of two tokens and of one.

    First, advantage +1: ratios 1.5 (clipped to 1.2) and 0.5 (the smaller term is the unclipped 0.5): mean 0.85.
    Second, advantage -1: ratio 0.5, min(-0.5, clip: -0.8) = -0.8.
    L = -(0.85 - 0.8) / 2 = -0.025; the clipped term was the smaller one at two tokens.
    """
    policy = torch.log(torch.tensor([[0.3, 0.1], [0.2, 0.9]]))
    old = torch.log(torch.tensor([[0.2, 0.2], [0.4, 0.1]]))
    mask = torch.tensor([[True, True], [True, False]])
    parts = policy_loss(policy, old, torch.tensor([1.0, -1.0]), mask, divisor=per_sequence(2), **CLIP)
    assert parts.loss.item() == pytest.approx(-0.025, abs=1e-7)
    assert parts.num_clipped.item() == 2


def test_kl_by_hand():
    """Policy 0.5, reference 0.25: k3 = 0.25/0.5 - log(0.25/0.5) - 1."""
    policy, reference = torch.log(torch.tensor([[0.5]])), torch.log(torch.tensor([[0.25]]))
    parts = policy_loss(
        policy, policy, torch.tensor([0.0]), torch.tensor([[True]]), divisor=per_sequence(1), beta=0.1,
        reference_logprobs=reference, **CLIP,
    )  # fmt: skip
    expected = 0.5 + math.log(2) - 1
    assert parts.kl_sum.item() == pytest.approx(expected, abs=1e-6)
    assert parts.loss.item() == pytest.approx(0.1 * expected, abs=1e-7)


def test_on_policy_the_gradient_is_the_policy_gradient():
    """At ratio 1 nothing is clipped and dL/dlogprob = -A / (|o| N), exactly."""
    logprobs = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    parts = policy_loss(logprobs, logprobs.detach(), torch.tensor([2.0, -4.0]), mask, divisor=per_sequence(2), **CLIP)
    parts.loss.backward()
    expected = torch.tensor([[-1 / 3, -1 / 3, -1 / 3], [1.0, 1.0, 0.0]])
    torch.testing.assert_close(logprobs.grad, expected)
    assert parts.num_clipped.item() == 0


def test_gradient_against_finite_differences():
    torch.manual_seed(0)
    policy = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    old, reference = policy.detach() + 0.3 * torch.randn(3, 4), policy.detach() + 0.3 * torch.randn(3, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    advantages = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)

    def loss(logprobs):
        return policy_loss(
            logprobs, old, advantages, mask, divisor=per_sequence(3), beta=0.2, reference_logprobs=reference, **CLIP
        ).loss

    assert torch.autograd.gradcheck(loss, policy)
